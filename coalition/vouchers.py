"""Vouchers: points that a member sets aside for a partner whose till may be offline, and what takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from coalition.amounts import Points
from coalition.clock import wall
from coalition.ids import AgreementId, MemberId, PartnerId
from coalition.keys import check_key
from coalition.ledger.posting import Posting, TransactionRef, call, fingerprint, posting_of
from coalition.receipts import NO_RECEIPT, Receipt

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_ISSUE: Final = "SELECT * FROM ledger.post_voucher(%s, %s, %s, %s, %s, %s, %s, %s)"
_REDEEM: Final = (
    "SELECT * FROM ledger.post_redeem_voucher(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueVoucher:
    """A member's wish to have a voucher: its own word that a partner may take at most so many points."""

    member_id: MemberId
    partner_id: PartnerId
    points: Points
    idempotency_key: str
    agreement_id: AgreementId | None = None
    """The redeemer's, as it holds now: its R counts, whenever the voucher is redeemed."""
    seconds_to_live: int | None = None
    """For how long it is good for a purchase; None: as long as the programme says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeemVoucher:
    """A partner's wish to be given the points of a voucher that it took, or some of them."""

    hold: TransactionRef
    """The hold for which the voucher stands."""
    partner_id: PartnerId
    idempotency_key: str
    points: Points | None = None
    """None: all that it is good for."""
    amount: Decimal | None = None
    """The money that they stand for at the till, by which parts of it can be given back."""
    receipt: Receipt | None = None
    occurred_at: datetime | None = None
    """When the purchase was made, by the till's clock."""
    request: Mapping[str, object]
    """What the caller asked, from which the fingerprint is made."""


def issue_voucher(session: Session, command: IssueVoucher) -> Posting:
    """Set points aside for a voucher; the posting's reference is the hold.

    They stay set aside until the voucher is redeemed, the partner voids the hold, or it lapses: the
    programme's grace after the voucher was good. The member cannot take it back, since a till that is offline
    may have taken it.

    Raises:
        PointsInvalid, HoldTimeInvalid, MemberUnknown, PartnerUnknown, PartnerNotActive, PartnerRoleMissing,
        AgreementMissing, MemberBlocked, VoucherLimitExceeded, InsufficientPoints, LimitExceeded,
        ReviewRejected, UnderReview: nothing has moved.
        IdempotencyConflict: the key was used for a different request.
        TermsSuperseded: another agreement is in force than the one named.
    """
    check_key(command.idempotency_key)
    [row] = call(
        session,
        _ISSUE,
        (
            command.member_id,
            command.partner_id,
            command.agreement_id,
            command.points,
            command.idempotency_key,
            fingerprint("voucher", {"points": command.points, "seconds_to_live": command.seconds_to_live}),
            command.seconds_to_live,
            wall(),
        ),
    )
    return posting_of(row)


def redeem_voucher(session: Session, command: RedeemVoucher) -> Posting:
    """Spend points of a voucher, once, and release the rest.

    It consumes the very lots that were set aside, even such as have expired since, and of a member who has
    been blocked since: the partner had the network's word for them.

    Raises:
        PointsInvalid, OccurredInFuture, ReceiptDuplicate, ReceiptRevision, OccurredTooLongAgo,
        PartnerNotActive, StoreUnknown, VoucherInvalid, VoucherUsed, VoucherExpired, VoucherExceeded: nothing
        has moved.
        IdempotencyConflict: the key was used for a different request.
    """
    check_key(command.idempotency_key)
    [row] = call(
        session,
        _REDEEM,
        (
            command.hold.member_id,
            command.partner_id,
            command.hold.business_date,
            command.hold.transaction_id,
            command.points,
            command.idempotency_key,
            fingerprint("redeem_voucher", command.request),
            *(command.receipt.as_arguments() if command.receipt else NO_RECEIPT),
            command.occurred_at,
            wall(),
            command.amount,
        ),
    )
    return posting_of(row)
