"""Connections that outlive a test, so that the next one finds functions compiled and statements planned."""

from collections.abc import Callable
from functools import cache
from typing import Any

import psycopg
from psycopg._preparing import PrepareManager
from sqlalchemy import event
from sqlalchemy.dialects.postgresql.psycopg import PGExecutionContext_psycopg

from coalition import programme
from coalition.config import Settings
from coalition.db import Database

MOST = 3
# A session also tells what it has called.
_AS_NEW = "RESET ALL; SELECT pg_advisory_unlock_all(); SELECT pg_stat_force_next_flush(); DISCARD TEMP"


class KeptDatabase(Database):
    """The application's database for test after test: closing it leaves its idle connections open."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._connections: list[psycopg.Connection] = []
        self._spare: list[psycopg.Connection] = []
        event.listen(self.engine, "do_connect", self._connect)
        event.listen(self.engine, "connect", self._connected)

    def _connect(self, *_: object) -> psycopg.Connection | None:
        return self._spare.pop() if self._spare else None

    def _connected(self, connection: psycopg.Connection, _: object) -> None:
        # The audit alone has as many statements as psycopg keeps by itself.
        connection.prepared_max = 1000
        if connection not in self._connections:
            self._connections.append(connection)

    def close(self) -> None:
        """Nothing: see `idle`."""

    def idle(self) -> list[int]:
        """The backends that the next test may have, as if they were new; all others are closed.

        The pool is a new one, since what programmes remember of a database they remember by its pool.
        """
        given_back = not self.engine.pool.checkedout()
        self._connections = [connection for connection in self._connections if not connection.closed]
        try:
            if not given_back or len(self._connections) > MOST:
                raise psycopg.OperationalError
            for connection in self._connections:
                connection.autocommit = True
                connection.execute(_AS_NEW, prepare=False)
                connection.autocommit = False
        except psycopg.Error:
            super().close()
            for connection in self._connections:
                connection.close()
            self._connections.clear()
        self.engine.dispose(close=False)
        self._spare = list(self._connections)
        return [connection.info.backend_pid for connection in self._connections]


def keep_connections() -> Callable[[], list[KeptDatabase]]:
    """Give every test that asks for the application's database a kept one. Returns which there are."""
    kept: dict[str, KeptDatabase] = {}
    connect = KeptDatabase.connect

    def connect_kept(settings: Settings) -> Database:
        assert settings.database_url is not None
        known = f"{settings.database_url.get_secret_value()} {settings.pool_size}"
        if known not in kept:
            kept[known] = connect(settings)
        return kept[known]

    Database.connect = connect_kept
    # psycopg forgets what was prepared at each ROLLBACK, since a table may be gone by it; here none is ever made.
    PrepareManager.clear = lambda _: False
    # A cursor in the server plans its statement each time; what tests read is small, and prepared once.
    PGExecutionContext_psycopg.create_server_side_cursor = PGExecutionContext_psycopg.create_default_cursor
    # Reads a folder of a thousand files for each programme that is opened.
    programme.available_timezones = cache(programme.available_timezones)
    return lambda: list(kept.values())
