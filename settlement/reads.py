"""What was settled, for whoever asks: windows, runs, statements, the liability matrix.

Whether the asker may see it is the asker's room's business; who is named here as a partner gets
only its own lines and cells.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

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
    "runs_in_force",
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


def runs_page(session: Session, *, windows: int = 100, before: date | None = None) -> Page[Run]:
    """The runs of so many windows that have any, the newest window first, superseded ones too."""
    column = tables.run.c.business_date
    having = select(column).distinct().order_by(column.desc()).limit(windows + 1)
    if before is not None:
        having = having.where(column < before)
    dates = session.execute(having).scalars().all()
    query = select(tables.run).where(column.in_(dates[:windows]))
    rows = session.execute(query.order_by(column.desc(), tables.run.c.calculated_at.desc()))
    return Page(
        items=[run_of(row) for row in rows],
        has_next=len(dates) > windows,
        has_previous=before is not None,
    )


def runs_in_force(session: Session, dates: Collection[date]) -> dict[date, Run]:
    """The run of each of these windows that has one; never a superseded one."""
    table = tables.run
    query = select(table).where(table.c.business_date.in_(dates), table.c.state != RunState.SUPERSEDED)
    return {row.business_date: run_of(row) for row in session.execute(query)}


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
