"""Quotes beside what the ledger then does: the same answer, and nothing has moved."""

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from operating import START, Coalition
from sqlalchemy import text

from coalition.amounts import Points
from coalition.blocking import set_blocked
from coalition.errors import CoalitionError
from coalition.identifier_changes import Actor, ChangeIdentifier, block
from coalition.ids import NETWORK, MemberId
from coalition.members import Identifier, IdentifierKind, LinkIdentifier, find_named, link_identifier
from coalition.merging import MergeMembers, merge_members
from coalition.pooling import OpenPool, PoolSpenders, accept_invitation, invite_to_pool, open_pool
from coalition.programme import set_consent_limit, set_late_days
from partners import holds, till
from partners.directory import Partner
from partners.limits import (
    LimitAction,
    LimitMeasure,
    LimitPosting,
    LimitScope,
    PublishLimit,
    publish_limit,
)
from partners.quotes import QuoteIssue, QuoteRedemption, RedemptionQuote, quote_issue, quote_redemption


@dataclass
class Household:
    """Ada has 100 points for long, and 50 for short; Ben has 300 between the two."""

    coalition: Coalition
    grocer: Partner
    ada: MemberId
    ben: MemberId

    def quote(
        self, points: int, *, by: MemberId | None = None, from_pool: bool = True
    ) -> RedemptionQuote | str:
        question = QuoteRedemption(
            partner_id=self.grocer.partner_id, member_id=by or self.ada, points=points, from_pool=from_pool
        )
        with self.coalition.nothing_moves(), self.coalition.database.reading() as session:
            try:
                return quote_redemption(session, question)
            except CoalitionError as refusal:
                return refusal.code

    def redeem(self, points: int, *, by: MemberId | None = None) -> int | str:
        """How many the others gave, or why nothing was posted; it is taken back again."""
        wish = self.coalition.wish(till.Redeem, by or self.ada, self.grocer, points=points, from_pool=True)
        given = text("SELECT coalesce(sum(points), 0) FROM ledger.transaction WHERE kind = 'pool_in'")
        with self.coalition.database.unit_of_work() as session:
            before = session.execute(given).scalar_one()
            try:
                till.redeem(session, wish)
            except CoalitionError as refusal:
                return refusal.code
            drawn = int(session.execute(given).scalar_one() - before)
            session.rollback()
        return drawn


def household(coalition: Coalition, **rules: Any) -> Household:
    grocer = coalition.trading(expiry_months=24)
    middle, short = coalition.trading("middle", expiry_months=12), coalition.trading("short", expiry_months=6)
    ada, ben = coalition.member(of=grocer), coalition.member(of=grocer)
    coalition.issue(ada, grocer, points=100)
    coalition.issue(ada, short, points=50)
    coalition.issue(ben, middle, points=300)
    pool_id: UUID = uuid4()
    with coalition.database.unit_of_work() as session:
        open_pool(session, OpenPool(member_id=ada, pool_id=pool_id, name="Home", **rules))
        invite_to_pool(session, ada, invited=ben)
        accept_invitation(session, ben, pool_id)
    return Household(coalition, grocer, ada, ben)


@pytest.mark.parametrize("own_first", [True, False])
@pytest.mark.parametrize("limit", [None, 120])
def test_a_quote_from_a_pool_is_what_the_ledger_then_draws(
    coalition: Coalition, own_first: bool, limit: int | None
) -> None:
    home = household(
        coalition, own_first=own_first, spender_limit_points=None if limit is None else Points(limit)
    )
    drawn = {}
    for points in (50, 60, 150, 151, 170, 171, 270, 271, 450, 451):
        quote, done = home.quote(points), home.redeem(points)
        if isinstance(quote, str):
            assert quote == done == "POOL_LIMIT_EXCEEDED"
        elif not quote.sufficient:
            assert done == "INSUFFICIENT_POINTS"
        else:
            assert quote.of_pool == done
            assert quote.available == 450
            drawn[points] = done
    assert drawn[60] == (0 if own_first else 10)
    assert (450 in drawn) == (limit is None)


def test_without_being_asked_for_a_pool_gives_nothing(coalition: Coalition) -> None:
    home = household(coalition)
    quote = home.quote(151, from_pool=False)
    assert isinstance(quote, RedemptionQuote)
    assert (quote.available, quote.of_pool, quote.sufficient) == (150, 0, False)


def test_what_the_others_took_of_a_limit_is_taken(coalition: Coalition) -> None:
    home = household(coalition, spender_limit_points=Points(120))
    coalition.redeem(home.ada, home.grocer, points=200, from_pool=True)
    quote = home.quote(70)
    assert isinstance(quote, RedemptionQuote)
    assert quote.of_pool == home.redeem(70) == 70
    assert home.quote(71) == home.redeem(71) == "POOL_LIMIT_EXCEEDED"


