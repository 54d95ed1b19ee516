"""`coalition report`: what was settled, from stored rows."""

import csv
import sys
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

import click
from sqlalchemy.orm import Session

from coalition.amounts import round_money
from coalition.cli import console
from coalition.errors import CoalitionError, PartnerUnknown
from coalition.ids import NETWORK
from coalition.paging import Page, PageRequest
from coalition.windows import Window
from partners.directory import get_partner_by_code, get_partners
from settlement import forecast, reads, statements
from settlement.cli.tables import DATE, MATRIX, POSITIONS, ROLL_FORWARD, STATEMENT, Rows, print_papers
from settlement.runs import Books

FORMATS = click.Choice(["table", "csv", "json"])
_PAGE = 100  # windows

_date_option = click.option(
    "--date",
    "business_date",
    type=DATE,
    help="The window's business date; the last settled one if not given.",
)
_before_option = click.option("--before", type=DATE, help="Only windows before this business date.")
_format_option = click.option(
    "--format", "form", type=FORMATS, default="table", show_default=True, help="How to print it."
)


class NotSettled(CoalitionError):
    """The window has no run yet."""

    code = "NOT_SETTLED"
    summary = "Nothing has been settled for {window} yet; `coalition settle` does it."


@click.group()
def report() -> None:
    """Print what was settled: statements, the liability matrix, positions, windows, runs.

    Everything is read from stored rows, so the same window gives the same bytes. Money is exact.
    """


@report.command()
@click.option("--partner", "code", required=True, help="The partner's code.")
@_date_option
@_format_option
def statement(*, code: str, business_date: datetime | None, form: str) -> None:
    """A partner's statement: each line with the network, and the net.

    Example: coalition report statement --partner grocer --date 2026-03-02 --format csv
    """
    books = _read(business_date)
    party = next((party for party in books.parties if books.code(party) == code and party != NETWORK), None)
    if party is None:
        raise PartnerUnknown(f"No partner {code!r} takes part in the run of {books.run.business_date}.")
    if form == "csv":
        _write(statements.statement_csv(books, party))
    elif form == "json":
        _write(statements.statement_json(books, party))
    else:
        net = statements.money(books.positions[party].net, books)
        print_papers(
            f"Statement of {books.parties[party].name} for {books.run.business_date} (+ receives, - pays)",
            [("Lines", STATEMENT, statements.statement_rows(books, party))],
        )
        click.echo(f"net {net} {books.run.currency}, digest {books.run.digest}")


@report.command()
@_date_option
@_format_option
def matrix(*, business_date: datetime | None, form: str) -> None:
    """The liability matrix: whose points were redeemed where."""
    _print(_read(business_date), form, "liability-matrix", "Liability matrix", MATRIX, statements.matrix_rows)


@report.command()
@_date_option
@_format_option
def positions(*, business_date: datetime | None, form: str) -> None:
    """What each partner receives from the network (+) or pays to it (-)."""
    _print(_read(business_date), form, "positions", "Positions", POSITIONS, statements.position_rows)


@report.command()
@_date_option
@_format_option
def liability(*, business_date: datetime | None, form: str) -> None:
    """Points outstanding by issuer: opening, what moved, closing."""
    _print(
        _read(business_date),
        form,
        "roll-forward",
        "Liability roll-forward",
        ROLL_FORWARD,
        statements.roll_forward_rows,
    )


@report.command()
@_before_option
@_format_option
def windows(*, before: datetime | None, form: str) -> None:
    """Settlement windows, newest first (100 at a time), and the Merkle roots of those that are sealed."""
    with console.open_database() as database, database.reading() as session:
        page = _windows_before(session, before)
        states = {
            run.business_date: run.state.value
            for run in _runs_of(session, page)
            if run.state is not reads.RunState.SUPERSEDED
        }
    rows = [
        {
            "business_date": window.business_date,
            "state": window.state,
            "opened_at": window.opened_at,
            "closed_at": window.closed_at,
            "transactions": window.transactions,
            "entries": window.entries,
            "run": states.get(window.business_date),
            "merkle_root": None if window.merkle_root is None else window.merkle_root.hex(),
        }
        for window in page.items
    ]
    if form != "json":
        _tell_of_more(page)
    if form != "table":
        _print_rows(rows, form, "Settlement windows")
        return
    roots = [(row["business_date"], root) for row in rows if (root := row.pop("merkle_root"))]
    _print_rows(rows, form, "Settlement windows")
    # On lines of their own, as no table may cut what is copied from here.
    if roots:
        click.echo("Merkle roots")
    for business_date, root in roots:
        click.echo(f"{business_date}  {root}")


