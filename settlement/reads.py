"""What was settled, for whoever asks: windows, runs, statements, the liability matrix.

Whether the asker may see it is the asker's room's business; who is named here as a partner gets
only its own lines and cells.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import cast, select, tuple_
from sqlalchemy.orm import Session

from coalition.errors import InvalidInput
from coalition.ids import NETWORK, PartyId
from coalition.ledger.tables import settlement_window
from coalition.paging import Key, Page, PageRequest, page_of
from coalition.windows import Window, find_window, window_of
from settlement import tables
from settlement.inputs import Party
from settlement.liability import Cell, RollForward
from settlement.netting import Obligation, Position
from settlement.obligations import NetworkCost
from settlement.runs import (
    Books,
    Finding,
    Run,
    RunState,
    find_run,
    findings,
    read_books,
    run_in_force,
    run_of,
)
from settlement.statements import statement_csv, statement_json

__all__ = [
    "RUN_KEY_LENGTH",
    "Books",
    "Cell",
    "Finding",
    "NetworkCost",
    "Obligation",
    "Party",
    "Position",
    "RollForward",
    "Run",
    "RunState",
    "Statement",
    "books_of",
    "find_run",
    "findings",
    "get_statement",
    "last_settled",
    "run_in_force",
    "run_key",
    "runs_of",
    "runs_page",
    "window_key",
    "windows_page",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What one partner is told of one window: its lines, its net, its cells of the matrix."""

    run: Run
    party: Party
    position: Position
    lines: tuple[Obligation, ...]
    """All with the network: a partner's counterparty is never another partner."""
    matrix: tuple[Cell, ...]
    """Where its points were redeemed, and whose points were redeemed at it."""
    roll_forward: RollForward | None
    """Its liability as an issuer."""
    counterparties: dict[PartyId, Party]
    """How the parties in the lines and cells are called."""
    as_csv: str
    as_json: str
    """The very bytes of the files that the night wrote."""


def window_key(window: Window) -> Key:
    """Where a window stands in the list of windows."""
    return (window.business_date.isoformat(),)


def windows_page(session: Session, request: PageRequest) -> Page[Window]:
    """Windows, newest first."""
    column = settlement_window.c.business_date
    query = select(settlement_window)
    if request.after is not None:
        query = query.where(column < date.fromisoformat(request.after[0]))
    if request.before is not None:
        query = query.where(column > date.fromisoformat(request.before[0]))
    query = query.order_by(column.asc() if request.backwards else column.desc())

    def fetch(limit: int) -> Sequence[Window]:
        rows = [window_of(row) for row in session.execute(query.limit(limit))]
        return rows[::-1] if request.backwards else rows

    return page_of(request, fetch)


RUN_KEY_LENGTH: Final = 3
"""Columns of the key by which runs are listed."""
_RUN_ORDER: Final = (tables.run.c.business_date, tables.run.c.calculated_at, tables.run.c.run_id)


def run_key(run: Run) -> Key:
    """Where a run stands in the list of runs."""
    return run.business_date.isoformat(), run.calculated_at.isoformat(), str(run.run_id)


def runs_page(
    session: Session, request: PageRequest, *, since: date | None = None, until: date | None = None
) -> Page[Run]:
    """Runs, newest window first, superseded ones too; of windows in a range of dates, ends included.

    Raises:
        InvalidInput: a cursor's key is none of this list's.
    """
    query = select(tables.run)
    if since is not None:
        query = query.where(tables.run.c.business_date >= since)
    if until is not None:
        query = query.where(tables.run.c.business_date <= until)
    for name, key in (("after", request.after), ("before", request.before)):
        if key is not None:
            values = zip(_run_place(key, name), _RUN_ORDER, strict=True)
            bound = tuple_(*(cast(value, column.type) for value, column in values))
            # Newest first: what comes after a row is smaller.
            query = query.where(
                tuple_(*_RUN_ORDER) < bound if name == "after" else tuple_(*_RUN_ORDER) > bound
            )
    query = query.order_by(*(column if request.backwards else column.desc() for column in _RUN_ORDER))

    def fetch(limit: int) -> Sequence[Run]:
        found = [run_of(row) for row in session.execute(query.limit(limit))]
        return found[::-1] if request.backwards else found

    return page_of(request, fetch)


def _run_place(key: Key, name: str) -> tuple[date, datetime, UUID]:
    try:
        return date.fromisoformat(key[0]), datetime.fromisoformat(key[1]), UUID(key[2])
    except ValueError as error:
        raise InvalidInput(f"{name} is not a cursor of this list", field=(name,)) from error


def runs_of(session: Session, dates: Collection[date]) -> list[Run]:
    """The runs of these windows, newest window first, superseded ones too."""
    table = tables.run
    query = select(table).where(table.c.business_date.in_(dates))
    query = query.order_by(table.c.business_date.desc(), table.c.calculated_at.desc())
    return [run_of(row) for row in session.execute(query)]


def last_settled(session: Session) -> Run | None:
    """The run of the newest window that has one which is not held."""
    table = tables.run
    row = session.execute(
        select(table)
        .where(table.c.state == RunState.CALCULATED)
        .order_by(table.c.business_date.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else run_of(row)


def books_of(session: Session, *, business_date: date) -> Books | None:
    """All rows of the window's run; None where it has none yet.

    Raises:
        WindowUnknown: no window has that date.
    """
    find_window(session, business_date)
    run = run_in_force(session, business_date=business_date)
    return None if run is None else read_books(session, run)


def get_statement(session: Session, *, business_date: date, party: PartyId) -> Statement | None:
    """A partner's statement of a window.

    None where the window has no run that could be told to partners (a held one is not), or where
    nothing in it concerns the partner.

    Raises:
        WindowUnknown: no window has that date.
    """
    books = books_of(session, business_date=business_date)
    if books is None or books.run.state is not RunState.CALCULATED or party not in books.parties:
        return None
    lines = tuple(line for line in books.lines if party in (line.debtor, line.creditor))
    cells = tuple(cell for cell in books.matrix if party in (cell.issuer, cell.redeemer))
    mentioned = {NETWORK, party}
    mentioned |= {other for cell in cells for other in (cell.issuer, cell.redeemer)}
    return Statement(
        run=books.run,
        party=books.parties[party],
        position=books.positions[party],
        lines=lines,
        matrix=cells,
        roll_forward=next((row for row in books.roll_forward if row.issuer == party), None),
        counterparties={other: books.parties[other] for other in books.parties if other in mentioned},
        as_csv=statement_csv(books, party),
        as_json=statement_json(books, party),
    )
