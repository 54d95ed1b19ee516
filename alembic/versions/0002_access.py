"""OAuth clients, signing keys, and the idempotency of operators' mutations."""

from pathlib import Path

from alembic import op

from coalition.ledger.kernel import statements

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and let the application add clients, keys and answers, but not rewrite them."""
    for statement in statements(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")):
        op.execute(statement)
    op.execute(
        "GRANT SELECT, INSERT ON partners.oauth_client, partners.signing_key, partners.operation"
        " TO coalition_app"
    )
    op.execute(
        "GRANT UPDATE (secret_hash, secret_rotated_at, secret_given_to, revoked_at)"
        " ON partners.oauth_client TO coalition_app"
    )
    op.execute("GRANT UPDATE (state, retired_at) ON partners.signing_key TO coalition_app")


def downgrade() -> None:
    """Drop them."""
    for table in ("operation", "signing_key", "oauth_client"):
        op.execute(f"DROP TABLE partners.{table}")
