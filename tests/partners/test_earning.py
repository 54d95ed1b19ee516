"""What money earns: exact, rounded once, and the same however it is written."""

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalition.amounts import MAX_POINTS
from coalition.errors import PointsInvalid
from coalition.ids import AgreementId, PartnerId, PartyId
from partners.agreements import Agreement, ReturnPolicy
from partners.earning import EarnRounding, EarnRule, points_for
from partners.expiry import Expiry
from partners.terms import evaluate, local_date

amounts = st.decimals(min_value=0, max_value=100_000, places=2)
rules = st.builds(
    EarnRule,
    points=st.decimals(min_value=0, max_value=1_000, places=3),
    amount=st.decimals(min_value=Decimal("0.01"), max_value=1_000, places=2),
    rounding=st.sampled_from(EarnRounding),
)


def exact(rule: EarnRule, amount: Decimal) -> Fraction:
    return Fraction(amount) / Fraction(rule.amount) * Fraction(rule.points)


@given(rules, amounts)
def test_rounding_moves_less_than_a_point_and_the_right_way(rule: EarnRule, amount: Decimal) -> None:
    value = exact(rule, amount)
    if value > MAX_POINTS - 1:
        return

    points = points_for(rule, amount)

    assert {
        EarnRounding.DOWN: 0 <= value - points < 1,
        EarnRounding.UP: 0 <= points - value < 1,
        EarnRounding.HALF_EVEN: abs(points - value) <= Fraction(1, 2),
    }[rule.rounding]


@given(rules, amounts, amounts)
def test_more_money_never_earns_less(rule: EarnRule, one: Decimal, other: Decimal) -> None:
    less, more = sorted((one, other))
    if exact(rule, more) > MAX_POINTS - 1:
        return

    assert points_for(rule, less) <= points_for(rule, more)


@given(rules, amounts)
def test_splitting_a_basket_gains_nothing_where_parts_are_dropped(rule: EarnRule, amount: Decimal) -> None:
    whole = EarnRule(points=rule.points, amount=rule.amount, rounding=EarnRounding.DOWN)
    if exact(whole, amount) > MAX_POINTS - 1:
        return
    part = (amount / 3).quantize(Decimal("0.01"))

    assert points_for(whole, part) + points_for(whole, amount - part) <= points_for(whole, amount)


@pytest.mark.parametrize(
    ("rounding", "amount", "points"),
    [
        ("down", "0", 0),
        ("down", "0.99", 0),
        ("down", "2.99", 2),
        ("up", "0.01", 1),
        ("up", "2.00", 2),
        ("half_even", "0.50", 0),
        ("half_even", "1.50", 2),
        ("half_even", "2.50", 2),
        ("half_even", "2.51", 3),
    ],
)
def test_a_unit_of_money_earns_a_point(rounding: str, amount: str, points: int) -> None:
    rule = EarnRule(points=Decimal(1), amount=Decimal(1), rounding=EarnRounding(rounding))

    assert points_for(rule, Decimal(amount)) == points


def test_what_has_no_finite_decimal_is_still_exact() -> None:
    rule = EarnRule(points=Decimal(1), amount=Decimal(3), rounding=EarnRounding.UP)

    assert points_for(rule, Decimal("99999.00")) == 33_333


def test_more_than_a_transaction_may_move_is_refused() -> None:
    rule = EarnRule(points=Decimal(1), amount=Decimal(1))

    assert points_for(rule, Decimal(MAX_POINTS)) == MAX_POINTS
    with pytest.raises(PointsInvalid):
        points_for(rule, Decimal(MAX_POINTS + 1))


BERLIN = ZoneInfo("Europe/Berlin")


def terms(*, maturity_days: int = 0, expiry_months: int | None = None) -> Agreement:
    some = PartyId(uuid4())
    return Agreement(
        agreement_id=AgreementId(some),
        partner_id=PartnerId(some),
        version=1,
        valid_from=date(2026, 1, 1),
        service_fee=Decimal(0),
        funding=Decimal(0),
        redemption_charge=Decimal(0),
        reimbursement=Decimal(0),
        own_reimbursement=Decimal(0),
        breakage_share=Decimal(0),
        earn_points=None,
        earn_amount=None,
        earn_rounding=EarnRounding.DOWN,
        maturity_days=maturity_days,
        expiry=Expiry(expiry_months=expiry_months),
        grace_days=0,
        return_policy=ReturnPolicy.AVAILABLE,
        published_at=datetime(2026, 1, 1, tzinfo=UTC),
        published_by="test",
    )


@pytest.mark.parametrize(
    ("occurred_at", "months", "last_day"),
    [
        (datetime(2026, 1, 31, 12, tzinfo=UTC), 1, date(2026, 2, 28)),
        (datetime(2027, 12, 31, 12, tzinfo=UTC), 2, date(2028, 2, 29)),
        (datetime(2026, 12, 1, 12, tzinfo=UTC), 12, date(2027, 12, 1)),
        # Late in the evening in UTC is the next day in Berlin, and a summer's midnight is 22:00 UTC.
        (datetime(2026, 5, 31, 23, tzinfo=UTC), 1, date(2026, 7, 1)),
    ],
)
def test_points_live_to_the_end_of_their_last_day(occurred_at: datetime, months: int, last_day: date) -> None:
    given_ = evaluate(
        terms(expiry_months=months), points=1, amount=None, occurred_at=occurred_at, zone=BERLIN
    )

    assert given_.expires_at is not None
    assert given_.expires_at.astimezone(BERLIN).hour == 0
    assert (local_date(given_.expires_at, BERLIN) - last_day).days == 1


@given(
    st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - the strategy adds the zone
    st.integers(min_value=1, max_value=48),
)
def test_points_mature_before_they_expire_whatever_the_month(occurred_at: datetime, months: int) -> None:
    longest = terms(maturity_days=months * 28 - 1, expiry_months=months)

    given_ = evaluate(longest, points=1, amount=None, occurred_at=occurred_at, zone=BERLIN)

    assert given_.matures_at is not None
    assert given_.expires_at is not None
    assert occurred_at < given_.matures_at < given_.expires_at


def test_without_a_return_period_points_are_spendable_at_once() -> None:
    given_ = evaluate(
        terms(), points=5, amount=None, occurred_at=datetime(2026, 1, 1, tzinfo=UTC), zone=BERLIN
    )

    assert (given_.points, given_.matures_at, given_.expires_at) == (5, None, None)
