"""Holds at their edges: how long, how much, whose, and once."""

from datetime import timedelta
from typing import Any

import pytest
from driver import LedgerDriver

from coalition import errors
from coalition.audit import run_audit
from coalition.programme import set_hold_limits


def _clean(ledger: LedgerDriver) -> None:
    with ledger.database.reading() as session:
        assert run_audit(session) == []


def test_a_hold_lasts_as_long_as_was_asked_within_the_programmes_bounds(ledger: LedgerDriver) -> None:
    with ledger.database.unit_of_work() as session:
        set_hold_limits(session, hold_time=timedelta(seconds=100), longest=timedelta(seconds=1000))
    member = ledger.member(available=100)
    before = ledger.snapshot()
    for seconds in (0, 1001, -5):
        with pytest.raises(errors.HoldTimeInvalid) as refusal:
            ledger.authorize(member, 1, seconds_to_live=seconds)
        assert refusal.value.facts == {"asked": seconds, "longest": 1000}
    assert ledger.snapshot() == before
    for seconds in (1, 1000, None):
        ledger.authorize(member, 1, seconds_to_live=seconds)
    assert sorted(
        lapses - authorized
        for lapses, authorized in ledger.rows("SELECT lapses_at, authorized_at FROM ledger.hold")
    ) == [timedelta(seconds=seconds) for seconds in (1, 100, 1000)]