def test_who_may_not_spend_from_a_pool_is_told_so_and_before_that_it_is_blocked(coalition: Coalition) -> None:
    home = household(coalition, spenders=PoolSpenders.HEAD)
    assert isinstance(home.quote(200), RedemptionQuote)
    assert home.quote(200, by=home.ben) == home.redeem(200, by=home.ben) == "POOL_HEAD_ONLY"
    alone = coalition.member(of=home.grocer)
    assert home.quote(1, by=alone) == home.redeem(1, by=alone) == "NOT_IN_POOL"
    with coalition.database.unit_of_work() as session:
        for one in (home.ben, alone):
            set_blocked(session, one, blocked=True, by="test", reason=None)
    assert home.quote(1, by=alone) == home.redeem(1, by=alone) == "NOT_IN_POOL"
    # And who is blocked gives nothing.
    quote = home.quote(200)
    assert isinstance(quote, RedemptionQuote)
    assert (quote.available, quote.sufficient, home.redeem(200)) == (150, False, "INSUFFICIENT_POINTS")


def test_what_is_held_counts_for_consent_as_in_the_ledger(coalition: Coalition) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    coalition.issue(member, grocer, points=1_000)
    with coalition.database.unit_of_work() as session:
        set_consent_limit(session, points=Points(500))
    allowed = Household(coalition, grocer, member, member)

    def left() -> int:
        quote = allowed.quote(1, from_pool=False)
        assert isinstance(quote, RedemptionQuote)
        return quote.allowed_without_confirmation

    with coalition.database.unit_of_work() as session:
        held = holds.authorize(session, coalition.wish(holds.Authorize, member, grocer, points=200))
    assert left() == 300
    with coalition.refused("CONSENT_REQUIRED") as told:
        coalition.redeem(member, grocer, points=301)
    assert told[0].facts["allowed"] == 300
    with coalition.database.unit_of_work() as session:
        holds.capture(
            session,
            holds.Capture(hold=held.ref, partner_id=grocer.partner_id, idempotency_key="c", points=50),
        )
    assert left() == 450
    with coalition.refused("CONSENT_REQUIRED") as told:
        coalition.redeem(member, grocer, points=451)
    assert told[0].facts["allowed"] == 450


def test_what_merged_records_gave_counts_for_consent_in_a_quote_too(coalition: Coalition) -> None:
    grocer = coalition.trading()
    ada, twin = coalition.member(of=grocer), coalition.member(of=grocer)
    for member in (ada, twin):
        coalition.issue(member, grocer, points=1_000)
    with coalition.database.unit_of_work() as session:
        set_consent_limit(session, points=Points(500))
    coalition.redeem(twin, grocer, points=200)
    coalition.redeem(ada, grocer, points=100)
    with coalition.database.unit_of_work() as session:
        merge_members(session, MergeMembers(survivor=ada, merged=twin, idempotency_key="m", by="op"))
    quote = Household(coalition, grocer, ada, ada).quote(1, from_pool=False)
    assert isinstance(quote, RedemptionQuote)
    assert quote.allowed_without_confirmation == 200
    with coalition.refused("CONSENT_REQUIRED") as told:
        coalition.redeem(ada, grocer, points=201)
    assert told[0].facts["allowed"] == 200


def asked(coalition: Coalition, question: QuoteIssue | QuoteRedemption) -> str:
    """Why the quote is refused; nothing has moved."""
    ask: Any = quote_issue if isinstance(question, QuoteIssue) else quote_redemption
    with (
        coalition.nothing_moves(),
        coalition.database.reading() as session,
        pytest.raises(CoalitionError) as refusal,
    ):
        ask(session, question)
    return refusal.value.code


def test_what_is_posted_too_late_is_quoted_so(coalition: Coalition) -> None:
    grocer = coalition.trading()
    coalition.publish(grocer)
    member = coalition.member(of=grocer)
    with coalition.database.unit_of_work() as session:
        set_late_days(session, days=5)
    wish = {"partner_id": grocer.partner_id, "member_id": member, "points": 1}
    for kind in (QuoteIssue, QuoteRedemption):
        too_late = kind(**wish, occurred_at=START - timedelta(days=5, seconds=1))
        assert asked(coalition, too_late) == "OCCURRED_TOO_LONG_AGO"
        # The last moment that is taken; that there were no terms is judged after that.
        assert asked(coalition, kind(**wish, occurred_at=START - timedelta(days=5))) == "AGREEMENT_MISSING"


def test_a_record_that_was_merged_is_quoted_nothing(coalition: Coalition) -> None:
    grocer = coalition.trading()
    ada, twin = coalition.member(of=grocer), coalition.member(of=grocer)
    with coalition.database.unit_of_work() as session:
        merge_members(session, MergeMembers(survivor=ada, merged=twin, idempotency_key="m", by="test"))
    for kind in (QuoteIssue, QuoteRedemption):
        question = kind(partner_id=grocer.partner_id, member_id=twin, points=1)
        assert asked(coalition, question) == "MEMBER_MERGED"


