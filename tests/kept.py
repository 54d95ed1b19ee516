"""Connections that outlive a test, so that the next one finds functions compiled and the catalogue read."""

from typing import Any

import psycopg
from sqlalchemy import event

from coalition.db import Database

MOST = 8
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
            self.close_all()
        self.engine.dispose(close=False)
        self._spare = list(self._connections)
        return [connection.info.backend_pid for connection in self._connections]

    def close_all(self) -> None:
        """Close what was kept, too."""
        super().close()
        for connection in self._connections:
            connection.close()
        self._connections.clear()