@report.command(name="expiry-forecast")
@click.option(
    "--months",
    type=click.IntRange(1, forecast.MOST_MONTHS),
    default=12,
    show_default=True,
    help="How many, from this one on.",
)
@click.option("--partner", "code", help="Only what this partner issued.")
@_format_option
def expiry_forecast(*, months: int, code: str | None, form: str) -> None:
    """What will expire and mature, by issuer and month, as things stand now.

    Expiring points count what is available, pending and held; breakage is what the network would return to
    their funders. A month of - is for points that never expire; what lapses after these months is not shown.
    """
    with console.open_database() as database, database.reading() as session:
        issuer = None if code is None else get_partner_by_code(session, code)
        rows = [
            {
                "issuer": partner.code,
                "month": None if row.month is None else f"{row.month:%Y-%m}",
                "expiring": row.expiring,
                "breakage": row.breakage,
                "maturing": row.maturing,
            }
            for row in forecast.expiry_forecast(
                session, months=months, issuer_id=None if issuer is None else issuer.partner_id
            )
            for partner in get_partners(session, [row.issuer_id]).values()
        ]
    _print_rows(rows, form, "Expiry forecast")


@report.command()
@_before_option
@_format_option
def runs(*, before: datetime | None, form: str) -> None:
    """Settlement runs, newest window first (100 windows at a time), with the superseded."""
    with console.open_database() as database, database.reading() as session:
        page = _windows_before(session, before)
        rows = [
            {
                "business_date": run.business_date,
                "state": run.state.value,
                "gross": round_money(run.gross, run.currency),
                "net": round_money(run.net, run.currency),
                "saved": round_money(run.saved, run.currency),
                "currency": run.currency,
                "calculated_at": run.calculated_at,
                "digest": run.digest,
            }
            for run in _runs_of(session, page)
        ]
    if form != "json":
        _tell_of_more(page)
    _print_rows(rows, form, "Settlement runs")


def _windows_before(session: Session, before: datetime | None) -> Page[Window]:
    request = PageRequest(size=_PAGE, after=None if before is None else (before.date().isoformat(),))
    return reads.windows_page(session, request)


def _runs_of(session: Session, page: Page[Window]) -> list[reads.Run]:
    return reads.runs_of(session, [window.business_date for window in page.items])


def _tell_of_more(page: Page[Window]) -> None:
    if page.has_next:
        console.tell_of_more("--before", page.items[-1].business_date)


def _read(business_date: datetime | None) -> Books:
    wanted: date | None = business_date.date() if business_date else None
    with console.open_database() as database, database.reading() as session:
        if wanted is None and (last := reads.last_settled(session)) is not None:
            wanted = last.business_date
        books = None if wanted is None else reads.books_of(session, business_date=wanted)
    if books is None:
        raise NotSettled(window=wanted or "any window")
    return books


def _print(
    books: Books,
    form: str,
    paper: str,
    title: str,
    columns: Mapping[str, str],
    rows: Callable[[Books], Rows],
) -> None:
    if form == "table":
        print_papers(f"{title} of {books.run.business_date}", [(books.run.currency, columns, rows(books))])
        return
    _write(statements.papers(books)[f"{paper}.{form}"])


def _print_rows(rows: list[dict[str, Any]], form: str, title: str) -> None:
    if form == "json":
        console.print_json([{_camel(name): value for name, value in row.items()} for row in rows])
    elif form == "csv":
        if rows:
            writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\r\n")
            writer.writeheader()
            writer.writerows(rows)
    elif rows:
        print_papers(title, [("", {name: name.replace("_", " ") for name in rows[0]}, rows)])
    else:
        click.echo(f"{title}: none")


def _camel(name: str) -> str:
    """As JSON spells it everywhere; CSV has the names that the night's papers have."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _write(paper: str) -> None:
    # Bytes, as a text stream would turn the line ends of a CSV into its own.
    sys.stdout.buffer.write(paper.encode())
    sys.stdout.buffer.flush()
