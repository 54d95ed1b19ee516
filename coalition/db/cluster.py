"""One PostgreSQL cluster on this machine: make it, start it, find it running, stop it.

data/           the cluster
log             what the server says
run/            its socket
"""

import os
import shlex
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import URL

from coalition.db import roles
from coalition.db.programs import PostgresProgramFailed, Programs

_SOCKET_PORT = 5432
_LONGEST_SOCKET_FOLDER = 90  # bytes; the system takes 107 for the whole path
_FIRST_MAJOR_WITH_BUILTIN_LOCALE = 17
_STALE_PATIENCE = 30.0  # seconds for what a killed server left to go away
_RECOVERY_PATIENCE = 600.0  # seconds for reading the log again after a crash

# Written once, into postgresql.conf, where a user may change them. Durability is left as it comes.
_CONFIGURATION = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_checkpoints": "off",
}


class ClusterFailed(PostgresProgramFailed):
    """The embedded PostgreSQL can't be made, started or reached; says what to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where a running server is to be found."""

    socket_folder: Path
    port: int
    tcp: bool

    def url(self, role: str, *, database: str) -> URL:
        """Over the socket, which needs no password: the folder lets nobody else in."""
        query = {"host": str(self.socket_folder), "port": str(self.port)}
        return URL.create("postgresql+psycopg", username=role, database=database, query=query)


