"""Adjust a member's points by hand: with a reason, and above a limit with a second person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from sqlalchemy import cast, select, tuple_

from coalition.amounts import Points
from coalition.clock import wall
from coalition.errors import InvalidInput
from coalition.ids import AgreementId, FundingPlanId, MemberId, PartnerId, TransactionId
from coalition.ledger import tables
from coalition.ledger.posting import Posting, TransactionRef, call, posting_of
from coalition.paging import Key, Page, PageRequest, page_of
from coalition.reasons import seal, stand_for, words_of

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

_PROPOSE: Final = "SELECT ledger.propose_adjustment(%s, %s, %s, %s, %s, %s, %s, %s, %s)"
_POST: Final = "SELECT * FROM ledger.post_adjustment(%s, %s, %s, %s, %s, %s)"
_REJECT: Final = "SELECT ledger.reject_adjustment(%s, %s, %s, %s)"

_a: Final = tables.adjustment.c
_ORDER: Final = (_a.proposed_at, _a.adjustment_id)

KEY_LENGTH: Final = 2
"""Columns of a cursor's key."""


class AdjustmentState(StrEnum):
    """Where an adjustment stands."""

    PROPOSED = "proposed"
    POSTED = "posted"
    REJECTED = "rejected"


class AdjustmentReason(StrEnum):
    """Why an operator adjusts."""

    GOODWILL = "goodwill"
    SERVICE_FAILURE = "service_failure"
    CORRECTION = "correction"
    FRAUD = "fraud"
    MIGRATION = "migration"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposeAdjustment:
    """An operator's wish to give a member points, or to take some."""

    member_id: MemberId
    points: Points
    """Signed: more than zero are given, less are taken."""
    reason: AdjustmentReason
    by: str
    """Who proposes it."""
    note: str | None = None
    issuer_id: PartnerId | None = None
    """Who issues, and pays for, what is given; None where points are taken."""
    funding_plan_id: FundingPlanId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """An adjustment as it stands."""

    member_id: MemberId
    adjustment_id: UUID
    points: Points
    """Signed: given to the member, or taken."""
    reason: AdjustmentReason
    note: str | None
    """None: there is none, or the person was erased."""
    issuer_id: PartnerId | None
    """None: points are taken."""
    funding_plan_id: FundingPlanId | None
    proposed_by: str
    proposed_at: datetime
    state: AdjustmentState
    decided_by: str | None
    """None: nobody has decided, or it needed no second person."""
    decided_at: datetime | None
    posted: TransactionRef | None
    """What posted it."""


def propose_adjustment(session: Session, command: ProposeAdjustment) -> UUID:
    """Write an adjustment down, its note sealed. It moves nothing until it is posted. Returns its id.

    Raises:
        PointsInvalid, MemberUnknown, MemberErased, PartnerUnknown: nothing was written.
    """
    adjustment_id = uuid4()
    words = None if command.note is None else stand_for(session, command.note)
    call(
        session,
        _PROPOSE,
        (
            command.member_id,
            adjustment_id,
            command.points,
            command.reason,
            None if words is None else words.digest,
            command.issuer_id,
            command.funding_plan_id,
            command.by,
            wall(),
        ),
    )
    if words is not None:
        seal(session, command.member_id, words)
    return adjustment_id


def post_adjustment(
    session: Session,
    member_id: MemberId,
    adjustment_id: UUID,
    *,
    by: str,
    agreement_id: AgreementId | None = None,
    expires_at: datetime | None = None,
) -> Posting:
    """Post a proposed adjustment. Posting it again by the same person gets the same answer.

    What is given is an issue at the issuer's terms, which are the caller's to find (`agreement_id`,
    `expires_at`). What is taken leaves the lots that expire soonest, whose funders get the issue charge back.

    Raises:
        AdjustmentUnknown, AdjustmentDecided, SecondPersonNeeded, PartnerNotActive, PartnerRoleMissing,
        AgreementMissing, FundingPlanUnknown, MemberMerged, MemberBlocked, InsufficientPoints: nothing has
        moved.
        TermsSuperseded: another agreement is in force than the one named.
    """
    [row] = call(session, _POST, (member_id, adjustment_id, agreement_id, expires_at, by, wall()))
    return posting_of(row)


def reject_adjustment(session: Session, member_id: MemberId, adjustment_id: UUID, *, by: str) -> None:
    """Decide that a proposed adjustment is not made.

    Raises:
        AdjustmentUnknown, AdjustmentDecided: nothing has changed.
    """
    call(session, _REJECT, (member_id, adjustment_id, by, wall()))


def find_adjustment(session: Session, member_id: MemberId, adjustment_id: UUID) -> Adjustment | None:
    """One of them, if there is such a one."""
    query = select(tables.adjustment).where(_a.member_id == member_id, _a.adjustment_id == adjustment_id)
    return next(iter(_adjustments(session, query)), None)


def list_adjustments(
    session: Session,
    page: PageRequest,
    *,
    state: AdjustmentState | None = None,
    member_id: MemberId | None = None,
) -> Page[Adjustment]:
    """A page of adjustments, the newest first.

    Raises:
        InvalidInput: a cursor's key is none of this list's.
    """
    query = select(tables.adjustment)
    for column, value in ((_a.state, state), (_a.member_id, member_id)):
        if value is not None:
            query = query.where(column == value)
    for name, key in (("after", page.after), ("before", page.before)):
        if key is not None:
            values = zip(_checked(key, name), _ORDER, strict=True)
            bound = tuple_(*(cast(value, column.type) for value, column in values))
            # Newest first: what comes after a row is smaller.
            query = query.where(tuple_(*_ORDER) < bound if name == "after" else tuple_(*_ORDER) > bound)
    query = query.order_by(*(column if page.backwards else column.desc() for column in _ORDER))

    def fetch(limit: int) -> Sequence[Adjustment]:
        found = _adjustments(session, query.limit(limit))
        return found[::-1] if page.backwards else found

    return page_of(page, fetch)


def key_of(adjustment: Adjustment) -> Key:
    """Where it stands in that list."""
    return adjustment.proposed_at.isoformat(), str(adjustment.adjustment_id)


def _checked(key: Key, name: str) -> tuple[datetime, UUID]:
    try:
        return datetime.fromisoformat(key[0]), UUID(key[1])
    except ValueError as error:
        raise InvalidInput(f"{name} is not a cursor of this list", field=(name,)) from error


def _adjustments(session: Session, query: Select[Any]) -> list[Adjustment]:
    rows = session.execute(query).all()
    words = words_of(session, [(row.member_id, row.note) for row in rows if row.note is not None])
    return [_adjustment(row, words) for row in rows]


def _adjustment(row: Any, words: Mapping[tuple[MemberId, str], str]) -> Adjustment:
    return Adjustment(
        member_id=row.member_id,
        adjustment_id=row.adjustment_id,
        points=row.points,
        reason=AdjustmentReason(row.reason),
        note=words.get((row.member_id, row.note)),
        issuer_id=row.issuer_id,
        funding_plan_id=row.funding_plan_id,
        proposed_by=row.proposed_by,
        proposed_at=row.proposed_at,
        state=AdjustmentState(row.state),
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        posted=None
        if row.transaction_id is None
        else TransactionRef(
            member_id=row.member_id,
            business_date=row.business_date,
            transaction_id=TransactionId(row.transaction_id),
        ),
    )
