"""Settlement: runs, and all that statements are printed from."""

from pathlib import Path

from alembic import op

from coalition.ledger.kernel import statements

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and let the application add to them but change nothing except a run's state."""
    for statement in statements(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")):
        op.execute(statement)
    op.execute("GRANT USAGE ON SCHEMA settlement TO coalition_app")
    op.execute("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA settlement TO coalition_app")
    op.execute("GRANT UPDATE (state) ON settlement.run TO coalition_app")


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP SCHEMA settlement CASCADE")