class Cluster:
    """The cluster in a folder that belongs to the server's user."""

    def __init__(self, folder: Path, *, programs: Programs, socket_note: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "log"
        self._pid_file = self.data / "postmaster.pid"
        # Run from here and given relative paths: pg_ctl hands its own to a shell, hardly quoted.
        self._programs = replace(programs, cwd=folder)
        # Remembers a socket folder outside of ours. Not in `folder`: what the server's user can
        # write must not tell a program that runs as root what to remove.
        self._socket_note = socket_note

    def create(self) -> None:
        """Make the cluster unless it is there. Killed half-way, it is made anew."""
        if (self.data / "PG_VERSION").exists():
            self._check_version()
            return
        half_made = self.folder / "data.new"
        shutil.rmtree(half_made, ignore_errors=True)
        locale = ["--locale-provider=builtin", "--locale=C", "--builtin-locale=C.UTF-8"]
        if self._programs.major() < _FIRST_MAJOR_WITH_BUILTIN_LOCALE:
            locale = ["--locale=C"]
        self._programs.must_run(
            "initdb",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--data-checksums",
            "--encoding=UTF8",
            f"--username={roles.SUPERUSER}",
            *locale,
            *(f"--set={name}={value}" for name, value in _CONFIGURATION.items()),
            f"--pgdata={half_made.name}",
        )
        half_made.rename(self.data)

    def listening(self) -> Listening | None:
        """Where the server accepts connections, or None."""
        where = self._where()
        return where if where is not None and self._ready(where) == _Ready.ACCEPTING else None

    def start(self, *, tcp_port: int | None) -> Listening:
        """Start the server, or wait for one that is recovering.

        Raises:
            ClusterFailed: with what the server said.
        """
        began = time.monotonic()
        while True:
            waited = time.monotonic() - began
            where = self._where()
            ready = self._ready(where) if where else _Ready.SILENT
            if where is not None and ready == _Ready.ACCEPTING:
                return where
            if ready == _Ready.REJECTING and waited < _RECOVERY_PATIENCE:
                time.sleep(0.1)
                continue
            leftover = self._pid_file.exists()
            said = self._try_to_start(tcp_port)
            if said is None:
                continue
            # A killed server's pid file stays, and for a moment its zombie and its backends:
            # a start then fails with "lock file already exists".
            if not leftover or waited > _STALE_PATIENCE:
                raise ClusterFailed(f"PostgreSQL did not start: {said}")
            self._forget_the_dead()
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop the server: connections are closed, what was committed stays."""
        where = self._where()
        if where is not None and (self._ready(where) != _Ready.SILENT or self._alive()):
            done = self._programs.run(
                "pg_ctl", "stop", f"--pgdata={self.data.name}", "--mode=fast", "--timeout=60"
            )
            if done.returncode != 0 and self._pid_file.exists():
                raise ClusterFailed(f"PostgreSQL did not stop: {done.stderr.strip()}")
        self._forget_socket_folder()

    def _check_version(self) -> None:
        made_by = int((self.data / "PG_VERSION").read_text().strip())
        if made_by != self._programs.major():
            raise ClusterFailed(
                f"{self.data} was made by PostgreSQL {made_by} and the programs are "
                f"{self._programs.version()}: name a folder of the older programs in COALITION_POSTGRES_BIN, "
                "`coalition backup`, and `coalition restore` into a new COALITION_DATA_DIR"
            )

    def _where(self) -> Listening | None:
        """What the server wrote about itself, whether it still runs or not."""
        try:
            lines = self._pid_file.read_text().splitlines()
        except FileNotFoundError:
            return None
        # pid, data, start, port, socket folder, address: the last three come a moment later.
        if len(lines) < 6 or not lines[4]:  # noqa: PLR2004
            return None
        return Listening(socket_folder=Path(lines[4]), port=int(lines[3]), tcp=bool(lines[5].strip()))

    def _ready(self, where: Listening) -> int:
        address = f"--host={where.socket_folder}"
        return self._programs.run("pg_isready", address, f"--port={where.port}", "--timeout=5").returncode

    def _try_to_start(self, tcp_port: int | None) -> str | None:
        """Start it; returns what the server said if it would not."""
        # A list of quoted names, in a shell's word: a path may hold blanks and commas.
        folder = '"' + str(self._socket_folder()).replace('"', '""') + '"'
        options = {
            "unix_socket_directories": folder,
            "unix_socket_permissions": "0700",
            "listen_addresses": "127.0.0.1" if tcp_port else "",
            "port": str(tcp_port or _SOCKET_PORT),
        }
        said_before = self.log.stat().st_size if self.log.exists() else 0
        done = self._programs.run(
            "pg_ctl",
            "start",
            f"--pgdata={self.data.name}",
            f"--log={self.log.name}",
            "--wait",
            "--timeout=60",
            "-o",
            " ".join(f"-c {name}={shlex.quote(value)}" for name, value in options.items()),
        )
        if done.returncode == 0:
            return None
        with self.log.open(errors="replace") as log:
            log.seek(said_before)
            return log.read().strip() or done.stderr.strip()

    def _socket_folder(self) -> Path:
        folder = self.folder / "run"
        # A comma would part it into two hosts for every client.
        if len(os.fsencode(folder)) < _LONGEST_SOCKET_FOLDER and "," not in str(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
        else:
            self._forget_socket_folder()
            short = tempfile.gettempdir()
            parent = short if len(os.fsencode(short)) < _LONGEST_SOCKET_FOLDER // 2 else "/tmp"  # noqa: S108
            folder = Path(tempfile.mkdtemp(prefix="coalition-", dir=parent))
            self._socket_note.write_text(str(folder))
        if self._programs.user is not None:
            os.chown(folder, self._programs.user.uid, self._programs.user.gid)
        return folder

    def _forget_socket_folder(self) -> None:
        try:
            folder = Path(self._socket_note.read_text())
        except FileNotFoundError:
            return
        _clear_sockets(folder)
        if folder.is_dir():
            folder.rmdir()
        self._socket_note.unlink()

    def _forget_the_dead(self) -> None:
        """Remove the pid files of a server of which nothing is left.

        PostgreSQL does so itself unless a process has the pid: a zombie that nobody waits for,
        or a stranger to whom the number was given after a restart of the machine or container.
        """
        if Path("/proc/self/cwd").exists() and not self._alive():
            self._pid_file.unlink(missing_ok=True)
            _clear_sockets(self.folder / "run")

    def _alive(self) -> bool:
        """Does any process of this cluster live? Each has the cluster as its working directory."""
        data = self.data.resolve()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cwd").readlink() == data:
                    return True
            except OSError:
                continue  # gone, a zombie, or another user's
        return False


def _clear_sockets(folder: Path) -> None:
    for leftover in folder.glob(".s.PGSQL.*"):
        leftover.unlink(missing_ok=True)


class _Ready:
    """What pg_isready answers."""

    ACCEPTING = 0
    REJECTING = 1
    SILENT = 2
