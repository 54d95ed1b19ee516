"""What an issue or a redemption would do, told beforehand; nothing moves."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from coalition import windows
from coalition.amounts import Points
from coalition.errors import FundingPlanUnknown
from coalition.ids import FundingPlanId, MemberId, PartnerId
from coalition.ledger.tables import transaction
from coalition.members import get_balance
from coalition.programme import get_programme
from partners.agreements import Agreement
from partners.guards import check_issue, check_limits, check_redemption
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RedemptionQuote:
    """Whether the redemption would be granted, by which terms."""

    points: Points
    available: Points
    """What the member can spend now, in the whole network."""
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
    agreement = check_issue(
        session,
        member_id=question.member_id,
        partner_id=question.partner_id,
        on=local_date(occurred_at, zone),
    )
    plan_id = None
    if question.funding_plan is not None:
        plan_id = memory.funding_plan(session, question.funding_plan)
        if plan_id is None:
            raise FundingPlanUnknown
    evaluated = evaluate(
        agreement, points=question.points, amount=question.amount, occurred_at=occurred_at, zone=zone
    )
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
        PointsInvalid, OccurredInFuture, MemberUnknown, PartnerUnknown, PartnerNotActive,
        PartnerRoleMissing, AgreementMissing, MemberBlocked, LimitExceeded: it would be refused for that.
        UnderReview: the operator would look at it first.
    """
    points = check_points(question.points)
    memory = memory_of(session)
    occurred_at = memory.moment(session, question.occurred_at)
    agreement = check_redemption(
        session,
        member_id=question.member_id,
        partner_id=question.partner_id,
        on=local_date(occurred_at, memory.zone(session)),
    )
    check_limits(
        session,
        member_id=question.member_id,
        partner_id=question.partner_id,
        posting="redeem",
        points=points,
        identifier_id=question.identifier_id,
    )
    limit = get_programme(session).consent_limit_points
    taken = _taken_without_confirmation(session, question)
    return RedemptionQuote(
        points=points,
        available=get_balance(session, question.member_id).available,
        allowed_without_confirmation=Points(max(limit - taken, 0)),
        agreement=agreement,
    )


def _taken_without_confirmation(session: Session, question: QuoteRedemption) -> int:
    query = select(func.coalesce(func.sum(transaction.c.points), 0)).where(
        transaction.c.member_id == question.member_id,
        transaction.c.business_date == windows.open_window(session).business_date,
        transaction.c.kind == "redeem",
        transaction.c.partner_id == question.partner_id,
        transaction.c.confirmation_id.is_(None),
    )
    return int(session.execute(query).scalar_one())
