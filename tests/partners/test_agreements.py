"""Terms: validated, versioned, superseded by date, and warned about."""

import threading
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from operating import PRICES, TODAY, Coalition

from coalition.errors import InvalidInput
from coalition.ids import NETWORK
from coalition.windows import close_window
from partners.agreements import (
    Agreement,
    Prices,
    agreement_in_force,
    funding_model,
    get_agreements,
    list_agreements,
)
from partners.directory import Partner, PartnerState, set_partner_state
from partners.earning import EarnRounding, EarnRule
from partners.funding import (
    PublishFundingPlan,
    find_funding_plan,
    get_funding_plans,
    list_funding_plans,
    publish_funding_plan,
)


def in_force(coalition: Coalition, partner: Partner, on: date) -> Agreement | None:
    with coalition.database.reading() as session:
        return agreement_in_force(session, partner_id=partner.partner_id, on=on)


def test_what_was_published_is_what_is_read(coalition: Coalition) -> None:
    partner = coalition.partner()
    rule = EarnRule(points=Decimal("2.5"), amount=Decimal("0.99"), rounding=EarnRounding.HALF_EVEN)

    published = coalition.publish(partner, earn_rule=rule, maturity_days=14, expiry_months=None).agreement

    assert in_force(coalition, partner, TODAY) == published
    assert published.earn_rule == rule
    assert (published.version, published.valid_from, published.expiry.expiry_months) == (1, TODAY, None)
    assert {name: getattr(published, name) for name in PRICES} == PRICES
    with coalition.database.reading() as session:
        assert get_agreements(session, [published.agreement_id]) == {published.agreement_id: published}


def test_the_latest_start_holds_and_of_one_start_the_latest_version(coalition: Coalition) -> None:
    partner = coalition.partner()
    day = {days: TODAY + timedelta(days=days) for days in (-1, 0, 5, 10)}
    for days in (0, 10, 5, 10):
        coalition.publish(partner, valid_from=day[days])

    held = {days: in_force(coalition, partner, on) for days, on in day.items()}

    assert {days: terms and terms.version for days, terms in held.items()} == {-1: None, 0: 1, 5: 3, 10: 4}
    with coalition.database.reading() as session:
        assert [terms.version for terms in list_agreements(session, partner.partner_id)] == [4, 3, 2, 1]


def test_terms_before_the_open_window_are_refused(coalition: Coalition) -> None:
    partner = coalition.partner()
    with coalition.refused("AGREEMENT_BACKDATED") as told:
        coalition.publish(partner, valid_from=TODAY - timedelta(days=1))
    assert told[0].facts["earliest"] == TODAY

    with coalition.database.unit_of_work() as session:
        close_window(session, business_date=TODAY, patience=timedelta(seconds=5))

    with coalition.refused("AGREEMENT_BACKDATED"):
        coalition.publish(partner, valid_from=TODAY)


WRONG_TERMS: list[tuple[str, dict[str, Any]]] = [
    ("serviceFee", {"service_fee": Decimal("-0.0001")}),
    ("funding", {"funding": Decimal("0.0000001")}),
    ("redemptionCharge", {"redemption_charge": Decimal(1_000_000)}),
    ("reimbursement", {"reimbursement": Decimal("NaN")}),
    ("ownReimbursement", {"own_reimbursement": Decimal("Infinity")}),
    ("breakageShare", {"breakage_share": Decimal("1.000001")}),
    ("earnPoints", {"earn_rule": EarnRule(points=Decimal(-1), amount=Decimal(1))}),
    ("earnAmount", {"earn_rule": EarnRule(points=Decimal(1), amount=Decimal(0))}),
    ("earnAmount", {"earn_rule": EarnRule(points=Decimal(1), amount=Decimal("0.00001"))}),
    ("maturityDays", {"maturity_days": -1}),
    ("maturityDays", {"maturity_days": 28, "expiry_months": 1}),
    ("expiryMonths", {"expiry_months": 0}),
    ("expiryMonths", {"expiry_months": 1_201}),
    ("graceDays", {"grace_days": 3_651}),
]


def test_terms_that_make_no_sense_are_refused_by_field(coalition: Coalition) -> None:
    partner = coalition.partner()

    for field, terms in WRONG_TERMS:
        with coalition.refused("INVALID_INPUT") as told:
            coalition.publish(partner, **terms)
        assert told[0].path == ("input", field)


def test_only_a_partner_has_terms(coalition: Coalition) -> None:
    partner = coalition.partner()
    for stranger in (uuid4(), NETWORK):
        with coalition.refused("PARTNER_UNKNOWN"):
            coalition.publish(Partner(**(fields(partner) | {"partner_id": stranger})))


def fields(partner: Partner) -> dict[str, Any]:
    return {name: getattr(partner, name) for name in Partner.__dataclass_fields__}


