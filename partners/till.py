"""What a till asks of the network: issue, redeem, reverse; `partners.holds` has the rest.

Evaluates the partner's terms and hands the kernel a wish that is priced and timed. The API, the file
import and the bench all come through here. In the usual case each is one statement, so that it can run
in a `single_call`. In a unit of work each runs under a savepoint: a refusal undoes that wish alone.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy.orm import Session

from coalition.amounts import Points
from coalition.db.engine import driver_of
from coalition.errors import DatabaseUnavailable, InvalidInput, PointsInvalid
from coalition.history import REVERSIBLE, Transaction, amount_returned, find_by_key, find_transaction
from coalition.ids import FundingPlanId, MemberId, PartnerId
from coalition.issuing import IssuePoints, issue_points
from coalition.ledger import Posting, TransactionRef
from coalition.ledger.posting import TermsSuperseded
from coalition.reasons import check_reason
from coalition.receipts import Receipt
from coalition.redeeming import RedeemPoints, redeem_points
from coalition.reversing import ReverseTransaction, reverse_transaction
from partners.agreements import agreement_in_force, get_agreements
from partners.earning import points_for, share_of
from partners.memory import Memory, memory_of
from partners.terms import Evaluation, check_amount, check_points, evaluate, local_date

T = TypeVar("T")

_TRIES: Final = 3
_NO_PLAN: Final = FundingPlanId(UUID(int=0))
"""A plan that never exists: the kernel refuses it in its place in the order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """Give a member points, as a number or for money spent: one of the two."""

    member_id: MemberId
    partner_id: PartnerId
    idempotency_key: str
    points: int | None = None
    amount: Decimal | None = None
    """Money spent, in the programme's currency."""
    funding_plan: str | None = None
    """A plan's code; None: the issuer alone pays."""
    identifier_id: UUID | None = None
    """The identifier that the member was named by, if it was named by one."""
    receipt: Receipt | None = None
    occurred_at: datetime | None = None
    """By the till's clock; None is now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeem:
    """Take points from a member."""

    member_id: MemberId
    partner_id: PartnerId
    points: int
    idempotency_key: str
    amount: Decimal | None = None
    """The money that the points stand for at the till, by which parts of it can be given back."""
    receipt: Receipt | None = None
    occurred_at: datetime | None = None
    confirmation_id: UUID | None = None
    """The member's own consent, needed beyond the programme's limit."""
    identifier_id: UUID | None = None
    """The identifier that the member was named by, if it was named by one."""
    from_pool: bool = False
    """Whether the others of the member's household pool give what the member lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverse:
    """Undo one of the partner's own issues, redemptions or captures: a part of it, or all that is left."""

    reference: TransactionRef
    partner_id: PartnerId
    idempotency_key: str
    points: int | None = None
    """How many points of it to undo."""
    amount: Decimal | None = None
    """Or the money that the customer gets back, of an issue that was posted as money."""
    occurred_at: datetime | None = None
    reason: str | None = None


def issue(session: Session, wish: Issue) -> Posting:
    """Issue points at the terms that held when the purchase occurred.

    Money that earns less than a point makes a posting of 0 points: its receipt is claimed, no lot made.

    Raises:
        InvalidInput, PointsInvalid, OccurredInFuture, MemberUnknown, ReceiptDuplicate, ReceiptRevision,
        PartnerNotActive, PartnerRoleMissing, StoreUnknown, AgreementMissing, FundingPlanUnknown,
        MemberBlocked, LimitExceeded, ReviewRejected, UnderReview: nothing has moved.
        IdempotencyConflict: the key was used for a different request.
    """
    return at_terms_in_force(
        session, wish.partner_id, lambda memory: issue_points(session, issue_command(session, wish, memory))
    )


def redeem(session: Session, wish: Redeem) -> Posting:
    """Redeem points; the terms that held when it occurred say what the partner is paid for them.

    Raises:
        InvalidInput, PointsInvalid, OccurredInFuture, MemberUnknown, ReceiptDuplicate, ReceiptRevision,
        PartnerNotActive, PartnerRoleMissing, StoreUnknown, AgreementMissing, MemberBlocked,
        ConfirmationInvalid, ConsentRequired, InsufficientPoints, LimitExceeded, ReviewRejected, UnderReview:
        nothing has moved.
        IdempotencyConflict: the key was used for a different request.
    """
    return at_terms_in_force(
        session, wish.partner_id, lambda memory: redeem_points(session, redeem_command(session, wish, memory))
    )


