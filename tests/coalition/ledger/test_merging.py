"""Merges and un-merges: what is refused by name, in what moment they are recorded, and each leg that they write."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from concurrency.interleaving import one_after_another
from driver import START, LedgerDriver
from waiting import SlowClock

from coalition import clock, errors
from coalition.audit import run_audit
from coalition.blocking import set_blocked
from coalition.db import Database
from coalition.erasing import erase_member
from coalition.ids import MemberId
from coalition.ledger.posting import Posting
from coalition.merging import merges_of

SOON, LATE = START + timedelta(days=5), START + timedelta(days=50)


def clean(ledger: LedgerDriver) -> bool:
    with ledger.database.reading() as session:
        return run_audit(session) == []


def erased(ledger: LedgerDriver) -> MemberId:
    member = ledger.member()
    with ledger.database.unit_of_work() as session:
        erase_member(session, member)
    return member


def block(ledger: LedgerDriver, member: MemberId, *, blocked: bool = True) -> None:
    with ledger.database.unit_of_work() as session:
        set_blocked(session, member, blocked=blocked, by="ada")


def refused(
    ledger: LedgerDriver, kind: type[errors.CoalitionError], act: Callable[[], Any]
) -> dict[str, Any]:
    """The facts of a refusal that changed nothing."""
    before = ledger.snapshot()
    with pytest.raises(kind) as refusal:
        act()
    assert ledger.snapshot() == before
    return dict(refusal.value.facts)


def legs(ledger: LedgerDriver, kind: str) -> list[tuple[int, str, int]]:
    """The legs of the last transaction of a kind, as they are numbered."""
    return [
        (ordinal, bucket, points)
        for ordinal, bucket, points in ledger.rows(
            """
            SELECT ordinal, bucket, points FROM ledger.entry WHERE transaction_id = (
                SELECT transaction_id FROM ledger.transaction WHERE kind = :kind ORDER BY recorded_at DESC LIMIT 1)
            ORDER BY ordinal
            """,
            kind=kind,
        )
    ]


def test_refusals_of_a_merge_move_nothing(ledger: LedgerDriver) -> None:
    ada, ben, nobody = ledger.member(available=5), ledger.member(available=5), MemberId(uuid4())
    gone, survivor = ledger.member(), ledger.member()
    ledger.merge(survivor, gone)
    buried, pooled, holding = erased(ledger), ledger.member(), ledger.member(available=5)
    ledger.pool(pooled)
    ledger.authorize(holding, 1)
    merge = ledger.merge
    for one, other in ((ada, nobody), (nobody, ada)):
        facts = refused(ledger, errors.MemberUnknown, lambda one=one, other=other: merge(one, other))
        assert facts == {"merged": other == nobody}
    for one, other in ((ada, buried), (buried, ada)):
        refused(ledger, errors.MemberErased, lambda one=one, other=other: merge(one, other))
    for one, other in ((ada, gone), (gone, ada)):
        facts = refused(ledger, errors.MemberMerged, lambda one=one, other=other: merge(one, other))
        assert facts == {"survivor": str(survivor), "merged": other == gone}
    refused(ledger, errors.MergeWithOneself, lambda: merge(ada, ada))
    assert refused(ledger, errors.AlreadyInPool, lambda: merge(ada, pooled)) == {"merged": True}
    assert refused(ledger, errors.MemberHasHolds, lambda: merge(ada, holding)) == {
        "held": 1,
        "merged": True,
    }
    merged = merge(ada, ben, key="k")
    assert (merged.points, merged.balance.available) == (5, 10)
    before = ledger.snapshot()
    again = merge(ada, ben, key="k")
    assert (again.replayed, again.ref, again.points) == (True, merged.ref, 5)
    assert ledger.snapshot() == before
    assert clean(ledger)


def test_refusals_of_an_unmerge_move_nothing(ledger: LedgerDriver) -> None:
    ada, ben, cleo, nobody = (
        ledger.member(available=5),
        ledger.member(available=3),
        ledger.member(),
        MemberId(uuid4()),
    )
    other = ledger.member(available=20)
    ledger.merge(ada, ben)
    ledger.merge(ada, other)
    unmerge = ledger.unmerge
    for one, two in ((ada, nobody), (nobody, ada)):
        facts = refused(ledger, errors.MemberUnknown, lambda one=one, two=two: unmerge(one, two))
        assert facts == {"merged": two == nobody}
    refused(ledger, errors.NotMerged, lambda: unmerge(ada, cleo))
    refused(ledger, errors.NotMerged, lambda: unmerge(cleo, ben))
    buried, with_it = ledger.member(), ledger.member()
    ledger.merge(buried, with_it)
    with ledger.database.unit_of_work() as session:
        erase_member(session, buried)
    refused(ledger, errors.MemberErased, lambda: unmerge(buried, with_it))
    hold = ledger.authorize(ada, 6)  # five of its own and one of Ben's
    assert refused(ledger, errors.MemberHasHolds, lambda: unmerge(ada, ben)) == {"held": 1, "merged": True}
    given_back = unmerge(ada, other)
    assert given_back.points == 20
    ledger.void(hold.ref)
    back = unmerge(ada, ben, key="k")
    assert (back.points, ledger.balance(ada).available, ledger.balance(ben).available) == (3, 5, 3)
    before = ledger.snapshot()
    again = unmerge(ada, ben, key="k")
    assert (again.replayed, again.ref, again.points) == (True, back.ref, 3)
    assert ledger.snapshot() == before
    # The later merge is undone first.
    ledger.merge(ada, ben)
    ledger.merge(cleo, ada)
    refused(ledger, errors.MemberMerged, lambda: unmerge(ada, ben))
    assert clean(ledger)


def acts(ledger: LedgerDriver) -> list[tuple[Any, ...]]:
    return ledger.rows(
        "SELECT kind, a.member_id, acted_by"
        " FROM ledger.operator_act a JOIN ledger.transaction USING (member_id, business_date, transaction_id)"
        " ORDER BY recorded_at, sequence"
    )


def test_who_did_it_is_kept_with_the_survivors_transaction_whoever_asks_again(ledger: LedgerDriver) -> None:
    ada, twin = ledger.member(available=5), ledger.member(available=3)
    ledger.merge(ada, twin, key="m", by="grace")
    ledger.unmerge(ada, twin, key="u", by="hedy")
    before = ledger.snapshot()
    assert ledger.merge(ada, twin, key="m", by="mallory").replayed
    assert ledger.unmerge(ada, twin, key="u", by="mallory").replayed
    assert ledger.snapshot() == before
    assert acts(ledger) == [("merge_in", ada, "grace"), ("unmerge_out", ada, "hedy")]
    with ledger.database.reading() as session:
        # Each of the two can be asked.
        for one, other, came, went in (
            (ada, twin, "merge_in", "unmerge_out"),
            (twin, ada, "merge_out", "unmerge_in"),
        ):
            told = [(act.kind, act.other, act.by) for act in merges_of(session, one)]
            assert told == [(came, other, "grace"), (went, other, "hedy")]
    assert clean(ledger)


def test_nobody_merges_or_parts_two_without_a_name(ledger: LedgerDriver) -> None:
    ada, twin = ledger.member(), ledger.member(available=3)
    nobody: Any = None
    for act in (ledger.merge, ledger.unmerge):
        before = ledger.snapshot()
        with pytest.raises(psycopg.errors.NotNullViolation):
            act(ada, twin, by=nobody)
        assert ledger.snapshot() == before
        act(ada, twin)


def test_what_a_reversal_hands_over_between_the_merged_is_nobodys_act(ledger: LedgerDriver) -> None:
    ada, twin = ledger.member(), ledger.member()
    bought = ledger.issue(twin, 5)
    ledger.merge(ada, twin, by="grace")
    ledger.reverse(bought.ref, 2)
    assert [kind for kind, _ in ledger.kinds(ada)] == ["merge_in", "unmerge_out", "merge_in"]
    assert acts(ledger) == [("merge_in", ada, "grace")]
    with ledger.database.reading() as session:
        assert [act.by for act in merges_of(session, twin)] == ["grace"]
    assert clean(ledger)


def test_an_erasure_leaves_who_merged(ledger: LedgerDriver) -> None:
    ada, twin = ledger.member(), ledger.member()
    ledger.merge(ada, twin, by="grace")
    with ledger.database.unit_of_work() as session:
        erase_member(session, ada)
    assert acts(ledger) == [("merge_in", ada, "grace")]
    assert clean(ledger)


def test_a_survivor_may_hold_points_of_its_own_while_it_gives_back(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(), ledger.member(available=7)
    ledger.merge(ada, ben)
    ledger.issue(ada, 4, expires_at=SOON)
    ledger.authorize(ada, 4)
    assert ledger.unmerge(ada, ben).points == 7
    assert clean(ledger)


def test_what_is_over_lapses_on_both_sides_before_they_are_merged_or_not_any_more(
    ledger: LedgerDriver,
) -> None:
    ada, ben = ledger.member(), ledger.member()
    for member in (ada, ben):
        ledger.issue(member, 5, expires_at=SOON)
        ledger.issue(member, 3, expires_at=LATE)
    ledger.pass_time(days=6)
    assert ledger.merge(ada, ben).points == 3
    assert ledger.kinds(ada)[2:] == [("expire", 5), ("merge_in", 3)]
    assert ledger.kinds(ben)[2:] == [("expire", 5), ("merge_out", 3)]
    ledger.pass_time(days=60)
    assert ledger.unmerge(ada, ben).points == 0
    assert ledger.kinds(ada)[4][0] == "expire"
    assert clean(ledger)


@pytest.mark.parametrize("last", [0, 1])
def test_by_a_slow_clock_a_merge_is_recorded_no_earlier_than_what_either_has(
    database: Database, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    ledger = LedgerDriver(database).open(mode="production")
    pair = ledger.member(available=5), ledger.member(available=5)
    ledger.issue(pair[last], 1)
    monkeypatch.setattr(clock, "datetime", SlowClock)
    for act in (ledger.merge, ledger.unmerge):
        act(*pair)
        with monkeypatch.context() as now:
            now.setattr(clock, "datetime", datetime)
            if act == ledger.merge:
                ledger.issue(pair[0], 1)
    assert clean(ledger)
    assert ledger.rows(
        """
        SELECT count(*) FROM ledger.transaction t WHERE kind ~ 'merge' AND (t.occurred_at <> t.recorded_at OR t.recorded_at < (
            SELECT max(recorded_at) FROM ledger.transaction e WHERE e.kind = 'issue' AND e.inserted_at < t.inserted_at))
        """
    ) == [(0,)]


def test_each_lot_is_given_back_with_its_legs_in_their_order(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(), ledger.member()
    ledger.issue(ben, 4, expires_at=LATE)
    ledger.issue(ben, 2, expires_at=START + timedelta(days=1))
    ledger.issue(ben, 1, matures_at=START + timedelta(days=9), expires_at=SOON + timedelta(days=10))
    ledger.issue(ben, 6, expires_at=LATE)
    ledger.merge(ada, ben)
    ledger.redeem(ada, 2)
    ledger.unmerge(ada, ben)
    assert legs(ledger, "unmerge_out") == [
        (1, "pending", -1),
        (3, "transferred", 1),
        (5, "available", -4),
        (6, "transferred", 4),
        (8, "available", -6),
        (9, "transferred", 6),
    ]
    assert legs(ledger, "unmerge_in") == [
        (1, "transferred", -1),
        (2, "pending", 1),
        (4, "transferred", -4),
        (6, "available", 4),
        (7, "transferred", -6),
        (9, "available", 6),
    ]
    assert (ledger.balance(ben).available, ledger.balance(ben).pending) == (10, 1)
    ledger.pass_time(days=10)
    assert ledger.bring_up_to_date(ben) == 1
    assert ledger.kinds(ben)[-1] == ("mature", 1)
    ledger.pass_time(days=50)
    assert ledger.bring_up_to_date(ben) > 0
    assert ledger.balance(ben).available == 0
    assert clean(ledger)


def test_who_has_points_that_activity_extends_says_so_after_an_unmerge_too(ledger: LedgerDriver) -> None:
    ledger.partner()
    lively = ledger.partner(
        expiry_rule="inactivity", expiry_months=1, activity="any", activity_where="anywhere"
    )
    ada, ben = ledger.member(), ledger.member()
    ledger.merge(ada, ben)
    ledger.issue(ada, 5, by=lively, expires_at=SOON)
    ledger.unmerge(ada, ben)
    assert ledger.rows("SELECT extends FROM ledger.member_head") == [(True,), (True,)]
    assert clean(ledger)


def test_of_two_who_merge_or_part_the_same_the_second_finds_it_done(ledger: LedgerDriver) -> None:
    ada, ben, cleo = ledger.member(available=1), ledger.member(available=2), ledger.member()
    refusal = one_after_another(
        ledger, lambda at: at.merge(ada, ben, key="1"), lambda at: at.merge(cleo, ben, key="2")
    )
    assert isinstance(refusal, errors.MemberMerged)
    refusal = one_after_another(
        ledger, lambda at: at.unmerge(ada, ben, key="3"), lambda at: at.unmerge(ada, ben, key="4")
    )
    assert isinstance(refusal, errors.NotMerged)
    assert (ledger.balance(ada).available, ledger.balance(ben).available) == (1, 2)
    assert clean(ledger)


def test_a_merged_record_says_yes_to_nothing_that_could_not_be_used(ledger: LedgerDriver) -> None:
    ada, twin, shop = ledger.member(), ledger.member(), ledger.any_partner()
    ledger.merge(ada, twin)
    before = ledger.snapshot()
    with pytest.raises(errors.MemberMerged) as refusal:
        ledger.confirm(twin, 10, at=shop)
    assert refusal.value.facts == {"survivor": str(ada)}
    assert ledger.snapshot() == before


def test_a_block_is_not_shaken_off_by_a_merge(ledger: LedgerDriver) -> None:
    ada, twin = ledger.member(), ledger.member(available=5)
    block(ledger, twin)
    before = ledger.snapshot()
    with pytest.raises(errors.MemberBlocked, match="Unblock it, or block the survivor") as refusal:
        ledger.merge(ada, twin, key="m")
    assert refusal.value.path == ("input", "merged")
    assert ledger.snapshot() == before
    # Two who are blocked become one who is; who was is so again when they are apart.
    block(ledger, ada)
    assert ledger.merge(ada, twin, key="m").points == 5
    refused(ledger, errors.MemberBlocked, lambda: ledger.redeem(ada, 1))
    block(ledger, ada, blocked=False)
    assert ledger.merge(ada, twin, key="m").replayed
    ledger.unmerge(ada, twin)
    refused(ledger, errors.MemberBlocked, lambda: ledger.redeem(twin, 1))
    # Decided of.
    block(ledger, twin, blocked=False)
    assert ledger.merge(ada, twin).points == 5
    assert clean(ledger)


def test_a_blocked_survivor_may_take_in_another(ledger: LedgerDriver) -> None:
    ada, twin = ledger.member(), ledger.member(available=5)
    block(ledger, ada)
    ledger.merge(ada, twin)
    refused(ledger, errors.MemberBlocked, lambda: ledger.redeem(ada, 1))
    ledger.unmerge(ada, twin)
    assert ledger.redeem(twin, 1).points == 1
    assert clean(ledger)


def test_who_is_blocked_while_a_merge_waits_is_not_merged(ledger: LedgerDriver) -> None:
    ada, twin = ledger.member(), ledger.member(available=5)
    refusal = one_after_another(ledger, lambda at: block(at, twin), lambda at: at.merge(ada, twin))
    assert isinstance(refusal, errors.MemberBlocked)
    assert clean(ledger)


def test_who_brought_nothing_is_parted_whatever_a_pool_has_of_the_survivors(ledger: LedgerDriver) -> None:
    ada, twin, spender = ledger.member(available=10), ledger.member(), ledger.member()
    ledger.merge(ada, twin)
    ledger.pool(spender, ada)
    ledger.authorize(spender, 10, from_pool=True)
    ledger.unmerge(ada, twin)
    assert clean(ledger)


def test_nobody_is_parted_from_points_that_others_of_a_pool_have_set_aside(ledger: LedgerDriver) -> None:
    ada, twin, spender = ledger.member(), ledger.member(available=100), ledger.member()
    ledger.issue(ada, 5, expires_at=SOON)
    ledger.merge(ada, twin)
    ledger.pool(spender, ada, own_first=False)
    hold = ledger.authorize(spender, 105, from_pool=True)
    before = ledger.snapshot()
    with pytest.raises(errors.MemberHasHolds) as refusal:
        ledger.unmerge(ada, twin)
    assert refusal.value.facts == {"held": 100, "merged": True}
    assert ledger.snapshot() == before
    ledger.void(hold.ref)
    ledger.authorize(spender, 5, from_pool=True)  # of those that ada has had herself
    ledger.unmerge(ada, twin)
    assert [ledger.balance(one).available for one in (ada, twin)] == [0, 100]
    assert clean(ledger)


def owing(ledger: LedgerDriver, points: int) -> MemberId:
    """Who spent what was taken back."""
    member = ledger.member()
    issued = ledger.issue(member, points)
    ledger.redeem(member, points)
    ledger.reverse(issued.ref)
    return member


def owed(ledger: LedgerDriver, *members: MemberId) -> list[int]:
    return [ledger.balance(member).deficit for member in members]


def test_debts_go_back_the_way_that_they_came_and_no_further(ledger: LedgerDriver) -> None:
    ada, ben, cleo = line = [owing(ledger, points) for points in (100, 20, 3)]
    ledger.merge(ben, ada)
    ledger.merge(cleo, ben)
    assert owed(ledger, *line) == [0, 0, 123]
    for _ in range(2):
        ledger.unmerge(cleo, ben)
        assert owed(ledger, *line) == [0, 120, 3]
        ledger.unmerge(ben, ada)
        assert owed(ledger, *line) == [100, 20, 3]
        ledger.merge(ben, ada)
        ledger.merge(cleo, ben)
    assert clean(ledger)


def test_a_debt_that_came_back_is_ones_own_again_whoever_survives_next(ledger: LedgerDriver) -> None:
    ada, ben = both = [owing(ledger, points) for points in (100, 20)]
    for survivor, merged in ((ben, ada), (ada, ben), (ada, ben), (ben, ada)):
        ledger.merge(survivor, merged)
        assert owed(ledger, survivor, merged) == [120, 0]
        ledger.unmerge(survivor, merged)
        assert owed(ledger, *both) == [100, 20]
    assert clean(ledger)


def test_what_a_return_makes_of_debt_goes_back_to_whose_purchase_it_was(ledger: LedgerDriver) -> None:
    ada, ben, cleo = ledger.member(), ledger.member(), ledger.member()
    issued = ledger.issue(ada, 100)
    ledger.merge(ben, ada)
    ledger.merge(cleo, ben)
    ledger.redeem(cleo, 100)
    ledger.reverse(issued.ref)
    ledger.unmerge(cleo, ben)
    ledger.unmerge(ben, ada)
    assert owed(ledger, ada, ben, cleo) == [100, 0, 0]
    assert clean(ledger)


def parted_and_paid_back(ledger: LedgerDriver) -> tuple[Posting, MemberId, MemberId]:
    """Ada spent 70 of Ben's 100 while they were one, and has them back now that they are two."""
    ben, ada = ledger.member(), ledger.member()
    issued = ledger.issue(ben, 100)
    ledger.merge(ada, ben)
    spent = ledger.redeem(ada, 70)
    ledger.unmerge(ada, ben)
    ledger.reverse(spent.ref)
    assert [ledger.balance(one).available for one in (ada, ben)] == [70, 30]
    return issued, ada, ben


