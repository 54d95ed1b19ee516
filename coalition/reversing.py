"""Reverse an issue or a redemption, whole or in part, by a new transaction that names it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from coalition.amounts import Points
from coalition.clock import wall
from coalition.ids import AgreementId, PartnerId
from coalition.keys import check_key
from coalition.ledger.posting import Posting, TransactionRef, call, fingerprint, posting_of
from coalition.reasons import keep, stand_in

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_POST: Final = "SELECT * FROM ledger.post_reverse(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReverseTransaction:
    """A partner's wish to undo one of its own issues, redemptions or captures, or a part of it."""

    ref: TransactionRef
    partner_id: PartnerId
    idempotency_key: str
    request: Mapping[str, object]
    agreement_id: AgreementId | None = None
    """The partner's, as it holds now: its R is what a deficit's recovery will pay it."""
    points: Points | None = None
    """How many to undo; None: all that is left."""
    amount: Decimal | None = None
    """The money that the customer got back, where the points were worked out of it."""
    amount_before: Decimal = Decimal(0)
    """What earlier reversals took back of it, as the caller knew it when it worked the points out."""
    occurred_at: datetime | None = None
    reason: str | None = None
    """In the partner's words. No part of what the key stands for."""


def reverse_transaction(session: Session, command: ReverseTransaction) -> Posting:
    """Undo an issue or a redemption, or a part of it.

    An issue gives back what is left in its lot, pending points first, at the lot's own prices; of held
    points it takes back what their hold releases; points already spent become the issuer's claim where the
    agreement's return policy is `unlimited`. A redemption gives points back to the lots they came from,
    the last drawn first. The posting's points are those that moved.

    Raises:
        PointsInvalid, OccurredInFuture, OccurredTooLongAgo, PartnerNotActive, TransactionUnknown,
        NotReversible, AlreadyReversed, ReversalExceeded, ReturnPolicyForbids, MemberHasHolds: nothing has
        moved.
        IdempotencyConflict: the key was used for a different request.
        TermsSuperseded: another reversal took back money meanwhile; work the points out again.
    """
    check_key(command.idempotency_key)
    words = stand_in(session, command.reason)
    [row] = call(
        session,
        _POST,
        (
            command.ref.member_id,
            command.partner_id,
            command.ref.business_date,
            command.ref.transaction_id,
            command.agreement_id,
            command.points,
            command.amount,
            command.amount_before,
            command.idempotency_key,
            fingerprint("reverse", command.request),
            command.occurred_at,
            words and words.digest,
            wall(),
        ),
    )
    posting = posting_of(row)
    keep(session, words, posting)
    return posting
