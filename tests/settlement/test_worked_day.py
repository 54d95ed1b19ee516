"""The worked day: the one that the domain's page calculates, in three funding models."""

from datetime import timedelta
from decimal import Decimal

import pytest
from night_driver import NightDriver

from coalition.ids import NETWORK, MemberId
from settlement.night import Night

R = Decimal("0.0095")
EXPECTED = {
    "1": ("-860.00", "90.00", "-145.00", "915.00"),
    "0": ("-622.50", "280.00", "-50.00", "392.50"),
    "0.6": ("-765.00", "166.00", "-107.00", "706.00"),
}


def worked_day(ledger: NightDriver, *, paid_up_front: Decimal) -> Night:
    """A has an older lot, under an older agreement; then comes the day."""
    prices = {"funding": paid_up_front * R, "redemption_charge": (1 - paid_up_front) * R}
    prices |= {"reimbursement": R, "own_reimbursement": R}
    a, b, c = (ledger.named(code, service_fee=Decimal("0.0015"), **prices) for code in "abc")
    members: dict[str, MemberId] = {who: ledger.member(issuer=a) for who in ("a", "b", "c", "old", "bonus")}
    old = ledger.issue(members["old"], 5_000, by=a)
    ledger.pass_time(days=1)
    ledger.settle()

    for partner in (a, b, c):
        ledger.agreement(partner, valid_from=ledger.now.date(), service_fee=Decimal("0.0025"), **prices)
    plan = ledger.funding_plan(_=[(c, 500_000), (NETWORK, 500_000)])
    ledger.issue(members["a"], 100_000, by=a)
    ledger.issue(members["b"], 40_000, by=b)
    ledger.issue(members["c"], 10_000, by=c)
    ledger.issue(members["bonus"], 20_000, by=c, funding_plan_id=plan)
    ledger.reverse(old.ref, by=a)
    ledger.redeem(members["a"], 30_000, by=a)
    ledger.redeem(members["a"], 40_000, by=b)
    ledger.redeem(members["b"], 20_000, by=b)
    ledger.redeem(members["c"], 10_000, by=c)
    ledger.pass_time(days=1)
    return ledger.settle()


@pytest.mark.parametrize("paid_up_front", EXPECTED)
def test_the_worked_day_gives_its_table(ledger: NightDriver, paid_up_front: str) -> None:
    night = worked_day(ledger, paid_up_front=Decimal(paid_up_front))

    expected = dict(zip(("a", "b", "c", "network"), map(Decimal, EXPECTED[paid_up_front]), strict=True))
    assert ledger.nets(night) == expected
    assert night.settled[-1].findings == ()
    assert night.stall < timedelta(seconds=1)


def test_the_matrix_says_whose_points_were_redeemed_where(ledger: NightDriver) -> None:
    books = ledger.books(worked_day(ledger, paid_up_front=Decimal(1)))

    cells = {(books.code(cell.issuer), books.code(cell.redeemer)): cell for cell in books.matrix}
    assert {where: cell.points for where, cell in cells.items()} == {
        ("a", "a"): 30_000,
        ("a", "b"): 40_000,
        ("b", "b"): 20_000,
        ("c", "c"): 10_000,
    }
    assert cells["a", "b"].amount == Decimal(380)


def test_the_liability_rolls_forward(ledger: NightDriver) -> None:
    books = ledger.books(worked_day(ledger, paid_up_front=Decimal(0)))

    rolled = {books.code(row.issuer): (row.opening, row.closing) for row in books.roll_forward}
    assert rolled == {"a": (5_000, 30_000), "b": (0, 20_000), "c": (0, 20_000)}


def test_the_networks_half_of_a_bonus_is_a_cost_and_no_obligation(ledger: NightDriver) -> None:
    night = worked_day(ledger, paid_up_front=Decimal(1))

    assert ledger.costs(night) == {"issue": Decimal(120)}
    assert ledger.lines(night)["c", "network", "issue"] == Decimal(240)


def test_gross_net_and_what_netting_saved(ledger: NightDriver) -> None:
    run = worked_day(ledger, paid_up_front=Decimal(1)).run

    assert run is not None
    # 1,200 + 480 + 240 issued, 55 returned, 285 + 570 + 95 reimbursed; only B receives in the end.
    assert (run.gross, run.net, run.saved) == (Decimal(2925), Decimal(90), Decimal(2835))
    assert run.margin == 0
