"""Redeem points: spend a member's lots at a partner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final
from uuid import UUID

from coalition.amounts import Points
from coalition.clock import wall
from coalition.ids import AgreementId, MemberId, PartnerId
from coalition.keys import check_key
from coalition.ledger.posting import Posting, call, fingerprint, posting_of
from coalition.receipts import NO_RECEIPT, Receipt

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_POST: Final = (
    "SELECT * FROM ledger.post_redeem(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeemPoints:
    """A partner's wish to take points from a member, now."""

    member_id: MemberId
    partner_id: PartnerId
    points: Points
    idempotency_key: str
    request: Mapping[str, object]
    """What the caller asked, from which the fingerprint is made."""
    agreement_id: AgreementId | None = None
    """The redeemer's, whose R counts, as it held when the transaction occurred."""
    amount: Decimal | None = None
    """The money that the points stand for at the till, by which parts of it can be given back."""
    receipt: Receipt | None = None
    occurred_at: datetime | None = None
    confirmation_id: UUID | None = None
    """The member's own consent; without one the programme's limit holds."""
    identifier_id: UUID | None = None
    """The identifier that the member was named by, if it was named by one."""
    from_pool: bool = False
    """Whether the others of the member's household pool give what the member lacks."""


def redeem_points(session: Session, command: RedeemPoints) -> Posting:
    """Spend a member's points at a partner.

    Lots are consumed soonest expiry first, so the issuer whose points lapse soonest pays first.

    Raises:
        PointsInvalid, OccurredInFuture, OccurredTooLongAgo, MemberUnknown, MemberBlocked, ReceiptDuplicate,
        ReceiptRevision, PartnerNotActive, PartnerRoleMissing, StoreUnknown, AgreementMissing, NotInPool,
        PoolHeadOnly, ConfirmationInvalid, ConsentRequired, PoolLimitExceeded, InsufficientPoints,
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
            command.points,
            command.idempotency_key,
            fingerprint("redeem", command.request),
            *(command.receipt.as_arguments() if command.receipt else NO_RECEIPT),
            command.occurred_at,
            command.confirmation_id,
            wall(),
            command.identifier_id,
            command.from_pool,
            command.amount,
        ),
    )
    return posting_of(row)
