"""Claims: whose, how much, in which order they are paid, and out of which lots."""

from datetime import timedelta
from decimal import Decimal

import pytest
from driver import LedgerDriver

from coalition.audit import AUDIT, CHAIN, run_audit
from coalition.ids import MemberId, PartnerId
from coalition.ledger import Balance


def _clean(ledger: LedgerDriver) -> None:
    with ledger.database.reading() as session:
        assert run_audit(session, checks=(*AUDIT, *CHAIN)) == []


def _owing(ledger: LedgerDriver, member: MemberId, *claims: tuple[int, PartnerId]) -> None:
    """The member spends what the claimants then take back, each its own."""
    issued = [(ledger.issue(member, points, by=claimant), claimant) for points, claimant in claims]
    ledger.redeem(member, sum(points for points, _ in claims))
    for posting, claimant in issued:
        ledger.reverse(posting.ref, by=claimant)


def _open(ledger: LedgerDriver, member: MemberId) -> list[tuple[int, int]]:
    return [
        (points, open_points)
        for points, open_points in ledger.rows(
            "SELECT points, open_points FROM ledger.deficit WHERE member_id = :member ORDER BY sequence, ordinal",
            member=member,
        )
    ]


def test_a_claim_of_one_point_is_paid_by_one_point(ledger: LedgerDriver) -> None:
    claimant, member = ledger.partner(), ledger.member()
    _owing(ledger, member, (1, claimant))
    assert ledger.balance(member).deficit == 1
    balance = ledger.issue(member, 1).balance
    assert (balance.available, balance.deficit) == (0, 0)
    assert ledger.kinds(member)[-2:] == [("issue", 1), ("recovery", 1)]
    assert ledger.rows("SELECT available, burned FROM ledger.lot ORDER BY sequence")[-1] == (0, 1)
    _clean(ledger)


def test_the_oldest_claim_is_paid_first_and_one_that_was_paid_stands_in_no_ones_way(
    ledger: LedgerDriver,
) -> None:
    first, second = ledger.partner(), ledger.partner()
    member = ledger.member()
    _owing(ledger, member, (30, first), (20, second))
    ledger.issue(member, 10)
    assert _open(ledger, member) == [(30, 20), (20, 20)]
    ledger.issue(member, 20)  # the first is still the first, though it was touched last
    assert _open(ledger, member) == [(30, 0), (20, 20)]
    ledger.issue(member, 12)
    assert _open(ledger, member) == [(30, 0), (20, 8)]
    balance = ledger.issue(member, 9).balance
    assert (balance.available, balance.deficit) == (1, 0)
    recoveries = ledger.rows(
        "SELECT partner_id, points FROM ledger.transaction WHERE kind = 'recovery' ORDER BY sequence"
    )
    assert recoveries == [(first, 10), (first, 20), (second, 12), (second, 8)]
    _clean(ledger)


def test_points_that_do_not_reach_pay_the_first_claim_and_a_part_of_the_next(ledger: LedgerDriver) -> None:
    member = ledger.member()
    _owing(ledger, member, *((points, ledger.partner()) for points in (10, 20, 30)))
    assert ledger.issue(member, 25).balance.deficit == 35
    assert _open(ledger, member) == [(10, 0), (20, 5), (30, 30)]
    _clean(ledger)


def test_a_member_pays_its_own_claims_and_nobody_elses(ledger: LedgerDriver) -> None:
    claimant, one, other = ledger.partner(), ledger.member(), ledger.member()
    _owing(ledger, other, (5, claimant))
    _owing(ledger, one, (7, claimant))
    ledger.issue(one, 3)
    assert (_open(ledger, one), _open(ledger, other)) == ([(7, 4)], [(5, 5)])
    ledger.issue(one, 100)
    assert (_open(ledger, one), _open(ledger, other)) == ([(7, 0)], [(5, 5)])
    assert ledger.balance(one).available == 96
    _clean(ledger)


def test_of_points_that_mature_together_those_pay_that_expire_first_and_no_others(
    ledger: LedgerDriver,
) -> None:
    claimant, member = ledger.partner(), ledger.member()
    now = ledger.now
    matures = now + timedelta(days=1)
    ledger.issue(member, 50, expires_at=now + timedelta(days=5))  # it is there already, and is not touched
    late = ledger.issue(member, 12, matures_at=matures, expires_at=now + timedelta(days=90))
    same = ledger.issue(member, 10, matures_at=matures, expires_at=now + timedelta(days=90))
    soon = ledger.issue(member, 10, matures_at=matures, expires_at=now + timedelta(days=20))
    ledger.reverse(late.ref, 2)  # touched last, and older all the same
    issued = ledger.issue(member, 100, by=claimant, expires_at=now + timedelta(days=1))
    ledger.redeem(member, 100, by=claimant)
    ledger.reverse(issued.ref, by=claimant)
    ledger.issue(member, 77)
    ledger.pass_time(days=1)
    ledger.bring_up_to_date(member)
    burned = dict(ledger.rows("SELECT transaction_id, burned FROM ledger.lot"))
    assert [burned[posting.ref.transaction_id] for posting in (soon, late, same)] == [10, 10, 3]
    assert ledger.rows(
        "SELECT e.ordinal, e.bucket, e.points FROM ledger.entry e JOIN ledger.transaction t"
        " USING (member_id, business_date, transaction_id) WHERE kind = 'recovery' ORDER BY t.sequence, e.ordinal"
    )[4:] == [
        (1, "available", -10),
        (2, "burned", 10),
        (3, "available", -10),
        (4, "burned", 10),
        (5, "available", -3),
        (6, "burned", 3),
        (7, "available", 23),
        (8, "reversed", -23),
    ]
    balance = ledger.balance(member)
    assert (balance.available, balance.deficit) == (57, 0)
    _clean(ledger)


