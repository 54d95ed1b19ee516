"""Block a member, and let it take part again: each change with who made it, when and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from coalition.clock import wall
from coalition.ledger import tables
from coalition.ledger.posting import call
from coalition.reasons import check_reason

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from coalition.ids import MemberId


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberBlock:
    """A line of a member's history of blocks."""

    blocked: bool
    """How the member stands from then on."""
    changed_at: datetime
    by: str
    """Which client or person it was, of the operator's."""
    reason: str | None


def set_blocked(
    session: Session, member_id: MemberId, *, blocked: bool, by: str, reason: str | None = None
) -> None:
    """Block a member, at once, or let it take part again; what is so already stays so.

    Raises:
        InvalidInput: the reason can't be stored.
        MemberUnknown, MemberErased, MemberMerged: there is nobody to block under that id.
    """
    check_reason(reason)
    call(
        session,
        "SELECT ledger.set_member_blocked(%s, %s, %s, %s, %s)",
        (member_id, blocked, by, reason, wall()),
    )


def blocks_of(session: Session, member_id: MemberId) -> list[MemberBlock]:
    """The member's history of blocks, the oldest first; the last says how it stands, none that it is not."""
    column = tables.member_block.c
    rows = session.execute(
        select(tables.member_block).where(column.member_id == member_id).order_by(column.number)
    )
    return [
        MemberBlock(blocked=row.blocked, changed_at=row.changed_at, by=row.changed_by, reason=row.reason)
        for row in rows
    ]
