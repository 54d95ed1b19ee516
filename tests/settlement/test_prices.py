"""Who pays for a point, from the ledger through the night: each rule of the price table once."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from night_driver import NightDriver

from coalition.ids import NETWORK
from settlement.night import Night
from settlement.statements import matrix_rows

# Hybrid, so that each price shows: c1 = 0.0082, c2 = 0.0038, R = 0.0095, R0 = 0.0080.
TERMS: dict[str, Any] = {
    "service_fee": Decimal("0.0025"),
    "funding": Decimal("0.0057"),
    "redemption_charge": Decimal("0.0038"),
    "reimbursement": Decimal("0.0095"),
    "own_reimbursement": Decimal("0.0080"),
    "breakage_share": Decimal("0.5"),
}


def night_after(ledger: NightDriver, *, days: int = 1) -> Night:
    ledger.pass_time(days=days)
    night = ledger.settle()
    assert [finding for one in night.settled for finding in one.findings] == []
    return night


def test_a_partner_is_paid_less_for_its_own_points(ledger: NightDriver) -> None:
    a, b = ledger.named("a", **TERMS), ledger.named("b", **TERMS)
    member = ledger.member(available=10_000, issuer=a)
    ledger.redeem(member, 4_000, by=a)
    ledger.redeem(member, 6_000, by=b)

    assert ledger.lines(night_after(ledger)) == {
        ("a", "network", "issue"): Decimal("82.00"),
        ("a", "network", "redemption_charge"): Decimal("38.00"),
        ("network", "a", "reimbursement"): Decimal("32.00"),
        ("network", "b", "reimbursement"): Decimal("57.00"),
    }


def test_an_expired_point_returns_a_share_of_its_funding(ledger: NightDriver) -> None:
    """Nobody touches the member: the night itself brings the expiry into the books."""
    a = ledger.named("a", **TERMS)
    member = ledger.member(issuer=a)
    ledger.issue(member, 10_000, by=a, expires_at=ledger.now + timedelta(hours=30))
    night_after(ledger)
    night = night_after(ledger)

    assert ledger.lines(night) == {("network", "a", "breakage"): Decimal("28.50")}
    [row] = ledger.books(night).roll_forward
    assert (row.opening, row.expired, row.closing) == (10_000, 10_000, 0)


def test_pending_points_are_charged_when_issued_and_not_again_when_they_mature(ledger: NightDriver) -> None:
    a = ledger.named("a", **TERMS)
    member = ledger.member(issuer=a)
    ledger.issue(member, 10_000, by=a, matures_at=ledger.now + timedelta(hours=30))

    assert ledger.lines(night_after(ledger)) == {("a", "network", "issue"): Decimal("82.00")}
    night = night_after(ledger)
    assert ledger.lines(night) == {}
    assert ledger.balance(member).available == 10_000


def test_a_reversed_issue_returns_its_charge_for_what_was_recovered_only(ledger: NightDriver) -> None:
    """Of 10,000 points 6,000 were spent: 4,000 are refunded at the lot's price, 6,000 become a claim."""
    a, b = ledger.named("a", **TERMS), ledger.named("b", **TERMS)
    member = ledger.member(issuer=a)
    issue = ledger.issue(member, 10_000, by=a)
    ledger.redeem(member, 6_000, by=b)
    night_after(ledger)
    ledger.agreement(a, valid_from=ledger.now.date(), **TERMS | {"service_fee": Decimal("0.0500")})
    ledger.reverse(issue.ref, by=a)

    night = night_after(ledger)
    assert ledger.lines(night) == {("network", "a", "issue_reversal"): Decimal("32.80")}
    [row] = [row for row in ledger.books(night).roll_forward if row.issuer == a]
    assert (row.opening, row.reversed, row.closing) == (4_000, 4_000, 0)
    assert ledger.balance(member).deficit == 6_000