def test_of_two_reasons_a_quote_names_the_one_that_the_posting_would(coalition: Coalition) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    with coalition.database.unit_of_work() as session:
        set_blocked(session, member, blocked=True, by="test", reason=None)
    wish = QuoteIssue(partner_id=grocer.partner_id, member_id=member, amount=Decimal(5), funding_plan="none")
    assert asked(coalition, wish) == "FUNDING_PLAN_UNKNOWN"
    with coalition.refused("FUNDING_PLAN_UNKNOWN"):
        coalition.issue(member, grocer, amount=Decimal(5), funding_plan="none")
    too_much = {"amount": Decimal(10**10), "funding_plan": "none"}
    assert asked(coalition, replace(wish, **too_much)) == "POINTS_INVALID"
    with coalition.refused("POINTS_INVALID"):
        coalition.issue(member, grocer, **too_much)


def test_points_that_nobody_has_count_against_a_pools_limit(coalition: Coalition) -> None:
    home = household(coalition, spender_limit_points=Points(310))
    assert home.quote(461) == home.redeem(461) == "POOL_LIMIT_EXCEEDED"
    assert isinstance(home.quote(460), RedemptionQuote)
    assert home.redeem(460) == "INSUFFICIENT_POINTS"


@pytest.mark.parametrize("action", LimitAction)
@pytest.mark.parametrize("from_pool", [False, True])
def test_where_points_do_not_suffice_no_limit_is_asked(
    coalition: Coalition, action: LimitAction, *, from_pool: bool
) -> None:
    home = household(coalition)
    with coalition.database.unit_of_work() as session:
        publish_limit(
            session,
            PublishLimit(
                code="none",
                scope=LimitScope.MEMBER,
                posting=LimitPosting.REDEEM,
                measure=LimitMeasure.COUNT,
                most=0,
                period=None,
                action=action,
                published_by="test",
            ),
        )
    have = 450 if from_pool else 150
    quote = home.quote(have + 1, from_pool=from_pool)
    assert isinstance(quote, RedemptionQuote)
    assert (quote.available, quote.sufficient) == (have, False)
    with coalition.refused("INSUFFICIENT_POINTS"):
        coalition.redeem(home.ada, home.grocer, points=have + 1, from_pool=from_pool)
    limited = {LimitAction.REFUSE: "LIMIT_EXCEEDED", LimitAction.REVIEW: "UNDER_REVIEW"}[action]
    assert home.quote(have, from_pool=from_pool) == limited
    with coalition.refused(limited):
        coalition.redeem(home.ada, home.grocer, points=have, from_pool=from_pool)


def test_a_blocked_identifier_comes_before_a_pools_limit(coalition: Coalition) -> None:
    home = household(coalition, spender_limit_points=Points(10))
    card = Identifier(kind=IdentifierKind.CARD, value="CARD1")
    with coalition.database.unit_of_work() as session:
        link_identifier(
            session,
            LinkIdentifier(member_id=home.ada, partner_id=home.grocer.partner_id, identifier=card),
        )
        named = find_named(session, card)
        assert named is not None
        assert named.identifier_id is not None
        block(
            session,
            ChangeIdentifier(
                member_id=home.ada, identifier_id=named.identifier_id, by=Actor(name="test", party_id=NETWORK)
            ),
        )
    question = QuoteRedemption(
        partner_id=home.grocer.partner_id,
        member_id=home.ada,
        points=300,
        from_pool=True,
        identifier_id=named.identifier_id,
    )
    assert asked(coalition, question) == "IDENTIFIER_BLOCKED"
    assert asked(coalition, replace(question, identifier_id=None)) == "POOL_LIMIT_EXCEEDED"
    # Nor is it passed over where points do not suffice.
    assert asked(coalition, replace(question, points=1_000, from_pool=False)) == "IDENTIFIER_BLOCKED"


def test_a_hold_that_is_over_leaves_room_before_anything_was_posted(coalition: Coalition) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    coalition.issue(member, grocer, points=1_000)
    with coalition.database.unit_of_work() as session:
        set_consent_limit(session, points=Points(500))
        publish_limit(
            session,
            PublishLimit(
                code="once",
                scope=LimitScope.MEMBER,
                posting=LimitPosting.REDEEM,
                measure=LimitMeasure.COUNT,
                most=1,
                period=None,
                action=LimitAction.REFUSE,
                partner_id=None,
                published_by="test",
            ),
        )
        holds.authorize(
            session, coalition.wish(holds.Authorize, member, grocer, points=200, seconds_to_live=60)
        )
    question = Household(coalition, grocer, member, member)
    coalition.pass_time(seconds=59)
    assert question.quote(1, from_pool=False) == "LIMIT_EXCEEDED"
    coalition.pass_time(seconds=1)
    quote = question.quote(500, from_pool=False)
    assert isinstance(quote, RedemptionQuote)
    assert (quote.available, quote.allowed_without_confirmation) == (1_000, 500)
    coalition.redeem(member, grocer, points=500)
