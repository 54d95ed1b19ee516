"""Nothing comes back to somebody who was erased: not from a pool, which others drew on."""

from datetime import timedelta

import pytest
from driver import LedgerDriver

from coalition.audit import run_audit
from coalition.erasing import erase_member
from coalition.errors import MemberHasHolds, ReversalExceeded
from coalition.ids import MemberId


def erase(ledger: LedgerDriver, member: MemberId) -> None:
    with ledger.database.unit_of_work() as session:
        erase_member(session, member)


def clean(ledger: LedgerDriver) -> bool:
    with ledger.database.reading() as session:
        return list(run_audit(session)) == []


@pytest.fixture
def giver(ledger: LedgerDriver) -> MemberId:
    return ledger.member(available=100)


@pytest.fixture
def spender(ledger: LedgerDriver, giver: MemberId) -> MemberId:
    """The head of a pool with the giver; it has nothing of its own."""
    spender = ledger.member()
    ledger.pool(spender, giver)
    return spender


def test_who_gave_points_that_are_held_is_erased_when_they_are_not(
    ledger: LedgerDriver, giver: MemberId, spender: MemberId
) -> None:
    hold = ledger.authorize(spender, 100, from_pool=True)
    ledger.leave_pool(giver)
    before = ledger.snapshot()
    with pytest.raises(MemberHasHolds) as refusal:
        erase(ledger, giver)
    assert refusal.value.facts["held"] == 100
    assert ledger.snapshot() == before
    ledger.capture(hold.ref)
    erase(ledger, giver)
    assert clean(ledger)


def test_the_points_of_a_survivor_are_asked_for_too(
    ledger: LedgerDriver, giver: MemberId, spender: MemberId
) -> None:
    survivor = ledger.member()
    ledger.redeem(spender, 99, from_pool=True)
    ledger.authorize(spender, 1, from_pool=True)
    ledger.leave_pool(giver)
    ledger.merge(survivor, giver)
    with pytest.raises(MemberHasHolds) as refusal:
        erase(ledger, survivor)
    assert refusal.value.facts["held"] == 1


def test_what_comes_back_to_others_or_to_nobody_is_not_in_the_way(
    ledger: LedgerDriver, giver: MemberId, spender: MemberId
) -> None:
    """What it gave for good, and what whom it gave to by a pool holds of its own or of somebody else's."""
    friend, other = ledger.member(), ledger.member(available=50)
    ledger.redeem(spender, 60, from_pool=True)
    ledger.transfer(giver, 40, to=friend)
    ledger.authorize(friend, 40)
    ledger.leave_pool(giver)
    [(pool,)] = ledger.rows("SELECT pool_id FROM ledger.pool")
    ledger.invite(spender, other)
    ledger.join_pool(other, pool)
    ledger.issue(spender, 10)
    ledger.authorize(spender, 60, from_pool=True)
    erase(ledger, giver)
    assert clean(ledger)


def test_what_an_erased_member_gave_is_not_given_back(
    ledger: LedgerDriver, giver: MemberId, spender: MemberId
) -> None:
    redeemed = ledger.redeem(spender, 100, from_pool=True)
    ledger.leave_pool(giver)
    erase(ledger, giver)
    before = ledger.snapshot()
    # Whoever asks does not learn of the erasure.
    with pytest.raises(ReversalExceeded) as refusal:
        ledger.reverse(redeemed.ref)
    assert refusal.value.facts == {"left": 0, "requested": 100}
    assert ledger.snapshot() == before
    assert clean(ledger)


def test_an_erased_member_stands_in_the_way_of_nothing_that_it_did_not_give(
    ledger: LedgerDriver, giver: MemberId, spender: MemberId
) -> None:
    erased = ledger.member()
    ledger.issue(erased, 5, expires_at=ledger.now + timedelta(days=1))
    [(pool,)] = ledger.rows("SELECT pool_id FROM ledger.pool")
    ledger.invite(spender, erased)
    ledger.join_pool(erased, pool)
    ledger.redeem(spender, 5, from_pool=True)
    ledger.leave_pool(erased)
    erase(ledger, erased)
    redeemed = ledger.redeem(spender, 100, from_pool=True)
    ledger.reverse(redeemed.ref)
    assert ledger.balance(giver).available == 100
    assert clean(ledger)