def test_points_that_pay_a_deficit_off_are_a_redemption_at_the_claimant(ledger: NightDriver) -> None:
    a, b = ledger.named("a", **TERMS), ledger.named("b", **TERMS)
    member = ledger.member(issuer=a)
    issue = ledger.issue(member, 10_000, by=a)
    ledger.redeem(member, 10_000, by=b)
    ledger.reverse(issue.ref, by=a)
    night_after(ledger)
    ledger.issue(member, 4_000, by=b)
    ledger.issue(member, 8_000, by=a)

    night = night_after(ledger)
    assert ledger.balance(member).deficit == 0
    assert ledger.lines(night) == {
        ("b", "network", "issue"): Decimal("32.80"),
        ("a", "network", "issue"): Decimal("65.60"),
        ("b", "network", "recovery"): Decimal("15.20"),
        ("a", "network", "recovery"): Decimal("22.80"),
        # 4,000 of B's points at R, 6,000 of its own at R0.
        ("network", "a", "recovery"): Decimal("86.00"),
    }
    cells = {(row["issuer"], row["redeemer"]): row["points"] for row in _matrix(ledger, night)}
    assert cells == {("a", "a"): "6000", ("b", "a"): "4000"}


def test_a_reversed_redemption_goes_back_at_the_prices_at_which_it_came(ledger: NightDriver) -> None:
    a, b = ledger.named("a", **TERMS), ledger.named("b", **TERMS)
    member = ledger.member(available=10_000, issuer=a)
    redemption = ledger.redeem(member, 10_000, by=b)
    night_after(ledger)
    for partner in (a, b):
        dearer = {"reimbursement": Decimal("0.0500"), "redemption_charge": Decimal("0.0400")}
        ledger.agreement(partner, valid_from=ledger.now.date(), **TERMS | dearer)
    ledger.reverse(redemption.ref, by=b)

    night = night_after(ledger)
    assert ledger.lines(night) == {
        ("network", "a", "redemption_charge_reversal"): Decimal("38.00"),
        ("b", "network", "reimbursement_reversal"): Decimal("95.00"),
    }
    [row] = _matrix(ledger, night)
    assert (row["redeemed_points"], row["returned_points"], row["amount"]) == ("0", "10000", "-95.00")


def test_funders_share_by_their_parts_and_each_line_is_rounded_once(ledger: NightDriver) -> None:
    a, b = ledger.named("a", **TERMS), ledger.named("b", **TERMS)
    plan = ledger.funding_plan(_=[(a, 333_333), (b, 333_333), (NETWORK, 333_334)])
    member = ledger.member(issuer=a)
    for _ in range(10):
        ledger.issue(member, 101, by=a, funding_plan_id=plan)
    ledger.redeem(member, 1_010, by=b)

    night = night_after(ledger)
    # 1,010 points, a third each: 336.66633 x 0.0082 = 2.7606…, 336.66633 x 0.0038 = 1.2793…
    assert ledger.lines(night) == {
        ("a", "network", "issue"): Decimal("2.76"),
        ("b", "network", "issue"): Decimal("2.76"),
        ("a", "network", "redemption_charge"): Decimal("1.28"),
        ("b", "network", "redemption_charge"): Decimal("1.28"),
        ("network", "b", "reimbursement"): Decimal("9.60"),  # 9.595: half to the even cent
    }
    assert ledger.costs(night) == {"issue": Decimal("2.76"), "redemption_charge": Decimal("1.28")}


def test_an_issue_that_earns_nothing_makes_no_line(ledger: NightDriver) -> None:
    a = ledger.named("a", **TERMS)
    ledger.issue(ledger.member(issuer=a), 0, by=a, amount=Decimal("0.40"))

    night = night_after(ledger)
    assert ledger.lines(night) == {}
    assert night.run is not None
    assert night.run.transactions == 1


def test_an_empty_window_settles_to_nothing(ledger: NightDriver) -> None:
    ledger.named("a", **TERMS)
    night = night_after(ledger)
    assert ledger.lines(night) == {}
    assert ledger.nets(night) == {"network": Decimal(0)}


def _matrix(ledger: NightDriver, night: Night) -> list[dict[str, str]]:
    return matrix_rows(ledger.books(night))
