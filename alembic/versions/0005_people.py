"""What is known of people: sealed values, the keys that they are sealed under, the blind index's key."""

from pathlib import Path

from alembic import op

from coalition.ledger.kernel import statements

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and let the application seal, replace and destroy; a key's row is never removed."""
    for statement in statements(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")):
        op.execute(statement)
    op.execute("GRANT USAGE ON SCHEMA people TO coalition_app")
    op.execute("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA people TO coalition_app")
    op.execute("GRANT UPDATE (kek, wrapped), DELETE ON people.index_key TO coalition_app")
    op.execute("GRANT UPDATE (kek, wrapped, erased_at) ON people.data_key TO coalition_app")
    op.execute("GRANT UPDATE (ciphertext), DELETE ON people.sealed TO coalition_app")


def downgrade() -> None:
    """Drop them, and with them all that is known of people."""
    op.execute("DROP SCHEMA people CASCADE")