def reverse(session: Session, wish: Reverse) -> Posting:
    """Undo an issue or a redemption, or a part of it, at the prices that it was made at.

    A part that is given as money takes back what that money had earned: what all that was spent and not yet
    returned earns by the terms of the issue, less what the rest of it does. So the parts of a purchase that
    is returned bit by bit add up to what it earned, however each is rounded. Of a redemption it gives back
    the money's share of the points, in the same way.

    Raises:
        InvalidInput, PointsInvalid, OccurredInFuture, OccurredTooLongAgo, PartnerNotActive,
        TransactionUnknown, NotReversible, AlreadyReversed, ReversalExceeded, ReturnPolicyForbids,
        MemberHasHolds: nothing has moved.
        IdempotencyConflict: the key was used for a different request.
    """
    check_reason(wish.reason)
    if wish.points is not None and wish.amount is not None:
        raise InvalidInput("give points, an amount of money, or neither for all", field=("input", "points"))
    check_money(wish.amount)
    if wish.points is not None:
        check_points(wish.points)
    return at_terms_in_force(session, wish.partner_id, lambda memory: _reverse(session, wish, memory))


def checked_value(*, points: int | None, amount: Decimal | None) -> None:
    """See that an issue is given as points or as money, and as a value that can be posted.

    Raises:
        InvalidInput: both or neither was given, or the money cannot be stored exactly.
        PointsInvalid: one transaction cannot move so many.
    """
    if (points is None) == (amount is None):
        raise InvalidInput("give points or an amount of money, one of the two", field=("input", "points"))
    if amount is not None:
        check_amount(amount)
    if points is not None:
        check_points(points)


def check_money(amount: Decimal | None) -> None:
    """See that money which comes with points, or goes back, is some and can be stored.

    Raises:
        InvalidInput: it is none, or cannot be stored exactly.
    """
    if amount is not None and not check_amount(amount):
        raise InvalidInput("give more than no money", field=("input", "amount"))


def issue_command(session: Session, wish: Issue, memory: Memory) -> IssuePoints:
    """The wish as the ledger takes it: in points, with the terms that are remembered for its day.

    Raises:
        InvalidInput, PointsInvalid, OccurredInFuture: it is nothing that could be posted.
    """
    checked_value(points=wish.points, amount=wish.amount)
    zone = memory.zone(session)
    occurred_at = memory.moment(session, wish.occurred_at)
    day = local_date(occurred_at, zone)
    agreement = memory.agreement(session, partner_id=wish.partner_id, on=day)
    plan_id = None
    if wish.funding_plan is not None:
        plan_id = memory.funding_plan(session, wish.funding_plan) or _NO_PLAN
    # Where there are no terms the kernel refuses, in its place in the order; a replay still gets its answer.
    evaluated = Evaluation(points=Points(wish.points or 0), matures_at=None, expires_at=None)
    if agreement is not None:
        try:
            evaluated = evaluate(
                agreement, points=wish.points, amount=wish.amount, occurred_at=occurred_at, zone=zone
            )
        except (InvalidInput, PointsInvalid):
            in_force = agreement_in_force(session, partner_id=wish.partner_id, on=day)
            if in_force is None or in_force.agreement_id != agreement.agreement_id:
                raise TermsSuperseded from None
            # Terms that were published since do not undo what was posted: its key still gets its answer.
            if not find_by_key(
                session, member_id=wish.member_id, partner_id=wish.partner_id, key=wish.idempotency_key
            ):
                raise
    return IssuePoints(
        member_id=wish.member_id,
        partner_id=wish.partner_id,
        points=evaluated.points,
        idempotency_key=wish.idempotency_key,
        request={
            "points": wish.points,
            "amount": spelled(wish.amount),
            "funding_plan": wish.funding_plan,
            "receipt": wish.receipt.as_request() if wish.receipt else None,
            "occurred_at": asked_moment(wish.occurred_at),
        },
        agreement_id=None if agreement is None else agreement.agreement_id,
        funding_plan_id=plan_id,
        amount=wish.amount,
        receipt=wish.receipt,
        occurred_at=occurred_at,
        matures_at=evaluated.matures_at,
        expires_at=evaluated.expires_at,
        identifier_id=wish.identifier_id,
    )


