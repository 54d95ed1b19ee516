"""Points that change hands: transfers, merges and un-merges, and adjustments by an operator."""

from datetime import timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from driver import LedgerDriver

from coalition import adjusting, errors
from coalition.adjusting import AdjustmentReason, ProposeAdjustment
from coalition.amounts import Points
from coalition.audit import run_audit
from coalition.blocking import set_blocked
from coalition.ids import MemberId
from coalition.ledger import Posting


def _clean(ledger: LedgerDriver) -> None:
    with ledger.database.reading() as session:
        assert run_audit(session) == []


def _spendable(ledger: LedgerDriver, *members: MemberId) -> list[int]:
    return [ledger.balance(member).available for member in members]


def test_a_transfer_hands_over_what_expires_first_with_issuer_and_expiry(ledger: LedgerDriver) -> None:
    one, other = ledger.partner(), ledger.partner()
    giver, taker = ledger.member(), ledger.member()
    soon, late = ledger.now + timedelta(days=5), ledger.now + timedelta(days=50)
    ledger.issue(giver, 10, by=one, expires_at=soon)
    ledger.issue(giver, 10, by=other, expires_at=late)
    given = ledger.transfer(giver, 14, to=taker)
    assert (given.points, given.balance.available) == (14, 6)
    assert ledger.rows(
        "SELECT issuer_id, expires_at, available FROM ledger.lot WHERE member_id = :taker ORDER BY expires_at",
        taker=taker,
    ) == [(one, soon, 10), (other, late, 4)]
    assert ledger.kinds(taker) == [("transfer_in", 14)]
    ledger.pass_time(days=6)
    assert _spendable(ledger, giver, taker) == [6, 4]
    _clean(ledger)


def test_the_limit_of_transfers_counts_what_merged_records_gave(ledger: LedgerDriver) -> None:
    one, other, taker = ledger.member(available=20_000), ledger.member(available=20_000), ledger.member()
    ledger.transfer(one, 6_000, to=taker)
    ledger.merge(other, one)
    before = ledger.snapshot()
    with pytest.raises(errors.TransferLimitExceeded) as refusal:
        ledger.transfer(other, 4_001, to=taker)
    assert refusal.value.facts["allowed"] == 4_000
    assert ledger.snapshot() == before
    ledger.unmerge(other, one)
    ledger.transfer(other, 10_000, to=taker)


def test_a_transfer_is_replayed_and_its_refusals_move_nothing(ledger: LedgerDriver) -> None:
    giver, taker = ledger.member(available=20_000), ledger.member()
    first = ledger.transfer(giver, 4_000, to=taker, key="gift")
    again = ledger.transfer(giver, 4_000, to=taker, key="gift")
    assert (again.replayed, again.transaction_id) == (True, first.transaction_id)
    blocked = ledger.member()
    with ledger.database.unit_of_work() as session:
        set_blocked(session, blocked, blocked=True, by="test")
    before = ledger.snapshot()
    for refusal, points, to in (
        (errors.PointsInvalid, 0, taker),
        (errors.MemberUnknown, 5, MemberId(uuid4())),
        (errors.TransferToOneself, 5, giver),
        (errors.MemberBlocked, 5, blocked),
        (errors.TransferLimitExceeded, 6_001, taker),
    ):
        with pytest.raises(refusal):
            ledger.transfer(giver, points, to=to)
        assert ledger.snapshot() == before, refusal
    with pytest.raises(errors.InsufficientPoints):
        ledger.transfer(taker, 4_001, to=giver)
    with pytest.raises(errors.IdempotencyConflict):
        ledger.transfer(giver, 4_001, to=taker, key="gift")
    assert ledger.snapshot() == before


def test_what_arrives_pays_what_the_receiver_owes(ledger: LedgerDriver) -> None:
    giver, taker = ledger.member(available=100), ledger.member()
    issued = ledger.issue(taker, 30)
    ledger.redeem(taker, 30)
    ledger.reverse(issued.ref)
    assert ledger.balance(taker).deficit == 30
    ledger.transfer(giver, 50, to=taker)
    balance = ledger.balance(taker)
    assert (balance.available, balance.deficit) == (20, 0)
    _clean(ledger)


def test_a_merge_brings_everything_along_and_an_unmerge_gives_back_what_is_left(ledger: LedgerDriver) -> None:
    survivor, merged = ledger.member(available=5), ledger.member()
    ledger.issue(merged, 10, expires_at=ledger.now + timedelta(days=3))
    ledger.issue(merged, 20, expires_at=ledger.now + timedelta(days=300))
    ledger.issue(merged, 40, matures_at=ledger.now + timedelta(days=30))
    posting = ledger.merge(survivor, merged)
    assert (posting.points, posting.balance.available, posting.balance.pending) == (70, 35, 40)
    assert _spendable(ledger, merged) == [0]
    ledger.redeem(survivor, 12)  # the ten that expire first, and two of the twenty
    back = ledger.unmerge(survivor, merged)
    assert (back.points, back.balance.available) == (58, 5)
    assert (ledger.balance(merged).available, ledger.balance(merged).pending) == (18, 40)
    assert ledger.rows(
        "SELECT count(*) FROM ledger.lot WHERE member_id = :merged AND available + pending > 0", merged=merged
    ) == [(2,)]
    ledger.pass_time(days=31)
    assert _spendable(ledger, merged, survivor) == [58, 5]
    _clean(ledger)


