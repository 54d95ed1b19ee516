"""The way to the database: three kinds of session, and the only commit."""

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final, NoReturn, Self

import psycopg
from sqlalchemy import URL, Engine, PoolProxiedConnection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.orm import Session

from coalition.config import Settings, postgres_url
from coalition.db import needs, roles
from coalition.db.embedded import EmbeddedServer
from coalition.errors import DatabaseUnavailable

_CONNECT_TIMEOUT = 3  # seconds
POOL_TIMEOUT = 5  # seconds until a caller that finds every connection taken is told so

# A posting's transaction is bounded, because the window's closer waits for it (domain, "Windows").
POSTING_BOUNDS: Final = {
    "lock_timeout": "2s",
    "statement_timeout": "5s",
    "idle_in_transaction_session_timeout": "5s",
}

# Classes and codes of SQLSTATE with which the server or the way to it is at fault.
_LOST: Final = ("08", "57P", "53")
_FAILURES: Final = (DBAPIError, psycopg.Error, PoolExhausted)
_BUSY: Final = frozenset({"55P03", "57014", "40001", "40P01"})

_log = logging.getLogger(__name__)
# A command tells the reason by itself, and what it prints may be read as JSON.
_log.addHandler(logging.NullHandler())


class SingleCall(Session):
    """A session that is one call of a kernel function, on a connection that commits each statement.

    The connection comes straight from the pool: a Session and its transaction cost more than the
    call (docs/decisions/0003). What else a Session can do is there for whoever needs it, such as a
    cache that has to be filled first, and is made when it is asked for.
    """

    def __init__(self, engine: Engine) -> None:
        # Not super().__init__(): see __getattr__.
        self._engine = engine
        self._fairy: PoolProxiedConnection | None = None

    def __getattr__(self, name: str) -> Any:
        # Only asked where a name is missing, which is so until Session.__init__ has run.
        if "_fairy" not in self.__dict__ or self._is_whole:
            raise AttributeError(name)
        # One connection at a time: who held one and waited for a second could wait for another such.
        self._give_back()
        super().__init__(self._engine, autoflush=False, expire_on_commit=False)
        return getattr(self, name)

    def get_bind(self, *_: Any, **__: Any) -> Engine:
        """The engine, known without the rest of a Session."""
        return self._engine

    def driver(self) -> psycopg.Connection:
        """The connection, as psycopg has it."""
        if self._is_whole:
            return _driver(self.connection().connection)
        if self._fairy is None:
            self._fairy = self._engine.raw_connection()
        connection = _driver(self._fairy)
        if not connection.autocommit:
            connection.autocommit = True
        return connection

    def close(self) -> None:
        """Give the connection back."""
        self._give_back()
        if self._is_whole:
            super().close()

    @property
    def _is_whole(self) -> bool:
        return "identity_map" in self.__dict__

    def _give_back(self) -> None:
        if self._fairy is None:
            return
        connection = _driver(self._fairy)
        if connection.closed:
            self._fairy.invalidate()
        else:
            connection.autocommit = False
        self._fairy.close()
        self._fairy = None


def driver_of(session: Session) -> psycopg.Connection:
    """The psycopg connection beneath a session, in the session's transaction."""
    return session.driver() if isinstance(session, SingleCall) else _driver(session.connection().connection)


def _driver(fairy: PoolProxiedConnection) -> psycopg.Connection:
    connection = fairy.driver_connection
    assert isinstance(connection, psycopg.Connection)
    return connection


