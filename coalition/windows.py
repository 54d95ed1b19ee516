"""Settlement windows: which is open, and the exact cut between one and the next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal

import psycopg.errors
from sqlalchemy import select, text

from coalition.clock import wall
from coalition.errors import ProgrammeNotOpen, WindowBusy, WindowUnknown
from coalition.ledger import tables
from coalition.ledger.posting import call

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy.orm import Session

_table = tables.settlement_window


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A settlement period. Its business date is its name."""

    business_date: date
    state: Literal["open", "closed", "sealed"]
    opened_at: datetime
    closed_at: datetime | None
    sealed_at: datetime | None
    transactions: int | None
    """Control total, once sealed."""
    entries: int | None
    """Control total, once sealed."""
    merkle_root: bytes | None
    """Of its transactions by member and sequence (RFC 9162, 2.1.1), once sealed."""


def open_window(session: Session) -> Window:
    """The window that postings fall into now.

    Raises:
        ProgrammeNotOpen: there is no programme, so no window.
    """
    row = session.execute(select(_table).where(_table.c.state == "open")).one_or_none()
    if row is None:
        raise ProgrammeNotOpen
    return window_of(row)


def find_window(session: Session, business_date: date) -> Window:
    """The window of a business date.

    Raises:
        WindowUnknown: there is none.
    """
    row = session.execute(select(_table).where(_table.c.business_date == business_date)).one_or_none()
    if row is None:
        raise WindowUnknown(business_date=business_date)
    return window_of(row)


def unsealed_windows(session: Session) -> list[Window]:
    """Closed windows whose control totals are not stored yet, oldest first."""
    rows = session.execute(select(_table).where(_table.c.state == "closed").order_by(_table.c.business_date))
    return [window_of(row) for row in rows]


def prepare_partitions(session: Session, *, business_date: date) -> None:
    """See to it that the journal has partitions for the date's month and the next."""
    call(session, "SELECT ledger.prepare_partitions(%s)", (business_date,))


def close_window(session: Session, *, business_date: date, patience: timedelta) -> bool:
    """Close the window and open the next in the same moment; False if it was closed before.

    No posting falls in both or in none: postings hold the window's lock shared, the closer alone. While
    the closer waits, new postings queue behind it, so it gives up after `patience` and may be tried again.

    Raises:
        WindowUnknown: no window has that date.
        WindowBusy: postings in flight did not end in time; nothing has changed.
    """
    session.execute(
        text("SELECT set_config('lock_timeout', :bound, true)"),
        {"bound": f"{int(patience.total_seconds() * 1000)}ms"},
    )
    try:
        [(closed,)] = call(session, "SELECT ledger.close_window(%s, %s)", (business_date, wall()))
    except psycopg.errors.LockNotAvailable as error:
        raise WindowBusy from error
    return bool(closed)


def seal_window(session: Session, *, business_date: date) -> bool:
    """Store a closed window's control totals; False if they were stored before.

    Raises:
        WindowUnknown: no closed window has that date.
    """
    [(sealed,)] = call(session, "SELECT ledger.seal_window(%s)", (business_date,))
    return bool(sealed)


def window_of(row: Any) -> Window:
    """A row of `ledger.settlement_window`."""
    return Window(
        business_date=row.business_date,
        state=row.state,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        sealed_at=row.sealed_at,
        transactions=row.transactions,
        entries=row.entries,
        merkle_root=None if row.merkle_root is None else bytes(row.merkle_root),
    )
