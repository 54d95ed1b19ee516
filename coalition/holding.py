"""Hold points for a redemption: authorise them, then capture or void the hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

from coalition.amounts import Points
from coalition.clock import wall
from coalition.ids import AgreementId, MemberId, PartnerId
from coalition.keys import check_key
from coalition.ledger.posting import Posting, TransactionRef, call, fingerprint, posting_of
from coalition.receipts import NO_RECEIPT, Receipt

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_AUTHORIZE: Final = "SELECT * FROM ledger.post_authorize(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
_CAPTURE: Final = "SELECT * FROM ledger.post_capture(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
_VOID: Final = "SELECT * FROM ledger.post_void(%s, %s, %s, %s, %s, %s, %s, %s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizeRedemption:
    """A partner's wish to set points aside that it may take later."""

    member_id: MemberId
    partner_id: PartnerId
    points: Points
    idempotency_key: str
    request: Mapping[str, object]
    """What the caller asked, from which the fingerprint is made."""
    agreement_id: AgreementId | None = None
    """The redeemer's, as it holds now: its R counts, whenever the hold is captured."""
    seconds_to_live: int | None = None
    """None: as long as the programme says."""
    occurred_at: datetime | None = None
    confirmation_id: UUID | None = None
    """The member's own consent; without one the programme's limit holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRedemption:
    """A partner's wish to take the points that it had set aside, or some of them."""

    hold: TransactionRef
    partner_id: PartnerId
    idempotency_key: str
    request: Mapping[str, object]
    points: Points | None = None
    """None: all that are held."""
    receipt: Receipt | None = None
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidRedemption:
    """A partner's wish to let a hold go."""

    hold: TransactionRef
    partner_id: PartnerId
    idempotency_key: str
    request: Mapping[str, object]
    occurred_at: datetime | None = None


def authorize_redemption(session: Session, command: AuthorizeRedemption) -> Posting:
    """Set points aside, of the lots that a redemption would spend now. The posting's reference is the hold.

    Raises:
        PointsInvalid, HoldTimeInvalid, MemberUnknown, OccurredTooLongAgo, PartnerNotActive,
        PartnerRoleMissing, AgreementMissing, MemberBlocked, ConfirmationInvalid, ConsentRequired,
        InsufficientPoints: nothing has moved.
        IdempotencyConflict: the key was used for a different request.
        TermsSuperseded: another agreement is in force than the one named.
    """
    check_key(command.idempotency_key)
    [row] = call(
        session,
        _AUTHORIZE,
        (
            command.member_id,
            command.partner_id,
            command.agreement_id,
            command.points,
            command.idempotency_key,
            fingerprint("authorize", command.request),
            command.seconds_to_live,
            command.occurred_at,
            command.confirmation_id,
            wall(),
        ),
    )
    return posting_of(row)


def capture_redemption(session: Session, command: CaptureRedemption) -> Posting:
    """Spend points of a hold and release the rest; the hold is over.

    It consumes the very lots that were set aside, even such as have expired since. What is released of
    an expired lot lapses at once.

    Raises:
        PointsInvalid, ReceiptDuplicate, ReceiptRevision, OccurredTooLongAgo, PartnerNotActive,
        HoldUnknown, HoldCaptured, HoldVoided, HoldLapsed, HoldExceeded: nothing has moved.
        IdempotencyConflict: the key was used for a different request.
    """
    check_key(command.idempotency_key)
    [row] = call(
        session,
        _CAPTURE,
        (
            command.hold.member_id,
            command.partner_id,
            command.hold.business_date,
            command.hold.transaction_id,
            command.points,
            command.idempotency_key,
            fingerprint("capture", command.request),
            *(command.receipt.as_arguments() if command.receipt else NO_RECEIPT),
            command.occurred_at,
            wall(),
        ),
    )
    return posting_of(row)


def void_redemption(session: Session, command: VoidRedemption) -> Posting:
    """Release all points of a hold; the hold is over.

    Raises:
        OccurredTooLongAgo, PartnerNotActive, HoldUnknown, HoldCaptured, HoldVoided, HoldLapsed: nothing
        has moved.
        IdempotencyConflict: the key was used for a different request.
    """
    check_key(command.idempotency_key)
    [row] = call(
        session,
        _VOID,
        (
            command.hold.member_id,
            command.partner_id,
            command.hold.business_date,
            command.hold.transaction_id,
            command.idempotency_key,
            fingerprint("void", command.request),
            command.occurred_at,
            wall(),
        ),
    )
    return posting_of(row)
