"""Which members of a pool give how much, what they get back, and in which order it is written."""

from datetime import timedelta

import pytest
from driver import LedgerDriver

from coalition import errors
from coalition.amounts import Points
from coalition.audit import run_audit
from coalition.erasing import erase_member
from coalition.ids import MemberId


def clean(ledger: LedgerDriver) -> bool:
    with ledger.database.reading() as session:
        return run_audit(session) == []


def spendable(ledger: LedgerDriver, *of: MemberId) -> list[int]:
    return [ledger.balance(member).available for member in of]


def test_of_what_expires_at_once_the_spenders_own_goes_first(ledger: LedgerDriver) -> None:
    giver, spender = sorted(ledger.member(available=10) for _ in range(2))
    ledger.pool(spender, giver, own_first=False)
    ledger.redeem(spender, 10, from_pool=True)
    assert spendable(ledger, giver, spender) == [10, 0]


def test_of_what_others_have_that_expires_at_once_the_first_by_its_id_gives(ledger: LedgerDriver) -> None:
    first, second = sorted(ledger.member() for _ in range(2))
    for giver in (second, first):
        ledger.issue(giver, 10)
    spender = ledger.member()
    ledger.pool(spender, second, first)
    ledger.redeem(spender, 11, from_pool=True)
    assert spendable(ledger, first, second) == [0, 9]


def test_what_has_come_due_for_the_others_is_posted_before_they_give(ledger: LedgerDriver) -> None:
    giver, spender = ledger.member(), ledger.member()
    ledger.issue(giver, 10, matures_at=ledger.now + timedelta(days=1))
    ledger.issue(giver, 7, expires_at=ledger.now + timedelta(days=1))
    ledger.pool(spender, giver)
    ledger.pass_time(days=2)
    with pytest.raises(errors.InsufficientPoints) as refusal:
        ledger.redeem(spender, 11, from_pool=True)
    assert refusal.value.facts == {"available": 10, "requested": 11}
    ledger.redeem(spender, 10, from_pool=True)
    assert ledger.kinds(giver)[2:] == [("mature", 10), ("expire", 7), ("pool_out", 10)]
    assert clean(ledger)


def test_the_limit_counts_what_merged_records_had_until_they_are_apart(ledger: LedgerDriver) -> None:
    ada, twin, third, ben = ledger.member(), ledger.member(), ledger.member(), ledger.member(available=1_000)
    ledger.pool(ben, ada, twin, third, spender_limit_points=Points(50))
    for one, points in ((third, 10), (twin, 20)):
        ledger.redeem(one, points, from_pool=True)
        ledger.leave_pool(one)
    ledger.merge(twin, third)
    ledger.merge(ada, twin)
    ledger.issue(ada, 5)
    assert ledger.pooled(ada) == 25
    before = ledger.snapshot()
    with pytest.raises(errors.PoolLimitExceeded) as refusal:
        ledger.redeem(ada, 26, from_pool=True)
    assert refusal.value.facts == {"allowed": 20, "requested": 21}
    assert ledger.snapshot() == before
    ledger.redeem(ada, 25, from_pool=True)
    assert ledger.pooled(ada) == 0
    ledger.unmerge(ada, twin)
    assert ledger.pooled(ada) == 30
    ledger.redeem(ada, 30, from_pool=True)
    assert clean(ledger)


def test_what_a_spender_can_spend_ends_where_the_next_points_are_beyond_its_limit(
    ledger: LedgerDriver,
) -> None:
    ada, ben = ledger.member(), ledger.member()
    for owner, points, days in ((ada, 10, 5), (ben, 30, 10), (ada, 20, 15), (ben, 100, 20), (ada, 500, 30)):
        ledger.issue(owner, points, expires_at=ledger.now + timedelta(days=days))
    ledger.pool(ada, ben, own_first=False, spender_limit_points=Points(50))
    assert (ledger.pooled(ada), ledger.pooled(ben)) == (80, 180)
    with pytest.raises(errors.PoolLimitExceeded) as refusal:
        ledger.redeem(ada, 81, from_pool=True)
    assert refusal.value.facts == {"allowed": 50, "requested": 51}
    ledger.redeem(ada, 80, from_pool=True)
    # It has points of its own left, but those of the other go first.
    assert (ledger.pooled(ada), spendable(ledger, ada)) == (0, [500])
    with pytest.raises(errors.PoolLimitExceeded):
        ledger.redeem(ada, 1, from_pool=True)
    ledger.pass_time(days=20)
    assert ledger.pooled(ada) == 500
    assert clean(ledger)


