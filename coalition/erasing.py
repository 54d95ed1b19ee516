"""Erase a person: the key to all that is known of it is destroyed, and the books stay whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coalition import vault
from coalition.clock import wall
from coalition.ids import MemberId
from coalition.ledger.posting import call_again

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What was erased, and when."""

    member_id: MemberId
    records: tuple[MemberId, ...]
    """The member, and all that were merged into it: one person's."""
    erased_at: datetime
    replayed: bool
    """It was erased before; nothing has changed now."""


def erase_member(session: Session, member_id: MemberId) -> Erasure:
    """Destroy a member's key, what is sealed under it, and all it is looked up by; again changes nothing.

    Points are settled first, by postings that say why: redeemed, transferred, taken by an adjustment, or
    lapsed. The journal stays, with every statement made from it, and names nobody. All of it is one
    transaction.

    Raises:
        MemberUnknown: there is no such member.
        MemberMerged: it is one of another's records; that one is erased, and this with it.
        AlreadyInPool: it leaves its pool first.
        MemberHasHolds, MemberHasPoints: points are held, or left, or something is owed.
    """
    rows = call_again(session, "SELECT * FROM ledger.erase_member(%s, %s)", (member_id, wall()))
    records = tuple(MemberId(row[0]) for row in rows)
    erased_at, fresh = rows[0][1:]
    if fresh:
        vault.destroy(session, records, at=erased_at)
    return Erasure(member_id=member_id, records=records, erased_at=erased_at, replayed=not fresh)
