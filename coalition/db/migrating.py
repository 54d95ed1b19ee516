"""Migrations, run in this process: the scripts are found in a checkout and in an installed wheel."""

import io
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from coalition.db.owner import Owner, check_server, ensure_roles

HEAD = "head"
BASE = "base"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """What a migration did: from one revision to another. None: an empty database."""

    before: str | None
    after: str | None


def migrate(owner: Owner, *, to: str, down: bool = False) -> Migration:
    """Take the database up (or down) to a revision, in one transaction.

    Raises:
        NeedsAdministrator: a role is missing that the owner may not make; nothing has changed.
        ServerTooOld: the schema can't live in this PostgreSQL; nothing has changed.
    """
    with owner.engine.begin() as connection:
        check_server(connection)
        ensure_roles(connection, app_login=owner.app_login)
        before = current(connection)
        config = _config()
        config.attributes["connection"] = connection
        if down:
            command.downgrade(config, to)
        else:
            command.upgrade(config, to)
        return Migration(before=before, after=current(connection))


def sql(*, to: str, down: bool = False) -> str:
    """The same as SQL, for an administrator to read or run."""
    written = io.StringIO()
    config = _config(output=written)
    if down:
        # Alembic wants both ends where there is no database to ask.
        command.downgrade(config, to if ":" in to else f"{HEAD}:{to}", sql=True)
    else:
        command.upgrade(config, to, sql=True)
    return written.getvalue()


def current(connection: Connection) -> str | None:
    """The revision that the database is at. None: an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def newest() -> str | None:
    """The revision that this version of the program needs."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def scripts() -> Path:
    """The folder of migrations."""
    here = Path(__file__).resolve().parent
    installed, checkout = here / "migrations", here.parents[1] / "alembic"
    return installed if installed.is_dir() else checkout


def _config(output: io.StringIO | None = None) -> Config:
    config = Config(output_buffer=output) if output is not None else Config()
    # A percent sign in a path would be read as a placeholder.
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