def test_what_a_hold_became_is_told_and_it_becomes_nothing_else(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    captured, voided, lapsed = (ledger.authorize(member, 10, seconds_to_live=60) for _ in range(3))
    ledger.capture(captured.ref, 4)
    ledger.void(voided.ref)
    lapses = ledger.now + timedelta(seconds=60)
    ledger.pass_time(seconds=60)
    ends: tuple[tuple[Any, type[errors.CoalitionError], dict[str, Any]], ...] = (
        (captured, errors.HoldCaptured, {"captured": 4}),
        (voided, errors.HoldVoided, {}),
        (lapsed, errors.HoldLapsed, {"lapsed_at": lapses.isoformat()}),
    )
    for hold, refused, facts in ends:
        for attempt in (ledger.capture, ledger.void):
            before = ledger.snapshot()
            with pytest.raises(refused) as refusal:
                attempt(hold.ref)
            assert refusal.value.facts == facts
            assert ledger.snapshot() == before
    ledger.bring_up_to_date(member)
    with pytest.raises(errors.HoldLapsed):
        ledger.capture(lapsed.ref)
    assert (ledger.balance(member).available, ledger.balance(member).held) == (96, 0)
    _clean(ledger)


def test_no_more_is_captured_than_is_held_and_by_nobody_else(ledger: LedgerDriver) -> None:
    shop, other = ledger.partner(), ledger.partner()
    member, somebody = ledger.member(available=100, issuer=other), ledger.member(available=100, issuer=other)
    hold, foreign = ledger.authorize(member, 10, by=shop), ledger.authorize(somebody, 10, by=shop)
    voucher = ledger.voucher(member, 10, at=shop)
    before = ledger.snapshot()
    with pytest.raises(errors.HoldExceeded) as refusal:
        ledger.capture(hold.ref, 11, by=shop)
    assert refusal.value.facts == {"held": 10, "requested": 11}
    for attempt in (
        lambda: ledger.capture(hold.ref, by=other),
        lambda: ledger.void(hold.ref, by=other),
        lambda: ledger.capture(voucher.ref, by=shop),
        lambda: ledger.capture(voucher.ref, 1, by=shop),
    ):
        with pytest.raises(errors.HoldUnknown):
            attempt()
    assert ledger.snapshot() == before
    assert ledger.capture(hold.ref, 10, by=shop).points == 10
    assert ledger.void(voucher.ref, by=shop).points == 10
    assert ledger.rows("SELECT state FROM ledger.hold WHERE member_id = :m", m=somebody) == [("open",)]
    assert ledger.capture(foreign.ref, by=shop).points == 10
    _clean(ledger)


def test_of_three_lots_a_part_is_burned_in_their_order_and_the_rest_goes_back_to_each(
    ledger: LedgerDriver,
) -> None:
    member = ledger.member()
    for days in (1, 2, 3):
        ledger.issue(member, 10, expires_at=ledger.now + timedelta(days=days))
    hold = ledger.authorize(member, 25)
    captured = ledger.capture(hold.ref, 14)
    assert ledger.rows("SELECT available, held, burned FROM ledger.lot ORDER BY sequence") == [
        (0, 0, 10),
        (6, 0, 4),
        (10, 0, 0),
    ]
    assert ledger.rows(
        "SELECT ordinal, bucket, points FROM ledger.entry WHERE transaction_id = :id ORDER BY ordinal",
        id=captured.ref.transaction_id,
    ) == [
        (1, "held", -10),
        (2, "burned", 10),
        (4, "held", -10),
        (5, "burned", 4),
        (6, "available", 6),
        (7, "held", -5),
        (9, "available", 5),
    ]
    _clean(ledger)


def test_two_holds_on_a_lot_that_was_taken_back(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 30)
    first, second = ledger.authorize(member, 10), ledger.authorize(member, 20)
    ledger.reverse(issued.ref, 25)
    lot = "SELECT available, held, recalled, burned, reversed FROM ledger.lot"
    assert ledger.rows(lot) == [(0, 30, 25, 0, 0)]
    ledger.capture(first.ref, 4)
    assert ledger.rows(lot) == [(0, 20, 19, 4, 6)]
    ledger.void(second.ref)
    assert ledger.rows(lot) == [(1, 0, 0, 4, 25)]
    assert ledger.balance(member).deficit == 0
    _clean(ledger)


def test_what_was_recalled_and_then_captured_is_claimed(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 30)
    hold = ledger.authorize(member, 20)
    ledger.reverse(issued.ref, 25)
    ledger.capture(hold.ref, 18)
    assert ledger.rows("SELECT available, held, recalled, burned, reversed FROM ledger.lot") == [
        (0, 0, 0, 18, 12)
    ]
    assert ledger.balance(member).deficit == 13
    _clean(ledger)


def test_a_confirmed_hold_says_so_and_a_capture_counts_as_activity_only_where_it_takes(
    ledger: LedgerDriver,
) -> None:
    sleepy = ledger.partner(
        expiry_rule="inactivity", expiry_months=2, activity="redeem", activity_where="anywhere"
    )
    member, expires = ledger.member(), ledger.now + timedelta(days=5)
    ledger.issue(member, 20, by=sleepy, expires_at=expires)
    word = ledger.confirm(member, 5, at=sleepy)
    plain, confirmed = (
        ledger.authorize(member, 5, by=sleepy),
        ledger.authorize(member, 5, by=sleepy, confirmation_id=word),
    )
    assert ledger.rows(
        "SELECT confirmed FROM ledger.hold WHERE transaction_id = :id", id=plain.ref.transaction_id
    ) == [(False,)]
    ledger.void(plain.ref, by=sleepy)
    assert ledger.rows("SELECT expires_at FROM ledger.lot") == [(expires,)]
    ledger.capture(confirmed.ref, 1, by=sleepy)
    [(kept,)] = ledger.rows("SELECT expires_at FROM ledger.lot")
    assert kept > expires
    assert ledger.rows("SELECT confirmed FROM ledger.hold ORDER BY confirmed") == [(False,), (True,)]


def test_what_was_released_is_due_again_when_it_expires(ledger: LedgerDriver) -> None:
    member, expires = ledger.member(), ledger.now + timedelta(days=5)
    ledger.issue(member, 10, expires_at=expires)
    hold = ledger.authorize(member, 10, seconds_to_live=86_400)
    ledger.issue(member, 1)
    ledger.pass_time(minutes=2)
    ledger.void(hold.ref)
    [(due,)] = ledger.rows("SELECT next_due_at FROM ledger.member_head")
    assert due is not None
    assert due <= expires
    ledger.pass_time(days=5)
    assert ledger.balance(member).available == 1
    ledger.bring_up_to_date(member)
    assert ledger.kinds(member)[-1] == ("expire", 10)
    _clean(ledger)


def test_what_was_released_is_due_when_the_first_of_it_that_has_points_expires(ledger: LedgerDriver) -> None:
    member, other = ledger.member(), ledger.member()
    days = [ledger.now + timedelta(days=day) for day in range(10)]
    ledger.issue(other, 10, expires_at=days[1])
    ledger.issue(member, 10, expires_at=days[1])
    ledger.redeem(member, 10)
    for points, expires in ((10, days[2]), (1, days[3]), (10, days[4])):
        ledger.issue(member, points, expires_at=expires)
    hold = ledger.authorize(member, 21, seconds_to_live=6 * 86_400)
    ledger.issue(member, 1, matures_at=ledger.now + timedelta(hours=1), expires_at=days[9])
    ledger.pass_time(hours=2)
    ledger.bring_up_to_date(member)
    due = "SELECT next_due_at FROM ledger.member_head WHERE member_id = :member"
    assert ledger.rows(due, member=member) == ledger.rows("SELECT lapses_at FROM ledger.hold")
    ledger.capture(hold.ref, 10)  # all of what expires on the second day
    assert ledger.rows(due, member=member) == [(days[3],)]
    ledger.pass_time(days=3)
    assert ledger.bring_up_to_date(member) == 1
    assert ledger.kinds(member)[-1] == ("expire", 1)
    _clean(ledger)


def test_a_hold_is_due_when_it_lapses(ledger: LedgerDriver) -> None:
    member = ledger.member(available=10)
    ledger.authorize(member, 5, seconds_to_live=90)
    assert ledger.rows("SELECT next_due_at FROM ledger.member_head") == [
        (ledger.now + timedelta(seconds=90),)
    ]


def test_what_has_matured_is_posted_before_what_becomes_of_a_hold(ledger: LedgerDriver) -> None:
    member = ledger.member(available=10)
    captured, voucher = ledger.authorize(member, 5), ledger.voucher(member, 5)
    for end in (lambda: ledger.capture(captured.ref), lambda: ledger.redeem_voucher(voucher.ref)):
        ledger.issue(member, 3, matures_at=ledger.now + timedelta(seconds=10))
        ledger.pass_time(seconds=10)
        end()
        assert ledger.kinds(member)[-2:] == [("mature", 3), ("capture", 5)]
    _clean(ledger)


def test_a_single_point_is_burned_released_and_recalled(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 3)
    ledger.capture(ledger.authorize(member, 2).ref, 1)
    hold = ledger.authorize(member, 2)
    ledger.reverse(issued.ref, 1)
    lot = "SELECT available, held, recalled, burned, reversed FROM ledger.lot"
    assert ledger.rows(lot) == [(0, 2, 1, 1, 0)]
    ledger.void(hold.ref)
    assert ledger.rows(lot) == [(1, 0, 0, 1, 1)]
    _clean(ledger)


def test_what_is_still_recalled_is_no_more_than_other_holds_have(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 30)
    first, _ = ledger.authorize(member, 10), ledger.authorize(member, 20)
    ledger.reverse(issued.ref, 28)
    ledger.capture(first.ref, 8)
    assert ledger.rows("SELECT available, held, recalled, burned, reversed FROM ledger.lot") == [
        (0, 20, 20, 8, 2)
    ]
    assert ledger.balance(member).deficit == 6
    _clean(ledger)


def test_a_hold_with_points_of_others_is_over_at_the_moment_at_which_it_lapses(ledger: LedgerDriver) -> None:
    member, giver = ledger.member(available=10), ledger.member(available=10)
    ledger.pool(member, giver)
    hold = ledger.authorize(member, 15, from_pool=True, seconds_to_live=60)
    lapses = ledger.pass_time(seconds=60)
    before = ledger.snapshot()
    for end in (ledger.capture, ledger.void):
        with pytest.raises(errors.HoldLapsed) as refusal:
            end(hold.ref)
        assert refusal.value.facts == {"lapsed_at": lapses.isoformat()}
    assert ledger.snapshot() == before


def test_what_has_matured_is_held_and_what_has_expired_is_not(ledger: LedgerDriver) -> None:
    member, moment = ledger.member(), ledger.now + timedelta(hours=1)
    ledger.issue(member, 7, expires_at=moment)
    ledger.issue(member, 5, matures_at=moment)
    ledger.pass_time(hours=1)
    before = ledger.snapshot()
    for hold in (ledger.authorize, ledger.voucher):
        with pytest.raises(errors.InsufficientPoints) as refusal:
            hold(member, 6)
        assert refusal.value.facts == {"available": 5, "requested": 6}
    assert ledger.snapshot() == before
    assert ledger.authorize(member, 5).balance.held == 5
    assert ledger.kinds(member)[-3:] == [("mature", 5), ("expire", 7), ("authorize", 5)]
    _clean(ledger)
