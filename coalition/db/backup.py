"""Copies of the whole database, by PostgreSQL's own programs."""

import contextlib
import itertools
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sqlalchemy import text

from coalition.db import roles
from coalition.db.migrating import current
from coalition.db.owner import Owner, check_server, ensure_roles
from coalition.db.programs import Programs, client_programs
from coalition.errors import CoalitionError

_SCHEMAS = ("ledger", "people", "partners", "settlement", "jobs")
_VERSION_TABLE = "public.alembic_version"
_FIRST_MAJOR_WITH_TRANSACTION_TIMEOUT = 17
_HEADER_LINES = 40


class DatabaseNotEmpty(CoalitionError):
    """A restore would mix two databases."""

    code = "DATABASE_NOT_EMPTY"
    summary = "The database holds {what} already. --replace drops all that is Coalition's in it first."


class BackupUnreadable(CoalitionError):
    """The file is no backup, or a damaged one."""

    code = "BACKUP_UNREADABLE"
    summary = "{file} can't be restored: {reason}"


class RestoreFailed(CoalitionError):
    """The server refused a part of what the file holds."""

    code = "RESTORE_FAILED"
    summary = "Nothing was restored and nothing has changed: {reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What was written or read: the schema's revision, and the file's size in bytes."""

    revision: str | None
    size: int


def backup(owner: Owner, file: Path, *, programs: Path | None) -> Copied:
    """Write the database to a file, as of one moment. A file that is there is replaced when done."""
    with owner.engine.begin() as connection:
        major = check_server(connection)
        revision = current(connection)
    half_made = file.with_name(f"{file.name}.partial")
    half_made.touch(mode=0o600)
    try:
        client_programs(wanted=programs, server_major=major).must_run(
            "pg_dump",
            "--format=custom",
            "--no-owner",
            f"--file={half_made.absolute()}",
            f"--dbname={roles.conninfo(owner.url.set(password=None))}",
            env=_environment(owner),
        )
        half_made.replace(file)
    finally:
        half_made.unlink(missing_ok=True)
    return Copied(revision=revision, size=file.stat().st_size)


def restore(owner: Owner, file: Path, *, replace: bool, programs: Path | None) -> Copied:
    """Fill the database from a file, in one transaction.

    Raises:
        DatabaseNotEmpty: and it was not to be replaced; nothing has changed.
        BackupUnreadable, RestoreFailed: nothing has changed.
    """
    with owner.engine.begin() as connection:
        major = check_server(connection)
        ensure_roles(connection, app_login=owner.app_login)
        held = connection.execute(_HELD, {"names": list(_SCHEMAS)}).scalars().all()
    if held and not replace:
        raise DatabaseNotEmpty(what=", ".join(held))
    clients = client_programs(wanted=programs, server_major=major)
    _pour(owner, file.absolute(), clients, server_major=major)
    with owner.engine.begin() as connection:
        connection.execute(text("ANALYZE"))
        return Copied(revision=current(connection), size=file.stat().st_size)


def _pour(owner: Owner, file: Path, clients: Programs, *, server_major: int) -> None:
    """pg_restore writes the SQL and psql runs it; COMMIT is ours to say, when both went well."""
    database = roles.conninfo(owner.url.set(password=None))
    with contextlib.ExitStack() as stack:
        said_by_reader, said_by_writer = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        reader = stack.enter_context(
            clients.start(
                "pg_restore", "--no-owner", "--file=-", file, stdout=subprocess.PIPE, stderr=said_by_reader
            )
        )
        stack.callback(reader.kill)
        writer = stack.enter_context(
            clients.start(
                *(
                    "psql",
                    "--no-psqlrc",
                    "--quiet",
                    "--set=ON_ERROR_STOP=1",
                    "--dbname",
                    database,
                    "--file=-",
                ),
                stdin=subprocess.PIPE,
                stderr=said_by_writer,
                env=_environment(owner),
            )
        )
        # What is buffered still has nowhere to go once psql is gone; that must not hide why it went.
        stack.callback(_hang_up, writer)
        stack.callback(writer.kill)
        with contextlib.suppress(BrokenPipeError):  # psql stopped at an error: told below
            _write_script(reader, writer, server_major=server_major)
            if reader.wait() != 0:
                # Without COMMIT the server undoes all that psql told it.
                raise BackupUnreadable(file=file.name, reason=_said(said_by_reader))
            _pipe(writer.stdin).write(b"\nCOMMIT;\n")
        with contextlib.suppress(BrokenPipeError):
            _pipe(writer.stdin).close()
        if writer.wait() != 0:
            raise RestoreFailed(reason=_said(said_by_writer))


def _write_script(
    reader: subprocess.Popen[bytes], writer: subprocess.Popen[bytes], *, server_major: int
) -> None:
    source, sink = _pipe(reader.stdout), _pipe(writer.stdin)
    drops = "".join(f"DROP SCHEMA IF EXISTS {name} CASCADE;\n" for name in _SCHEMAS)
    sink.write(f"BEGIN;\n{drops}DROP TABLE IF EXISTS {_VERSION_TABLE};\n".encode())
    for line in itertools.islice(source, _HEADER_LINES):
        # Newer programs set what an older server does not know.
        if server_major >= _FIRST_MAJOR_WITH_TRANSACTION_TIMEOUT or not line.startswith(
            b"SET transaction_timeout"
        ):
            sink.write(line)
    shutil.copyfileobj(source, sink, length=1 << 20)


def _hang_up(writer: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):
        _pipe(writer.stdin).close()


def _pipe(end: IO[bytes] | None) -> IO[bytes]:
    assert end is not None, "started without a pipe"
    return end


def _said(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode(errors="replace").strip()


def _environment(owner: Owner) -> dict[str, str]:
    """What must not stand in a command line, where everyone on the machine could read it."""
    secrets = {"PGPASSWORD": owner.url.password} if owner.url.password else {}
    return {"PGOPTIONS": "-c lock_timeout=10s", **secrets}


_HELD = text("SELECT nspname FROM pg_namespace WHERE nspname = ANY(:names) ORDER BY nspname")
