"""Transfers at their edges: how many points in a window, what is left of a lot, and who may give and take."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from driver import LedgerDriver
from sqlalchemy import text

from coalition import errors
from coalition.audit import run_audit
from coalition.blocking import set_blocked
from coalition.erasing import erase_member
from coalition.ids import NETWORK, MemberId
from coalition.ledger.posting import call


def refused(ledger: LedgerDriver, kind: type[errors.CoalitionError], act: Any) -> dict[str, Any]:
    """The facts of a refusal that moved nothing."""
    before = ledger.snapshot()
    with pytest.raises(kind) as refusal:
        act()
    assert ledger.snapshot() == before
    return refusal.value.facts


def clean(ledger: LedgerDriver) -> bool:
    with ledger.database.reading() as session:
        return run_audit(session) == []


def lots(ledger: LedgerDriver, member: MemberId) -> list[tuple[Any, ...]]:
    return ledger.rows(
        "SELECT ordinal, points, pending, available, held, burned, expired, reversed, transferred FROM ledger.lot"
        " WHERE member_id = :member ORDER BY sequence, ordinal",
        member=member,
    )


def test_a_member_gives_so_many_points_in_a_window_and_what_it_gets_is_not_counted(
    ledger: LedgerDriver,
) -> None:
    giver, taker = ledger.member(available=40_000), ledger.member(available=40_000)
    assert refused(
        ledger, errors.TransferLimitExceeded, lambda: ledger.transfer(giver, 10_001, to=taker)
    ) == {
        "allowed": 10_000,
        "requested": 10_001,
    }
    ledger.transfer(taker, 10_000, to=giver)
    ledger.transfer(giver, 6_000, to=taker)
    ledger.transfer(giver, 3_999, to=ledger.member())
    assert refused(ledger, errors.TransferLimitExceeded, lambda: ledger.transfer(giver, 2, to=taker)) == {
        "allowed": 1,
        "requested": 2,
    }
    ledger.transfer(giver, 1, to=taker)
    ledger.pass_time(days=1)
    ledger.close_window()
    ledger.transfer(giver, 10_000, to=taker)
    assert clean(ledger)


def test_the_kernel_itself_refuses_more_points_than_one_posting_moves(ledger: LedgerDriver) -> None:
    giver, taker = ledger.member(available=10), ledger.member()
    by_itself = "SELECT * FROM ledger.post_transfer(%s, %s, %s, 'k', '\\x00', NULL, now())"

    def give(points: int | None) -> None:
        with ledger.database.single_call() as session:
            call(session, by_itself, (giver, taker, points))

    for points in (1_000_000_001, 0, -1, None):
        assert refused(ledger, errors.PointsInvalid, lambda points=points: give(points)) == {"points": points}
    refused(ledger, errors.TransferLimitExceeded, lambda: give(1_000_000_000))


def test_an_operators_gift_says_who_gave_it_and_a_members_own_nobody(ledger: LedgerDriver) -> None:
    giver, taker = ledger.member(available=10), ledger.member()
    given = ledger.transfer(giver, 3, to=taker, key="g", by="grace")
    ledger.transfer(giver, 2, to=taker, key="own")
    refused(ledger, errors.InsufficientPoints, lambda: ledger.transfer(giver, 6, to=taker, by="grace"))
    before = ledger.snapshot()
    assert ledger.transfer(giver, 3, to=taker, key="g", by="mallory").replayed
    assert ledger.transfer(giver, 2, to=taker, key="own", by="mallory").replayed
    assert ledger.snapshot() == before
    assert ledger.rows("SELECT member_id, transaction_id, acted_by FROM ledger.operator_act") == [
        (giver, given.transaction_id, "grace")
    ]
    assert clean(ledger)


def test_the_limit_may_be_lowered_below_what_was_given(ledger: LedgerDriver, owner_engine: Any) -> None:
    giver, taker = ledger.member(available=100), ledger.member()
    ledger.transfer(giver, 50, to=taker)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE ledger.programme SET transfer_limit_points = 40"))
    assert refused(ledger, errors.TransferLimitExceeded, lambda: ledger.transfer(giver, 1, to=taker)) == {
        "allowed": 0,
        "requested": 1,
    }


def test_who_may_not_give_or_take_is_told_which_of_the_two_it_is(ledger: LedgerDriver) -> None:
    giver, taker, gone, survivor, merged, blocked = (ledger.member(available=10) for _ in range(6))
    ledger.redeem(gone, 10)
    with ledger.database.unit_of_work() as session:
        erase_member(session, gone)
        set_blocked(session, blocked, blocked=True, by="test")
    ledger.merge(survivor, merged)
    nobody = MemberId(uuid4())
    told = {"survivor": str(survivor)}
    receiver = {"receiver": True}
    for of, to, kind, facts in (
        (nobody, taker, errors.MemberUnknown, {}),
        (giver, nobody, errors.MemberUnknown, receiver),
        (gone, taker, errors.MemberErased, {}),
        (giver, gone, errors.MemberUnknown, receiver),
        (merged, taker, errors.MemberMerged, told),
        (giver, merged, errors.MemberMerged, told),
        (blocked, taker, errors.MemberBlocked, {}),
        (giver, blocked, errors.MemberBlocked, receiver),
        (giver, giver, errors.TransferToOneself, {}),
    ):
        assert refused(ledger, kind, lambda of=of, to=to: ledger.transfer(of, 5, to=to)) == facts
    assert refused(ledger, errors.InsufficientPoints, lambda: ledger.transfer(giver, 11, to=taker)) == {
        "available": 10,
        "requested": 11,
    }
    assert ledger.transfer(giver, 10, to=taker).balance.available == 0


def test_what_is_handed_over_is_written_on_both_sides(ledger: LedgerDriver) -> None:
    giver, taker = ledger.member(), ledger.member(available=1)
    soon, late = ledger.now + timedelta(days=3), ledger.now + timedelta(days=30)
    ledger.issue(giver, 10, expires_at=late)
    ledger.issue(giver, 7, expires_at=soon)
    ledger.issue(giver, 20, matures_at=late)
    ledger.redeem(giver, 2)
    ledger.authorize(giver, 1)
    moment = ledger.pass_time(minutes=1)
    ledger.transfer(giver, 9, to=taker, reason="a present")
    assert lots(ledger, giver) == [
        (0, 10, 0, 5, 0, 0, 0, 0, 5),
        (0, 7, 0, 0, 1, 2, 0, 0, 4),
        (0, 20, 20, 0, 0, 0, 0, 0, 0),
    ]
    assert lots(ledger, taker)[1:] == [(0, 4, 0, 4, 0, 0, 0, 0, 0), (3, 5, 0, 5, 0, 0, 0, 0, 0)]
    assert ledger.rows(
        "SELECT t.kind, t.partner_id, t.points, t.occurred_at, t.recorded_at, o.kind, o.member_id"
        " FROM ledger.transaction t JOIN ledger.transaction o ON o.transaction_id = t.other_id"
        " WHERE t.kind LIKE 'transfer%' ORDER BY t.kind"
    ) == [
        ("transfer_in", NETWORK, 9, moment, moment, "transfer_out", giver),
        ("transfer_out", NETWORK, 9, moment, moment, "transfer_in", taker),
    ]
    entries = ledger.rows(
        "SELECT t.kind, e.ordinal, e.bucket, e.points FROM ledger.entry e JOIN ledger.transaction t USING (member_id, transaction_id)"
        " WHERE t.kind LIKE 'transfer%' ORDER BY 1, 2"
    )
    assert entries == [
        ("transfer_in", 1, "received", -4),
        ("transfer_in", 3, "available", 4),
        ("transfer_in", 4, "received", -5),
        ("transfer_in", 6, "available", 5),
        ("transfer_out", 2, "available", -4),
        ("transfer_out", 3, "transferred", 4),
        ("transfer_out", 5, "available", -5),
        ("transfer_out", 6, "transferred", 5),
    ]
    # The taker's head knows when what it got is due.
    assert ledger.rows("SELECT next_due_at FROM ledger.member_head WHERE member_id = :id", id=taker) == [
        (soon,)
    ]
    assert clean(ledger)


def test_what_has_matured_or_expired_by_now_counts_on_both_sides(ledger: LedgerDriver) -> None:
    giver, taker = ledger.member(), ledger.member()
    ledger.issue(giver, 10, matures_at=ledger.now + timedelta(hours=1))
    ledger.issue(giver, 3, expires_at=ledger.now + timedelta(hours=1))
    ledger.issue(taker, 5, expires_at=ledger.now + timedelta(hours=1))
    ledger.pass_time(hours=2)
    assert refused(ledger, errors.InsufficientPoints, lambda: ledger.transfer(giver, 11, to=taker)) == {
        "available": 10,
        "requested": 11,
    }
    assert ledger.transfer(giver, 10, to=taker).balance.available == 0
    assert ledger.rows(
        "SELECT available, pending FROM ledger.member_head WHERE member_id = :taker", taker=taker
    ) == [(10, 0)]
    assert clean(ledger)


def test_lots_of_one_moment_go_by_the_order_in_which_they_came(ledger: LedgerDriver) -> None:
    giver, taker = ledger.member(), ledger.member()
    when = ledger.now + timedelta(days=3)
    for points in (3, 5, 7):
        ledger.issue(giver, points, expires_at=when)
    ledger.transfer(giver, 4, to=taker)
    assert [row[3] for row in lots(ledger, giver)] == [0, 4, 7]
    assert [row[1] for row in lots(ledger, taker)] == [3, 1]
    back = ledger.member()
    ledger.transfer(taker, 3, to=back)  # two lots of one transaction: the first of them
    assert [row[3] for row in lots(ledger, taker)] == [0, 1]
    assert clean(ledger)


def test_a_gift_asked_by_a_merged_records_name_is_remembered_for_it_when_they_are_apart(
    ledger: LedgerDriver,
) -> None:
    ada, twin, third, taker = (ledger.member(available=50) for _ in range(4))
    ledger.merge(twin, third)
    ledger.merge(ada, twin)
    given = ledger.transfer(ada, 10, to=taker, key="gift", holder=third)
    own = ledger.transfer(ada, 10, to=taker, key="own", holder=ada)
    for survivor, merged in ((ada, twin), (twin, third)):
        ledger.unmerge(survivor, merged)
        before = ledger.snapshot()
        again = ledger.transfer(merged, 10, to=taker, key="gift", holder=third)
        assert (again.replayed, again.ref, again.balance) == (True, given.ref, given.balance)
        refused(
            ledger,
            errors.IdempotencyConflict,
            lambda merged=merged: ledger.transfer(merged, 11, to=taker, key="gift"),
        )
        assert ledger.snapshot() == before
    # What was asked of the survivor itself is not asked of the other.
    assert not ledger.transfer(twin, 10, to=taker, key="own").replayed
    assert ledger.transfer(ada, 10, to=taker, key="own").ref == own.ref
    assert clean(ledger)


def test_who_was_named_is_merged_into_the_giver_when_it_is_locked(ledger: LedgerDriver) -> None:
    ada, twin, taker = (ledger.member(available=50) for _ in range(3))
    assert refused(ledger, errors.MemberMerged, lambda: ledger.transfer(ada, 1, to=taker, holder=twin)) == {}
    ledger.merge(ada, twin)
    assert refused(ledger, errors.MemberMerged, lambda: ledger.transfer(ada, 1, to=taker, holder=taker)) == {}
    ledger.transfer(ada, 1, to=taker, holder=twin)
    assert ledger.rows("SELECT named_id FROM ledger.idempotency WHERE named_id IS NOT NULL") == [(twin,)]


@pytest.mark.parametrize("points", [-(10**19), 0, 1_000_000_001, 10**19])
def test_a_number_of_points_that_cannot_be_moved_is_refused_by_name(
    ledger: LedgerDriver, points: int
) -> None:
    giver, taker = ledger.member(available=10), ledger.member()
    assert refused(ledger, errors.PointsInvalid, lambda: ledger.transfer(giver, points, to=taker)) == {
        "points": points
    }
