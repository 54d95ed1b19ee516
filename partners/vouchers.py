"""Vouchers as members carry them and tills check them: a signed token for a hold of the ledger.

The token is a JSON Web Token (ES256, `typ` "voucher+jwt") of less than 600 characters, short enough for a QR
code, signed with the keys that the API publishes for its access tokens. Its claims:

    iss     the programme's address              aud     the code of the one partner that may take it
    jti     the voucher's own id                 points  how many it is good for, at the most
    iat     since when, exp until when a purchase may be paid with it (seconds, by the programme's clock)

A till that is offline believes it after `check`. What it cannot know there is whether the voucher was taken
before, at another till of the partner's: it keeps the ids that it took.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet
from sqlalchemy.orm import Session

from coalition import vouchers
from coalition.amounts import Points
from coalition.holding import Hold
from coalition.ids import MemberId, PartnerId, TransactionId
from coalition.ledger import Posting, TransactionRef
from coalition.receipts import Receipt
from partners.keys import ALGORITHM, KeyRing
from partners.memory import Memory
from partners.terms import check_points, local_date
from partners.till import asked_moment, at_terms_in_force, check_money, spelled

_TYPE: Final = "voucher+jwt"
_LONGEST: Final = 1_000  # characters; ours have less than 600
_MOST_SECONDS: Final = 2**31 - 1
_ID_BYTES: Final = 36  # member, day, transaction
SLOW_CLOCK: Final = timedelta(minutes=5)
"""How far a till's clock may be behind the programme's."""

NO_HOLD: Final = TransactionRef(
    member_id=MemberId(UUID(int=0)), business_date=date(2000, 1, 1), transaction_id=TransactionId(UUID(int=0))
)
"""What a forged voucher stands for: the kernel refuses it in its place in the order."""


class VoucherRejected(Exception):
    """A till must not take this voucher. The message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a voucher that was checked says."""

    voucher_id: str
    partner_code: str
    points: int
    good_from: datetime
    redeem_by: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """A member's wish to have a voucher."""

    member_id: MemberId
    partner_id: PartnerId
    points: int
    idempotency_key: str
    seconds_to_live: int | None = None
    """None: as long as the programme says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeem:
    """A partner's wish to be given the points of a voucher, or some of them; the rest is released."""

    hold: TransactionRef
    """What `reference_in` made of the token that was presented."""
    partner_id: PartnerId
    idempotency_key: str
    points: int | None = None
    """None: all that it is good for."""
    amount: Decimal | None = None
    """The money that the points stand for at the till, by which parts of it can be given back."""
    receipt: Receipt | None = None
    occurred_at: datetime | None = None


def issue(session: Session, wish: Issue) -> Posting:
    """Set points aside for a voucher; the terms that hold now say what the partner is paid for them.

    Raises:
        PointsInvalid, HoldTimeInvalid, MemberUnknown, PartnerUnknown, PartnerNotActive, PartnerRoleMissing,
        AgreementMissing, MemberBlocked, VoucherLimitExceeded, InsufficientPoints, LimitExceeded,
        ReviewRejected, UnderReview: nothing has moved.
        IdempotencyConflict: the key was used for a different request.
    """
    check_points(wish.points)
    return at_terms_in_force(session, wish.partner_id, lambda memory: _issue(session, wish, memory))


def redeem(session: Session, wish: Redeem) -> Posting:
    """Spend the points of a voucher, once.

    Raises:
        PointsInvalid, InvalidInput, OccurredInFuture, ReceiptDuplicate, ReceiptRevision, OccurredTooLongAgo,
        PartnerNotActive, StoreUnknown, VoucherInvalid, VoucherUsed, VoucherExpired, VoucherExceeded: nothing
        has moved.
        IdempotencyConflict: the key was used for a different request.
    """
    check_money(wish.amount)
    if wish.points is not None:
        check_points(wish.points)
    return at_terms_in_force(session, wish.partner_id, lambda memory: _redeem(session, wish, memory))


def sign(hold: Hold, *, keys: KeyRing, issuer: str, partner_code: str) -> str:
    """The token of a voucher. Signed anew it reads otherwise and is the same voucher."""
    assert hold.redeem_by is not None, "a hold that is a partner's own has no voucher"
    key = keys.signing()
    claims = {
        "iss": issuer,
        "aud": partner_code,
        "jti": _id_of(hold.ref),
        "points": hold.points,
        "iat": int(hold.authorized_at.timestamp()),
        "exp": int(hold.redeem_by.timestamp()),
    }
    header = {"alg": ALGORITHM, "typ": _TYPE, "kid": key.kid}
    return jwt.encode(header, claims, key, algorithms=[ALGORITHM])


def reference_in(token: str, keys: KeyRing) -> TransactionRef | None:
    """The hold for which a voucher stands; None: we never signed this one.

    The keys that have been retired since it was signed count too. Whether it is still good, and whose it is,
    the ledger says.
    """
    try:
        claims = _claims(token, keys.that_ever_signed)
    except VoucherRejected:
        return None
    return _reference(claims.get("jti"))


