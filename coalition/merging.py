"""Merge two records of one person into one, and un-merge them again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, or_, select

from coalition.clock import wall
from coalition.errors import CoalitionError, MemberBlocked
from coalition.ids import MemberId
from coalition.keys import check_key
from coalition.ledger import tables
from coalition.ledger.posting import Posting, call, fingerprint, posting_of
from coalition.reasons import keep, stand_in

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_MERGE: Final = "SELECT * FROM ledger.post_merge(%s, %s, %s, %s, %s, %s, %s)"
_UNMERGE: Final = "SELECT * FROM ledger.post_unmerge(%s, %s, %s, %s, %s, %s, %s)"
_KINDS: Final = ("merge_in", "merge_out", "unmerge_in", "unmerge_out")
_BLOCKED: Final = (
    "The record to be merged is blocked and the survivor is not."
    " Unblock it, or block the survivor, then merge."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeMembers:
    """The operator's wish to make one member of two; or to take them apart again."""

    survivor: MemberId
    merged: MemberId
    """Whose points, and what it owes, go to the survivor."""
    idempotency_key: str
    """Its scope is the survivor."""
    by: str
    """Who does it, for the record. No part of what the key stands for."""
    reason: str | None = None
    """No part of what the key stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeAct:
    """A merge or an un-merge, as one of the two has it in its journal."""

    kind: str
    """The transaction's: `merge_in` or `unmerge_out` of the survivor, else `merge_out` or `unmerge_in`."""
    other: MemberId
    at: datetime
    by: str
    """Which client or person it was, of the operator's."""


def merge_members(session: Session, command: MergeMembers) -> Posting:
    """Hand all that a member has and owes to another, who is found by its identifiers from now on.

    The posting is the survivor's; the merged member's journal has one of its own, that names it.

    Raises:
        MemberUnknown, MemberMerged, MergeWithOneself, MemberHasHolds: nothing has moved.
        MemberBlocked: the merged record is, and the survivor is not; nothing has moved.
        IdempotencyConflict: the key was used for a different request.
    """
    try:
        return _post(session, _MERGE, "merge", command)
    except MemberBlocked:
        raise MemberBlocked(_BLOCKED, field=("input", "merged")) from None


def unmerge_members(session: Session, command: MergeMembers) -> Posting:
    """Give a merged member back what is left of the lots that it brought along, and let it be itself again.

    What the survivor spent of them is spent; what the survivor got since is the survivor's.

    Raises:
        MemberUnknown, MemberMerged, NotMerged, MemberHasHolds: nothing has moved.
        IdempotencyConflict: the key was used for a different request.
    """
    return _post(session, _UNMERGE, "unmerge", command)


def merges_of(session: Session, member_id: MemberId) -> list[MergeAct]:
    """The merges and un-merges that the member was a side of, the oldest first."""
    act, own = tables.operator_act.c, tables.transaction.c
    rows = session.execute(
        select(own.kind, own.other_member_id, own.recorded_at, act.acted_by)
        .join(
            tables.operator_act,
            and_(
                act.business_date == own.business_date,
                or_(
                    and_(act.member_id == own.member_id, act.transaction_id == own.transaction_id),
                    and_(act.member_id == own.other_member_id, act.transaction_id == own.other_id),
                ),
            ),
        )
        .where(own.member_id == member_id, own.kind.in_(_KINDS))
        .order_by(own.sequence)
    )
    return [
        MergeAct(kind=row.kind, other=row.other_member_id, at=row.recorded_at, by=row.acted_by)
        for row in rows
    ]


def _post(session: Session, statement: str, kind: str, command: MergeMembers) -> Posting:
    check_key(command.idempotency_key)
    words = stand_in(session, command.reason)
    asked = {"merged": command.merged}
    try:
        [row] = call(
            session,
            statement,
            (
                command.survivor,
                command.merged,
                command.idempotency_key,
                fingerprint(kind, asked),
                command.by,
                words and words.digest,
                wall(),
            ),
        )
    except CoalitionError as refusal:
        # The kernel says of which of the two it speaks.
        if refusal.path == ("input", "member"):
            refusal.path = ("input", "merged" if refusal.facts.get("merged") else "survivor")
        raise
    posting = posting_of(row)
    keep(session, words, posting)
    return posting
