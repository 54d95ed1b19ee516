"""Jobs: the tables of the job library, in a PostgreSQL schema of their own."""

import sqlalchemy as sa
from alembic import context, op
from procrastinate.schema import SchemaManager

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Install the job library's tables and functions, and let the application work with jobs."""
    op.execute("CREATE SCHEMA jobs")
    # The library names its tables without a schema, here and in its functions: whoever works with
    # jobs sets the search path (settlement.scheduler does).
    op.execute("SET LOCAL search_path = jobs")
    _run(SchemaManager.get_schema())
    op.execute("SET LOCAL search_path = public")
    op.execute("GRANT USAGE ON SCHEMA jobs TO coalition_app")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA jobs TO coalition_app")
    op.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA jobs TO coalition_app")
    op.execute("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA jobs TO coalition_app")


def downgrade() -> None:
    """Drop them, and every job."""
    op.execute("DROP SCHEMA jobs CASCADE")


def _run(script: str) -> None:
    """Run a script of many statements as one, which a prepared statement can't."""
    if context.is_offline_mode():
        op.execute(sa.text(script.replace(":", r"\:")))
        return
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(script, prepare=False)
