"""The server that all tests share, and the databases that each makes for itself.

One embedded cluster serves all test processes of a user: whoever comes first starts it and whoever
goes last stops it, by the very locks that the product uses. A run that was killed leaves a server,
which the next one finds and stops. Its data lies in memory where there is room, since each test makes
and drops a database of a thousand files; TMPDIR names another place, and COALITION_TEST_SUPERUSER_URL
another server.
"""

import hashlib
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import URL, make_url

from coalition.config import Settings
from coalition.db import Database, migrating, roles
from coalition.db.cluster import ClusterFailed
from coalition.db.embedded import EmbeddedServer
from coalition.db.locks import exclusively
from coalition.db.owner import as_owner

CHECKOUT = Path(__file__).resolve().parents[1]
PASSWORD = "only-for-tests"
SERVER_VARIABLE = "COALITION_TEST_SUPERUSER_URL"
MEMORY = Path("/dev/shm")
ROOM = 8 << 30  # bytes that it has in all: what is free changes from process to process


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCluster:
    """A server with the three roles; every one of them logs in over TCP with a password."""

    __test__ = False

    superuser: URL
    template: str

    def url(self, role: str, database: str) -> URL:
        if role == roles.SUPERUSER:
            return self.superuser.set(database=database)
        return self.superuser.set(username=role, password=PASSWORD, database=database)

    @contextmanager
    def administrator(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(roles.conninfo(self.superuser), autocommit=True) as connection:
            yield connection

    @contextmanager
    def new_database(self, *, template: str | None = None) -> Iterator["TestDatabase"]:
        """A database that is dropped at the end, whoever is still in it."""
        name = f"test_{os.getpid()}_{secrets.token_hex(4)}"
        with self.administrator() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                    *map(sql.Identifier, (name, template or self.template, roles.OWNER))
                )
            )
        try:
            yield TestDatabase(cluster=self, name=name)
        finally:
            with self.administrator() as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclass(kw_only=True, eq=False)
class TestDatabase:
    """One database, and how to reach it as whom."""

    __test__ = False

    cluster: TestCluster
    name: str

    def url(self, role: str) -> URL:
        return self.cluster.url(role, self.name)

    @property
    def settings(self) -> Settings:
        return Settings(
            database_url=SecretStr(self.environment["COALITION_DATABASE_URL"]),
            migration_url=SecretStr(self.environment["COALITION_MIGRATION_URL"]),
        )

    def connect(self, settings: Settings | None = None) -> Database:
        """The database as the application sees it; the settings, if not these, name it too."""
        return Database.connect(settings or self.settings)

    @property
    def environment(self) -> dict[str, str]:
        """What a `coalition` command is told, to use this database."""
        return {
            "COALITION_DATABASE_URL": _plain(self.url(roles.APP_LOGIN)),
            "COALITION_MIGRATION_URL": _plain(self.url(roles.OWNER)),
        }


@contextmanager
def running_cluster() -> Iterator[TestCluster]:
    """A running server and the name of a migrated, empty template."""
    if named := os.environ.get(SERVER_VARIABLE):
        superuser = make_url(named).set(drivername="postgresql+psycopg")
        roles.ensure_embedded(superuser, database="coalition", password=SecretStr(PASSWORD))
        with _prepared(superuser, _lock_folder()) as prepared:
            yield prepared
        return
    server, port = _started()
    try:
        with psycopg.connect(
            roles.conninfo(server.url(roles.SUPERUSER, database="postgres")), autocommit=True
        ) as superuser:
            roles.set_password(superuser, roles.SUPERUSER, PASSWORD)
            # What a kill of the server can lose is what the system had not been given; a crash of
            # the machine is no test's business.
            superuser.execute("ALTER SYSTEM SET fsync = off")
            superuser.execute("ALTER SYSTEM SET max_wal_size = '512MB'")
            superuser.execute("SELECT pg_reload_conf()")
        url = URL.create("postgresql+psycopg", roles.SUPERUSER, PASSWORD, "127.0.0.1", port, "postgres")
        with _prepared(url, _lock_folder()) as prepared:
            yield prepared
    finally:
        server.close()


def _plain(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _lock_folder() -> Path:
    folder = _base_folder() / f"coalition-tests-{os.geteuid()}"
    folder.mkdir(mode=0o755, exist_ok=True)
    assert folder.stat().st_uid == os.geteuid(), f"{folder} belongs to someone else"
    return folder


def _base_folder() -> Path:
    if "TMPDIR" not in os.environ and MEMORY.is_dir():
        size = os.statvfs(MEMORY)
        if size.f_blocks * size.f_frsize >= ROOM and os.access(MEMORY, os.W_OK):
            return MEMORY
    return Path(tempfile.gettempdir())


def _started() -> tuple[EmbeddedServer, int]:
    """The users' common server, on the port that the first of them found free."""
    home = _lock_folder()
    remembered = home / "port"
    with exclusively(home / "port.lock"):
        for attempt in range(3):
            if not remembered.exists() or attempt > 0:
                remembered.write_text(str(_free_port()))
            port = int(remembered.read_text())
            settings = Settings(data_dir=home, embedded_port=port, embedded_password=SecretStr(PASSWORD))
            try:
                return EmbeddedServer.start(settings), port
            except ClusterFailed:
                if attempt == 2:
                    raise
    raise AssertionError("unreachable")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _prepared(superuser: URL, folder: Path) -> Iterator[TestCluster]:
    """Have the template; remove what killed runs and older schemas left."""
    cluster = TestCluster(superuser=superuser, template=f"template_{_fingerprint()}")
    with exclusively(folder / "template.lock"), cluster.administrator() as connection:
        known = [row[0] for row in connection.execute("SELECT datname FROM pg_database").fetchall()]
        used = {row[0] for row in connection.execute("SELECT application_name FROM pg_stat_activity")}
        for name in known:
            if _is_leftover(name, used=used, template=cluster.template):
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        if cluster.template not in known:
            with cluster.new_database(template="template1") as fresh:
                with as_owner(fresh.settings) as owner:
                    migrating.migrate(owner, to=migrating.HEAD)
                connection.execute(
                    sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                        *map(sql.Identifier, (cluster.template, fresh.name, roles.OWNER))
                    )
                )
    # Tells other runs, of another schema, that this template is in use.
    with psycopg.connect(roles.conninfo(superuser), application_name=cluster.template):
        yield cluster


def _is_leftover(name: str, *, used: set[str], template: str) -> bool:
    kind, _, rest = name.partition("_")
    if kind == "test":
        return not Path(f"/proc/{rest.partition('_')[0]}").exists()
    return kind == "template" and name != template and name not in used


def _fingerprint() -> str:
    """Of all that decides what a migrated database looks like."""
    digest = hashlib.sha256()
    for folder in (migrating.scripts(), CHECKOUT / "coalition" / "ledger"):
        for file in sorted(folder.rglob("*")):
            if file.suffix in {".py", ".sql", ".mako"}:
                digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]
