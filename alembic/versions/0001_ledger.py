"""Partners' terms, the ledger, and the kernel: the functions that alone write it."""

from pathlib import Path

from alembic import op

from coalition.ledger.kernel import FUNCTIONS_FOR_THE_APPLICATION, kernel_sql, statements

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, install the kernel, and let the application read and call."""
    for statement in statements(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")):
        op.execute(statement)
    # The kernel's functions name each other's tables without the schema, as they will find them at run time.
    op.execute("SET LOCAL search_path = ledger, pg_temp")
    for script in kernel_sql():
        for statement in statements(script):
            op.execute(statement)
    op.execute("SET LOCAL search_path = DEFAULT")
    op.execute("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC")
    op.execute("GRANT USAGE ON SCHEMA ledger, partners TO coalition_app")
    op.execute("GRANT SELECT ON ALL TABLES IN SCHEMA ledger, partners TO coalition_app")
    for function in FUNCTIONS_FOR_THE_APPLICATION:
        op.execute(f"GRANT EXECUTE ON FUNCTION ledger.{function} TO coalition_app")
    op.execute(
        "GRANT INSERT ON partners.partner, partners.agreement, partners.funding_plan, partners.funding_part,"
        " partners.store, partners.limit_rule TO coalition_app"
    )
    op.execute("GRANT UPDATE (name, since, closed) ON partners.store TO coalition_app")
    op.execute("GRANT UPDATE (state) ON partners.partner TO coalition_app")


def downgrade() -> None:
    """Drop all of it."""
    op.execute("DROP SCHEMA ledger CASCADE")
    op.execute("DROP SCHEMA partners CASCADE")