def redeem_command(session: Session, wish: Redeem, memory: Memory) -> RedeemPoints:
    """The wish as the ledger takes it, with the terms that are remembered for its day.

    Raises:
        PointsInvalid, InvalidInput, OccurredInFuture: it is nothing that could be posted.
    """
    check_money(wish.amount)
    check_points(wish.points)
    zone = memory.zone(session)
    occurred_at = memory.moment(session, wish.occurred_at)
    agreement = memory.agreement(session, partner_id=wish.partner_id, on=local_date(occurred_at, zone))
    return RedeemPoints(
        member_id=wish.member_id,
        partner_id=wish.partner_id,
        points=Points(wish.points),
        idempotency_key=wish.idempotency_key,
        request={
            "points": wish.points,
            "amount": spelled(wish.amount),
            "receipt": wish.receipt.as_request() if wish.receipt else None,
            "occurred_at": asked_moment(wish.occurred_at),
            # Not the confirmation: it lasts minutes, and the wish may wait for an operator for longer.
            "from_pool": wish.from_pool,
        },
        agreement_id=None if agreement is None else agreement.agreement_id,
        amount=wish.amount,
        receipt=wish.receipt,
        occurred_at=occurred_at,
        confirmation_id=wish.confirmation_id,
        identifier_id=wish.identifier_id,
        from_pool=wish.from_pool,
    )


def _reverse(session: Session, wish: Reverse, memory: Memory) -> Posting:
    zone = memory.zone(session)
    now = memory.moment(session, None)
    occurred_at = now if wish.occurred_at is None else memory.moment(session, wish.occurred_at)
    # Not from memory: the kernel cannot tell whether these terms are stale, since what it reverses
    # is priced by other ones.
    agreement = agreement_in_force(session, partner_id=wish.partner_id, on=local_date(now, zone))
    part = _part(session, wish)
    return reverse_transaction(
        session,
        ReverseTransaction(
            ref=wish.reference,
            partner_id=wish.partner_id,
            idempotency_key=wish.idempotency_key,
            request={
                "business_date": wish.reference.business_date,
                "transaction": wish.reference.transaction_id,
                "points": wish.points,
                "amount": spelled(wish.amount),
                "occurred_at": asked_moment(wish.occurred_at),
            },
            agreement_id=None if agreement is None else agreement.agreement_id,
            points=part.points,
            amount=wish.amount,
            amount_before=part.amount_before,
            occurred_at=occurred_at,
            reason=wish.reason,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    points: Points | None
    amount_before: Decimal = Decimal(0)


def _part(session: Session, wish: Reverse) -> _Part:
    """How many points a reversal undoes; None: all that is left, as the kernel finds it."""
    if wish.amount is None:
        return _Part(points=None if wish.points is None else Points(wish.points))
    posted = find_transaction(session, wish.reference, partner_id=wish.partner_id)
    if posted is None or posted.kind not in REVERSIBLE:
        # The kernel refuses both in their place in the order; how many points, it does not come to.
        return _Part(points=None)
    if posted.amount is None:
        raise InvalidInput("This was posted without money; give points.", field=("input", "amount"))
    before = amount_returned(session, wish.reference)
    worth = _worth(session, posted)
    left = posted.amount - before
    # Where more is asked for than is left, the kernel refuses it by the money.
    points = worth(left) - worth(max(left - wish.amount, Decimal(0)))
    return _Part(points=Points(points), amount_before=before)


def _worth(session: Session, posted: Transaction) -> Callable[[Decimal], int]:
    """How many of its points are those of so much of its money."""
    whole = posted.amount
    assert whole is not None, "it was posted with money"
    if posted.kind != "issue":
        return lambda money: share_of(posted.points, money, whole)
    assert posted.agreement_id is not None, "an issue has terms"
    rule = get_agreements(session, [posted.agreement_id])[posted.agreement_id].earn_rule
    assert rule is not None, "money was turned into points by a rule"
    return lambda money: points_for(rule, money)


def at_terms_in_force(session: Session, partner_id: PartnerId, post: Callable[[Memory], T]) -> T:
    """Post by what is remembered of the partner's terms, and once more where that was out of date."""
    memory = memory_of(session)
    for _ in range(_TRIES):
        try:
            with _undone_alone(session):
                return post(memory)
        except TermsSuperseded:
            memory.forget(partner_id)
    raise DatabaseUnavailable("The partner's terms are being published; try again shortly.")


def _undone_alone(session: Session) -> contextlib.AbstractContextManager[object]:
    return contextlib.nullcontext() if driver_of(session).autocommit else session.begin_nested()


def spelled(amount: Decimal | None) -> str | None:
    """Money as a fingerprint has it: 5, 5.0 and 5.00 are the same wish."""
    return None if amount is None else f"{amount.normalize():f}"


def asked_moment(moment: datetime | None) -> datetime | None:
    """A moment as a fingerprint has it: one instant in two zones is the same wish."""
    return None if moment is None else moment.astimezone(UTC)