def test_the_limit_is_of_others_points_and_holds_from_the_first(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(available=10), ledger.member(available=100)
    ledger.pool(ada, ben, spender_limit_points=Points(30))

    def refused(points: int) -> dict[str, object]:
        with pytest.raises(errors.PoolLimitExceeded) as refusal:
            ledger.redeem(ada, points, from_pool=True)
        return refusal.value.facts

    assert refused(41) == {"allowed": 30, "requested": 31}
    ledger.redeem(ada, 40, from_pool=True)
    assert refused(1) == {"allowed": 0, "requested": 1}


def test_a_hold_of_a_single_point_lapses_at_its_very_end(ledger: LedgerDriver) -> None:
    ada, ben, cleo = ledger.member(), ledger.member(available=1), ledger.member()
    ledger.pool(ada, ben, cleo)
    ledger.authorize(ada, 1, from_pool=True, seconds_to_live=60)
    ledger.pass_time(seconds=60)
    assert ledger.redeem(cleo, 1, from_pool=True).points == 1
    assert ledger.balance(ada).held == 0
    assert clean(ledger)


def test_holds_lapse_in_the_order_of_their_ends_and_with_one_end_as_they_were_made(
    ledger: LedgerDriver,
) -> None:
    spender = ledger.member()
    ledger.pool(spender, ledger.member(available=6))
    for points, seconds in ((1, 90), (2, 60), (3, 60)):
        ledger.authorize(spender, points, from_pool=True, seconds_to_live=seconds)
    ledger.pass_time(minutes=2)
    ledger.bring_up_to_date(spender)
    assert [points for kind, points in ledger.kinds(spender) if kind == "lapse"] == [2, 3, 1]


def test_of_several_members_holds_those_of_the_first_by_its_id_lapse_first(ledger: LedgerDriver) -> None:
    giver, *spenders = ledger.member(available=5), *(ledger.member() for _ in range(5))
    ledger.pool(giver, *spenders)
    for spender in spenders:
        ledger.authorize(spender, 1, from_pool=True, seconds_to_live=60)
    ledger.pass_time(minutes=1)
    ledger.redeem(giver, 5, from_pool=True)
    lapsed = ledger.rows("SELECT member_id FROM ledger.transaction WHERE kind = 'lapse' ORDER BY inserted_at")
    assert lapsed == [(spender,) for spender in sorted(spenders)]


def test_what_was_the_members_own_of_a_hold_that_lapses_and_has_expired_expires_with_it(
    ledger: LedgerDriver,
) -> None:
    ada, ben = ledger.member(), ledger.member(available=3)
    ledger.issue(ada, 5, expires_at=ledger.now + timedelta(hours=1))
    ledger.pool(ada, ben)
    ledger.authorize(ada, 8, from_pool=True, seconds_to_live=7200)
    ledger.pass_time(hours=2)
    ledger.bring_up_to_date(ada)
    assert ledger.kinds(ada)[-3:] == [("lapse", 8), ("unpool_out", 3), ("expire", 5)]
    assert clean(ledger)


def test_what_comes_back_expired_expires_at_its_giver_at_once(ledger: LedgerDriver) -> None:
    strict = ledger.partner(grace_days=0)
    ada, ben = ledger.member(), ledger.member()
    ledger.issue(ben, 10, by=strict, expires_at=ledger.now + timedelta(hours=1))
    ledger.pool(ada, ben)
    spent = ledger.redeem(ada, 10, from_pool=True)
    ledger.pass_time(hours=1)
    ledger.reverse(spent.ref)
    assert ledger.kinds(ben)[-2:] == [("unpool_in", 10), ("expire", 10)]
    assert clean(ledger)


def test_of_a_hold_that_is_taken_in_part_only_who_gave_the_rest_gets_anything(ledger: LedgerDriver) -> None:
    ada, ben, cleo = (ledger.member() for _ in range(3))
    for days, (giver, points) in enumerate(((ben, 2), (cleo, 5), (ben, 3)), start=1):
        ledger.issue(giver, points, expires_at=ledger.now + timedelta(days=days))
    ledger.pool(ada, ben, cleo)
    held = ledger.authorize(ada, 10, from_pool=True)
    ledger.capture(held.ref, 7)
    assert spendable(ledger, ada, ben, cleo) == [0, 3, 0]
    assert ledger.kinds(cleo) == [("issue", 5), ("pool_out", 5)]
    assert ledger.kinds(ben)[-1] == ("unpool_in", 3)
    assert clean(ledger)


def test_points_go_back_to_one_giver_after_the_other_by_their_ids(ledger: LedgerDriver) -> None:
    spender, givers = ledger.member(), [ledger.member(available=1) for _ in range(5)]
    ledger.pool(spender, *givers)
    spent = ledger.redeem(spender, 5, from_pool=True)
    ledger.reverse(spent.ref)
    back = ledger.rows(
        "SELECT other_member_id FROM ledger.transaction WHERE member_id = :spender AND kind = 'unpool_out'"
        " ORDER BY sequence",
        spender=spender,
    )
    assert back == [(giver,) for giver in sorted(givers)]


def test_the_lots_of_one_giver_go_back_in_the_order_in_which_they_came(ledger: LedgerDriver) -> None:
    spender, giver = ledger.member(), ledger.member()
    for points in (3, 2, 1):
        ledger.issue(giver, points, expires_at=ledger.now + timedelta(days=points))
    ledger.pool(spender, giver)
    spent = ledger.redeem(spender, 6, from_pool=True)
    ledger.pass_time(days=1)  # The first has its grace by then, and expires last.
    ledger.reverse(spent.ref)
    back = ledger.rows(
        "SELECT e.ordinal, e.bucket, e.points FROM ledger.entry e"
        " JOIN ledger.transaction t USING (member_id, business_date, transaction_id)"
        " WHERE t.kind = 'unpool_in' ORDER BY e.ordinal"
    )
    assert back == [
        (1, "transferred", -1),
        (2, "available", 1),
        (3, "transferred", -2),
        (4, "available", 2),
        (5, "transferred", -3),
        (6, "available", 3),
    ]


def test_at_the_very_end_of_its_day_what_comes_back_has_its_grace_period(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(), ledger.member()
    ledger.issue(ben, 10, expires_at=ledger.now + timedelta(hours=1))
    ledger.pool(ada, ben)
    spent = ledger.redeem(ada, 10, from_pool=True)
    ledger.pass_time(hours=1)
    ledger.reverse(spent.ref)
    assert spendable(ledger, ben) == [10]
    assert clean(ledger)


def test_of_two_givers_each_pays_with_what_came_back_to_it(ledger: LedgerDriver) -> None:
    first, second = sorted(ledger.member() for _ in range(2))
    spender, issuer = ledger.member(), ledger.partner(return_policy="unlimited")
    owed = ledger.issue(second, 6, by=issuer)
    ledger.redeem(second, 6)
    for days, points in ((1, 3), (2, 3)):
        ledger.issue(first, points, expires_at=ledger.now + timedelta(days=days))
    for days, points in ((3, 11), (4, 6)):
        ledger.issue(second, points, expires_at=ledger.now + timedelta(days=days))
    bought = ledger.redeem(second, 7)
    ledger.pool(spender, first, second)
    lent = ledger.redeem(spender, 16, from_pool=True)
    ledger.reverse(bought.ref)
    ledger.reverse(owed.ref, by=issuer)
    ledger.reverse(lent.ref)
    lots = ledger.rows(
        "SELECT available, burned FROM ledger.lot WHERE member_id = :second ORDER BY expires_at LIMIT 2",
        second=second,
    )
    # Four of the one and two of the other; the seven of before are there still.
    assert lots == [(7, 4), (4, 2)]
    assert clean(ledger)


def test_what_somebody_gave_who_was_erased_since_stays_redeemed_and_the_rest_is_given_back(
    ledger: LedgerDriver,
) -> None:
    spender, giver = ledger.member(available=90), ledger.member(available=10)
    ledger.pool(spender, giver)
    redeemed = ledger.redeem(spender, 100, from_pool=True)
    ledger.reverse(redeemed.ref, 4)  # of what was drawn last, which was the giver's
    ledger.redeem(giver, 4)
    ledger.leave_pool(giver)
    with ledger.database.unit_of_work() as session:
        erase_member(session, giver)

    def refused(points: int | None) -> dict[str, object]:
        before = ledger.snapshot()
        with pytest.raises(errors.ReversalExceeded) as refusal:
            ledger.reverse(redeemed.ref, points)
        assert ledger.snapshot() == before
        return refusal.value.facts

    assert refused(91) == {"left": 90, "requested": 91}
    assert ledger.reverse(redeemed.ref, 1).points == 1
    assert ledger.reverse(redeemed.ref).points == 89  # all that is left, and can be given back
    assert refused(1) == {"left": 0, "requested": 1}
    assert refused(None) == {"left": 0, "requested": 6}
    assert spendable(ledger, spender) == [90]
    assert clean(ledger)


def test_a_gift_of_who_was_erased_since_and_what_it_gave_for_another_purchase_are_no_part_of_it(
    ledger: LedgerDriver,
) -> None:
    spender, giver = ledger.member(), ledger.member(available=30)
    ledger.transfer(giver, 10, to=spender)
    ledger.pool(spender, giver)
    first, second = (ledger.redeem(spender, points, from_pool=True) for points in (15, 15))
    ledger.leave_pool(giver)
    with ledger.database.unit_of_work() as session:
        erase_member(session, giver)
    assert ledger.reverse(first.ref).points == 10
    with pytest.raises(errors.ReversalExceeded) as refusal:
        ledger.reverse(second.ref)
    assert refusal.value.facts == {"left": 0, "requested": 15}
    assert spendable(ledger, spender) == [10]
    assert clean(ledger)


def test_whose_survivor_was_erased_gets_nothing_back_either(ledger: LedgerDriver) -> None:
    spender, giver, survivor = ledger.member(available=1), ledger.member(available=10), ledger.member()
    ledger.pool(spender, giver)
    redeemed = ledger.redeem(spender, 11, from_pool=True)
    ledger.leave_pool(giver)
    ledger.merge(survivor, giver)
    with ledger.database.unit_of_work() as session:
        erase_member(session, survivor)
    assert ledger.reverse(redeemed.ref).points == 1
    assert spendable(ledger, spender) == [1]
    assert clean(ledger)