def test_claims_that_a_merge_brought_keep_their_order_though_one_was_touched(ledger: LedgerDriver) -> None:
    survivor, merged = ledger.member(), ledger.member()
    _owing(ledger, merged, *((points, ledger.partner()) for points in (10, 20, 30)))
    ledger.merge(survivor, merged)
    ledger.issue(survivor, 4)
    ledger.issue(survivor, 12)
    assert _open(ledger, survivor) == [(10, 0), (20, 14), (30, 30)]
    ledger.issue(survivor, 15)
    assert _open(ledger, survivor) == [(10, 0), (20, 0), (30, 29)]
    _clean(ledger)


def test_lots_that_a_merge_brought_keep_their_order_though_one_was_touched(ledger: LedgerDriver) -> None:
    survivor, merged = ledger.member(), ledger.member()
    for points in (10, 20, 30):
        ledger.issue(merged, points)
    ledger.merge(survivor, merged)
    for _ in range(3):
        ledger.void(ledger.authorize(survivor, 5).ref)
    ledger.redeem(survivor, 12)
    assert ledger.rows(
        "SELECT points, burned FROM ledger.lot WHERE member_id = :member ORDER BY ordinal", member=survivor
    ) == [(10, 10), (20, 2), (30, 0)]


def test_claims_are_paid_lot_by_lot_and_what_is_used_up_pays_no_more(ledger: LedgerDriver) -> None:
    member, matures = ledger.member(), ledger.now + timedelta(days=1)
    for _ in range(2):
        ledger.issue(member, 10, matures_at=matures)
    _owing(ledger, member, (10, ledger.partner()), (5, ledger.partner()))
    ledger.pass_time(days=1)
    ledger.bring_up_to_date(member)
    assert [n for (n,) in ledger.rows("SELECT burned FROM ledger.lot WHERE pending = 0 ORDER BY sequence")][
        :2
    ] == [10, 5]
    assert ledger.rows("SELECT count(*) FROM ledger.entry WHERE points = 0") == [(0,)]
    _clean(ledger)


def test_lots_that_a_transfer_brings_pay_what_its_taker_owes_the_first_of_them_first(
    ledger: LedgerDriver,
) -> None:
    giver, taker = ledger.member(), ledger.member()
    for points in (10, 20, 30):
        ledger.issue(giver, points)
    _owing(ledger, taker, (12, ledger.partner()))
    ledger.transfer(giver, 60, to=taker)
    assert ledger.rows(
        "SELECT points, burned FROM ledger.lot WHERE member_id = :m AND from_lot_id IS NOT NULL ORDER BY ordinal",
        m=taker,
    ) == [(10, 10), (20, 2), (30, 0)]
    _clean(ledger)


def test_a_merge_pays_no_debt_so_that_two_who_are_parted_at_once_are_as_they_were(
    ledger: LedgerDriver,
) -> None:
    ben, ada = ledger.member(), ledger.member()
    for one in (ben, ada):
        # Each has points from before that its debt has not taken.
        spent = ledger.issue(one, 50)
        ledger.redeem(one, 50)
        ledger.issue(one, 30)
        ledger.issue(one, 7, matures_at=ledger.now + timedelta(days=3))
        ledger.reverse(spent.ref, 20)

    def stand() -> list[Balance]:
        return [ledger.balance(one) for one in (ben, ada)]

    before = stand()
    assert {(one.available, one.pending, one.deficit) for one in before} == {(30, 7, 20)}
    both = ledger.merge(ada, ben).balance
    assert (both.available, both.pending, both.deficit) == (60, 14, 40)
    ledger.unmerge(ada, ben)
    assert stand() == before
    # What comes later pays, its own and what came along.
    ledger.merge(ada, ben)
    assert ledger.issue(ada, 25).balance.deficit == 15
    ledger.unmerge(ada, ben)
    assert [one.deficit for one in stand()] == [15, 0]
    _clean(ledger)


