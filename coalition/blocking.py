"""Block a member, and let it take part again: each change with who made it, when and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from coalition.clock import wall
from coalition.ledger import tables
from coalition.ledger.posting import call
from coalition.reasons import seal_if_written, stand_in, words_of

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
    """None: there is none, or the person was erased."""


def set_blocked(
    session: Session, member_id: MemberId, *, blocked: bool, by: str, reason: str | None = None
) -> None:
    """Block a member, at once, or let it take part again; what is so already stays so.

    Raises:
        InvalidInput: the reason can't be stored.
        MemberUnknown, MemberErased, MemberMerged: there is nobody to block under that id.
    """
    words = stand_in(session, reason)
    call(
        session,
        "SELECT ledger.set_member_blocked(%s, %s, %s, %s, %s)",
        (member_id, blocked, by, None if words is None else words.digest, wall()),
    )
    seal_if_written(session, member_id, words, row_in=tables.member_block)


def blocks_of(session: Session, member_id: MemberId) -> list[MemberBlock]:
    """The member's history of blocks, the oldest first; the last says how it stands, none that it is not."""
    column = tables.member_block.c
    rows = session.execute(
        select(tables.member_block).where(column.member_id == member_id).order_by(column.number)
    ).all()
    words = words_of(session, [(member_id, row.reason) for row in rows if row.reason is not None])
    return [
        MemberBlock(
            blocked=row.blocked,
            changed_at=row.changed_at,
            by=row.changed_by,
            reason=words.get((member_id, row.reason)),
        )
        for row in rows
    ]
