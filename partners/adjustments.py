"""Adjustments as the operator makes them: what is given is priced by its issuer's terms, as any issue is."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from coalition.adjusting import (
    Adjustment,
    AdjustmentReason,
    ProposeAdjustment,
    find_adjustment,
    post_adjustment,
    propose_adjustment,
)
from coalition.amounts import MAX_POINTS, Points
from coalition.errors import AdjustmentUnknown, InvalidInput, PointsInvalid
from coalition.ids import FundingPlanId, MemberId
from coalition.ledger import Posting
from coalition.programme import get_programme
from partners.checks import check_text
from partners.directory import get_partner_by_code
from partners.funding import find_funding_plan
from partners.memory import Memory
from partners.terms import evaluate, local_date
from partners.till import at_terms_in_force

_MAX_NOTE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjust:
    """An operator's wish to give a member points, or to take some."""

    member_id: MemberId
    points: int
    """Signed: more than zero are given, less are taken."""
    reason: AdjustmentReason
    by: str
    note: str | None = None
    issuer: str | None = None
    """The code of the partner that issues, and pays for, what is given."""
    funding_plan: str | None = None
    """The code of a plan that pays in the issuer's place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    """What came of it."""

    member_id: MemberId
    adjustment_id: UUID
    posting: Posting | None
    """None: it waits for a second person."""


def adjust(session: Session, wish: Adjust) -> Adjusted:
    """Write an adjustment down, and post it at once where the programme's limit lets one person do so.

    The session is a unit of work: where posting is refused, nothing was written down either.

    Raises:
        InvalidInput, PointsInvalid, MemberUnknown, PartnerUnknown, PartnerNotActive, PartnerRoleMissing,
        AgreementMissing, FundingPlanUnknown, MemberMerged, MemberBlocked, InsufficientPoints: nothing has
        moved.
    """
    if wish.points == 0 or abs(wish.points) > MAX_POINTS:
        raise PointsInvalid(points=wish.points)
    if (wish.points > 0) != (wish.issuer is not None):
        raise InvalidInput(
            "Name the issuer of what is given, and none where points are taken.", field=("input", "issuer")
        )
    if wish.funding_plan is not None and wish.issuer is None:
        raise InvalidInput("A funding plan pays for what is given only.", field=("input", "fundingPlan"))
    plan: FundingPlanId | None = None
    if wish.funding_plan is not None:
        plan = find_funding_plan(session, wish.funding_plan).funding_plan_id
    adjustment_id = propose_adjustment(
        session,
        ProposeAdjustment(
            member_id=wish.member_id,
            points=Points(wish.points),
            reason=wish.reason,
            by=wish.by,
            note=None if wish.note is None else check_text(wish.note, field="note", longest=_MAX_NOTE),
            issuer_id=None if wish.issuer is None else get_partner_by_code(session, wish.issuer).partner_id,
            funding_plan_id=plan,
        ),
    )
    posting = None
    if abs(wish.points) <= get_programme(session).adjustment_limit_points:
        posting = approve(session, wish.member_id, adjustment_id, by=wish.by)
    return Adjusted(member_id=wish.member_id, adjustment_id=adjustment_id, posting=posting)


def approve(session: Session, member_id: MemberId, adjustment_id: UUID, *, by: str) -> Posting:
    """Post a proposed adjustment, at the terms of its issuer that hold now; again gets the same answer.

    Raises:
        AdjustmentUnknown, AdjustmentDecided, SecondPersonNeeded, PartnerNotActive, PartnerRoleMissing,
        AgreementMissing, MemberMerged, MemberBlocked, InsufficientPoints: nothing has moved.
    """
    wanted = find_adjustment(session, member_id, adjustment_id)
    if wanted is None:
        raise AdjustmentUnknown
    issuer = wanted.issuer_id
    if issuer is None:
        return post_adjustment(session, member_id, adjustment_id, by=by)
    return at_terms_in_force(session, issuer, lambda memory: _give(session, wanted, memory, by))


def _give(session: Session, wanted: Adjustment, memory: Memory, by: str) -> Posting:
    assert wanted.issuer_id is not None, "what is given has an issuer"
    zone = memory.zone(session)
    now = memory.moment(session, None)
    agreement = memory.agreement(session, partner_id=wanted.issuer_id, on=local_date(now, zone))
    expires_at = None
    if agreement is not None:
        expires_at = evaluate(
            agreement, points=wanted.points, amount=None, occurred_at=now, zone=zone
        ).expires_at
    return post_adjustment(
        session,
        wanted.member_id,
        wanted.adjustment_id,
        by=by,
        agreement_id=None if agreement is None else agreement.agreement_id,
        expires_at=expires_at,
    )
