"""One database for test after test, which is emptied between them instead of made anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import psycopg
from databases import TestCluster, TestDatabase
from kept import KeptDatabase

from coalition.config import Settings
from coalition.db import Database, roles

_OURS = """
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
"""

_EMPTY = f"""
    DO $$
    DECLARE
        one regclass;
        has boolean;
    BEGIN
        FOR one IN SELECT c.oid {_OURS} LOOP
            EXECUTE 'SELECT EXISTS (SELECT FROM ' || one || ')' INTO has;
            IF has THEN EXECUTE 'DELETE FROM ' || one; END IF;
        END LOOP;
        FOR one IN SELECT oid FROM pg_class WHERE relkind = 'S' LOOP
            IF pg_sequence_last_value(one) IS NOT NULL THEN PERFORM setval(one, 1, false); END IF;
        END LOOP;
    END $$
"""

# A test that alters the schema would leave it so to all that come after it: here it fails. The application's own
# call may: the kernel makes the months' partitions, and those of one test serve the next.
_KEEP_THE_SCHEMA = f"""
    CREATE FUNCTION public.keep_the_schema() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF session_user <> '{roles.APP_LOGIN}' THEN
            RAISE EXCEPTION 'this schema is shared by all tests: mark the test fresh_database';
        END IF;
    END $$;
    CREATE EVENT TRIGGER no_drop ON sql_drop EXECUTE FUNCTION public.keep_the_schema();
    CREATE EVENT TRIGGER no_change ON ddl_command_start
    WHEN TAG IN ('ALTER FUNCTION', 'ALTER TABLE', 'CREATE TABLE', 'CREATE INDEX', 'CREATE TRIGGER', 'GRANT', 'REVOKE')
    EXECUTE FUNCTION public.keep_the_schema();
"""


# Sessions of this database that are none of these.
END_OTHERS = """
    SELECT count(pg_terminate_backend(pid, 1000)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> ALL (%s) AND backend_type = 'client backend'
"""


class EmptiedDatabase(TestDatabase):
    """A migrated database whose rows are put back to those of a fresh one within milliseconds."""

    def __init__(self, cluster: TestCluster, name: str, superuser: psycopg.Connection) -> None:
        super().__init__(cluster=cluster, name=name)
        self._superuser = superuser
        self._emptied = 0
        self._kept: dict[int, KeptDatabase] = {}
        superuser.execute("SET session_replication_role = 'replica'")
        # What the migrations themselves have written.
        self._given: dict[str, list[tuple[object, ...]]] = {}
        for (table,) in superuser.execute(f"SELECT c.oid::regclass::text {_OURS} ORDER BY c.oid").fetchall():
            rows = superuser.execute(f"SELECT * FROM {table}").fetchall()
            if rows:
                self._given[table] = rows

    @classmethod
    @contextmanager
    def on(cls, cluster: TestCluster) -> Iterator[Self]:
        with (
            cluster.new_database() as made,
            psycopg.connect(roles.conninfo(made.url(roles.SUPERUSER)), autocommit=True) as superuser,
        ):
            superuser.execute(_KEEP_THE_SCHEMA)
            database = cls(cluster, made.name, superuser)
            try:
                yield database
            finally:
                for kept in database._kept.values():
                    kept.close_all()

    def connect(self, settings: Settings | None = None) -> Database:
        """The application's database, with the connections that the last test left."""
        settings = settings or self.settings
        if settings.pool_size not in self._kept:
            self._kept[settings.pool_size] = KeptDatabase.connect(settings)
        return self._kept[settings.pool_size]

    def empty(self) -> Self:
        """Make it as good as new for the next test."""
        self.throw_out()
        self._superuser.execute(_EMPTY)
        self._emptied += 1
        if self._emptied % 100 == 0:
            # What was deleted is read by every later test until it is swept up.
            self._superuser.execute("VACUUM")
        for table, rows in self._given.items():
            for row in rows:
                marks = ", ".join(["%s"] * len(row))
                self._superuser.execute(f"INSERT INTO {table} VALUES ({marks})", row)
        return self

    def throw_out(self) -> None:
        """End the sessions that a failed test left, and wait for those that are about to end."""
        kept = [backend for database in self._kept.values() for backend in database.idle()]
        self._superuser.execute(
            END_OTHERS, ([self._superuser.info.backend_pid, *self.own_sessions(), *kept],)
        )

    def own_sessions(self) -> list[int]:
        """Further backends that are nobody's test."""
        return []
