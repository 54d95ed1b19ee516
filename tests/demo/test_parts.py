"""The demo's plan: what is bought where, and when households spend."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.demo.cast import DEPARTMENTS, PARTNERS, REIMBURSEMENT
from schema.demo.purchases import FIRST_DAY, ZONE, Basket, Purchase, Year
from schema.demo.replay import hours
from schema.demo.rule import AT_LEAST, STEP, Spending, is_mistake, spending

CODES = [terms.code for terms in PARTNERS]


@pytest.fixture(scope="module")
def week() -> Year:
    return Year(DEPARTMENTS, days=7)


def test_there_are_eight_partners_or_more_and_every_funding_model() -> None:
    shares = {terms.paid_up_front for terms in PARTNERS}

    assert len(PARTNERS) >= 8
    assert {Decimal(0), Decimal(1)} < shares
    assert all(terms.funding + terms.redemption_charge == REIMBURSEMENT for terms in PARTNERS)
    assert len(DEPARTMENTS) == sum(len(terms.departments) for terms in PARTNERS)


def test_a_days_baskets_are_of_that_day_in_the_chains_zone(week: Year) -> None:
    for number in range(7):
        day = FIRST_DAY + timedelta(days=number)
        baskets = week.day(day)
        assert baskets
        assert {basket.at.astimezone(ZONE).date() for basket in baskets} == {day}


def test_no_purchase_is_lost_between_the_days(week: Year) -> None:
    days = [week.day(FIRST_DAY + timedelta(days=number)) for number in range(7)]
    purchases = [purchase for day in days for basket in day for purchase in basket.purchases]

    assert len(purchases) == week.purchases
    assert all(purchase.amount > 0 and purchase.partner in CODES for purchase in purchases)
    assert {basket.household for day in days for basket in day} == set(week.households())


def test_a_household_posts_one_thing_at_a_time() -> None:
    noon = datetime(2017, 1, 5, 12, 10, tzinfo=UTC)
    baskets = [
        Basket(
            household=number % 3,
            basket=number,
            store=1,
            at=noon + timedelta(minutes=7 * number),
            purchases=(Purchase(partner="crumb", amount=Decimal(1)),),
        )
        for number in range(20)
    ]

    moments = list(hours(baskets))

    assert [moment for moment, _ in moments] == sorted(moment for moment, _ in moments)
    for moment, households in moments:
        assert len({visits[0].household for visits in households}) == len(households)
        for visits in households:
            assert [basket.at for basket in visits] == sorted(basket.at for basket in visits)
            assert all(moment - timedelta(hours=1) <= basket.at for basket in visits)
    posted = [basket.basket for _, households in moments for visits in households for basket in visits]
    assert sorted(posted) == list(range(20))


@given(seed=st.integers(), household=st.integers(1, 2469), basket=st.integers(1, 10**11))
def test_households_spend_elsewhere_and_by_the_seed(seed: int, household: int, basket: int) -> None:
    shopped_at = CODES[:3]

    def drawn() -> Spending | None:
        return spending(seed=seed, household=household, basket=basket, shopped_at=shopped_at, partners=CODES)

    wish = drawn()

    assert drawn() == wish
    assert wish is None or wish.partner not in shopped_at


def test_about_one_basket_in_four_is_followed_by_spending() -> None:
    wishes = [
        spending(seed=1, household=1, basket=basket, shopped_at=[], partners=CODES) for basket in range(4000)
    ]

    spent = [wish for wish in wishes if wish is not None]
    assert 900 < len(spent) < 1100
    assert {wish.partner for wish in spent} == set(CODES)
    assert 0 < sum(is_mistake(seed=1, basket=basket, partner="crumb") for basket in range(4000)) < 40


@given(available=st.integers(0, 10**9), quarters=st.sampled_from([1, 2, 4]))
def test_nobody_spends_more_than_is_there(available: int, quarters: int) -> None:
    points = Spending(partner="crumb", quarters=quarters).points(available)

    assert 0 <= points <= available
    assert points % STEP == 0
    assert points == 0 or available >= AT_LEAST
