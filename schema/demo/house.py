"""Where the demo lives: an embedded database of its own, made anew, and a server of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from coalition.config import Settings
from coalition.db import Database, migrating, roles
from coalition.db.embedded import DATABASE, EmbeddedServer
from coalition.db.owner import as_owner
from coalition.errors import CoalitionError

_READY_WITHIN: Final = 30.0  # seconds
_ENDS_WITHIN: Final = 15.0  # seconds


class DemoRefused(CoalitionError):
    """The demo would not run here."""

    code = "DEMO_REFUSED"


@contextlib.contextmanager
def alone(home: Path) -> Iterator[None]:
    """Hold the demo's directory: one demo at a time.

    Raises:
        DemoRefused: another one runs there.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DemoRefused(
                f"another demo runs in {home}: end it, or name another directory with --data-dir"
            ) from error
        yield


@contextlib.contextmanager
def fresh_database(settings: Settings) -> Iterator[Database]:
    """The embedded database, empty but for its tables, whatever an earlier demo left in it.

    Raises:
        DemoRefused: what it holds is no demo's.
    """
    with contextlib.closing(EmbeddedServer.start(settings)) as server:
        _check_nothing_is_lost(server)
        # Dropped and not cleaned, so that nothing of an earlier version is left either.
        with psycopg.connect(
            roles.conninfo(server.url(roles.SUPERUSER, database="postgres")), autocommit=True
        ) as administrator:
            administrator.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(DATABASE))
            )
        roles.ensure_embedded(
            server.url(roles.SUPERUSER, database="postgres"), database=DATABASE, password=None
        )
        shutil.rmtree(settings.data_dir / "statements", ignore_errors=True)
        with as_owner(settings) as owner:
            migrating.migrate(owner, to=migrating.HEAD)
        with Database.connect(settings) as database:
            yield database


def _check_nothing_is_lost(server: EmbeddedServer) -> None:
    with psycopg.connect(roles.conninfo(server.url(roles.SUPERUSER))) as connection:
        known = connection.execute("SELECT to_regclass('ledger.programme')").fetchone()
        if known is None or known[0] is None:
            return
        programme = connection.execute("SELECT name, mode FROM ledger.programme").fetchone()
    if programme is not None and programme[1] != "demo":
        raise DemoRefused(
            f"the database there holds the programme {programme[0]!r}, which is no demo's and is left "
            "alone: name another directory with --data-dir"
        )


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket for the server; port 0 takes a free one.

    Raises:
        DemoRefused: the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise DemoRefused(f"{host}:{port} can't be listened on: {error.strerror}") from error
    listening.listen(128)
    return listening


@contextlib.contextmanager
def server(settings: Settings, listening: socket.socket, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """The real HTTP server, in a process of its own, until the block ends.

    It ends when its standard input does, so also when this process is killed; and in a session of its
    own, since a Ctrl-C at the terminal is for this process to answer.

    Raises:
        DemoRefused: it does not become ready.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COALITION_")}
    environment |= {
        "COALITION_DATA_DIR": str(settings.data_dir),
        "COALITION_STATEMENTS_DIR": str(settings.statements_dir),
        "COALITION_ISSUER_URL": settings.issuer_url,
        "COALITION_POOL_SIZE": str(settings.pool_size),
    }
    if settings.postgres_bin is not None:
        environment["COALITION_POSTGRES_BIN"] = str(settings.postgres_bin)
    if settings.postgres_user is not None:
        environment["COALITION_POSTGRES_USER"] = settings.postgres_user
    log = settings.data_dir / "server.log"
    with log.open("wb") as written:
        process = subprocess.Popen(  # noqa: S603 - our own module, in this very interpreter
            [sys.executable, "-m", "schema.demo.server", str(listening.fileno())],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=written,
            stderr=written,
            pass_fds=[listening.fileno()],
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, url, log)
        yield process
    finally:
        _end(process)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2):  # noqa: S310 - our own http URL
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise DemoRefused(f"the server did not start; {log} ends with: {log.read_text()[-1000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
