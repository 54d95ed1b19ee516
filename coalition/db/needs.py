"""Whether a database has what this version of the program asks of it.

Read from PostgreSQL's own catalogue, which anyone may read: the table in which migrations note where they
are is the owner's alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from coalition.db.metadata import metadata
from coalition.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session


class NotMigrated(DatabaseUnavailable):
    """The database lacks a table, a column or a function of this version; nothing has moved."""

    code = "NOT_MIGRATED"
    summary = "This database has not the tables of this version; run `coalition migrate`."
    retryable = False


def misses_something(error: Exception) -> bool:
    """Whether a statement named what is not there: a schema, table, column or function."""
    cause: Any = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, psycopg.Error) and cause.sqlstate in _NOT_THERE


def lacking(connection: Connection | Session) -> list[str]:
    """What this version needs and the database has not, by name. Empty: it is migrated."""
    columns = [
        (table.schema, table.name, column.name)
        for table in metadata.tables.values()
        for column in table.columns
    ]
    asked = {
        "schemas": [schema for schema, _, _ in columns],
        "tables": [table for _, table, _ in columns],
        "columns": [column for _, _, column in columns],
        "functions": metadata.info.get("functions", []),
    }
    return list(connection.execute(_LACKING, asked).scalars())


def check(session: Session) -> None:
    """Refuse to go on with a database of another version.

    Raises:
        NotMigrated: it lacks something.
    """
    if lacking(session):
        raise NotMigrated


_NOT_THERE: Final = frozenset({"3F000", "42P01", "42703", "42883"})
_LACKING: Final = text("""
    SELECT wanted.schema || '.' || wanted.name || '.' || wanted.part
      FROM unnest(CAST(:schemas AS text[]), CAST(:tables AS text[]), CAST(:columns AS text[]))
               AS wanted (schema, name, part)
     WHERE NOT EXISTS (
         SELECT FROM pg_namespace n
           JOIN pg_class c ON c.relnamespace = n.oid
           JOIN pg_attribute a ON a.attrelid = c.oid
          WHERE n.nspname = wanted.schema AND c.relname = wanted.name
            AND a.attname = wanted.part AND a.attnum > 0 AND NOT a.attisdropped)
     UNION ALL
    SELECT wanted.name || '()'
      FROM unnest(CAST(:functions AS text[])) AS wanted (name)
     WHERE NOT EXISTS (
         SELECT FROM pg_proc p
           JOIN pg_namespace n ON n.oid = p.pronamespace
          WHERE n.nspname = split_part(wanted.name, '.', 1) AND p.proname = split_part(wanted.name, '.', 2))
""")