def test_what_came_back_after_an_unmerge_is_the_survivors_own_in_the_next_merge(ledger: LedgerDriver) -> None:
    _, ada, ben = parted_and_paid_back(ledger)
    ledger.merge(ada, ben)
    ledger.unmerge(ada, ben)
    assert [ledger.balance(one).available for one in (ada, ben)] == [70, 30]
    # As is what comes back of the second time, though the first time is not the last by now.
    ledger.merge(ada, ben)
    spent = ledger.redeem(ada, 90)
    ledger.unmerge(ada, ben)
    ledger.reverse(spent.ref)
    stood = [ledger.balance(one).available for one in (ada, ben)]
    ledger.merge(ada, ben)
    ledger.unmerge(ada, ben)
    assert [ledger.balance(one).available for one in (ada, ben)] == stood
    # Nor is it in the way of the next un-merge.
    ledger.merge(ada, ben)
    ledger.authorize(ada, 100)
    assert refused(ledger, errors.MemberHasHolds, lambda: ledger.unmerge(ada, ben)) == {
        "held": stood[1],
        "merged": True,
    }
    assert clean(ledger)


@pytest.mark.parametrize("again", [False, True])
def test_a_return_to_a_record_takes_what_it_brought_along_this_time(
    ledger: LedgerDriver, *, again: bool
) -> None:
    """Whether they are one again or not, Ben has 30 of his 100, and Ada 70 of her own."""
    issued, ada, ben = parted_and_paid_back(ledger)
    if again:
        ledger.merge(ada, ben)
    ledger.reverse(issued.ref, 10)
    if again:
        ledger.unmerge(ada, ben)
    assert [ledger.balance(one).available for one in (ada, ben)] == [70, 20]
    assert clean(ledger)