def test_publishers_at_once_get_versions_of_their_own(coalition: Coalition) -> None:
    partner = coalition.partner()
    starting = threading.Barrier(8)
    versions: list[int] = []

    def publish() -> None:
        starting.wait()
        versions.append(coalition.publish(partner).agreement.version)

    threads = [threading.Thread(target=publish) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(versions) == list(range(1, 9))


@pytest.mark.parametrize(
    ("share", "funding", "charge"),
    [("1", "0.0095", "0"), ("0", "0", "0.0095"), ("0.6", "0.0057", "0.0038")],
)
def test_funding_models_are_values_of_the_prices(share: str, funding: str, charge: str) -> None:
    prices = funding_model(
        reimbursement=Decimal("0.0095"), service_fee=Decimal("0.0025"), paid_up_front=Decimal(share)
    )

    assert (prices.funding, prices.redemption_charge) == (Decimal(funding), Decimal(charge))
    assert prices.own_reimbursement == prices.reimbursement == Decimal("0.0095")


@pytest.mark.parametrize("share", ["-0.1", "1.000001", "0.33333"])
def test_a_share_that_gives_no_exact_price_is_refused(share: str) -> None:
    with pytest.raises(InvalidInput):
        funding_model(reimbursement=Decimal("0.0095"), service_fee=Decimal(0), paid_up_front=Decimal(share))


def prices(**changed: str) -> dict[str, Decimal]:
    return {name: Decimal(value) for name, value in changed.items()}


def test_a_pair_that_loses_is_named_once_at_its_worst(coalition: Coalition) -> None:
    grocer, fuel = coalition.partner("grocer"), coalition.partner("fuel")
    assert coalition.publish(grocer).warnings == ()
    generous = prices(reimbursement="0.0100", own_reimbursement="0.0095")

    told = coalition.publish(fuel, **generous).warnings
    assert [str(warning) for warning in told] == [
        "points of grocer redeemed at fuel lose the network 0.000500 each"
    ]
    # Terms of others that begin later count too, and each pair is told once.
    coalition.publish(grocer, valid_from=TODAY + timedelta(days=9), **prices(funding="0.0090"))
    [worst] = coalition.publish(fuel, **generous).warnings
    assert worst.loss_per_point == Decimal("0.0010")


def test_a_loss_on_ones_own_points_is_a_pair_too(coalition: Coalition) -> None:
    partner = coalition.partner("grocer")

    [own] = coalition.publish(partner, **prices(own_reimbursement="0.0096")).warnings

    assert (own.issuer_code, own.redeemer_code) == ("grocer", "grocer")


def test_who_does_not_issue_or_has_left_makes_no_loss(coalition: Coalition) -> None:
    poor = prices(funding="0")
    issuer, left = coalition.partner("issuer", may_issue=False), coalition.partner("left")
    coalition.publish(issuer, **poor)
    with coalition.database.unit_of_work() as session:
        set_partner_state(session, partner_id=left.partner_id, state=PartnerState.LEAVING)
    coalition.publish(left, **poor, own_reimbursement=Decimal(0))
    with coalition.database.unit_of_work() as session:
        set_partner_state(session, partner_id=left.partner_id, state=PartnerState.LEFT)

    assert coalition.publish(coalition.partner("grocer")).warnings == ()


def test_a_price_is_an_exact_decimal_of_six_places() -> None:
    assert set(Prices.__dataclass_fields__) == set(PRICES)


def plan(coalition: Coalition, code: str, parts: dict[Any, int]) -> Any:
    wish = PublishFundingPlan(code=code, name="A plan", parts=parts, published_by="operator")
    with coalition.database.unit_of_work() as session:
        return publish_funding_plan(session, wish)


def test_a_plan_is_read_as_it_was_published(coalition: Coalition) -> None:
    grocer = coalition.partner()

    published = plan(coalition, "spring", {grocer.partner_id: 1, NETWORK: 999_999})

    with coalition.database.reading() as session:
        assert find_funding_plan(session, "spring") == published
        assert get_funding_plans(session, [published.funding_plan_id]) == {
            published.funding_plan_id: published
        }
        assert list_funding_plans(session) == [published]


def test_a_plan_that_does_not_add_up_is_refused(coalition: Coalition) -> None:
    one, two = coalition.partner("one").partner_id, coalition.partner("two").partner_id
    plan(coalition, "taken", {one: 1_000_000})

    for code, parts in (
        ("x", {}),
        ("x", {one: 999_999}),
        ("x", {one: 1_000_001}),
        ("x", {one: 1_000_000, two: 0}),
        ("x", {one: 1_000_001, two: -1}),
        ("taken", {two: 1_000_000}),
    ):
        with coalition.refused("FUNDING_PLAN_INVALID"):
            plan(coalition, code, parts)
    with coalition.refused("PARTNER_UNKNOWN"):
        plan(coalition, "x", {uuid4(): 1_000_000})
    with coalition.refused("INVALID_INPUT"):
        plan(coalition, "X", {one: 1_000_000})