def test_keys_of_the_merged_are_found_in_a_replay(ledger: LedgerDriver) -> None:
    survivor, merged = ledger.member(), ledger.member()
    request: dict[str, object] = {"points": 10}
    first = ledger.issue(merged, 10, key="sale-1", request=request)
    ledger.merge(survivor, merged)
    before = ledger.snapshot()
    again = ledger.issue(survivor, 10, key="sale-1", request=request)
    assert (again.replayed, again.ref) == (True, first.ref)
    with pytest.raises(errors.IdempotencyConflict):
        ledger.issue(survivor, 11, key="sale-1", request={"points": 11})
    with pytest.raises(errors.MemberMerged) as refusal:
        ledger.issue(merged, 5)
    assert refusal.value.facts == {"survivor": str(survivor)}
    assert ledger.snapshot() == before


def test_merges_in_a_ring_and_other_follies_are_refused(ledger: LedgerDriver) -> None:
    a, b, c = ledger.member(available=1), ledger.member(available=2), ledger.member(available=3)
    ledger.merge(a, b)
    held = ledger.authorize(c, 2)
    before = ledger.snapshot()
    for refusal, survivor, merged in (
        (errors.MemberMerged, b, a),
        (errors.MemberMerged, c, b),
        (errors.MemberMerged, b, c),
        (errors.MergeWithOneself, a, a),
        (errors.MemberUnknown, a, MemberId(uuid4())),
        (errors.MemberHasHolds, a, c),
    ):
        with pytest.raises(refusal):
            ledger.merge(survivor, merged)
        assert ledger.snapshot() == before, refusal
    with pytest.raises(errors.NotMerged):
        ledger.unmerge(a, c)
    assert ledger.snapshot() == before
    ledger.void(held.ref)
    assert ledger.merge(c, a).balance.available == 6
    with pytest.raises(errors.MemberMerged):
        ledger.unmerge(a, b)
    ledger.unmerge(c, a)
    ledger.unmerge(a, b)
    assert _spendable(ledger, a, b, c) == [1, 2, 3]
    _clean(ledger)


def test_what_a_merged_member_owes_goes_along_and_comes_back(ledger: LedgerDriver) -> None:
    survivor, merged = ledger.member(), ledger.member()
    issued = ledger.issue(merged, 30)
    ledger.redeem(merged, 30)
    ledger.reverse(issued.ref)
    assert ledger.merge(survivor, merged).balance.deficit == 30
    ledger.issue(survivor, 10)
    assert ledger.balance(survivor).deficit == 20
    ledger.unmerge(survivor, merged)
    assert (ledger.balance(survivor).deficit, ledger.balance(merged).deficit) == (0, 20)
    _clean(ledger)


@pytest.mark.parametrize("depth", [1, 2])
def test_what_was_posted_before_a_merge_can_be_reversed_after_it(ledger: LedgerDriver, depth: int) -> None:
    merged = ledger.member()
    issued = ledger.issue(merged, 100)
    spent = ledger.redeem(merged, 20)
    line = [merged, *(ledger.member() for _ in range(depth))]
    for lower, upper in pairwise(line):
        ledger.merge(upper, lower)
    last = line[-1]
    assert _spendable(ledger, last) == [80]
    undone = ledger.reverse(issued.ref, 50, key="return")
    assert undone.points == 50
    assert _spendable(ledger, *line) == [*[0] * depth, 30]
    assert ledger.reverse(issued.ref, 50, key="return").replayed
    ledger.reverse(spent.ref)
    assert _spendable(ledger, last) == [50]
    rest: Posting = ledger.reverse(issued.ref)
    assert (rest.points, ledger.balance(last).available, ledger.balance(last).deficit) == (50, 0, 0)
    _clean(ledger)


def test_an_adjustment_above_the_limit_needs_a_second_person(ledger: LedgerDriver) -> None:
    partner = ledger.partner()
    member = ledger.member(available=50)

    def propose(points: int) -> UUID:
        with ledger.database.unit_of_work() as session:
            return adjusting.propose_adjustment(
                session,
                ProposeAdjustment(
                    member_id=member,
                    points=Points(points),
                    reason=AdjustmentReason.GOODWILL,
                    by="ada",
                    issuer_id=partner if points > 0 else None,
                ),
            )

    def post(adjustment: UUID, *, by: str) -> Posting:
        with ledger.database.single_call() as session:
            return adjusting.post_adjustment(
                session, member, adjustment, by=by, agreement_id=ledger.agreements[partner]
            )

    small = propose(1_000)
    assert post(small, by="ada").balance.available == 1_050
    assert post(small, by="ada").replayed
    large = propose(1_001)
    before = ledger.snapshot()
    with pytest.raises(errors.SecondPersonNeeded):
        post(large, by="ada")
    assert ledger.snapshot() == before
    assert post(large, by="grace").balance.available == 2_051
    taken = propose(-2_051)
    assert post(taken, by="grace").balance.available == 0
    with pytest.raises(errors.AdjustmentDecided):
        post(taken, by="mallory")
    with pytest.raises(errors.AdjustmentUnknown):
        post(uuid4(), by="grace")
    assert ledger.kinds(member)[1:] == [("adjust_in", 1_000), ("adjust_in", 1_001), ("adjust_out", 2_051)]
    _clean(ledger)
