"""What a till asks: priced, timed, and one statement each."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from operating import START, TODAY, Coalition, statements_of
from sqlalchemy import Engine, text

from coalition import clock
from coalition.amounts import Points
from coalition.audit import AUDIT, TERMS, run_audit
from coalition.db import Database
from coalition.errors import (
    AlreadyReversed,
    ConsentRequired,
    InsufficientPoints,
    InvalidInput,
    UnderReview,
)
from coalition.ids import NETWORK, MemberId
from coalition.ledger import Posting
from coalition.members import ConfirmRedemption, confirm_redemption
from coalition.paging import PageRequest
from coalition.programme import OpenProgramme, open_programme, set_consent_limit
from coalition.receipts import Receipt
from coalition.reviewing import ReviewState, list_reviews, queue_review, release
from partners import holds, till
from partners.agreements import ReturnPolicy
from partners.directory import Partner, PartnerState, set_partner_state
from partners.earning import EarnRounding, EarnRule
from partners.funding import PublishFundingPlan, publish_funding_plan
from partners.limits import (
    LimitAction,
    LimitMeasure,
    LimitPosting,
    LimitScope,
    PublishLimit,
    publish_limit,
)
from partners.quotes import QuoteIssue, QuoteRedemption, quote_issue, quote_redemption
from partners.terms import local_date


def test_points_are_issued_and_redeemed_at_another_partner(coalition: Coalition) -> None:
    grocer, baker = coalition.trading("grocer"), coalition.trading("baker")
    member = coalition.member(of=grocer)

    issued = coalition.issue(member, grocer, points=100)
    redeemed = coalition.redeem(member, baker, points=30)

    assert (issued.points, issued.balance.available) == (100, 100)
    assert (redeemed.points, redeemed.balance.available) == (30, 70)


def test_money_earns_by_the_agreements_rule(coalition: Coalition) -> None:
    rule = EarnRule(points=Decimal(1), amount=Decimal(3), rounding=EarnRounding.UP)
    grocer = coalition.trading(earn_rule=rule)
    member = coalition.member(of=grocer)

    assert coalition.issue(member, grocer, amount=Decimal("10.00")).points == 4


@pytest.mark.parametrize("rounding", EarnRounding)
def test_the_audit_works_out_what_money_earned(
    coalition: Coalition, superuser_engine: Engine, rounding: EarnRounding
) -> None:
    rule = EarnRule(points=Decimal("1.5"), amount=Decimal("0.70"), rounding=rounding)
    grocer = coalition.trading(earn_rule=rule, return_policy=ReturnPolicy.UNLIMITED)
    member = coalition.member(of=grocer)
    for cents in (0, 1, 23, 24, 35, 70, 105, 163, 164, 999_999_999):
        issued = coalition.issue(member, grocer, amount=Decimal(cents) / 100)
    coalition.issue(member, grocer, points=3)

    def found() -> list[tuple[str, str]]:
        with coalition.database.reading() as session:
            return [(one.check, one.id) for one in run_audit(session, checks=(*AUDIT, *TERMS))]

    assert found() == []
    ref = issued.ref
    with superuser_engine.begin() as connection:
        connection.execute(
            text("UPDATE ledger.transaction SET amount = amount + 1 WHERE transaction_id = :id"),
            {"id": ref.transaction_id},
        )
    row = f"{ref.member_id}/{ref.business_date}/{ref.transaction_id}"
    assert found() == [("issues_earn_what_their_terms_give", row)]


def test_money_that_earns_nothing_claims_its_receipt_and_makes_no_lot(coalition: Coalition) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    line = Receipt(store="1", terminal="2", number="3")

    posted = coalition.issue(member, grocer, amount=Decimal("0.99"), receipt=line)

    assert posted.points == 0
    assert coalition.rows("SELECT count(*) FROM ledger.receipt") == [(1,)]
    assert coalition.rows("SELECT count(*) FROM ledger.lot") == [(0,)]


def test_the_usual_posting_is_the_kernels_call_alone(coalition: Coalition) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    coalition.issue(member, grocer, points=100, occurred_at=START)

    with statements_of(coalition.database) as sent:
        coalition.issue(member, grocer, points=1, occurred_at=START)
        coalition.redeem(member, grocer, points=1, occurred_at=START)

    assert sent == []


def test_in_production_a_posting_without_a_time_is_one_statement_too(database: Database) -> None:
    with database.unit_of_work() as session:
        today = local_date(clock.wall(), open_programme(session, OpenProgramme(name="Real")).tz)
    coalition = Coalition(database)
    grocer = coalition.trading(valid_from=today)
    member = coalition.member(of=grocer)
    coalition.issue(member, grocer, points=10)

    with statements_of(database) as sent:
        coalition.issue(member, grocer, points=1)
        coalition.redeem(member, grocer, points=1)

    assert sent == []
    ahead = clock.wall() + timedelta(minutes=6)
    with coalition.refused("OCCURRED_IN_FUTURE"):
        coalition.issue(member, grocer, points=1, occurred_at=ahead)


def test_terms_published_meanwhile_are_found_by_a_till_that_remembers_the_old_ones(
    coalition: Coalition,
) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    coalition.issue(member, grocer, amount=Decimal(10))

    new = coalition.publish(grocer, earn_rule=EarnRule(points=Decimal(5), amount=Decimal(1))).agreement

    assert coalition.issue(member, grocer, amount=Decimal(10)).points == 50
    assert coalition.rows(
        "SELECT agreement_id FROM ledger.lot WHERE points = 50 AND agreement_id = :id", id=new.agreement_id
    )


def test_remembered_terms_without_a_rule_do_not_refuse_what_new_ones_allow(coalition: Coalition) -> None:
    grocer = coalition.trading(earn_rule=None)
    member = coalition.member(of=grocer)
    coalition.issue(member, grocer, points=1)

    coalition.publish(grocer, earn_rule=EarnRule(points=Decimal(5), amount=Decimal(1)))

    assert coalition.issue(member, grocer, amount=Decimal(10)).points == 50


def test_a_replay_gets_its_answer_although_new_terms_would_refuse_it(coalition: Coalition) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    first = coalition.issue(member, grocer, amount=Decimal(10), idempotency_key="k")

    coalition.publish(grocer, earn_rule=None)

    again = coalition.issue(member, grocer, amount=Decimal(10), idempotency_key="k")
    assert (again.replayed, again.ref, again.points) == (True, first.ref, first.points)
    with coalition.refused("INVALID_INPUT"):
        coalition.issue(member, grocer, amount=Decimal(10), idempotency_key="another")


def test_a_plan_that_is_unknown_comes_after_a_key_that_is_used(coalition: Coalition) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    coalition.issue(member, grocer, points=1, idempotency_key="k")

    with coalition.refused("IDEMPOTENCY_CONFLICT"):
        coalition.issue(member, grocer, points=1, funding_plan="none", idempotency_key="k")


def test_stale_terms_in_a_unit_of_work_cost_that_unit_nothing(coalition: Coalition) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    coalition.issue(member, grocer, amount=Decimal(10))
    coalition.publish(grocer, earn_rule=EarnRule(points=Decimal(5), amount=Decimal(1)))

    with coalition.database.unit_of_work() as session:
        first = till.issue(session, coalition.wish(till.Issue, member, grocer, amount=Decimal(10)))
        with pytest.raises(InsufficientPoints):
            till.redeem(session, coalition.wish(till.Redeem, member, grocer, points=1_000))
        second = till.issue(session, coalition.wish(till.Issue, member, grocer, points=1))

    assert (first.points, second.balance.available) == (50, 61)
    assert coalition.rows("SELECT available FROM ledger.member_head") == [(61,)]


def test_a_late_purchase_is_priced_by_the_terms_of_its_own_day(coalition: Coalition) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    coalition.publish(
        grocer, valid_from=TODAY + timedelta(days=1), earn_rule=EarnRule(points=Decimal(2), amount=Decimal(1))
    )
    coalition.set_clock(START + timedelta(days=2))

    # Half past eleven at night in Berlin is still that day there, and is another one in UTC in no case.
    yesterday = datetime(2026, 3, 2, 23, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    after_midnight = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)

    assert coalition.issue(member, grocer, amount=Decimal(10), occurred_at=yesterday).points == 10
    assert coalition.issue(member, grocer, amount=Decimal(10), occurred_at=after_midnight).points == 20


def test_points_mature_and_expire_as_the_terms_say(coalition: Coalition) -> None:
    grocer = coalition.trading(maturity_days=14, expiry_months=12)
    member = coalition.member(of=grocer)

    posted = coalition.issue(member, grocer, points=10)

    assert (posted.balance.pending, posted.balance.available) == (10, 0)
    # The whole second of March 2027 counts in Berlin.
    assert coalition.rows("SELECT matures_at, expires_at FROM ledger.lot") == [
        (START + timedelta(days=14), datetime(2027, 3, 2, 23, tzinfo=UTC))
    ]


def test_the_same_wish_in_other_words_is_a_replay(coalition: Coalition) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    first = coalition.issue(member, grocer, amount=Decimal(10), occurred_at=START, idempotency_key="k")

    berlin = START.astimezone(ZoneInfo("Europe/Berlin"))
    again = coalition.issue(member, grocer, amount=Decimal("10.00"), occurred_at=berlin, idempotency_key="k")

    assert again.replayed
    assert again.ref == first.ref


def test_a_replay_gets_its_answer_though_terms_changed(coalition: Coalition) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    coalition.issue(member, grocer, amount=Decimal(10), idempotency_key="k")
    coalition.publish(grocer, earn_rule=EarnRule(points=Decimal(9), amount=Decimal(1)))

    again = coalition.issue(member, grocer, amount=Decimal(10), idempotency_key="k")

    assert (again.points, again.replayed) == (10, True)
    with coalition.refused("IDEMPOTENCY_CONFLICT"):
        coalition.issue(member, grocer, amount=Decimal(11), idempotency_key="k")


BAD_ISSUES: list[tuple[str, dict[str, Any]]] = [
    ("POINTS_INVALID", {"points": 0}),
    ("POINTS_INVALID", {"points": -1}),
    ("POINTS_INVALID", {"points": 1_000_000_001}),
    ("POINTS_INVALID", {"amount": Decimal(2_000_000_000)}),
    ("INVALID_INPUT", {}),
    ("INVALID_INPUT", {"points": 1, "amount": Decimal(1)}),
    ("INVALID_INPUT", {"amount": Decimal("-0.01")}),
    ("INVALID_INPUT", {"amount": Decimal("0.00001")}),
    ("INVALID_INPUT", {"amount": Decimal("NaN")}),
    ("INVALID_INPUT", {"amount": Decimal("Infinity")}),
    ("INVALID_INPUT", {"amount": Decimal("1E+20")}),
    ("INVALID_INPUT", {"points": 1, "idempotency_key": ""}),
    ("INVALID_INPUT", {"points": 1, "occurred_at": datetime(2026, 3, 2)}),  # noqa: DTZ001 - the point
    ("INVALID_INPUT", {"points": 1, "occurred_at": datetime(1, 1, 1, tzinfo=UTC)}),
    ("OCCURRED_IN_FUTURE", {"points": 1, "occurred_at": START + timedelta(minutes=6)}),
    ("AGREEMENT_MISSING", {"points": 1, "occurred_at": START - timedelta(days=1)}),
    ("FUNDING_PLAN_UNKNOWN", {"points": 1, "funding_plan": "none"}),
]


def test_a_bad_issue_is_refused_and_nothing_moves(coalition: Coalition) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    coalition.issue(member, grocer, points=5)

    for code, wish in BAD_ISSUES:
        with coalition.refused(code):
            coalition.issue(member, grocer, **wish)


def test_a_bad_number_is_no_redemption(coalition: Coalition) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)

    for points in (0, -5, 1_000_000_001):
        with coalition.refused("POINTS_INVALID"):
            coalition.redeem(member, grocer, points=points)


def test_money_needs_a_rule(coalition: Coalition) -> None:
    grocer = coalition.trading(earn_rule=None)
    member = coalition.member(of=grocer)

    with coalition.refused("INVALID_INPUT") as told:
        coalition.issue(member, grocer, amount=Decimal(10))

    assert told[0].path == ("input", "amount")


def test_a_clock_five_minutes_fast_is_tolerated(coalition: Coalition) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)

    assert coalition.issue(member, grocer, points=1, occurred_at=START + timedelta(minutes=5)).points == 1
    # What was the future becomes the past once the clock is set.
    coalition.set_clock(START + timedelta(hours=1))
    assert coalition.issue(member, grocer, points=1, occurred_at=START + timedelta(hours=1)).points == 1


def test_refusals_come_in_their_order(coalition: Coalition) -> None:
    grocer = coalition.partner("grocer")
    nobody = MemberId(uuid4())
    wish: dict[str, Any] = {"points": 1, "funding_plan": "none"}
    with coalition.refused("MEMBER_UNKNOWN"):
        coalition.issue(nobody, grocer, **wish)
    member = coalition.member(of=grocer)
    with coalition.refused("AGREEMENT_MISSING"):
        coalition.issue(member, grocer, **wish)
    coalition.publish(grocer)
    with coalition.refused("FUNDING_PLAN_UNKNOWN"):
        coalition.issue(member, grocer, **wish)
    with coalition.database.unit_of_work() as session:
        set_partner_state(session, partner_id=grocer.partner_id, state=PartnerState.SUSPENDED)
    with coalition.refused("PARTNER_NOT_ACTIVE"):
        coalition.issue(member, grocer, **wish)


def test_a_lot_is_funded_by_the_plan_that_the_issue_names(coalition: Coalition) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    with coalition.database.unit_of_work() as session:
        plan = publish_funding_plan(
            session,
            PublishFundingPlan(
                code="spring",
                name="Spring",
                parts={grocer.partner_id: 500_000, NETWORK: 500_000},
                published_by="operator",
            ),
        )

    coalition.issue(member, grocer, points=5, funding_plan="spring")

    assert coalition.rows("SELECT funding_plan_id FROM ledger.lot") == [(plan.funding_plan_id,)]


def test_a_reversal_leaves_a_claim_at_the_terms_of_today(coalition: Coalition) -> None:
    grocer = coalition.trading(return_policy=ReturnPolicy.UNLIMITED)
    member = coalition.member(of=grocer)
    issued = coalition.issue(member, grocer, points=100)
    coalition.redeem(member, grocer, points=40)
    today = coalition.publish(grocer).agreement

    with coalition.database.unit_of_work() as session:
        reversed_ = till.reverse(
            session,
            till.Reverse(
                reference=issued.ref, partner_id=grocer.partner_id, idempotency_key="r", reason="returned"
            ),
        )

    assert (reversed_.points, reversed_.balance.deficit) == (60, 40)
    assert coalition.rows("SELECT agreement_id FROM ledger.deficit") == [(today.agreement_id,)]


def give_back(coalition: Coalition, posted: Posting, partner: Partner, amount: str) -> int:
    """Return a part as money; how many points that undid."""
    with coalition.database.single_call() as session:
        made = till.reverse(
            session,
            till.Reverse(
                reference=posted.ref,
                partner_id=partner.partner_id,
                idempotency_key=coalition.key(),
                amount=Decimal(amount),
            ),
        )
    return made.points


@pytest.mark.parametrize(
    ("spent", "parts", "points"),
    [
        ("10.50", ["10.00", "0.50"], [10, 0]),
        ("10.50", ["0.50", "10.00"], [0, 10]),
        ("0.90", ["0.10", "0.80"], [0, 0]),
        ("0.90", ["0.90"], [0]),
    ],
)
def test_a_purchase_is_returned_to_its_last_cent_though_its_points_are_gone(
    coalition: Coalition, spent: str, parts: list[str], points: list[int]
) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    bought = coalition.issue(member, grocer, amount=Decimal(spent))

    for part, undone in zip(parts, points, strict=True):
        with coalition.refused("REVERSAL_EXCEEDED") as told:
            give_back(coalition, bought, grocer, "10.51")
        assert told[0].path == ("input", "amount")
        assert give_back(coalition, bought, grocer, part) == undone

    with coalition.refused("ALREADY_REVERSED"):
        give_back(coalition, bought, grocer, "0.01")
    assert coalition.rows("SELECT available FROM ledger.member_head") == [(0,)]


def test_goods_for_one_point_are_returned_in_two_parts(coalition: Coalition) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    coalition.issue(member, grocer, points=1)
    paid = coalition.redeem(member, grocer, points=1, amount=Decimal(10))

    assert [give_back(coalition, paid, grocer, "5") for _ in range(2)] == [1, 0]

    with coalition.refused("ALREADY_REVERSED"):
        give_back(coalition, paid, grocer, "5")
    assert coalition.rows("SELECT available FROM ledger.member_head") == [(1,)]


def test_more_money_than_is_left_is_refused_by_the_money_though_its_points_are_gone(
    coalition: Coalition,
) -> None:
    grocer = coalition.trading()
    bought = coalition.issue(coalition.member(of=grocer), grocer, amount=Decimal("10.50"))
    give_back(coalition, bought, grocer, "10.00")

    with coalition.refused("REVERSAL_EXCEEDED") as told:
        give_back(coalition, bought, grocer, "0.51")

    assert told[0].message == "0.51 of the money was to go back, and 0.5 of it, and 0 points, are left."


@pytest.mark.parametrize("kind", ["issue", "redeem"])
def test_what_went_back_as_points_leaves_that_much_less_for_money(coalition: Coalition, kind: str) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    posted = coalition.issue(member, grocer, amount=Decimal(10))
    if kind == "redeem":
        posted = coalition.redeem(member, grocer, points=10, amount=Decimal(10))

    def back(points: int) -> None:
        with coalition.database.single_call() as session:
            wish = till.Reverse(
                reference=posted.ref,
                partner_id=grocer.partner_id,
                idempotency_key=coalition.key(),
                points=points,
            )
            till.reverse(session, wish)

    back(5)
    for amount in ("6.00", "9.00", "9.99", "10.00", "10.01"):
        with coalition.refused("REVERSAL_EXCEEDED") as told:
            give_back(coalition, posted, grocer, amount)
        assert told[0].facts["amount_left"] == "10"
    back(5)
    for amount in ("1.00", "10.00", "10.01"):
        with coalition.refused("ALREADY_REVERSED"):
            give_back(coalition, posted, grocer, amount)


def test_no_money_is_left_of_a_purchase_for_none(coalition: Coalition) -> None:
    grocer = coalition.trading()
    nothing = coalition.issue(coalition.member(of=grocer), grocer, amount=Decimal(0))

    with coalition.refused("REVERSAL_EXCEEDED"):
        give_back(coalition, nothing, grocer, "0.01")


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    cents=st.lists(st.integers(1, 400), min_size=1, max_size=5),
    earns=st.builds(
        EarnRule,
        points=st.sampled_from([Decimal(1), Decimal("0.3"), Decimal(7)]),
        amount=st.just(Decimal(1)),
        rounding=st.sampled_from(EarnRounding),
    ),
    points=st.none() | st.integers(1, 9),
)
@example(cents=[1_000, 50], earns=EarnRule(points=Decimal(1), amount=Decimal(1)), points=None)
@example(cents=[500, 500], earns=EarnRule(points=Decimal(1), amount=Decimal(1)), points=1)
def test_the_parts_of_a_purchase_add_up_to_it(
    coalition: Coalition, cents: list[int], earns: EarnRule, points: int | None
) -> None:
    """Bought, or paid with points: in whatever order and however small, each part is given back."""
    partner = coalition.trading(f"p{next(coalition.numbers)}", earn_rule=earns)
    member = coalition.member(of=partner)
    whole = Decimal(sum(cents)) / 100
    if points is None:
        posted = coalition.issue(member, partner, amount=whole)
    else:
        coalition.issue(member, partner, points=points)
        posted = coalition.redeem(member, partner, points=points, amount=whole)

    undone = [give_back(coalition, posted, partner, f"{Decimal(part) / 100}") for part in cents]

    assert sum(undone) == posted.points
    with pytest.raises(AlreadyReversed):
        give_back(coalition, posted, partner, "0.01")


def test_a_quote_says_what_the_issue_will_give_and_moves_nothing(coalition: Coalition) -> None:
    grocer = coalition.trading(maturity_days=3)
    member = coalition.member(of=grocer)
    before = coalition.snapshot()

    with coalition.database.reading() as session:
        quote = quote_issue(session, QuoteIssue(partner_id=grocer.partner_id, amount=Decimal("12.50")))

    assert coalition.snapshot() == before
    assert coalition.issue(member, grocer, amount=Decimal("12.50")).points == quote.points == 12
    assert coalition.rows("SELECT matures_at, expires_at FROM ledger.lot") == [
        (quote.matures_at, quote.expires_at)
    ]


def test_a_quote_of_a_redemption_knows_points_and_consent(coalition: Coalition) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    coalition.issue(member, grocer, points=1_000)
    with coalition.database.unit_of_work() as session:
        set_consent_limit(session, points=Points(500))
    coalition.redeem(member, grocer, points=200)

    def quote(points: int) -> Any:
        with coalition.database.reading() as session:
            question = QuoteRedemption(partner_id=grocer.partner_id, member_id=member, points=points)
            return quote_redemption(session, question)

    assert (quote(300).sufficient, quote(300).needs_confirmation) == (True, False)
    assert (quote(301).sufficient, quote(301).needs_confirmation) == (True, True)
    assert quote(801).sufficient is False
    with pytest.raises(ConsentRequired) as refusal:
        coalition.redeem(member, grocer, points=301)
    assert refusal.value.facts["allowed"] == quote(301).allowed_without_confirmation == 300


def test_a_quote_is_refused_for_what_the_posting_would_be(coalition: Coalition) -> None:
    grocer = coalition.partner("grocer", may_redeem=False)
    coalition.publish(grocer)
    member = coalition.member(of=grocer)

    with coalition.refused("PARTNER_ROLE_MISSING"), coalition.database.reading() as session:
        quote_redemption(session, QuoteRedemption(partner_id=grocer.partner_id, member_id=member, points=1))
    with coalition.refused("PARTNER_ROLE_MISSING"):
        coalition.redeem(member, grocer, points=1)
    with coalition.refused("AGREEMENT_MISSING"), coalition.database.reading() as session:
        question = QuoteIssue(
            partner_id=grocer.partner_id, points=1, occurred_at=datetime(2026, 1, 1, tzinfo=UTC)
        )
        quote_issue(session, question)


@pytest.mark.parametrize("first_asked", [True, False], ids=["with a confirmation", "without one"])
@pytest.mark.parametrize(
    ("kind", "act"), [(till.Redeem, till.redeem), (holds.Authorize, holds.authorize)], ids=["redeem", "hold"]
)
def test_a_wish_that_was_looked_at_for_long_is_sent_again_with_a_new_confirmation(
    coalition: Coalition, kind: Any, act: Any, *, first_asked: bool
) -> None:
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    coalition.issue(member, grocer, points=1_000)
    with coalition.database.unit_of_work() as session:
        set_consent_limit(session, points=Points(100))

    def confirmed() -> UUID:
        with coalition.database.unit_of_work() as session:
            wish = ConfirmRedemption(member_id=member, partner_id=grocer.partner_id, points=Points(100))
            return confirm_redemption(session, wish).confirmation_id

    def post(confirmation: UUID | None, **more: Any) -> Posting:
        with coalition.database.single_call() as session:
            asked = {"points": 100, "idempotency_key": "k", "confirmation_id": confirmation, **more}
            posted = act(session, coalition.wish(kind, member, grocer, **asked))
            assert isinstance(posted, Posting)
            return posted

    large = PublishLimit(
        code="large",
        scope=LimitScope.MEMBER,
        posting=LimitPosting.REDEEM,
        measure=LimitMeasure.POINTS,
        period=None,
        most=50,
        action=LimitAction.REVIEW,
        published_by="ada",
    )
    with coalition.database.unit_of_work() as session:
        publish_limit(session, large)
    first = confirmed() if first_asked else None
    with pytest.raises(UnderReview) as held:
        post(first)
    with coalition.database.unit_of_work() as session:
        assert queue_review(session, held.value)
        [waiting] = list_reviews(session, PageRequest()).items
    coalition.pass_time(minutes=11)
    coalition.redeem(member, grocer, points=50)
    with coalition.database.unit_of_work() as session:
        release(session, member, waiting.review_id, by="ada")

    with coalition.refused("CONFIRMATION_INVALID" if first_asked else "CONSENT_REQUIRED"):
        post(first)
    second = confirmed()
    with coalition.refused("IDEMPOTENCY_CONFLICT"):
        post(second, points=99)
    posted = post(second)
    assert (posted.points, posted.replayed) == (100, False)
    with coalition.nothing_moves():
        assert post(first).replayed
        assert post(second).replayed
    with coalition.database.reading() as session:
        assert run_audit(session) == []
        [decided] = list_reviews(session, PageRequest()).items
    assert (decided.state, decided.posted) == (ReviewState.POSTED, posted.ref)


def test_there_is_no_reason_too_long_to_store(coalition: Coalition) -> None:
    grocer = coalition.trading()
    issued = coalition.issue(coalition.member(of=grocer), grocer, points=1)

    with pytest.raises(InvalidInput), coalition.database.single_call() as session:
        till.reverse(
            session,
            till.Reverse(
                reference=issued.ref, partner_id=grocer.partner_id, idempotency_key="r", reason="x" * 201
            ),
        )
    assert issued.business_date == date(2026, 3, 2)


def test_a_posting_makes_no_more_of_its_session_than_the_call_needs(coalition: Coalition) -> None:
    """A Session and its transaction cost more than the posting: nothing on the way may ask for them."""
    grocer = coalition.trading()
    member = coalition.member(of=grocer)
    made = []
    for number in range(2):
        wish = till.Issue(
            member_id=member,
            partner_id=grocer.partner_id,
            points=5,
            idempotency_key=f"lean-{number}",
            occurred_at=START,
        )
        with coalition.database.single_call() as session:
            till.issue(session, wish)
            made.append("identity_map" in vars(session))
    # The first fills the memory of terms; from then on it is the call alone.
    assert made == [True, False]
