"""Holds with a pool's points that are over: looked for, and ended with all who get points back.

A hold of a member's own points needs nobody for that: whatever reads the member counts it as over, and the
member's next operation posts it. What a pool lent would stay away from its givers until the pool's next use,
or the night. So a server does this each minute.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select

from coalition import clock, members
from coalition.errors import CoalitionError, ProgrammeNotOpen
from coalition.ids import MemberId
from coalition.ledger import tables

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from coalition.db import Database

_AT_ONCE: Final = 1_000
"""Members looked after in one go; the next one is soon. Whoever stops it waits for one member only."""

_log = logging.getLogger(__name__)


def lapse_pooled_holds(database: Database) -> int:
    """Let holds lapse that have a pool's points and are over; those that have been longest, first.

    Each member in a transaction of its own. Where others are at the same members for long, it is left for
    the next time.

    Returns:
        How many transactions that made, among them what went back to givers.
    """
    with database.reading() as session:
        try:
            waiting = _who_waits(session)
        except ProgrammeNotOpen:  # a server may run before that
            return 0
    made = 0
    for member_id in waiting:
        try:
            with database.unit_of_work() as session:
                made += members.bring_up_to_date(session, [member_id])
        except CoalitionError:  # which is no reason to leave the others
            _log.warning("a hold with a pool's points is left for the next time", exc_info=True)
    return made


def _who_waits(session: Session) -> list[MemberId]:
    column = tables.hold.c
    rows = session.execute(
        select(column.member_id)
        .where(column.state == "open", column.pooled, column.lapses_at <= clock.now(session))
        .group_by(column.member_id)
        .order_by(func.min(column.lapses_at), column.member_id)
        .limit(_AT_ONCE)
    )
    return [MemberId(member_id) for member_id in rows.scalars()]
