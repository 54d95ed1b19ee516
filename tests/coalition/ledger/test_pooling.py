"""Household pools: who is in one, and how their points are spent."""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from driver import LedgerDriver

from coalition import errors
from coalition.amounts import Points
from coalition.audit import run_audit
from coalition.blocking import set_blocked
from coalition.ids import MemberId
from coalition.pooling import PoolSpenders


def _clean(ledger: LedgerDriver) -> None:
    with ledger.database.reading() as session:
        assert run_audit(session) == []


def _spendable(ledger: LedgerDriver, *of: MemberId) -> list[int]:
    return [ledger.balance(member).available for member in of]


def _block(ledger: LedgerDriver, member: MemberId) -> None:
    with ledger.database.unit_of_work() as session:
        set_blocked(session, member, blocked=True, by="test")


@pytest.mark.parametrize("own_first", [True, False])
def test_a_pool_gives_what_expires_soonest_and_the_lots_lead_back(
    ledger: LedgerDriver, own_first: bool
) -> None:
    one, other = ledger.partner(), ledger.partner()
    ada, ben, cleo = ledger.member(), ledger.member(), ledger.member()
    soon, late = ledger.now + timedelta(days=5), ledger.now + timedelta(days=50)
    ledger.issue(ada, 10, by=one, expires_at=late)
    ledger.issue(ben, 10, by=other, expires_at=soon)
    ledger.issue(cleo, 10, by=one, expires_at=ledger.now + timedelta(days=9))
    ledger.pool(ada, ben, cleo, own_first=own_first)
    assert ledger.pooled(ada) == 30

    spent = ledger.redeem(ada, 15, by=other, from_pool=True)

    assert (spent.points, spent.balance.available) == (15, 0 if own_first else 10)
    assert _spendable(ledger, ada, ben, cleo) == ([0, 5, 10] if own_first else [10, 0, 5])
    burned = ledger.rows(
        "SELECT issuer_id, points FROM ledger.entry WHERE member_id = :ada AND bucket = 'burned'", ada=ada
    )
    assert sorted(burned, key=str) == sorted(
        [(one, 10), (other, 5)] if own_first else [(other, 10), (one, 5)], key=str
    )
    assert ledger.kinds(ben)[-1] == ("pool_out", 5 if own_first else 10)
    _clean(ledger)


