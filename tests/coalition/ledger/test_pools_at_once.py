"""Of two who change who is in a pool in one moment, or what is in it, the second waits and decides by what the first left."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from concurrency.interleaving import Act, HeldDatabase, one_after_another
from driver import LedgerDriver
from waiting import until_somebody_waits

from coalition import clock, errors
from coalition.audit import run_audit
from coalition.clock import wall
from coalition.ids import MemberId
from coalition.ledger import Posting
from coalition.ledger.posting import TermsSuperseded, call


def clean(ledger: LedgerDriver) -> bool:
    with ledger.database.reading() as session:
        return run_audit(session) == []


def opens(member: MemberId) -> Act:
    return lambda ledger: ledger.pool(member)


def joins(member: MemberId, pool: UUID) -> Act:
    return lambda ledger: ledger.join_pool(member, pool)


def leaves(member: MemberId) -> Act:
    return lambda ledger: ledger.leave_pool(member)


def closes(pool: UUID) -> Act:
    return lambda ledger: ledger.close_pool(pool)


def invites(head: MemberId, invited: MemberId) -> Act:
    return lambda ledger: ledger.invite(head, invited)


def test_one_member_opens_one_pool(ledger: LedgerDriver) -> None:
    member = ledger.member()
    assert isinstance(one_after_another(ledger, opens(member), opens(member)), errors.AlreadyInPool)
    assert ledger.rows("SELECT count(*) FROM ledger.pool") == [(1,)]
    assert clean(ledger)


def test_of_two_invitations_one_is_accepted(ledger: LedgerDriver) -> None:
    ada, ben, member = ledger.member(), ledger.member(), ledger.member()
    pools = [ledger.pool(ada), ledger.pool(ben)]
    ledger.invite(ada, member)
    ledger.invite(ben, member)
    refusal = one_after_another(ledger, *(joins(member, pool) for pool in pools))
    assert isinstance(refusal, errors.AlreadyInPool)
    assert clean(ledger)


def test_nobody_joins_a_pool_that_was_just_closed(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(), ledger.member()
    pool = ledger.pool(ada)
    ledger.invite(ada, ben)
    assert isinstance(one_after_another(ledger, closes(pool), joins(ben, pool)), errors.PoolClosed)
    assert ledger.rows("SELECT count(*) FROM ledger.member_head WHERE pool_id IS NOT NULL") == [(0,)]
    assert clean(ledger)


def test_a_pool_is_closed_once(ledger: LedgerDriver) -> None:
    pool = ledger.pool(ledger.member(), ledger.member())
    assert isinstance(one_after_another(ledger, closes(pool), closes(pool)), errors.PoolClosed)
    assert clean(ledger)


def test_the_last_place_is_for_one(ledger: LedgerDriver) -> None:
    ada = ledger.member()
    ledger.pool(ada, most_members=2)
    refusal = one_after_another(ledger, invites(ada, ledger.member()), invites(ada, ledger.member()))
    assert isinstance(refusal, errors.PoolFull)
    assert clean(ledger)


def test_who_is_in_no_pool_any_more_leaves_none(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(), ledger.member()
    pool = ledger.pool(ada, ben)
    assert isinstance(one_after_another(ledger, closes(pool), leaves(ben)), errors.NotInPool)
    assert clean(ledger)


def test_who_is_in_another_pool_by_then_is_asked_again(ledger: LedgerDriver) -> None:
    ada, ben, cleo = ledger.member(), ledger.member(), ledger.member()
    ledger.pool(ada, ben)
    other = ledger.pool(cleo)
    ledger.invite(cleo, ben)

    def moves(held: LedgerDriver) -> None:
        held.leave_pool(ben)
        held.join_pool(ben, other)

    def leaves_once(late: LedgerDriver) -> None:
        with late.database.unit_of_work() as session:
            call(session, "SELECT ledger.leave_pool(%s, %s)", (ben, wall()))

    assert isinstance(one_after_another(ledger, moves, leaves_once), TermsSuperseded)
    assert ledger.rows("SELECT pool_id FROM ledger.member_head WHERE member_id = :ben", ben=ben) == [(other,)]
    assert clean(ledger)


def test_a_batch_that_was_to_draw_on_a_pool_is_asked_again_when_the_member_has_left(
    ledger: LedgerDriver,
) -> None:
    ada, ben = ledger.member(available=50), ledger.member()
    ledger.pool(ada, ben)
    wish = ledger.to_redeem(ben, 5, from_pool=True)
    assert isinstance(
        one_after_another(ledger, leaves(ben), lambda after: after.batch(wish)), TermsSuperseded
    )
    assert ledger.balance(ada).available == 50
    assert clean(ledger)


def test_who_joins_a_pool_meanwhile_is_asked_again_before_it_draws_on_that(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(available=5), ledger.member(available=5)
    pool = ledger.pool(ada)
    ledger.invite(ada, ben)
    answer = one_after_another(ledger, joins(ben, pool), lambda late: late.redeem(ben, 10, from_pool=True))
    assert isinstance(answer, TermsSuperseded)
    assert ledger.redeem(ben, 10, from_pool=True).points == 10
    assert clean(ledger)


def test_who_draws_on_a_pool_finds_of_the_others_what_they_have_left_themselves(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(available=50), ledger.member(available=50)
    ledger.pool(ada, ben)
    answer = one_after_another(
        ledger, lambda held: held.redeem(ben, 30), lambda late: late.redeem(ada, 60, from_pool=True)
    )
    assert answer.points == 60
    assert ledger.balance(ben).available == 10
    assert clean(ledger)


def test_what_a_giver_gets_meanwhile_stays_when_it_gets_points_back(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(), ledger.member(available=10)
    ledger.pool(ada, ben)
    spent = ledger.redeem(ada, 10, from_pool=True)
    answer = one_after_another(ledger, lambda held: held.issue(ben, 5), lambda late: late.reverse(spent.ref))
    assert answer.points == 10
    assert ledger.balance(ben).available == 15
    assert clean(ledger)


@pytest.mark.parametrize("merged", ["giver", "spender"])
def test_where_somebody_is_merged_meanwhile_it_is_asked_again_to_whom_points_go_back(
    ledger: LedgerDriver, merged: str
) -> None:
    spender, giver, survivor = ledger.member(), ledger.member(available=10), ledger.member()
    pool = ledger.pool(spender, giver)
    spent = ledger.redeem(spender, 10, from_pool=True)
    ledger.close_pool(pool)
    one = {"giver": giver, "spender": spender}[merged]
    answer = one_after_another(
        ledger, lambda held: held.merge(survivor, one), lambda late: late.reverse(spent.ref)
    )
    assert isinstance(answer, TermsSuperseded)
    ledger.reverse(spent.ref)
    assert ledger.balance(survivor if merged == "giver" else giver).available == 10
    assert clean(ledger)


@pytest.mark.parametrize("how", ["draw on the pool", "give back to it"])
def test_nothing_is_posted_before_what_somebody_of_the_pool_got_meanwhile(
    ledger: LedgerDriver, how: str
) -> None:
    """Who waited looked at the clock before; what others than these got is nothing to it."""
    spender, stranger = ledger.member(), ledger.member()
    giver, another = ledger.member(available=10), ledger.member(available=10)
    ledger.pool(spender, giver, another)
    spent = ledger.redeem(spender, 18, from_pool=True)
    acts: dict[str, Callable[[], Posting]] = {
        "draw on the pool": lambda: ledger.redeem(spender, 1, from_pool=True),
        "give back to it": lambda: ledger.reverse(spent.ref),
    }
    began = ledger.now

    with ThreadPoolExecutor(1) as threads:
        with ledger.database.unit_of_work() as session:
            held: LedgerDriver = replace(ledger, database=HeldDatabase(session))  # type: ignore[arg-type]
            held.issue(giver, 1)
            later = threads.submit(acts[how])
            until_somebody_waits(ledger.database)
            for minutes, member in ((1, giver), (2, stranger)):
                clock.set_clock(session, to=began + timedelta(minutes=minutes))
                held.issue(member, 1)
        assert later.result().recorded_at == began + timedelta(minutes=1)
    assert clean(ledger)
