"""What was posted before a merge is reversed after it: what comes back along the line, and what goes on again."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from concurrency.interleaving import one_after_another
from driver import START, LedgerDriver
from waiting import SlowClock

from coalition import adjusting, clock, errors
from coalition.adjusting import AdjustmentReason, ProposeAdjustment
from coalition.amounts import Points
from coalition.audit import run_audit
from coalition.db import Database
from coalition.ids import MemberId
from coalition.ledger.posting import TermsSuperseded

SOON, LATER = START + timedelta(days=10), START + timedelta(days=30)


def clean(ledger: LedgerDriver) -> bool:
    with ledger.database.reading() as session:
        return run_audit(session) == []


def since(ledger: LedgerDriver, *line: MemberId) -> Callable[[], list[list[tuple[str, int]]]]:
    """Tells what the journal of each has had since this was called."""
    before = [len(ledger.kinds(one)) for one in line]
    return lambda: [ledger.kinds(one)[had:] for one, had in zip(line, before, strict=True)]


def merged(ledger: LedgerDriver, *line: MemberId) -> None:
    for lower, upper in pairwise(line):
        ledger.merge(upper, lower)


def test_what_comes_back_along_the_line_is_of_the_reversed_issue_alone(ledger: LedgerDriver) -> None:
    ben, ada, cleo = ledger.member(), ledger.member(available=40), ledger.member(available=80)
    issued = ledger.issue(ben, 10)
    ledger.issue(ben, 20)
    merged(ledger, ben, ada, cleo)
    told = since(ledger, ben, ada, cleo)
    assert ledger.reverse(issued.ref, 4).points == 4
    assert told() == [
        [("unmerge_in", 10), ("reverse_issue", 4), ("merge_out", 6)],
        [("unmerge_in", 10), ("unmerge_out", 10), ("merge_in", 6), ("merge_out", 6)],
        [("unmerge_out", 10), ("merge_in", 6)],
    ]
    assert clean(ledger)


@pytest.mark.parametrize("matures_at", [None, LATER])
def test_a_single_point_comes_back_and_when_none_is_left_nothing_goes_on(
    ledger: LedgerDriver, matures_at: datetime | None
) -> None:
    ben, ada, cleo = ledger.member(), ledger.member(), ledger.member()
    issued = ledger.issue(ben, 1, matures_at=matures_at)
    merged(ledger, ben, ada, cleo)
    told = since(ledger, ben, ada, cleo)
    assert ledger.reverse(issued.ref).points == 1
    assert told() == [
        [("unmerge_in", 1), ("reverse_issue", 1)],
        [("unmerge_in", 1), ("unmerge_out", 1)],
        [("unmerge_out", 1)],
    ]
    balance = ledger.balance(cleo)
    assert (balance.available, balance.pending, balance.deficit) == (0, 0, 0)
    assert clean(ledger)


@pytest.mark.parametrize("left", [1, 6])
@pytest.mark.parametrize("matures_at", [None, LATER])
def test_what_a_reversal_leaves_goes_on_to_the_survivor(
    ledger: LedgerDriver, matures_at: datetime | None, left: int
) -> None:
    ben, ada = ledger.member(), ledger.member()
    issued = ledger.issue(ben, 10, matures_at=matures_at)
    merged(ledger, ben, ada)
    ledger.reverse(issued.ref, 10 - left)
    assert [ledger.balance(one).available + ledger.balance(one).pending for one in (ben, ada)] == [0, left]
    assert clean(ledger)


def test_what_a_reversal_makes_of_debt_goes_on_to_the_survivor(ledger: LedgerDriver) -> None:
    ben, ada = ledger.member(), ledger.member()
    issued = ledger.issue(ben, 10)
    ledger.redeem(ben, 10)
    merged(ledger, ben, ada)
    ledger.reverse(issued.ref)
    assert [ledger.balance(one).deficit for one in (ben, ada)] == [0, 10]
    assert clean(ledger)


def test_a_reversal_replayed_after_a_merge_moves_nothing(ledger: LedgerDriver) -> None:
    ben, ada = ledger.member(), ledger.member()
    issued = ledger.issue(ben, 10)
    merged(ledger, ben, ada)
    first = ledger.reverse(issued.ref, 4, key="return")
    before = ledger.snapshot()
    again = ledger.reverse(issued.ref, 4, key="return")
    assert (again.replayed, again.ref, again.points) == (True, first.ref, 4)
    assert ledger.snapshot() == before


def test_what_the_survivor_has_lapses_before_it_gives_back(ledger: LedgerDriver) -> None:
    ben, ada = ledger.member(), ledger.member()
    ledger.issue(ada, 3, expires_at=START + timedelta(days=5))
    issued = ledger.issue(ben, 10)
    merged(ledger, ben, ada)
    ledger.pass_time(days=6)
    told = since(ledger, ada)
    ledger.reverse(issued.ref, 4)
    assert told() == [[("expire", 3), ("unmerge_out", 10), ("merge_in", 6)]]
    assert clean(ledger)


def test_by_a_slow_clock_it_is_recorded_when_the_last_of_the_line_had_its_last(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = LedgerDriver(database).open(mode="production")
    ben, ada, stranger = ledger.member(), ledger.member(), ledger.member()
    issued = ledger.issue(ben, 10)
    merged(ledger, ben, ada)
    last = ledger.issue(ada, 1)
    ledger.issue(stranger, 1)
    monkeypatch.setattr(clock, "datetime", SlowClock)
    ledger.reverse(issued.ref, 4)
    assert ledger.rows(
        "SELECT DISTINCT recorded_at = :last FROM ledger.transaction"
        " WHERE sequence > 2 AND transaction_id <> :id AND member_id <> :stranger",
        last=last.recorded_at,
        id=last.transaction_id,
        stranger=stranger,
    ) == [(True,)]
    assert clean(ledger)


def test_who_posts_to_the_survivor_meanwhile_is_waited_for(ledger: LedgerDriver) -> None:
    ben, ada = ledger.member(), ledger.member()
    issued = ledger.issue(ben, 10)
    merged(ledger, ben, ada)
    undone = one_after_another(
        ledger, lambda at: at.issue(ada, 3, key="1"), lambda at: at.reverse(issued.ref, 4, key="2")
    )
    assert undone.points == 4
    assert ledger.balance(ada).available == 9
    assert clean(ledger)


def test_who_is_un_merged_meanwhile_is_asked_about_again(ledger: LedgerDriver) -> None:
    ben, ada = ledger.member(), ledger.member()
    issued = ledger.issue(ben, 10)
    merged(ledger, ben, ada)
    told = one_after_another(
        ledger, lambda at: at.unmerge(ada, ben, key="1"), lambda at: at.reverse(issued.ref, 4, key="2")
    )
    assert isinstance(told, TermsSuperseded)
    assert [ledger.balance(one).available for one in (ben, ada)] == [10, 0]
    assert ledger.reverse(issued.ref, 4).balance.available == 6
    assert clean(ledger)


def test_what_goes_back_to_a_giver_that_was_merged_into_the_spender_goes_on_with_the_spenders_own(
    ledger: LedgerDriver,
) -> None:
    ada, ben, cleo = ledger.member(available=10), ledger.member(available=20), ledger.member()
    pool = ledger.pool(ada, ben)
    spent = ledger.redeem(ada, 25, from_pool=True)
    ledger.close_pool(pool)
    merged(ledger, ben, ada, cleo)
    told = since(ledger, ben, ada, cleo)
    undone = ledger.reverse(spent.ref, key="return")
    assert undone.balance.available == 25
    assert told() == [
        [("unpool_in", 15), ("merge_out", 15)],
        [("reverse_redemption", 25), ("unpool_out", 15), ("merge_in", 15), ("merge_out", 25)],
        [("merge_in", 25)],
    ]
    assert ledger.balance(cleo).available == 30
    assert ledger.reverse(spent.ref, key="return").balance == undone.balance
    assert clean(ledger)


@pytest.mark.parametrize("policy", ["available", "unlimited"])
def test_a_return_that_asks_for_what_the_survivor_has_set_aside_waits_for_the_holds_end(
    ledger: LedgerDriver, policy: str
) -> None:
    issuer = ledger.partner(return_policy=policy)
    ben, ada = ledger.member(), ledger.member()
    issued = ledger.issue(ben, 100, by=issuer)
    merged(ledger, ben, ada)
    hold = ledger.authorize(ada, 70)
    before = ledger.snapshot()
    with pytest.raises(errors.MemberHasHolds) as refusal:
        ledger.reverse(issued.ref, 31, by=issuer)
    assert refusal.value.facts == {"held": 70}
    assert ledger.snapshot() == before
    assert ledger.reverse(issued.ref, 30, by=issuer).points == 30
    ledger.void(hold.ref)
    assert ledger.reverse(issued.ref, by=issuer).points == 70
    balance = ledger.balance(ada)
    assert (balance.available, balance.held, balance.deficit) == (0, 0, 0)
    assert clean(ledger)


def test_along_a_line_it_is_the_last_that_has_them_set_aside(ledger: LedgerDriver) -> None:
    ben, ada, cleo = (ledger.member() for _ in range(3))
    issued, other = ledger.issue(ben, 10), ledger.issue(ben, 10)
    merged(ledger, ben, ada, cleo)
    ledger.authorize(cleo, 1)
    with pytest.raises(errors.MemberHasHolds) as refusal:
        ledger.reverse(issued.ref)
    assert refusal.value.facts == {"held": 1}
    # Of another issue nothing is set aside.
    assert ledger.reverse(other.ref).points == 10
    assert clean(ledger)


def test_what_the_survivor_has_set_aside_of_its_own_is_in_nobodys_way(ledger: LedgerDriver) -> None:
    issuer = ledger.partner(return_policy="unlimited")
    ben, ada = ledger.member(), ledger.member()
    issued = ledger.issue(ben, 10, by=issuer, expires_at=LATER)
    merged(ledger, ben, ada)
    ledger.redeem(ada, 10)
    # Of what it has had itself, and of what another record brought.
    ledger.issue(ada, 5)
    merged(ledger, ledger.member(available=5), ada)
    ledger.authorize(ada, 10)
    ledger.reverse(issued.ref, by=issuer)
    assert ledger.balance(ada).deficit == 10
    assert clean(ledger)


def test_what_the_survivor_has_set_aside_of_another_issue_is_in_nobodys_way_either(
    ledger: LedgerDriver,
) -> None:
    issuer = ledger.partner(return_policy="unlimited")
    ben, ada = ledger.member(), ledger.member()
    issued = ledger.issue(ben, 10, by=issuer, expires_at=SOON)
    ledger.issue(ben, 10, by=issuer, expires_at=LATER)
    merged(ledger, ben, ada)
    ledger.redeem(ada, 10)
    ledger.authorize(ada, 5)
    ledger.reverse(issued.ref, by=issuer)
    assert ledger.balance(ada).deficit == 10
    assert clean(ledger)


def test_a_gift_that_expired_with_who_got_it_is_claimed_of_the_giver(ledger: LedgerDriver) -> None:
    issuer = ledger.partner(return_policy="unlimited")
    ben, ada, friend = (ledger.member() for _ in range(3))
    ledger.issue(ben, 1, by=issuer)
    issued = ledger.issue(ben, 10, by=issuer, expires_at=SOON)
    ledger.transfer(ben, 10, to=friend)
    merged(ledger, ben, ada)
    ledger.pass_time(days=20)
    ledger.bring_up_to_date(friend)
    ledger.reverse(issued.ref, by=issuer)
    assert ledger.balance(ada).deficit == 10
    assert clean(ledger)


def test_a_single_point_that_expired_at_the_survivor_is_nobodys_claim(ledger: LedgerDriver) -> None:
    issuer = ledger.partner(return_policy="unlimited")
    ben, ada = ledger.member(), ledger.member()
    issued = ledger.issue(ben, 1, by=issuer, expires_at=SOON)
    merged(ledger, ben, ada)
    ledger.pass_time(days=20)
    ledger.reverse(issued.ref, by=issuer)
    assert ledger.balance(ada).deficit == 0
    assert clean(ledger)


def test_what_the_survivor_had_before_pays_no_debt_of_its_when_a_part_of_its_issue_is_reversed(
    ledger: LedgerDriver,
) -> None:
    def lived(*, as_one: bool) -> tuple[int, int]:
        issuer = ledger.partner(return_policy="unlimited")
        ben, ada = ledger.member(), ledger.member()
        spent = ledger.issue(ben, 50, by=issuer)
        ledger.redeem(ben, 50)
        issued = ledger.issue(ben, 100, by=issuer)
        if as_one:
            merged(ledger, ben, ada)
        ledger.reverse(spent.ref, by=issuer)
        ledger.reverse(issued.ref, 10, by=issuer)
        balance = ledger.balance(ada if as_one else ben)
        return balance.available, balance.deficit

    assert lived(as_one=False) == lived(as_one=True) == (90, 50)
    assert clean(ledger)


def test_what_a_redemption_gives_back_pays_what_the_survivor_owes(ledger: LedgerDriver) -> None:
    issuer = ledger.partner(return_policy="unlimited")
    ben, ada = ledger.member(available=20), ledger.member()
    spent = ledger.issue(ada, 30, by=issuer)
    ledger.redeem(ada, 30)
    ledger.reverse(spent.ref, by=issuer)
    redeemed = ledger.redeem(ben, 20)
    merged(ledger, ben, ada)
    ledger.reverse(redeemed.ref)
    assert (ledger.balance(ada).available, ledger.balance(ada).deficit) == (0, 10)
    assert clean(ledger)


def test_a_key_of_the_survivor_is_none_for_a_return_of_the_merged(ledger: LedgerDriver) -> None:
    ben, ada, cleo = (ledger.member() for _ in range(3))
    issued = ledger.issue(ben, 10)
    ledger.issue(ada, 5, key="ada's")
    ledger.issue(cleo, 5, key="cleo's")
    merged(ledger, ben, ada)
    merged(ledger, cleo, ada)
    for key in ("ada's", "cleo's"):
        before = ledger.snapshot()
        with pytest.raises(errors.IdempotencyConflict):
            ledger.reverse(issued.ref, 1, key=key)
        assert ledger.snapshot() == before
    first = ledger.reverse(issued.ref, 1, key="own")
    assert ledger.reverse(issued.ref, 1, key="own").ref == first.ref


PASSED = 30
"""Of a hundred points, how many nobody has spent."""


def _expired(ledger: LedgerDriver, _: MemberId) -> None:
    ledger.pass_time(days=30)


def _taken(ledger: LedgerDriver, member: MemberId) -> None:
    wish = ProposeAdjustment(
        member_id=member, points=Points(-PASSED), reason=AdjustmentReason.FRAUD, by="ada"
    )
    with ledger.database.unit_of_work() as session:
        taken = adjusting.propose_adjustment(session, wish)
    with ledger.database.single_call() as session:
        adjusting.post_adjustment(session, member, taken, by="ada")


@pytest.mark.parametrize("parted", [False, True])
@pytest.mark.parametrize("gone", [_expired, _taken])
def test_what_expired_or_was_taken_at_the_survivor_is_nobodys_claim(
    ledger: LedgerDriver, gone: Callable[[LedgerDriver, MemberId], None], *, parted: bool
) -> None:
    ben, ada, cleo = ledger.member(), ledger.member(), ledger.member()
    issued = ledger.issue(ben, 100, expires_at=LATER)
    merged(ledger, ben, ada, cleo)
    ledger.redeem(cleo, 100 - PASSED)
    gone(ledger, cleo)
    ledger.bring_up_to_date(cleo)
    if parted:
        ledger.unmerge(cleo, ada)
        ledger.unmerge(ada, ben)
    assert ledger.reverse(issued.ref).points == 0
    assert ledger.balance(ben if parted else cleo).deficit == 100 - PASSED
    assert clean(ledger)


def test_where_all_was_spent_nothing_comes_back_along_the_line(ledger: LedgerDriver) -> None:
    ben, ada = ledger.member(), ledger.member()
    issued = ledger.issue(ben, 10)
    merged(ledger, ben, ada)
    ledger.redeem(ada, 10)
    told = since(ledger, ben, ada)
    ledger.reverse(issued.ref)
    assert told() == [[("reverse_issue", 0), ("merge_out", 0)], [("merge_in", 0)]]
    assert ledger.balance(ada).deficit == 10
    assert clean(ledger)