def test_a_single_point_goes_back_to_who_gave_it(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(available=10), ledger.member(available=10)
    ledger.pool(ada, ben)
    spent = ledger.redeem(ada, 15, from_pool=True)
    ledger.reverse(spent.ref, 1)
    assert _spendable(ledger, ada, ben) == [0, 6]
    _clean(ledger)


def test_without_asking_for_it_nothing_of_the_pool_is_spent(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(available=10), ledger.member(available=10)
    ledger.pool(ada, ben)
    before = ledger.snapshot()
    with pytest.raises(errors.InsufficientPoints) as refusal:
        ledger.redeem(ada, 11)
    assert refusal.value.facts == {"available": 10, "requested": 11}
    assert ledger.snapshot() == before
    assert ledger.redeem(ada, 10, from_pool=True).balance.available == 0
    assert ledger.kinds(ada) == [("issue", 10), ("redeem", 10)]


def test_a_redemption_from_the_pool_is_replayed_also_by_who_has_left(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(available=10), ledger.member(available=10)
    ledger.pool(ada, ben)
    first = ledger.redeem(ben, 20, from_pool=True, key="sale")
    ledger.leave_pool(ben)
    again = ledger.redeem(ben, 20, from_pool=True, key="sale")
    assert (again.replayed, again.ref) == (True, first.ref)
    with pytest.raises(errors.IdempotencyConflict):
        ledger.redeem(ben, 20, key="sale")


@pytest.mark.parametrize("how", ["redeem", "authorize"])
def test_refusals_of_a_pool_move_nothing(ledger: LedgerDriver, how: str) -> None:
    ada, ben, cleo = ledger.member(available=10), ledger.member(available=10), ledger.member(available=100)
    alone, blocked = ledger.member(available=10), ledger.member(available=10)
    spend: Callable[..., object] = getattr(ledger, how)
    ledger.pool(ada, ben, blocked, spenders=PoolSpenders.HEAD)
    ledger.pool(cleo, ledger.member(available=100), spender_limit_points=Points(30))
    _block(ledger, blocked)
    spend(cleo, 110, from_pool=True)
    before = ledger.snapshot()
    for refusal, member, points, facts in (
        (errors.NotInPool, alone, 5, {}),
        (errors.PoolHeadOnly, ben, 5, {}),
        (errors.PoolLimitExceeded, cleo, 21, {"allowed": 20, "requested": 21}),
        # What the blocked member has is not spendable.
        (errors.InsufficientPoints, ada, 21, {"available": 20, "requested": 21}),
    ):
        with pytest.raises(refusal) as told:
            spend(member, points, from_pool=True)
        assert told.value.facts == facts, refusal
        assert ledger.snapshot() == before, refusal
    assert ledger.pooled(ben) is None
    assert (ledger.pooled(ada), ledger.pooled(cleo)) == (20, 20)
    _clean(ledger)


def test_a_blocked_member_spends_nothing_of_the_pool(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(available=10), ledger.member(available=10)
    ledger.pool(ada, ben)
    _block(ledger, ada)
    before = ledger.snapshot()
    with pytest.raises(errors.MemberBlocked):
        ledger.redeem(ada, 5, from_pool=True)
    assert ledger.snapshot() == before
    assert (ledger.pooled(ada), ledger.pooled(ben)) == (None, 10)


def test_the_limit_counts_what_others_gave_in_the_window(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(available=10), ledger.member(available=100)
    ledger.pool(ada, ben, spender_limit_points=Points(30))
    first = ledger.redeem(ada, 25, from_pool=True)
    ledger.reverse(first.ref)
    assert _spendable(ledger, ada, ben) == [10, 100]
    assert ledger.pooled(ada) == 25
    with pytest.raises(errors.PoolLimitExceeded):
        ledger.redeem(ada, 26, from_pool=True)
    ledger.close_window()
    ledger.redeem(ada, 40, from_pool=True)
    _clean(ledger)


def test_consent_is_the_spenders_for_all_of_the_points(ledger: LedgerDriver) -> None:
    with ledger.database.unit_of_work() as session:
        from coalition.programme import set_consent_limit  # noqa: PLC0415

        set_consent_limit(session, points=Points(15))
    ada, ben = ledger.member(available=10), ledger.member(available=10)
    ledger.pool(ada, ben)
    before = ledger.snapshot()
    with pytest.raises(errors.ConsentRequired):
        ledger.redeem(ada, 16, from_pool=True)
    assert ledger.snapshot() == before
    confirmed = ledger.confirm(ada, 16, at=ledger.any_partner())
    ledger.redeem(ada, 16, from_pool=True, confirmation_id=confirmed)


def test_what_is_reversed_goes_back_to_who_gave_it(ledger: LedgerDriver) -> None:
    ada, ben, cleo = ledger.member(available=10), ledger.member(available=10), ledger.member(available=10)
    ledger.pool(ada, ben, cleo)
    spent = ledger.redeem(ada, 25, from_pool=True)
    ledger.leave_pool(ben)
    assert ledger.reverse(spent.ref, 6).balance.available == 0
    assert sum(_spendable(ledger, ben, cleo)) == 11
    done = ledger.reverse(spent.ref)
    assert (done.points, done.balance.available) == (19, 10)
    assert _spendable(ledger, ada, ben, cleo) == [10, 10, 10]
    lots = ledger.rows("SELECT count(*) FROM ledger.lot WHERE available > 0")
    assert lots == [(3,)], "in the very lots they came from"
    _clean(ledger)


def test_points_of_the_pool_pay_no_debt_of_the_spender_and_come_back_to_pay_the_givers(
    ledger: LedgerDriver,
) -> None:
    ada, ben = ledger.member(), ledger.member(available=50)
    owing = ledger.issue(ada, 30)
    ledger.redeem(ada, 30)
    ledger.reverse(owing.ref)
    bens = ledger.issue(ben, 20)
    ledger.pool(ada, ben)
    spent = ledger.redeem(ada, 70, from_pool=True)
    assert (spent.balance.available, spent.balance.deficit) == (0, 30)
    ledger.reverse(bens.ref)  # given away: the giver owes them
    assert ledger.balance(ben).deficit == 20
    undone = ledger.reverse(spent.ref)
    assert (undone.balance.available, undone.balance.deficit) == (0, 30)
    assert (ledger.balance(ben).available, ledger.balance(ben).deficit) == (50, 0)
    _clean(ledger)


def test_a_hold_gives_back_what_it_does_not_take(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(available=10), ledger.member(available=50)
    ledger.pool(ada, ben)
    held = ledger.authorize(ada, 40, from_pool=True)
    assert (held.balance.held, _spendable(ledger, ada, ben)) == (40, [0, 20])
    taken = ledger.capture(held.ref, 25)
    assert (taken.balance.held, taken.balance.available) == (0, 0)
    assert _spendable(ledger, ada, ben) == [0, 35]
    ledger.reverse(taken.ref, 20)
    assert _spendable(ledger, ada, ben) == [5, 50]
    second = ledger.authorize(ada, 30, from_pool=True)
    ledger.void(second.ref)
    assert _spendable(ledger, ada, ben) == [5, 50]
    _clean(ledger)


def test_a_hold_that_lapses_gives_back_in_the_night_or_when_the_pool_is_used(ledger: LedgerDriver) -> None:
    ada, ben, cleo = ledger.member(available=10), ledger.member(available=50), ledger.member(available=1)
    ledger.pool(ada, ben, cleo)
    for ended_by in (lambda: ledger.bring_up_to_date(ada), lambda: ledger.redeem(cleo, 1, from_pool=True)):
        held = ledger.authorize(ada, 40, from_pool=True)
        ledger.leave_pool(ben)
        ledger.pass_time(hours=1)
        before = ledger.snapshot()
        for late in (ledger.capture, ledger.void):
            with pytest.raises(errors.HoldLapsed):
                late(held.ref)
        assert ledger.snapshot() == before
        ledger.issue(ada, 1, key="not in the way")
        assert ledger.balance(ada).held == 40, "what others gave is not the member's to spend"
        ended_by()
        assert _spendable(ledger, ada, ben) == [11, 50]
        assert ledger.balance(ada).held == 0
        _clean(ledger)
        ledger.invite(ada, ben)
        [(pool,)] = ledger.rows("SELECT pool_id FROM ledger.pool")
        ledger.join_pool(ben, pool)
    ledger.redeem(cleo, 11, from_pool=True)


def test_what_expired_meanwhile_lapses_at_its_giver(ledger: LedgerDriver) -> None:
    graceful, strict = ledger.partner(grace_days=7), ledger.partner(grace_days=0)
    ada, ben = ledger.member(), ledger.member()
    for issuer in (graceful, strict):
        ledger.issue(ben, 10, by=issuer, expires_at=ledger.now + timedelta(days=2))
    ledger.pool(ada, ben)
    spent = ledger.redeem(ada, 15, from_pool=True)
    held = ledger.authorize(ada, 5, from_pool=True, seconds_to_live=400_000)
    ledger.pass_time(days=3)
    ledger.void(held.ref)
    ledger.reverse(spent.ref)
    assert _spendable(ledger, ada, ben)[0] == 0
    assert _spendable(ledger, ben) in ([10], [5])
    ledger.pass_time(days=8)
    assert _spendable(ledger, ada, ben) == [0, 0]
    _clean(ledger)


@pytest.mark.parametrize("into_spender", [True, False])
def test_points_of_a_giver_who_was_merged_go_on_with_the_merge(
    ledger: LedgerDriver, into_spender: bool
) -> None:
    ada, ben, cleo = ledger.member(available=10), ledger.member(available=10), ledger.member()
    ledger.pool(ada, ben)
    spent = ledger.redeem(ada, 20, from_pool=True)
    before = ledger.snapshot()
    with pytest.raises(errors.AlreadyInPool):
        ledger.merge(cleo, ben)
    assert ledger.snapshot() == before
    ledger.leave_pool(ben)
    ledger.merge(ada if into_spender else cleo, ben)
    ledger.reverse(spent.ref, 10)
    ledger.reverse(spent.ref)
    assert _spendable(ledger, ada, ben, cleo) == ([20, 0, 0] if into_spender else [10, 0, 10])
    _clean(ledger)
    ledger.unmerge(ada if into_spender else cleo, ben)
    assert _spendable(ledger, ada, ben, cleo) == [10, 10, 0]
    _clean(ledger)


def test_a_spender_who_was_merged_gives_back_all_the_same(ledger: LedgerDriver) -> None:
    ada, ben, cleo = ledger.member(available=10), ledger.member(available=10), ledger.member()
    ledger.pool(ben, ada)
    spent = ledger.redeem(ada, 20, from_pool=True)
    ledger.leave_pool(ada)
    ledger.merge(cleo, ada)
    ledger.reverse(spent.ref)
    assert _spendable(ledger, ada, ben, cleo) == [0, 10, 10]
    _clean(ledger)


def test_what_others_do_in_the_same_moment_is_not_taken_for_an_answer(ledger: LedgerDriver) -> None:
    """Points went back to Ben under a key; what reaches Ada through Cleo, merged into her, is another's doing."""
    ada, ben, cleo, dan = (ledger.member(available=10) for _ in range(4))
    ledger.pool(ada, ben)
    spent = ledger.redeem(ada, 20, from_pool=True)
    ledger.pool(dan, cleo)
    others = ledger.redeem(dan, 20, from_pool=True)
    ledger.leave_pool(cleo)
    ledger.merge(ada, cleo)
    ledger.reverse(spent.ref)
    ledger.reverse(others.ref)
    assert _spendable(ledger, ada, ben, cleo, dan) == [20, 10, 0, 10]
    _clean(ledger)


def test_nor_is_that_what_the_giver_passed_on_to_somebody_else(ledger: LedgerDriver) -> None:
    """As above, but Ben was merged, into another than Ada; Dan was merged into her."""
    ada, ben, cleo, dan = (ledger.member(available=10) for _ in range(4))
    others = ledger.redeem(dan, 10)
    ledger.pool(ada, ben)
    spent = ledger.redeem(ada, 20, from_pool=True)
    ledger.leave_pool(ben)
    ledger.merge(cleo, ben)
    ledger.merge(ada, dan)
    ledger.reverse(spent.ref)
    ledger.reverse(others.ref)
    assert _spendable(ledger, ada, ben, cleo, dan) == [20, 0, 20, 0]
    assert ledger.kinds(ada)[-3:] == [("reverse_redemption", 20), ("unpool_out", 10), ("merge_in", 10)]
    _clean(ledger)


def test_what_the_giver_passes_on_over_another_to_the_spender_is_of_the_answer(ledger: LedgerDriver) -> None:
    ada, ben, cleo = ledger.member(available=10), ledger.member(available=5), ledger.member()
    ledger.issue(ben, 5, expires_at=ledger.now + timedelta(hours=1))
    ledger.pool(ada, ben)
    hold = ledger.authorize(ada, 20, from_pool=True, seconds_to_live=7200)
    ledger.leave_pool(ben)
    ledger.merge(cleo, ben)
    ledger.merge(ada, cleo)
    ledger.pass_time(hours=1)
    assert ledger.void(hold.ref).balance.available == 15
    assert [kind for kind, _ in ledger.kinds(ben)[-3:]] == ["unpool_in", "expire", "merge_out"]
    _clean(ledger)


def test_joining_needs_both_sides(ledger: LedgerDriver) -> None:
    ada, ben, cleo = ledger.member(), ledger.member(), ledger.member()
    pool = ledger.pool(ada, most_members=2)
    before = ledger.snapshot()
    with pytest.raises(errors.PoolUnknown):
        ledger.join_pool(ben, pool)
    with pytest.raises(errors.PoolUnknown):
        ledger.join_pool(ben, uuid4())
    with pytest.raises(errors.MemberUnknown):
        ledger.invite(ada, MemberId(uuid4()))
    with pytest.raises(errors.NotInPool):
        ledger.invite(ben, cleo)
    assert ledger.snapshot() == before
    ledger.invite(ada, ben)
    once = ledger.snapshot()
    ledger.invite(ada, ben)
    ledger.invite(ada, ada)
    with pytest.raises(errors.PoolFull):
        ledger.invite(ada, cleo)
    assert ledger.snapshot() == once
    ledger.pass_time(days=15)
    with pytest.raises(errors.PoolUnknown):
        ledger.join_pool(ben, pool)
    ledger.invite(ada, ben)
    ledger.join_pool(ben, pool)
    joined = ledger.snapshot()
    ledger.join_pool(ben, pool)
    with pytest.raises(errors.PoolHeadOnly):
        ledger.invite(ben, cleo)
    assert ledger.snapshot() == joined
    _clean(ledger)


def test_a_member_is_in_one_pool_at_a_time(ledger: LedgerDriver) -> None:
    ada, ben, cleo, blocked = (ledger.member() for _ in range(4))
    first = ledger.pool(ada, ben)
    second = ledger.pool(cleo)
    ledger.invite(cleo, ben)
    ledger.invite(cleo, blocked)
    _block(ledger, blocked)
    before = ledger.snapshot()
    with pytest.raises(errors.AlreadyInPool):
        ledger.join_pool(ben, second)
    with pytest.raises(errors.AlreadyInPool):
        ledger.pool(ben)
    with pytest.raises(errors.MemberBlocked):
        ledger.join_pool(blocked, second)
    with pytest.raises(errors.MemberBlocked):
        ledger.pool(blocked)
    assert ledger.snapshot() == before
    ledger.leave_pool(ben)
    ledger.join_pool(ben, second)
    with pytest.raises(errors.PoolUnknown):
        ledger.join_pool(ben, first)
    _clean(ledger)


def test_a_pool_is_closed_by_its_head_or_the_operator(ledger: LedgerDriver) -> None:
    ada, ben, cleo, stranger = (ledger.member(available=10) for _ in range(4))
    pool = ledger.pool(ada, ben)
    ledger.invite(ada, cleo)
    before = ledger.snapshot()
    with pytest.raises(errors.PoolHeadOnly):
        ledger.close_pool(pool, by=ben)
    with pytest.raises(errors.PoolUnknown):
        ledger.close_pool(pool, by=stranger)
    with pytest.raises(errors.PoolUnknown):
        ledger.close_pool(uuid4())
    with pytest.raises(errors.NotInPool):
        ledger.leave_pool(stranger)
    assert ledger.snapshot() == before
    ledger.close_pool(pool, by=ada)
    closed = ledger.snapshot()
    with pytest.raises(errors.PoolClosed):
        ledger.close_pool(pool)
    with pytest.raises(errors.PoolClosed):
        ledger.join_pool(cleo, pool)
    with pytest.raises(errors.NotInPool):
        ledger.redeem(ben, 15, from_pool=True)
    assert ledger.snapshot() == closed
    another = ledger.pool(ben, cleo)
    ledger.leave_pool(ben)
    with pytest.raises(errors.PoolClosed):
        ledger.close_pool(another)
    ledger.close_pool(ledger.pool(cleo, ben))
    _clean(ledger)
