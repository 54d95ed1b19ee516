"""What a till asks before it knows the bill: authorise a redemption, then capture or void it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy.orm import Session

from coalition.amounts import Points
from coalition.holding import (
    AuthorizeRedemption,
    CaptureRedemption,
    VoidRedemption,
    authorize_redemption,
    capture_redemption,
    void_redemption,
)
from coalition.ids import MemberId, PartnerId
from coalition.ledger import Posting, TransactionRef
from coalition.reasons import check_reason
from coalition.receipts import Receipt
from partners.memory import Memory
from partners.terms import check_points, local_date
from partners.till import asked_moment, at_terms_in_force, check_money, spelled

_MOST_SECONDS = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorize:
    """Set points aside."""

    member_id: MemberId
    partner_id: PartnerId
    points: int
    idempotency_key: str
    seconds_to_live: int | None = None
    """None: as long as the programme says."""
    occurred_at: datetime | None = None
    confirmation_id: UUID | None = None
    """The member's own consent, needed beyond the programme's limit."""
    identifier_id: UUID | None = None
    """The identifier that the member was named by, if it was named by one."""
    from_pool: bool = False
    """Whether the others of the member's household pool give what the member lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """Take the points that were set aside, or some of them; the rest is released."""

    hold: TransactionRef
    partner_id: PartnerId
    idempotency_key: str
    points: int | None = None
    """None: all that are held."""
    amount: Decimal | None = None
    """The money that the points stand for at the till, by which parts of it can be given back."""
    receipt: Receipt | None = None
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Void:
    """Let a hold go."""

    hold: TransactionRef
    partner_id: PartnerId
    idempotency_key: str
    occurred_at: datetime | None = None
    reason: str | None = None


def authorize(session: Session, wish: Authorize) -> Posting:
    """Set points aside; the terms that hold now say what the partner is paid when it captures them.

    Raises:
        PointsInvalid, OccurredInFuture, HoldTimeInvalid, MemberUnknown, OccurredTooLongAgo,
        PartnerNotActive, PartnerRoleMissing, AgreementMissing, MemberBlocked, ConfirmationInvalid,
        ConsentRequired, InsufficientPoints, LimitExceeded, ReviewRejected, UnderReview: nothing has moved.
        IdempotencyConflict: the key was used for a different request.
    """
    check_points(wish.points)
    return at_terms_in_force(session, wish.partner_id, lambda memory: _authorize(session, wish, memory))


def capture(session: Session, wish: Capture) -> Posting:
    """Spend points of a hold, of the very lots that it set aside, and release the rest.

    Raises:
        PointsInvalid, InvalidInput, OccurredInFuture, ReceiptDuplicate, ReceiptRevision, OccurredTooLongAgo,
        PartnerNotActive, StoreUnknown, HoldUnknown, HoldCaptured, HoldVoided, HoldLapsed, HoldExceeded:
        nothing has moved.
        IdempotencyConflict: the key was used for a different request.
    """
    check_money(wish.amount)
    if wish.points is not None:
        check_points(wish.points)
    return at_terms_in_force(session, wish.partner_id, lambda memory: _capture(session, wish, memory))


def void(session: Session, wish: Void) -> Posting:
    """Release all points of a hold.

    Raises:
        InvalidInput, OccurredInFuture, OccurredTooLongAgo, PartnerNotActive, HoldUnknown, HoldCaptured,
        HoldVoided, HoldLapsed: nothing has moved.
        IdempotencyConflict: the key was used for a different request.
    """
    check_reason(wish.reason)
    return at_terms_in_force(session, wish.partner_id, lambda memory: _void(session, wish, memory))


def _authorize(session: Session, wish: Authorize, memory: Memory) -> Posting:
    occurred_at = memory.moment(session, wish.occurred_at)
    agreement = memory.agreement(
        session, partner_id=wish.partner_id, on=local_date(occurred_at, memory.zone(session))
    )
    # What no column can hold is too long as well; the kernel says so in its place in the order.
    seconds = None if wish.seconds_to_live is None else min(wish.seconds_to_live, _MOST_SECONDS)
    return authorize_redemption(
        session,
        AuthorizeRedemption(
            member_id=wish.member_id,
            partner_id=wish.partner_id,
            points=Points(wish.points),
            idempotency_key=wish.idempotency_key,
            request={
                "points": wish.points,
                "seconds_to_live": wish.seconds_to_live,
                "occurred_at": asked_moment(wish.occurred_at),
                "from_pool": wish.from_pool,
            },
            agreement_id=None if agreement is None else agreement.agreement_id,
            seconds_to_live=seconds,
            occurred_at=occurred_at,
            confirmation_id=wish.confirmation_id,
            identifier_id=wish.identifier_id,
            from_pool=wish.from_pool,
        ),
    )


def _capture(session: Session, wish: Capture, memory: Memory) -> Posting:
    # First: it refuses what could not be told in UTC.
    occurred_at = memory.moment(session, wish.occurred_at)
    return capture_redemption(
        session,
        CaptureRedemption(
            hold=wish.hold,
            partner_id=wish.partner_id,
            idempotency_key=wish.idempotency_key,
            request={
                "hold": wish.hold.transaction_id,
                "points": wish.points,
                "amount": spelled(wish.amount),
                "receipt": wish.receipt.as_request() if wish.receipt else None,
                "occurred_at": asked_moment(wish.occurred_at),
            },
            points=None if wish.points is None else Points(wish.points),
            amount=wish.amount,
            receipt=wish.receipt,
            occurred_at=occurred_at,
        ),
    )


def _void(session: Session, wish: Void, memory: Memory) -> Posting:
    # First: it refuses what could not be told in UTC.
    occurred_at = memory.moment(session, wish.occurred_at)
    return void_redemption(
        session,
        VoidRedemption(
            hold=wish.hold,
            partner_id=wish.partner_id,
            idempotency_key=wish.idempotency_key,
            request={"hold": wish.hold.transaction_id, "occurred_at": asked_moment(wish.occurred_at)},
            occurred_at=occurred_at,
            reason=wish.reason,
        ),
    )