class Database:
    """One database for one process: a pool of connections and, at need, the embedded server.

    Sessions come in three kinds. Domain functions take one and never commit.
    """

    def __init__(self, url: URL, *, pool_size: int, embedded: EmbeddedServer | None = None) -> None:
        self._embedded = embedded
        self._closing = threading.Lock()
        self._told: str | None = None
        self.pool_size = pool_size
        self.engine: Engine = make_engine(url, pool_size=pool_size)
        # Variants of one engine: they share its pool.
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._snapshot = self.engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """The database as the application's role; the embedded one is started, or joined.

        With a server that is named, nothing is asked of it yet: a program can start while its
        database is down, and recovers by itself.
        """
        if settings.database_url is not None:
            return cls(postgres_url(settings.database_url), pool_size=settings.pool_size)
        server = EmbeddedServer.start(settings)
        return cls(server.url(roles.APP_LOGIN), pool_size=settings.pool_size, embedded=server)

    @contextlib.contextmanager
    def unit_of_work(self, *, patience: timedelta | None = None) -> Iterator[Session]:
        """A transaction that commits once, at the end; an exception rolls all of it back.

        READ COMMITTED: after waiting for a lock, the next statement sees what the lock's last
        holder did. `patience` lengthens the bounds of a posting, for work that is no posting.
        """
        with self._session(self.engine) as session:
            if patience is not None:
                wait_longer(session, patience)
            yield session
            session.commit()

    @contextlib.contextmanager
    def single_call(self) -> Iterator[Session]:
        """For an operation that is exactly one call of a kernel function: one round trip.

        The database commits the call by itself, so a second statement would be a second
        transaction.
        """
        session = SingleCall(self._autocommit)
        try:
            try:
                yield session
            finally:
                session.close()
        except _FAILURES as error:
            self._explain(error)
        self._told = None

    @contextlib.contextmanager
    def reading(self, *, patience: timedelta | None = None) -> Iterator[Session]:
        """A read-only snapshot: all that a page shows is of one moment."""
        with self._session(self._snapshot) as session:
            if patience is not None:
                wait_longer(session, patience)
            yield session

    def close(self) -> None:
        """Give up the connections and the embedded server. Safe to call again."""
        with self._closing:
            self.engine.dispose()
            if self._embedded is not None:
                self._embedded.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _session(self, engine: Engine) -> Iterator[Session]:
        session = Session(engine, autoflush=False, expire_on_commit=False)
        try:
            try:
                yield session
            except BaseException:
                session.rollback()
                raise
            finally:
                session.close()
        except _FAILURES as error:
            self._explain(error)
        self._told = None

    def _explain(self, error: Exception) -> NoReturn:
        """Raise what a caller can act on: the database is away or busy, or the error as it is."""
        refusal = unavailable(error)
        if refusal is None:
            if not (needs.misses_something(error) and self._is_behind()):
                raise error
            refusal = needs.NotMigrated()
            self._tell(refusal.message)
        elif is_away(error):
            refusal.reason = why(error, self.engine.url)
            self._tell(f"the database does not answer: {refusal.reason}")
        if _connection_is_lost(error):
            # The others in the pool went the same way; the next caller gets a fresh one.
            self.engine.dispose()
            if self._embedded is not None:
                # Nobody else looks after it: the caller is told to try again, and will find it.
                self._embedded.revive()
        raise refusal from error

    def _is_behind(self) -> bool:
        try:
            with self._snapshot.connect() as connection:
                return bool(needs.lacking(connection))
        except _FAILURES:
            return False

    def _tell(self, reason: str) -> None:
        """Log it once for each loss: the thousand requests that meet it have no more to say."""
        if reason != self._told:
            self._told = reason
            _log.error(reason)


def make_engine(
    url: URL, *, pool_size: int, bounds: Mapping[str, str] = POSTING_BOUNDS, prepares: bool = True
) -> Engine:
    """An engine over psycopg 3, with the bounds of a posting unless others are given.

    `prepares`: statements are prepared in the server at their first use. A text of several
    statements, as migrations have, can't be.
    """
    gucs = " ".join(f"-c {name}={value}" for name, value in bounds.items())
    given = url.query.get("options", "")
    options = f"{gucs} {given if isinstance(given, str) else ' '.join(given)}".strip()
    return create_engine(
        url.difference_update_query(["options"]),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT,
        # No ping before use: it costs each posting a round trip, and a lost connection heals below.
        pool_pre_ping=False,
        # A statement that fails is logged; what it was given may be personal.
        hide_parameters=True,
        connect_args={
            "connect_timeout": _CONNECT_TIMEOUT,
            "application_name": "coalition",
            "options": options,
            "prepare_threshold": 0 if prepares else None,
        },
    )


def unavailable(error: Exception) -> DatabaseUnavailable | None:
    """What to tell a caller whose database failed; None where the statement is at fault."""
    if isinstance(error, PoolExhausted):
        return DatabaseUnavailable("Every connection to the database is in use; try again shortly.")
    if _sqlstate(error) in _BUSY:
        return DatabaseUnavailable("The database is busy and nothing has moved; try again shortly.")
    return DatabaseUnavailable() if is_away(error) else None


def is_away(error: Exception) -> bool:
    """Whether the server, or the way to it, is at fault."""
    return _connection_is_lost(error) or (_sqlstate(error) or "").startswith(_LOST)


def why(error: Exception, url: URL) -> str:
    """The first line of what the server or libpq said, without the password wherever that may stand."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    line = next(iter(str(cause).splitlines()), type(cause).__name__)
    for secret in (url.password, url.query.get("password")):
        if isinstance(secret, str) and secret:
            line = line.replace(secret, "***")
    return line


def _connection_is_lost(error: Exception) -> bool:
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or (
            isinstance(error.orig, psycopg.OperationalError) and _sqlstate(error) is None
        )
    return isinstance(error, psycopg.OperationalError) and (
        error.sqlstate is None or error.sqlstate.startswith("57P")
    )


def _sqlstate(error: Exception) -> str | None:
    cause: Any = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlstate", None)


def wait_longer(session: Session, patience: timedelta) -> None:
    """Lengthen the bounds of a posting for the rest of the session's transaction, for work that is none."""
    milliseconds = str(int(patience.total_seconds() * 1000))
    for bound in ("statement_timeout", "idle_in_transaction_session_timeout"):
        session.execute(
            text("SELECT set_config(:bound, :value, true)"), {"bound": bound, "value": milliseconds}
        )
