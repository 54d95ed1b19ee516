"""The tests' database as mutants have it: functions are replaced in it, and it tells which were called."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import psycopg
from databases import TestCluster, TestDatabase
from emptied import END_OTHERS, EmptiedDatabase
from psycopg import sql
from psycopg._preparing import PrepareManager
from sqlalchemy.dialects.postgresql.psycopg import PGExecutionContext_psycopg

from coalition.db import roles

STATEMENT_SECONDS = 10
_SEARCH_PATH = "SET search_path = ledger, pg_temp"


class Laboratory(EmptiedDatabase):
    """A database in which functions are replaced between tests."""

    def __init__(self, cluster: TestCluster, name: str, superuser: psycopg.Connection) -> None:
        super().__init__(cluster, name, superuser)
        _watch(superuser, name)
        self._owner = psycopg.connect(roles.conninfo(self.url(roles.OWNER)), autocommit=True)
        self._owner.execute(_SEARCH_PATH)
        self._in_place = ""
        self._called_elsewhere: set[str] = set()

    @classmethod
    @contextmanager
    def on(cls, cluster: TestCluster) -> Iterator[Self]:
        with super().on(cluster) as laboratory, laboratory._owner:
            yield laboratory

    def install(self, function: str) -> str | None:
        """Put a function in place. Returns what PostgreSQL says against it, or None."""
        try:
            self._owner.execute(function)
        except psycopg.Error as error:
            return str(error).splitlines()[0]
        self._in_place = function
        return None

    @contextmanager
    def prepared(self, fresh: TestDatabase) -> Iterator[TestDatabase]:
        """Have the function in place in this new database, too, and remember what is called there."""
        with psycopg.connect(roles.conninfo(fresh.url(roles.OWNER)), autocommit=True) as owner:
            owner.execute(_SEARCH_PATH)
            if self._in_place:
                owner.execute(self._in_place)
        with psycopg.connect(roles.conninfo(fresh.url(roles.SUPERUSER)), autocommit=True) as superuser:
            _watch(superuser, fresh.name)
            yield fresh
            superuser.execute(END_OTHERS, ([superuser.info.backend_pid],))
            self._called_elsewhere.update(_called(superuser))

    def forget_calls(self) -> None:
        self._superuser.execute("SELECT pg_stat_reset()")
        self._called_elsewhere.clear()

    def called(self) -> list[str]:
        """The functions that ran since; a session tells when it ends."""
        self.throw_out()
        return sorted({*_called(self._superuser), *self._called_elsewhere})

    def own_sessions(self) -> list[int]:
        return [self._owner.info.backend_pid]


def _watch(superuser: psycopg.Connection, name: str) -> None:
    """Whoever connects to this database from now on is watched, and stopped when a call takes for ever."""
    for setting in (f"statement_timeout = '{STATEMENT_SECONDS}s'", "track_functions = 'all'"):
        superuser.execute(sql.SQL("ALTER DATABASE {} SET ").format(sql.Identifier(name)) + sql.SQL(setting))


def _called(superuser: psycopg.Connection) -> list[str]:
    called = "SELECT funcname FROM pg_stat_user_functions WHERE schemaname = 'ledger' AND calls > 0"
    return [name for (name,) in superuser.execute(called).fetchall()]


def plan_once() -> None:
    """Let every statement of this process be planned once for all tests and mutants."""
    # The audit alone has as many statements as psycopg keeps by itself.
    PrepareManager.prepared_max = 1000
    # psycopg forgets what was prepared at each ROLLBACK, since a table may be gone by it; here none is ever made.
    PrepareManager.clear = lambda _: False
    # A cursor in the server plans its statement each time; what tests read is small, and prepared once.
    PGExecutionContext_psycopg.create_server_side_cursor = PGExecutionContext_psycopg.create_default_cursor
