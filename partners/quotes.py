"""What an issue or a redemption would do, told beforehand; nothing moves."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from coalition import clock, windows
from coalition.amounts import Points
from coalition.drawing import draw_of
from coalition.errors import PoolLimitExceeded
from coalition.ids import FundingPlanId, MemberId, PartnerId
from coalition.members import get_balance
from coalition.programme import get_programme
from partners.agreements import Agreement, agreement_in_force
from partners.guards import check_identifier, check_issue, check_limits, check_redemption
from partners.memory import memory_of
from partners.terms import check_points, evaluate, local_date
from partners.till import checked_value


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteIssue:
    """What would a member get for points, or for money spent?"""

    partner_id: PartnerId
    member_id: MemberId | None = None
    """None: any member."""
    points: int | None = None
    amount: Decimal | None = None
    funding_plan: str | None = None
    occurred_at: datetime | None = None
    identifier_id: UUID | None = None
    """The identifier that the member was named by, if it was named by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueQuote:
    """What the issue would give, by which terms."""

    points: Points
    occurred_at: datetime
    matures_at: datetime | None
    """None: spendable at once."""
    expires_at: datetime | None
    """None: never."""
    agreement: Agreement
    funding_plan_id: FundingPlanId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteRedemption:
    """Could a member spend so many points here?"""

    partner_id: PartnerId
    member_id: MemberId
    points: int
    occurred_at: datetime | None = None
    identifier_id: UUID | None = None
    """The identifier that the member was named by, if it was named by one."""
    from_pool: bool = False
    """Whether the others of the member's household pool would give what the member lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedemptionQuote:
    """Whether the redemption would be granted, by which terms."""

    points: Points
    available: Points
    """What the member can spend now, in the whole network; with `from_pool`, what it and its pool have."""
    of_pool: Points
    """How many of the points would come from others of the pool."""
    allowed_without_confirmation: Points
    """What this partner may still take from the member in this window without asking."""
    agreement: Agreement

    @property
    def sufficient(self) -> bool:
        """Are there points enough?"""
        return self.points <= self.available

    @property
    def needs_confirmation(self) -> bool:
        """Must the member confirm it?"""
        return self.points > self.allowed_without_confirmation


def quote_issue(session: Session, question: QuoteIssue) -> IssueQuote:
    """What an issue would give.

    Raises:
        The refusals of `partners.till.issue`, but those of keys and receipts.
    """
    checked_value(points=question.points, amount=question.amount)
    memory = memory_of(session)
    zone = memory.zone(session)
    occurred_at = memory.moment(session, question.occurred_at)
    in_force = agreement_in_force(session, partner_id=question.partner_id, on=local_date(occurred_at, zone))
    # Whether it is a value that can be posted comes first; without terms nobody knows.
    evaluated = (
        None
        if in_force is None
        else evaluate(
            in_force, points=question.points, amount=question.amount, occurred_at=occurred_at, zone=zone
        )
    )
    plan = question.funding_plan
    plan_id = None if plan is None else memory.funding_plan(session, plan)
    agreement = check_issue(
        session,
        member_id=question.member_id,
        partner_id=question.partner_id,
        occurred_at=occurred_at,
        agreement=in_force,
        plan_known=plan is None or plan_id is not None,
    )
    assert evaluated is not None, "who has terms was told what they give"
    if question.member_id is not None:
        check_limits(
            session,
            member_id=question.member_id,
            partner_id=question.partner_id,
            posting="issue",
            points=evaluated.points,
            identifier_id=question.identifier_id,
        )
    return IssueQuote(
        points=evaluated.points,
        occurred_at=occurred_at,
        matures_at=evaluated.matures_at,
        expires_at=evaluated.expires_at,
        agreement=agreement,
        funding_plan_id=plan_id,
    )


def quote_redemption(session: Session, question: QuoteRedemption) -> RedemptionQuote:
    """Whether a redemption would be granted.

    Too few points, or the need to ask the member, is the answer and no refusal.

    Raises:
        PointsInvalid, OccurredInFuture, MemberUnknown, MemberErased, MemberMerged, OccurredTooLongAgo,
        PartnerUnknown, PartnerNotActive, PartnerRoleMissing, AgreementMissing, NotInPool, PoolHeadOnly,
        MemberBlocked, IdentifierBlocked, CardReplaced, IdentifierUnlinked, PoolLimitExceeded, LimitExceeded:
        it would be refused for that.
        UnderReview: the operator would look at it first.
    """
    points = check_points(question.points)
    memory = memory_of(session)
    occurred_at = memory.moment(session, question.occurred_at)
    agreement = check_redemption(
        session,
        member_id=question.member_id,
        partner_id=question.partner_id,
        occurred_at=occurred_at,
        agreement=agreement_in_force(
            session, partner_id=question.partner_id, on=local_date(occurred_at, memory.zone(session))
        ),
        from_pool=question.from_pool,
    )
    draw = draw_of(session, question.member_id, points) if question.from_pool else None
    available = get_balance(session, question.member_id).available if draw is None else draw.total
    if draw is not None and draw.allowed is not None and draw.asked_of_others > draw.allowed:
        check_identifier(session, member_id=question.member_id, identifier_id=question.identifier_id)
        raise PoolLimitExceeded(allowed=draw.allowed, requested=draw.asked_of_others)
    if points > available:
        # The posting would not come to the limits.
        check_identifier(session, member_id=question.member_id, identifier_id=question.identifier_id)
    else:
        check_limits(
            session,
            member_id=question.member_id,
            partner_id=question.partner_id,
            posting="redeem",
            points=points,
            identifier_id=question.identifier_id,
        )
    limit = get_programme(session).consent_limit_points
    taken = _taken_unasked(session, question)
    return RedemptionQuote(
        points=points,
        available=available,
        of_pool=Points(0) if draw is None else draw.of_others,
        allowed_without_confirmation=Points(max(limit - taken, 0)),
        agreement=agreement,
    )


def _taken_unasked(session: Session, question: QuoteRedemption) -> int:
    """What counts against the limit of consent in the open window, as the kernel counts it."""
    business_date = windows.open_window(session).business_date
    taken = select(
        func.ledger.taken_unasked(question.member_id, question.partner_id, business_date, clock.now(session))
    )
    return int(session.execute(taken).scalar_one())
