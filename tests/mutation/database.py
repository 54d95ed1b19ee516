"""One database that is emptied between tests instead of made anew, in which functions are replaced."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import psycopg
from databases import TestCluster, TestDatabase
from psycopg import sql

from coalition.db import roles
from mutation.kept import KeptDatabase, keep_connections

STATEMENT_SECONDS = 10
_TABLES = """
    SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
    ORDER BY c.oid
"""

_EMPTY = """
    DO $$
    DECLARE
        one regclass;
        has boolean;
    BEGIN
        FOR one IN
            SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
        LOOP
            EXECUTE 'SELECT EXISTS (SELECT FROM ' || one || ')' INTO has;
            IF has THEN EXECUTE 'DELETE FROM ' || one; END IF;
        END LOOP;
        FOR one IN SELECT oid FROM pg_class WHERE relkind = 'S' LOOP
            IF pg_sequence_last_value(one) IS NOT NULL THEN PERFORM setval(one, 1, false); END IF;
        END LOOP;
    END $$
"""

# A test that alters the schema would leave it so to all that come after it: here it fails, and is not asked.
_KEEP_THE_SCHEMA = """
    CREATE FUNCTION public.keep_the_schema() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the schema is shared by all tests of mutants'; END $$;
    CREATE EVENT TRIGGER no_drop ON sql_drop EXECUTE FUNCTION public.keep_the_schema();
    CREATE EVENT TRIGGER no_change ON ddl_command_start WHEN TAG IN ('ALTER FUNCTION')
    EXECUTE FUNCTION public.keep_the_schema();
"""


class Laboratory:
    """A migrated database whose rows can be put back to those of a fresh one within milliseconds."""

    def __init__(
        self, owner: psycopg.Connection, superuser: psycopg.Connection, database: TestDatabase
    ) -> None:
        self._owner = owner
        self._superuser = superuser
        self._database = database
        self._emptied = 0
        self._kept: Callable[[], list[KeptDatabase]] = keep_connections()
        # What the migrations themselves have written.
        self._given: dict[str, list[tuple[object, ...]]] = {}
        for table in self._tables():
            rows = superuser.execute(f"SELECT * FROM {table}").fetchall()
            if rows:
                self._given[table] = rows

    @classmethod
    @contextmanager
    def on(cls, cluster: TestCluster) -> Iterator[Self]:
        with (
            cluster.new_database() as database,
            psycopg.connect(roles.conninfo(database.url(roles.SUPERUSER)), autocommit=True) as superuser,
            psycopg.connect(roles.conninfo(database.url(roles.OWNER)), autocommit=True) as owner,
        ):
            name = sql.Identifier(database.name)
            for setting in (f"statement_timeout = '{STATEMENT_SECONDS}s'", "track_functions = 'all'"):
                superuser.execute(sql.SQL("ALTER DATABASE {} SET ").format(name) + sql.SQL(setting))
            superuser.execute(_KEEP_THE_SCHEMA)
            superuser.execute("SET session_replication_role = 'replica'")
            owner.execute("SET search_path = ledger, pg_temp")
            yield cls(owner, superuser, database)

    @contextmanager
    def emptied(self) -> Iterator[TestDatabase]:
        """The database for one test."""
        self._throw_out()
        self._superuser.execute(_EMPTY)
        self._emptied += 1
        if self._emptied % 100 == 0:
            # What was deleted is read by every later test until it is swept up.
            self._superuser.execute("VACUUM")
        for table, rows in self._given.items():
            for row in rows:
                marks = ", ".join(["%s"] * len(row))
                self._superuser.execute(f"INSERT INTO {table} VALUES ({marks})", row)
        yield self._database

    def install(self, function: str) -> str | None:
        """Put a function in place. Returns what PostgreSQL says against it, or None."""
        try:
            self._owner.execute(function)
        except psycopg.Error as error:
            return str(error).splitlines()[0]
        return None

    def forget_calls(self) -> None:
        self._superuser.execute("SELECT pg_stat_reset()")

    def called(self) -> list[str]:
        """The functions that ran since; a session tells when it ends."""
        self._throw_out()
        return [
            name
            for (name,) in self._superuser.execute(
                "SELECT funcname FROM pg_stat_user_functions WHERE schemaname = 'ledger' AND calls > 0"
            ).fetchall()
        ]

    def _tables(self) -> list[str]:
        return [table for (table,) in self._superuser.execute(_TABLES).fetchall()]

    def _throw_out(self) -> None:
        """End the sessions that a failed test left, and wait for those that are about to end."""
        others = """
            SELECT count(pg_terminate_backend(pid, 1000)) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> ALL (%s) AND backend_type = 'client backend'
        """
        own = [self._superuser.info.backend_pid, self._owner.info.backend_pid]
        kept = [backend for database in self._kept() for backend in database.idle()]
        self._superuser.execute(others, ([*own, *kept],))
