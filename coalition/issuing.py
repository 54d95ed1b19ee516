"""Issue points: one new lot for a member, at its issuer's prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final
from uuid import UUID

from coalition.amounts import Points
from coalition.clock import wall
from coalition.ids import AgreementId, FundingPlanId, MemberId, PartnerId
from coalition.keys import check_key
from coalition.ledger.posting import Posting, call, fingerprint, posting_of
from coalition.receipts import NO_RECEIPT, Receipt

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_POST: Final = (
    "SELECT * FROM ledger.post_issue(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuePoints:
    """An issuer's wish to give a member points, priced and timed already."""

    member_id: MemberId
    partner_id: PartnerId
    points: Points
    idempotency_key: str
    request: Mapping[str, object]
    """What the caller asked, from which the fingerprint is made; not what was derived from it."""
    agreement_id: AgreementId | None = None
    """The issuer's, as it held when the transaction occurred; None where there was none."""
    funding_plan_id: FundingPlanId | None = None
    """None: the issuer alone funds the lot."""
    amount: Decimal | None = None
    """The money spent, where the issue was given as money; points may then be 0."""
    receipt: Receipt | None = None
    occurred_at: datetime | None = None
    """By the partner's clock; None is now."""
    matures_at: datetime | None = None
    """None: spendable at once."""
    expires_at: datetime | None = None
    """None: never."""
    identifier_id: UUID | None = None
    """The identifier that the member was named by, if it was named by one."""


def issue_points(session: Session, command: IssuePoints) -> Posting:
    """Issue points to a member.

    Raises:
        PointsInvalid, OccurredInFuture, OccurredTooLongAgo, MemberUnknown, MemberBlocked, ReceiptDuplicate,
        ReceiptRevision, PartnerNotActive, PartnerRoleMissing, StoreUnknown, AgreementMissing,
        LimitExceeded, ReviewRejected, UnderReview: nothing has moved.
        IdempotencyConflict: the key was used for a different request.
        TermsSuperseded: another agreement is in force than the one named.
    """
    check_key(command.idempotency_key)
    [row] = call(
        session,
        _POST,
        (
            command.member_id,
            command.partner_id,
            command.agreement_id,
            command.funding_plan_id,
            command.points,
            command.amount,
            command.idempotency_key,
            fingerprint("issue", command.request),
            *(command.receipt.as_arguments() if command.receipt else NO_RECEIPT),
            command.occurred_at,
            command.matures_at,
            command.expires_at,
            wall(),
            command.identifier_id,
        ),
    )
    return posting_of(row)
