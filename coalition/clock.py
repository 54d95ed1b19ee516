"""The programme's one clock.

In production it is the wall clock. In a sandbox or demo it may stand at a set time, which only moves
forward. Tokens, rate limits, lock time-outs and the scheduler always use the wall clock.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import text

from coalition.errors import ProgrammeNotOpen
from coalition.ledger.posting import call

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def now(session: Session) -> datetime:
    """The programme's time.

    Raises:
        ProgrammeNotOpen: no programme has been opened in this database.
    """
    row = session.execute(text("SELECT clock_at FROM ledger.programme")).one_or_none()
    if row is None:
        raise ProgrammeNotOpen
    standing_at: datetime | None = row.clock_at
    return standing_at or wall()


def wall() -> datetime:
    """The wall clock's time: what kernel calls carry, and the kernel checks or (in a sandbox) replaces."""
    return datetime.now(UTC)


def set_clock(session: Session, *, to: datetime) -> None:
    """Set a sandbox's clock forward; it stands there until it is set again.

    Raises:
        ClockRefused: the programme is in production, or the time lies before the clock's.
    """
    call(session, "SELECT ledger.set_clock(%s)", (to,))
