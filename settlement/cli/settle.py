"""`coalition settle`: the night, by hand."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from coalition.cli import console
from coalition.config import get_settings
from coalition.db import Database
from coalition.errors import RunHeld
from settlement import night
from settlement.cli.tables import DATE, MATRIX, POSITIONS, print_papers
from settlement.runs import Books, RunState, read_books
from settlement.statements import matrix_rows, money, position_rows


@click.command()
@click.option("--date", "business_date", type=DATE, help="Settle the window of this business date.")
@click.option("--now", is_flag=True, help="Close the open window although its day is not over.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where statements go, in place of COALITION_STATEMENTS_DIR (data directory/statements).",
)
@console.json_option
def settle(*, business_date: datetime | None, now: bool, directory: Path | None, as_json: bool) -> None:
    """Settle what is due: close the window, calculate who owes what, write statements.

    Without --date, every closed window that has no run is settled, then the open one if its day is
    over. Safe to run again, by two at once, and after a crash: what is done is done, and the same
    window gives the same files, byte for byte.

    \b
    Examples:
      coalition settle                      what a server does each night
      coalition settle --date 2026-03-02    one window: closed, resumed, or shown again
      coalition settle --now                close today's window early

    Exits with 1 if a run failed a check and is held: it pays nobody, and no files are written.
    """  # noqa: D301 - click's mark for lines to leave alone is a real backspace
    target = directory.absolute() if directory else night.statements_directory(get_settings())
    with console.open_database() as database:
        done = night.settle(
            database,
            directory=target,
            business_date=business_date.date() if business_date else None,
            now=now,
        )
        books = _books(database, done)
    if as_json:
        console.print_json({"settled": [_as_json(*pair) for pair in zip(done.settled, books, strict=True)]})
    elif not done.settled:
        click.echo("No window is over: nothing to settle. (`coalition report windows` shows them.)")
    else:
        for pair in zip(done.settled, books, strict=True):
            _print(*pair)
    held = [one for one in done.settled if one.run.state is RunState.HELD]
    if held:
        raise RunHeld(business_date=held[0].run.business_date, findings=len(held[0].findings))


def _books(database: Database, done: night.Night) -> list[Books]:
    with database.reading() as session:
        return [read_books(session, one.run) for one in done.settled]


def _print(settled: night.Settled, books: Books) -> None:
    run = settled.run
    print_papers(
        f"Window {run.business_date}: {run.transactions:,} transactions, {run.entries:,} entries",
        [
            ("Positions (+ receives, - pays)", POSITIONS, position_rows(books)),
            ("Liability matrix", MATRIX, matrix_rows(books)),
        ],
    )
    click.echo(
        f"gross {money(run.gross, books)}  net {money(run.net, books)}  "
        f"saved by netting {money(run.saved, books)}  {run.currency}"
    )
    if settled.closed_now:
        click.echo(f"closed; tills waited for it {_milliseconds(settled)} ms at most")
    for finding in settled.findings:
        click.echo(f"{click.style('held', fg='red', bold=True)} {finding.check}: {finding.message}", err=True)
    if settled.files:
        click.echo(f"{len(settled.files)} files in {settled.files[0].parent}")
    click.echo(f"run {run.state}, digest {run.digest}")


def _as_json(settled: night.Settled, books: Books) -> dict[str, Any]:
    run = settled.run
    return {
        "businessDate": run.business_date,
        "run": run.run_id,
        "digest": run.digest,
        "state": run.state.value,
        "currency": run.currency,
        "closedNow": settled.closed_now,
        "stallMilliseconds": _milliseconds(settled),
        "transactions": run.transactions,
        "entries": run.entries,
        "gross": money(run.gross, books),
        "net": money(run.net, books),
        "saved": money(run.saved, books),
        "positions": position_rows(books),
        "liabilityMatrix": matrix_rows(books),
        "findings": [{"check": finding.check, "message": finding.message} for finding in settled.findings],
        "files": settled.files,
    }


def _milliseconds(settled: night.Settled) -> str:
    return f"{settled.stall.total_seconds() * 1000:.1f}"
