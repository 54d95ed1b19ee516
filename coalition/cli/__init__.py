"""The `coalition` command.

Its subcommands are found by the entry-point group `coalition.commands`: each room adds its own,
and this one, the lowest, imports none of them.
"""

import signal
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from types import FrameType
from typing import Any

import click

from coalition.cli import console
from coalition.config import SettingsError
from coalition.errors import CoalitionError

COMMANDS = "coalition.commands"

_EPILOG = """\b
First steps:
  coalition demo                a coalition of a real year's purchases, on its own database
  coalition migrate             make the tables in a database of your own
  coalition programme --help    open a programme in it; then partner, client, serve

\b
The database:
  COALITION_DATABASE_URL    PostgreSQL 16+ as the application's role (postgresql://...)
  COALITION_MIGRATION_URL   the same database as its owner: migrate, backup, restore
  COALITION_DATA_DIR        where the embedded PostgreSQL, used if none is named, keeps
                            its data (~/.local/share/coalition; root: /var/lib/coalition)
  COALITION_EMBEDDED_PORT, COALITION_EMBEDDED_PASSWORD
                            let psql and reporting tools reach the embedded one too
  COALITION_POSTGRES_BIN    other PostgreSQL 16+ programs for it: a folder with initdb and pg_ctl
  COALITION_POSTGRES_USER   as root: the user that it runs as (postgres if there is one, or nobody)
  COALITION_POOL_SIZE       the most connections that one process holds (16)
  COALITION_CONFIG          a TOML file with these settings; the environment wins

\b
Personal data:
  COALITION_VAULT_KEYS      the keys that wrap each member's own key, the current one first,
                            as `coalition vault key` makes them; production needs one
  COALITION_VAULT_KEYS_FILE a file with them, a line each, in its place
  COALITION_PHONE_REGION    the country (such as DE) of phone numbers given without one

\b
Serving and settling:
  COALITION_ISSUER_URL      the address that clients reach this server at: tokens carry it
  COALITION_AUDIENCE        whom tokens are for (coalition)
  COALITION_REQUESTS_PER_SECOND, COALITION_REQUESTS_AT_ONCE
                            how often one client or member may ask, for long (1000), in a burst (2000)
  COALITION_TOKENS_PER_SECOND, COALITION_TOKENS_AT_ONCE
                            the same of one address that asks for tokens (20, 200)
  COALITION_SETTLE_AT       when `serve` settles, local time in the programme's zone (02:00)
  COALITION_STATEMENTS_DIR  where statements go (data directory/statements)

\b
Exit codes:
  0  done                       3  the database can't be reached; try again
  1  refused, or findings       4  a database administrator must act; it says what to run
  2  wrong usage or setting     130, 143  stopped by Ctrl-C, by SIGTERM
"""


class OpenGroup(click.Group):
    """A group to which the rooms above add commands, found by entry point."""

    entry_points = COMMANDS

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all that is installed."""
        return sorted({*super().list_commands(ctx), *_installed(self.entry_points)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command only when it is wanted."""
        if (known := super().get_command(ctx, cmd_name)) is not None:
            return known
        entry = _installed(self.entry_points).get(cmd_name)
        if entry is None:
            return None
        try:
            command = entry.load()
        except ImportError as error:
            # An extra that is not installed must not take the other commands with it.
            return _Missing(cmd_name, error)
        assert isinstance(command, click.Command), f"{entry.value} is no command"
        return command


class CommandGroup(OpenGroup):
    """The outermost group: all refusals are told here."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what it refuses becomes a message and an exit code."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise click.UsageError(str(error)) from error
        except CoalitionError as refusal:
            console.tell_refusal(refusal, as_json=console.wants_json(ctx))
            ctx.exit(console.exit_code(refusal))
        except KeyboardInterrupt:
            ctx.exit(console.ExitCode.INTERRUPTED)
        except BrokenPipeError:
            raise  # whoever read the output has seen enough: click ends in silence
        except OSError as error:
            if error.strerror is None:
                raise
            where = "" if error.filename is None else f"{error.filename}: "
            raise click.ClickException(f"{where}{error.strerror}") from error


class _Missing(click.Command):
    """Stands for a command whose packages are not installed."""

    def __init__(self, name: str, error: ImportError) -> None:
        self._error = error
        super().__init__(name, short_help=f"(not installed: {error.msg})", add_help_option=False)
        self.ignore_unknown_options = self.allow_extra_args = True

    def invoke(self, ctx: click.Context) -> Any:
        """Say what is missing."""
        raise click.ClickException(
            f"`coalition {ctx.info_name}` needs a package that is not installed: {self._error.msg}"
        ) from self._error


def _installed(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


@click.group(
    cls=CommandGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="coalition", message="coalition %(version)s")
def cli() -> None:
    """Run a loyalty coalition: one point currency, many partners, settled every night."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The program's entry."""
    signal.signal(signal.SIGTERM, _end)
    cli.main(args=arguments, prog_name="coalition")


def _end(_signal: int, _frame: FrameType | None) -> None:
    # An exception and not the default death, so that what was started is stopped on the way out.
    raise SystemExit(console.ExitCode.TERMINATED)