def check(token: str, *, keys: Mapping[str, Any], partner_code: str, at: datetime) -> Checked:
    """What a till can know of a voucher while it is offline: that it may be taken, and for how much.

    Args:
        token: The voucher, as the member showed it.
        keys: The key set that the API publishes (JWK Set), as the till had it when it was last online.
        partner_code: The till's own partner.
        at: The till's time, with its zone.

    Raises:
        VoucherRejected: forged, damaged, another partner's, or not good at this time.
    """
    known = {key.kid: key for key in KeySet.import_key_set(keys).keys if isinstance(key, ECKey)}  # type: ignore[arg-type]
    claims = _claims(token, known.get)
    voucher_id, code, points = claims.get("jti"), claims.get("aud"), claims.get("points")
    since, until = claims.get("iat"), claims.get("exp")
    if code != partner_code:
        raise VoucherRejected("the voucher is for another partner")
    if (
        _reference(voucher_id) is None
        or not isinstance(points, int)
        or not isinstance(since, int)
        or not isinstance(until, int)
    ):
        raise VoucherRejected("the voucher is malformed")
    checked = Checked(
        voucher_id=str(voucher_id),
        partner_code=partner_code,
        points=points,
        good_from=datetime.fromtimestamp(since, UTC),
        redeem_by=datetime.fromtimestamp(until, UTC),
    )
    if at >= checked.redeem_by:
        raise VoucherRejected(f"the voucher was good until {checked.redeem_by:%Y-%m-%d %H:%M:%S} UTC")
    if at < checked.good_from - SLOW_CLOCK:
        raise VoucherRejected("the voucher is not good yet by this clock")
    return checked


def _issue(session: Session, wish: Issue, memory: Memory) -> Posting:
    day = local_date(memory.moment(session, None), memory.zone(session))
    agreement = memory.agreement(session, partner_id=wish.partner_id, on=day)
    return vouchers.issue_voucher(
        session,
        vouchers.IssueVoucher(
            member_id=wish.member_id,
            partner_id=wish.partner_id,
            points=Points(wish.points),
            idempotency_key=wish.idempotency_key,
            agreement_id=None if agreement is None else agreement.agreement_id,
            # What no column can hold is too long as well; the kernel says so in its place in the order.
            seconds_to_live=None
            if wish.seconds_to_live is None
            else min(wish.seconds_to_live, _MOST_SECONDS),
        ),
    )


def _redeem(session: Session, wish: Redeem, memory: Memory) -> Posting:
    # First: it refuses what could not be told in UTC.
    occurred_at = memory.moment(session, wish.occurred_at)
    return vouchers.redeem_voucher(
        session,
        vouchers.RedeemVoucher(
            hold=wish.hold,
            partner_id=wish.partner_id,
            idempotency_key=wish.idempotency_key,
            request={
                "voucher": wish.hold.transaction_id,
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


def _claims(token: str, key_of: Callable[[str], ECKey | None]) -> Mapping[str, Any]:
    """What a token says, once its signature is found to be ours.

    Raises:
        VoucherRejected: it is not.
    """
    if len(token) > _LONGEST:
        raise VoucherRejected("this is no voucher")
    try:
        header: Any = jws.extract_compact(token.encode("ascii")).headers()
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise VoucherRejected("this is no voucher") from error
    # The algorithm is ours to name and never the token's; nor is an access token a voucher.
    if not isinstance(header, dict) or header.get("alg") != ALGORITHM or header.get("typ") != _TYPE:
        raise VoucherRejected("this is no voucher")
    kid = header.get("kid")
    key = key_of(kid) if isinstance(kid, str) else None
    if key is None:
        raise VoucherRejected("the voucher was signed with a key that is not known here")
    try:
        claims = jwt.decode(token, key, algorithms=[ALGORITHM]).claims
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise VoucherRejected("the voucher's signature does not verify") from error
    if not isinstance(claims, dict):
        raise VoucherRejected("the voucher is malformed")
    return claims


def _id_of(hold: TransactionRef) -> str:
    packed = hold.member_id.bytes + hold.business_date.toordinal().to_bytes(4) + hold.transaction_id.bytes
    return base64.urlsafe_b64encode(packed).decode()


def _reference(voucher_id: object) -> TransactionRef | None:
    try:
        packed = base64.urlsafe_b64decode(str(voucher_id).encode("ascii"))
        if len(packed) != _ID_BYTES:
            return None
        return TransactionRef(
            member_id=MemberId(UUID(bytes=packed[:16])),
            business_date=date.fromordinal(int.from_bytes(packed[16:20])),
            transaction_id=TransactionId(UUID(bytes=packed[20:])),
        )
    except (binascii.Error, ValueError, OverflowError):
        return None
