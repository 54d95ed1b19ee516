"""Hold points for a redemption: authorise them, then capture or void the hold; and look holds up."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, cast, not_, or_, select, tuple_

from coalition import clock
from coalition.amounts import Points
from coalition.clock import wall
from coalition.errors import InvalidInput
from coalition.ids import AgreementId, MemberId, PartnerId, PartyId, TransactionId
from coalition.keys import check_key
from coalition.ledger import tables
from coalition.ledger.posting import Posting, TransactionRef, call, fingerprint, posting_of
from coalition.paging import Key, Page, PageRequest, page_of
from coalition.reasons import keep, stand_in
from coalition.receipts import NO_RECEIPT, Receipt

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_AUTHORIZE: Final = "SELECT * FROM ledger.post_authorize(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
_CAPTURE: Final = (
    "SELECT * FROM ledger.post_capture(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
_VOID: Final = "SELECT * FROM ledger.post_void(%s, %s, %s, %s, %s, %s, %s, %s, %s)"


_h: Final = tables.hold.c
_ORDER: Final = (_h.authorized_at, _h.transaction_id)

KEY_LENGTH: Final = 2
"""Columns of a cursor's key."""

HoldState = Literal["open", "captured", "voided", "lapsed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Points that a partner set aside."""

    ref: TransactionRef
    """The authorisation."""
    partner_id: PartnerId
    points: Points
    authorized_at: datetime
    lapses_at: datetime
    state: HoldState
    """As of now: one whose time is over is lapsed, posted or not."""
    captured: Points
    closed_by: TransactionRef | None
    """What captured or voided it, or posted its lapse."""
    redeem_by: datetime | None = None
    """Of a voucher: until when it is good for a purchase; None: it is the partner's own."""


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
    identifier_id: UUID | None = None
    """The identifier that the member was named by, if it was named by one."""
    from_pool: bool = False
    """Whether the others of the member's household pool give what the member lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRedemption:
    """A partner's wish to take the points that it had set aside, or some of them."""

    hold: TransactionRef
    partner_id: PartnerId
    idempotency_key: str
    request: Mapping[str, object]
    points: Points | None = None
    """None: all that are held."""
    amount: Decimal | None = None
    """The money that they stand for at the till, by which parts of it can be given back."""
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
    reason: str | None = None
    """In the caller's words. No part of what the key stands for."""


def authorize_redemption(session: Session, command: AuthorizeRedemption) -> Posting:
    """Set points aside, of the lots that a redemption would spend now. The posting's reference is the hold.

    Raises:
        PointsInvalid, HoldTimeInvalid, MemberUnknown, OccurredInFuture, OccurredTooLongAgo,
        PartnerNotActive, PartnerRoleMissing, AgreementMissing, MemberBlocked, ConfirmationInvalid,
        ConsentRequired, InsufficientPoints, LimitExceeded, ReviewRejected, UnderReview: nothing has moved.
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
            command.identifier_id,
            command.from_pool,
        ),
    )
    return posting_of(row)


def capture_redemption(session: Session, command: CaptureRedemption) -> Posting:
    """Spend points of a hold and release the rest; the hold is over.

    It consumes the very lots that were set aside, even such as have expired since. What is released of
    an expired lot lapses at once.

    Raises:
        PointsInvalid, ReceiptDuplicate, ReceiptRevision, OccurredInFuture, OccurredTooLongAgo,
        PartnerNotActive, HoldUnknown, HoldCaptured, HoldVoided, HoldLapsed, HoldExceeded: nothing has moved.
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
            command.amount,
        ),
    )
    return posting_of(row)


def void_redemption(session: Session, command: VoidRedemption) -> Posting:
    """Release all points of a hold; the hold is over.

    Raises:
        InvalidInput: the reason can't be stored.
        OccurredInFuture, OccurredTooLongAgo, PartnerNotActive, HoldUnknown, HoldCaptured, HoldVoided,
        HoldLapsed: nothing has moved.
        IdempotencyConflict: the key was used for a different request.
    """
    check_key(command.idempotency_key)
    words = stand_in(session, command.reason)
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
            words and words.digest,
        ),
    )
    posting = posting_of(row)
    keep(session, words, posting)
    return posting


def get_holds(session: Session, refs: Collection[TransactionRef]) -> dict[TransactionRef, Hold]:
    """Several holds in one statement; those that do not exist are left out."""
    keys = [(ref.member_id, ref.business_date, ref.transaction_id) for ref in refs]
    query = select(tables.hold).where(tuple_(_h.member_id, _h.business_date, _h.transaction_id).in_(keys))
    return {hold.ref: hold for hold in _read(session, query)}


def list_holds(
    session: Session,
    member_id: MemberId | None,
    page: PageRequest,
    *,
    partner_id: PartyId | None = None,
    state: HoldState | None = None,
) -> Page[Hold]:
    """A page of holds, the newest first: of one member, one partner, or that stand so, where these are named.

    Raises:
        InvalidInput: a cursor's key is none of this list's.
    """
    query = select(tables.hold)
    if member_id is not None:
        query = query.where(_h.member_id == member_id)
    if partner_id is not None:
        query = query.where(_h.partner_id == partner_id)
    if state is not None:
        query = query.where(_stands_so(session, state))
    for name, key in (("after", page.after), ("before", page.before)):
        if key is not None:
            values = zip(_checked(key, name), _ORDER, strict=True)
            bound = tuple_(*(cast(value, column.type) for value, column in values))
            # Newest first: what comes after a row is smaller.
            query = query.where(tuple_(*_ORDER) < bound if name == "after" else tuple_(*_ORDER) > bound)
    query = query.order_by(*(column if page.backwards else column.desc() for column in _ORDER))

    def fetch(limit: int) -> Sequence[Hold]:
        found = _read(session, query.limit(limit))
        return found[::-1] if page.backwards else found

    return page_of(page, fetch)


def _stands_so(session: Session, state: HoldState) -> ColumnElement[bool]:
    """As `_hold` has it: one whose time is over is lapsed, posted or not."""
    over = and_(_h.state == "open", _h.lapses_at <= clock.now(session))
    if state == "lapsed":
        return or_(_h.state == "lapsed", over)
    return and_(_h.state == state, not_(over))


def key_of(hold: Hold) -> Key:
    """Where the hold stands in that list."""
    return hold.authorized_at.isoformat(), str(hold.ref.transaction_id)


def _checked(key: Key, name: str) -> tuple[datetime, UUID]:
    try:
        return datetime.fromisoformat(key[0]), UUID(key[1])
    except ValueError as error:
        raise InvalidInput(f"{name} is not a cursor of this list", field=(name,)) from error


def _read(session: Session, query: Select[Any]) -> list[Hold]:
    now = clock.now(session)
    return [_hold(row, now) for row in session.execute(query)]


def _hold(row: Any, now: datetime) -> Hold:
    def ref(business_date: date, transaction_id: UUID) -> TransactionRef:
        return TransactionRef(
            member_id=row.member_id,
            business_date=business_date,
            transaction_id=TransactionId(transaction_id),
        )

    return Hold(
        ref=ref(row.business_date, row.transaction_id),
        partner_id=row.partner_id,
        points=row.points,
        authorized_at=row.authorized_at,
        lapses_at=row.lapses_at,
        state="lapsed" if row.state == "open" and row.lapses_at <= now else row.state,
        captured=row.captured,
        closed_by=None if row.closed_id is None else ref(row.closed_date, row.closed_id),
        redeem_by=row.redeem_by,
    )
