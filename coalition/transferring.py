"""Transfer points: one member gives them to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from coalition.amounts import MAX_POINTS, Points
from coalition.clock import wall
from coalition.errors import PointsInvalid
from coalition.ids import MemberId
from coalition.keys import check_key
from coalition.ledger.posting import Posting, call, fingerprint, posting_of
from coalition.reasons import keep, stand_in

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_POST: Final = "SELECT * FROM ledger.post_transfer(%s, %s, %s, %s, %s, %s, %s, %s, %s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPoints:
    """A member's wish to give points to somebody."""

    member_id: MemberId
    to: MemberId
    points: Points
    idempotency_key: str
    """Its scope is the giver."""
    reason: str | None = None
    """In the giver's words; the receiver reads them too. No part of what the key stands for."""
    by: str | None = None
    """Who of the operator's does it on the giver's behalf, for the record; None: the giver does.

    No part of what the key stands for.
    """
    named: MemberId | None = None
    """Whom the giver named, where `to` has that one's points since a merge; None: `to` itself.

    The wish is remembered by it, so that a merge between two tries does not make it another wish.
    """
    holder: MemberId | None = None
    """Whose identifier named the giver, where that one was merged into it; None: the giver itself.

    The key is remembered for it too, so that an un-merge between two tries does not make it another wish.
    """


def transfer_points(session: Session, command: TransferPoints) -> Posting:
    """Give points to another member: those that expire soonest first, with issuer and expiry kept.

    The receiver's part is a transaction of its own in the same window; what the receiver owes is paid off
    from what arrives. The posting is the giver's.

    Raises:
        PointsInvalid, MemberUnknown, MemberMerged, TransferToOneself, MemberBlocked, TransferLimitExceeded,
        InsufficientPoints: nothing has moved.
        IdempotencyConflict: the key was used for a different request.
    """
    check_key(command.idempotency_key)
    if abs(command.points) > MAX_POINTS:
        # The kernel says so too, in its place in the order, but takes no number of more than 64 bits.
        raise PointsInvalid(points=command.points)
    words = stand_in(session, command.reason)
    asked = {"to": command.named or command.to, "points": command.points}
    [row] = call(
        session,
        _POST,
        (
            command.member_id,
            command.to,
            command.points,
            command.idempotency_key,
            fingerprint("transfer", asked),
            words and words.digest,
            wall(),
            command.holder,
            command.by,
        ),
    )
    posting = posting_of(row)
    keep(session, words, posting)
    return posting
