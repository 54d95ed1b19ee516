"""How a migration reaches the database, and what `alembic check` compares.

`coalition migrate` hands its own connection in; `alembic check` and the like make one from the
settings, as the owner.
"""

from collections.abc import MutableMapping
from typing import Any

from alembic import context
from sqlalchemy import Connection, text

from coalition.config import get_settings
from coalition.db import metadata
from coalition.db.owner import as_owner
from coalition.ledger import tables as ledger_tables
from coalition.vault import tables as vault_tables
from partners import tables as partners_tables
from settlement import tables as settlement_tables

TABLES = (
    ledger_tables,
    vault_tables,
    partners_tables,
    settlement_tables,
)  # imported for what they add to metadata
SCHEMAS = frozenset({"ledger", "people", "partners", "settlement"})

# Any number does, so long as all migrations of a database take the same.
MIGRATION_LOCK = 7_620_318_204

PARTITIONS = text("""
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relispartition
""")


def run_offline() -> None:
    """Print the SQL."""
    context.configure(
        dialect_name="postgresql",
        target_metadata=metadata,
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
    )
    with context.begin_transaction():
        context.run_migrations()


def run_online(connection: Connection) -> None:
    """Run what is due in the transaction that the connection is in: all of it holds, or nothing."""
    partitions = {(row.nspname, row.relname) for row in connection.execute(PARTITIONS)}

    def include_name(name: str | None, kind: str, parents: MutableMapping[str, str | None]) -> bool:
        if kind == "schema":
            return name in SCHEMAS
        # Partitions are made night by night; the table they belong to is what is compared.
        return kind != "table" or (parents.get("schema_name"), name) not in partitions

    options: dict[str, Any] = {"include_schemas": True, "include_name": include_name}
    context.configure(connection=connection, target_metadata=metadata, **options)
    with context.begin_transaction():
        # A second migration waits here for the first, and then finds nothing to do.
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
elif (given := context.config.attributes.get("connection")) is not None:
    run_online(given)
else:
    with as_owner(get_settings()) as owner, owner.engine.begin() as made:
        run_online(made)