def test_a_lot_of_one_point_is_spent_in_its_turn(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.issue(member, 1, expires_at=ledger.now + timedelta(days=1))
    ledger.issue(member, 5, expires_at=ledger.now + timedelta(days=2))
    ledger.redeem(member, 3)
    assert ledger.rows("SELECT available, burned FROM ledger.lot ORDER BY sequence") == [(0, 1), (3, 2)]
    ledger.redeem(member, 3)
    assert ledger.balance(member).available == 0
    _clean(ledger)


def test_of_lots_that_expire_together_the_older_is_spent_though_it_was_touched_last(
    ledger: LedgerDriver,
) -> None:
    member = ledger.member()
    expires = ledger.now + timedelta(days=9)
    old = ledger.issue(member, 10, expires_at=expires)
    ledger.issue(member, 10, expires_at=expires)
    for _ in range(3):
        ledger.void(ledger.authorize(member, 10).ref)
    ledger.redeem(member, 10)
    assert ledger.rows("SELECT transaction_id FROM ledger.lot WHERE burned = 10") == [
        (old.ref.transaction_id,)
    ]


def test_the_money_of_an_issue_and_of_its_reversal_is_written_down(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 12, amount=Decimal("12.50"))
    ledger.reverse(issued.ref, 4, amount=Decimal("4.10"))
    assert ledger.rows("SELECT amount FROM ledger.transaction ORDER BY sequence") == [
        (Decimal("12.50"),),
        (Decimal("4.10"),),
    ]


def test_of_points_that_come_back_no_more_is_paid_than_came_back(ledger: LedgerDriver) -> None:
    member = ledger.member(available=10)
    spent = ledger.redeem(member, 10)
    _owing(ledger, member, (30, ledger.partner()))
    for points, owed in ((4, 26), (None, 20)):
        balance = ledger.reverse(spent.ref, points).balance
        assert (balance.available, balance.deficit) == (0, owed)
    _clean(ledger)


def test_of_what_comes_back_to_who_spent_of_a_pool_its_own_pays_and_nothing_else(
    ledger: LedgerDriver,
) -> None:
    spender, giver = ledger.member(available=10), ledger.member(available=50)
    ledger.pool(spender, giver)
    spent = ledger.redeem(spender, 40, from_pool=True)
    claimed = ledger.issue(spender, 20)
    ledger.redeem(spender, 20)
    ledger.issue(spender, 7)  # it is there before the claim, and is not touched
    ledger.reverse(claimed.ref)
    balance = ledger.reverse(spent.ref).balance
    assert (balance.available, balance.deficit, ledger.balance(giver).available) == (7, 10, 50)
    _clean(ledger)


def test_a_claim_is_paid_by_the_terms_that_hold_when_it_is_made(ledger: LedgerDriver) -> None:
    claimant, member = ledger.partner(), ledger.member()
    issued = ledger.issue(member, 10, by=claimant)
    ledger.redeem(member, 10)
    now_in_force = ledger.agreement(claimant)
    ledger.reverse(issued.ref, by=claimant)
    ledger.issue(member, 10)
    assert ledger.rows("SELECT agreement_id FROM ledger.deficit") == [(now_in_force,)]
    assert ledger.rows("SELECT agreement_id FROM ledger.transaction WHERE kind = 'recovery'") == [
        (now_in_force,)
    ]
    _clean(ledger)


@pytest.mark.parametrize("claims", [(15, 20), (20, 15)])
def test_what_came_back_pays_and_not_what_its_lots_had_before(
    ledger: LedgerDriver, claims: tuple[int, int]
) -> None:
    partners, member = (ledger.partner(), ledger.partner()), ledger.member()
    taken = [(ledger.issue(member, points, by=by), by) for points, by in zip(claims, partners, strict=True)]
    ledger.redeem(member, 35)
    for points, days in ((50, 10), (25, 20)):
        ledger.issue(member, points, expires_at=ledger.now + timedelta(days=days))
    before = ledger.redeem(member, 30)
    bought = ledger.redeem(member, 45)  # twenty of the one, and all of the other
    ledger.reverse(before.ref)
    for posting, by in taken:
        ledger.reverse(posting.ref, by=by)
    ledger.reverse(bought.ref)
    lots = ledger.rows("SELECT available, burned FROM ledger.lot WHERE points IN (50, 25) ORDER BY sequence")
    assert lots[-2:] == [(30, 20), (10, 15)]
    assert ledger.balance(member).deficit == 0
    _clean(ledger)


def test_what_a_pool_gives_back_pays_and_not_what_its_lots_had_before(ledger: LedgerDriver) -> None:
    claimant, giver, spender = ledger.partner(), ledger.member(), ledger.member()
    owed = ledger.issue(giver, 35, by=claimant)
    ledger.redeem(giver, 35)
    for points, days in ((50, 10), (20, 20)):
        ledger.issue(giver, points, expires_at=ledger.now + timedelta(days=days))
    before = ledger.redeem(giver, 30)
    ledger.pool(spender, giver)
    bought = ledger.redeem(spender, 40, from_pool=True)
    ledger.reverse(before.ref)
    ledger.reverse(owed.ref, by=claimant)
    ledger.reverse(bought.ref)
    lots = ledger.rows(
        "SELECT available, burned FROM ledger.lot WHERE member_id = :giver ORDER BY sequence", giver=giver
    )
    assert lots[-2:] == [(30, 20), (5, 15)]
    assert ledger.balance(giver).deficit == 0
    _clean(ledger)
