"""What an issue or a redemption would do, told beforehand; nothing moves."""

import copy
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from coalition.amounts import MAX_POINTS

from . import identifiers, limits, pools
from .lasting import end_of_life
from .programme import Programme, Refusals


@dataclass(frozen=True, kw_only=True)
class IssueQuote:
    points: int
    expires_at: datetime
    terms: int
    """The number of those by which it is reckoned."""
    plan: int | None


@dataclass(frozen=True, kw_only=True)
class RedemptionQuote:
    points: int
    available: int
    of_pool: int
    allowed: int
    """Without asking the member."""
    terms: int

    @property
    def good(self) -> bool:
        """Whether it would be granted, without asking the member."""
        return self.points <= min(self.available, self.allowed)


def issue(
    p: Programme,
    *,
    member: int | None,
    partner: str,
    points: int | None,
    amount: Decimal | None,
    plan: int | None,
    occurred_at: datetime,
    identifier: int | None,
) -> IssueQuote:
    """A point for each whole unit of money; for no member in particular, where none is named."""
    no = Refusals()
    no("INVALID_INPUT", when=(points is None) == (amount is None))
    p.judge_points(no, points)
    p.judge_future(no, occurred_at)
    no.end()
    earned = points if points is not None else int(amount or 0)
    no("MEMBER_UNKNOWN", when=member is not None and not p.knows(member))
    if member is not None and p.knows(member):
        p.judge_member(no, member)
    terms = p.judge_partner(no, partner, "issuer", occurred_at)
    no("POINTS_INVALID", when=terms is not None and earned > MAX_POINTS)
    no("FUNDING_PLAN_UNKNOWN", when=plan is not None and plan >= len(p.plans))
    if member is not None and p.knows(member):
        no("MEMBER_BLOCKED", when=p.members[member].blocked)
        identifiers.judge_named(p, no, member, identifier)
    no.end()
    assert terms is not None
    if member is not None:
        _judge_limits(p, member=member, partner=partner, kind="issue", points=earned, identifier=identifier)
    return IssueQuote(
        points=earned, expires_at=end_of_life(occurred_at, terms), terms=terms.number, plan=plan
    )


def redemption(
    p: Programme,
    *,
    member: int,
    partner: str,
    points: int,
    occurred_at: datetime,
    identifier: int | None,
    from_pool: bool,
) -> RedemptionQuote:
    """Too few points, or the need to ask the member, is an answer; all else stands against it as against the wish.

    What a pool's members have is as it is read: a hold with points of others has these until it lapses.
    """
    p = copy.deepcopy(p)
    no = Refusals()
    p.judge_points(no, points)
    p.judge_future(no, occurred_at)
    no.end()
    no("MEMBER_UNKNOWN", when=not p.knows(member))
    no.end()
    p.judge_member(no, member)
    terms = p.judge_partner(no, partner, "redeemer", occurred_at)
    if from_pool:
        pools.judge_spender(p, no, member)
    no("MEMBER_BLOCKED", when=p.members[member].blocked)
    identifiers.judge_named(p, no, member, identifier)
    no.end()
    assert terms is not None
    p.members[member].bring_up_to_date(p.now)
    own = available = p.members[member].balance[0]
    of_pool = 0
    if from_pool:
        pool = pools.pool_of(p, member)
        assert pool
        others = pools.others_of(p, pool, member)
        for other in others:
            other.bring_up_to_date(p.now)
        available += sum(other.balance[0] for other in others)
        shares = pools.drawn_from(p, pool, member, points)
        own = shares.pop(member, 0)
        of_pool = sum(shares.values())
        if pool.limit is not None:
            allowed = max(pool.limit - pools.taken_of_others(p, member), 0)
            no("POOL_LIMIT_EXCEEDED", when=points - own > allowed, allowed=allowed, requested=points - own)
    no.end()
    if points <= available:
        _judge_limits(p, member=member, partner=partner, kind="redeem", points=points, identifier=identifier)
    return RedemptionQuote(
        points=points,
        available=available,
        of_pool=of_pool,
        allowed=p.allowed_unasked(member, partner),
        terms=terms.number,
    )


def _judge_limits(p: Programme, *, identifier: int | None, **posting: Any) -> None:
    """As of a wish without a key: nothing was decided of it, and nothing is remembered."""
    limits.judge(p, key="", request=None, card=identifiers.card_of(p, identifier), **posting)
