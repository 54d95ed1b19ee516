"""What all commands share: how they print, how they fail, how they reach the database."""

import contextlib
import getpass
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from enum import IntEnum
from typing import Any, TypeVar

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from coalition.config import get_settings
from coalition.db import Database
from coalition.db.needs import NotMigrated
from coalition.db.owner import NeedsAdministrator
from coalition.errors import CoalitionError, DatabaseUnavailable

_JSON = "coalition.json"
_WIDE = 200  # columns where no terminal says: a table in a pipe is not cut
_AnyFunction = TypeVar("_AnyFunction", bound=Callable[..., Any])


class ExitCode(IntEnum):
    """What scripts can tell from how a command ended; `coalition --help` lists them."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    NEEDS_ADMINISTRATOR = 4
    INTERRUPTED = 130
    TERMINATED = 143


def exit_code(refusal: CoalitionError) -> ExitCode:
    """How a command ends that was refused so."""
    if isinstance(refusal, NeedsAdministrator | NotMigrated):
        return ExitCode.NEEDS_ADMINISTRATOR
    if isinstance(refusal, DatabaseUnavailable):
        return ExitCode.UNREACHABLE
    return ExitCode.REFUSED


def tell_refusal(refusal: CoalitionError, *, as_json: bool) -> None:
    """Print a refusal where it does not mix with data: on standard error."""
    reason = refusal.reason if isinstance(refusal, DatabaseUnavailable) else None
    if as_json:
        told: dict[str, Any] = {
            "code": refusal.code,
            "message": refusal.message,
            "retryable": refusal.retryable,
            "facts": refusal.facts,
        }
        if reason is not None:
            told["reason"] = reason
        click.echo(dump_json({"error": told}), err=True)
    else:
        click.echo(
            f"{click.style('refused', fg='red', bold=True)} {refusal.code}: {refusal.message}", err=True
        )
        if reason is not None:
            click.echo(reason, err=True)


def most_option(default: int = 50, *, largest: int = 10_000) -> Callable[[_AnyFunction], _AnyFunction]:
    """How many lines a list has, of its beginning."""
    return click.option(
        "--most",
        type=click.IntRange(1, largest),
        default=default,
        show_default=True,
        help="At most so many.",
    )


def json_option(function: _AnyFunction) -> _AnyFunction:
    """Add `--json` to a command, which gets it as `as_json`."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        callback=_remember_json,
        # Before the other options, so that what is wrong with them is told in JSON too.
        is_eager=True,
        help="Print data as JSON, and a refusal as JSON on standard error.",
    )(function)


def by_option(function: _AnyFunction) -> _AnyFunction:
    """Add `--by`: who acts, for the record."""
    return click.option(
        "--by", default=getpass.getuser, show_default="the system's user", help="Who says so, for the record."
    )(function)


def wants_json(ctx: click.Context) -> bool:
    """Was `--json` given to the command that ran in this context?"""
    return bool(ctx.meta.get(_JSON))


@contextlib.contextmanager
def open_database() -> Iterator[Database]:
    """The database that the settings name, for the length of a command."""
    with Database.connect(get_settings()) as database:
        yield database


def dump_json(value: Any) -> str:
    """JSON for people and scripts; money and ids are strings, never floats."""
    return orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()


def print_json(value: Any) -> None:
    """Print data for scripts."""
    click.echo(dump_json(value))


def screen(*, stderr: bool = False) -> Console:
    """Where tables (standard output) and progress (standard error) go."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else _WIDE, highlight=False)


def print_table(
    rows: Iterable[Mapping[str, Any]], *, columns: Mapping[str, str], title: str | None = None
) -> None:
    """Print rows as a table; `columns` gives each key its heading. Numbers stand to the right."""
    kept = list(rows)
    table = Table(title=title, title_justify="left", header_style="bold")
    for key, heading in columns.items():
        numeric = any(isinstance(row.get(key), int | Decimal) for row in kept)
        table.add_column(heading, justify="right" if numeric else "left")
    for row in kept:
        table.add_row(*(_cell(row.get(key)) for key in columns))
    screen().print(table)


def print_result(
    rows: Iterable[Mapping[str, Any]],
    *,
    columns: Mapping[str, str],
    as_json: bool,
    title: str | None = None,
) -> None:
    """Print rows as JSON or as a table, as the caller of the command wished."""
    if as_json:
        print_json(list(rows))
    else:
        print_table(rows, columns=columns, title=title)


def print_page(
    rows: Sequence[Mapping[str, Any]], *, key: str, more: bool, columns: Mapping[str, str], as_json: bool
) -> None:
    """Print a list's rows as `print_result` does; a reader is told after which one it goes on."""
    print_result(rows, columns=columns, as_json=as_json)
    if more and not as_json:
        tell_of_more("--after", rows[-1][key])


def tell_of_more(option: str, last: object) -> None:
    """Say beside a list that it goes on, and by which option."""
    click.echo(f"There are more: {option} {last}", err=True)


@contextlib.contextmanager
def progress(description: str, *, total: int | None, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Show how far a long piece of work is; yields a function that moves it on by so many."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=screen(stderr=True),
        disable=quiet,
    )
    with bar:
        task = bar.add_task(description, total=total)
        yield lambda count: bar.advance(task, count)


def _remember_json(ctx: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    ctx.meta[_JSON] = value
    return value


def _cell(value: Any) -> Text:
    # Text and not str: rich would read a name in square brackets as markup.
    if value is None:
        return Text("-")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    return Text(f"{value:,}" if isinstance(value, int | Decimal) else str(value))
