"""Adjust a member's points by hand: with a reason, and above a limit with a second person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

from coalition.amounts import Points
from coalition.clock import wall
from coalition.ids import AgreementId, FundingPlanId, MemberId, PartnerId
from coalition.ledger.posting import Posting, call, posting_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_PROPOSE: Final = "SELECT ledger.propose_adjustment(%s, %s, %s, %s, %s, %s, %s, %s, %s)"
_POST: Final = "SELECT * FROM ledger.post_adjustment(%s, %s, %s, %s, %s, %s)"
_REJECT: Final = "SELECT ledger.reject_adjustment(%s, %s, %s, %s)"


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


def propose_adjustment(session: Session, command: ProposeAdjustment) -> UUID:
    """Write an adjustment down. It moves nothing until it is posted. Returns its id.

    Raises:
        PointsInvalid, MemberUnknown, PartnerUnknown: nothing was written.
    """
    adjustment_id = uuid4()
    call(
        session,
        _PROPOSE,
        (
            command.member_id,
            adjustment_id,
            command.points,
            command.reason,
            command.note,
            command.issuer_id,
            command.funding_plan_id,
            command.by,
            wall(),
        ),
    )
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
