"""Holds: authorised, captured in full or in part, voided, lapsed; and what a reversal recalls of them."""

from datetime import timedelta

import pytest
from driver import LedgerDriver, receipt

from coalition import errors
from coalition.amounts import Points
from coalition.audit import run_audit
from coalition.ids import MemberId
from coalition.ledger import TransactionRef
from coalition.programme import set_consent_limit, set_hold_limits


def _clean(ledger: LedgerDriver) -> None:
    with ledger.database.reading() as session:
        assert run_audit(session) == []


def _lots(ledger: LedgerDriver) -> list[tuple[int, ...]]:
    return ledger.rows(
        "SELECT available, held, recalled, burned, expired, reversed FROM ledger.lot ORDER BY sequence"
    )


def _two_lots(ledger: LedgerDriver) -> MemberId:
    member = ledger.member()
    ledger.issue(member, 10, expires_at=ledger.now + timedelta(days=5))
    ledger.issue(member, 10, expires_at=ledger.now + timedelta(days=50))
    return member


def test_held_points_cannot_be_spent_and_keep_their_lots(ledger: LedgerDriver) -> None:
    member = _two_lots(ledger)
    held = ledger.authorize(member, 15)
    assert (held.balance.available, held.balance.held) == (5, 15)
    assert _lots(ledger) == [(0, 10, 0, 0, 0, 0), (5, 5, 0, 0, 0, 0)]
    before = ledger.snapshot()
    with pytest.raises(errors.InsufficientPoints):
        ledger.redeem(member, 6)
    assert ledger.snapshot() == before
    _clean(ledger)


def test_a_capture_in_part_burns_what_expires_first_and_releases_the_rest(ledger: LedgerDriver) -> None:
    member = _two_lots(ledger)
    held = ledger.authorize(member, 15)
    captured = ledger.capture(held.ref, 12)
    assert (captured.points, captured.balance.available, captured.balance.held) == (12, 8, 0)
    assert _lots(ledger) == [(0, 0, 0, 10, 0, 0), (8, 0, 0, 2, 0, 0)]
    assert ledger.rows("SELECT state, captured FROM ledger.hold") == [("captured", 12)]
    _clean(ledger)


def test_a_capture_consumes_its_lots_even_if_they_expired_meanwhile(ledger: LedgerDriver) -> None:
    member = _two_lots(ledger)
    held = ledger.authorize(member, 10, seconds_to_live=6 * 86_400)
    ledger.pass_time(days=5, hours=1)
    captured = ledger.capture(held.ref, 7)
    # What was released of the dead lot lapses in the same moment.
    assert (captured.points, captured.balance.available) == (7, 10)
    assert _lots(ledger) == [(0, 0, 0, 7, 3, 0), (10, 0, 0, 0, 0, 0)]
    assert ledger.kinds(member)[-2:] == [("capture", 7), ("expire", 3)]
    _clean(ledger)


def test_a_voided_hold_gives_all_back(ledger: LedgerDriver) -> None:
    member = _two_lots(ledger)
    held = ledger.authorize(member, 15)
    voided = ledger.void(held.ref)
    assert (voided.points, voided.balance.available, voided.balance.held) == (15, 20, 0)
    assert ledger.void(
        held.ref, key=ledger.rows("SELECT idempotency_key FROM ledger.transaction ORDER BY sequence")[-1][0]
    ).replayed
    _clean(ledger)


def test_an_uncaptured_hold_lapses_by_itself_and_a_balance_shows_it_before_it_is_posted(
    ledger: LedgerDriver,
) -> None:
    member = _two_lots(ledger)
    ledger.authorize(member, 15, seconds_to_live=60)
    ledger.pass_time(seconds=59)
    assert ledger.balance(member).held == 15
    ledger.pass_time(seconds=1)
    shown = ledger.balance(member)
    assert (shown.available, shown.held) == (20, 0)
    assert ledger.bring_up_to_date(member) == 1
    assert ledger.kinds(member)[-1] == ("lapse", 15)
    assert (ledger.balance(member).available, ledger.balance(member).held) == (20, 0)
    _clean(ledger)


def test_each_way_in_which_a_hold_is_over_has_its_own_refusal(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    other = ledger.partner()
    captured, voided, lapsed, alive = (
        ledger.authorize(member, 10, seconds_to_live=s).ref for s in (90, 90, 30, 90)
    )
    ledger.capture(captured, 4)
    ledger.void(voided)
    ledger.pass_time(seconds=31)
    before = ledger.snapshot()
    nothing = TransactionRef(
        member_id=member,
        business_date=alive.business_date,
        transaction_id=captured.transaction_id.__class__(int=7),
    )
    for refusal, hold, points in (
        (errors.HoldCaptured, captured, 1),
        (errors.HoldVoided, voided, 1),
        (errors.HoldLapsed, lapsed, 1),
        (errors.HoldExceeded, alive, 11),
        (errors.HoldUnknown, nothing, 1),
        (errors.PointsInvalid, alive, 0),
    ):
        with pytest.raises(refusal):
            ledger.capture(hold, points)
        assert ledger.snapshot() == before, refusal
    for refusal, hold in (
        (errors.HoldCaptured, captured),
        (errors.HoldVoided, voided),
        (errors.HoldLapsed, lapsed),
    ):
        with pytest.raises(refusal):
            ledger.void(hold)
        assert ledger.snapshot() == before, refusal
    with pytest.raises(errors.HoldUnknown):
        ledger.capture(alive, 1, by=other)
    assert ledger.snapshot() == before


def test_how_long_a_hold_may_last_is_bounded(ledger: LedgerDriver) -> None:
    member = ledger.member(available=10)
    before = ledger.snapshot()
    for seconds in (0, -5, 604_801):
        with pytest.raises(errors.HoldTimeInvalid) as refusal:
            ledger.authorize(member, 5, seconds_to_live=seconds)
        assert refusal.value.facts == {"asked": seconds, "longest": 604_800}
    assert ledger.snapshot() == before


def test_a_receipt_that_was_captured_is_not_redeemed_again(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    ledger.capture(ledger.authorize(member, 10).ref, receipt=receipt())
    before = ledger.snapshot()
    with pytest.raises(errors.ReceiptDuplicate):
        ledger.redeem(member, 10, receipt=receipt())
    assert ledger.snapshot() == before
    _clean(ledger)


def test_a_receipt_that_was_redeemed_is_not_captured_again(ledger: LedgerDriver) -> None:
    member = ledger.member(available=50)
    ledger.redeem(member, 10, receipt=receipt())
    held = ledger.authorize(member, 10)
    before = ledger.snapshot()
    with pytest.raises(errors.ReceiptDuplicate):
        ledger.capture(held.ref, receipt=receipt())
    assert ledger.snapshot() == before


def test_a_reversed_issue_recalls_what_is_held_when_the_hold_lets_it_go(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 100)
    held = ledger.authorize(member, 60)
    undone = ledger.reverse(issued.ref)
    assert (undone.points, undone.balance.available, undone.balance.held) == (40, 0, 60)
    assert _lots(ledger) == [(0, 60, 60, 0, 0, 40)]
    captured = ledger.capture(held.ref, 25)
    # 35 were released and leave; 25 were captured, and are owed.
    assert (captured.balance.available, captured.balance.held, captured.balance.deficit) == (0, 0, 25)
    assert _lots(ledger) == [(0, 0, 0, 25, 0, 75)]
    assert ledger.kinds(member)[-2:] == [("capture", 25), ("reverse_issue", 35)]
    _clean(ledger)


def test_a_recall_waits_for_the_hold_that_it_needs(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 100)
    first, second = ledger.authorize(member, 50), ledger.authorize(member, 50)
    ledger.reverse(issued.ref, 70)
    assert ledger.capture(first.ref).balance.deficit == 20
    assert ledger.void(second.ref).balance.available == 0
    assert _lots(ledger) == [(0, 0, 0, 50, 0, 50)]
    _clean(ledger)


def test_a_capture_can_be_returned_in_parts(ledger: LedgerDriver) -> None:
    member = _two_lots(ledger)
    captured = ledger.capture(ledger.authorize(member, 15).ref)
    assert ledger.reverse(captured.ref, 7).balance.available == 12
    assert _lots(ledger) == [(2, 0, 0, 8, 0, 0), (10, 0, 0, 0, 0, 0)]
    before = ledger.snapshot()
    with pytest.raises(errors.ReversalExceeded) as refusal:
        ledger.reverse(captured.ref, 9)
    assert refusal.value.facts == {"left": 8, "requested": 9}
    assert ledger.snapshot() == before
    assert ledger.reverse(captured.ref).points == 8
    with pytest.raises(errors.AlreadyReversed):
        ledger.reverse(captured.ref, 1)
    _clean(ledger)


def test_holds_count_toward_what_a_partner_takes_without_consent(ledger: LedgerDriver) -> None:
    with ledger.database.unit_of_work() as session:
        set_consent_limit(session, points=Points(50))
    member = ledger.member(available=200)
    first = ledger.authorize(member, 40)
    before = ledger.snapshot()
    with pytest.raises(errors.ConsentRequired):
        ledger.redeem(member, 11)
    assert ledger.snapshot() == before
    ledger.capture(first.ref, 30)
    ledger.redeem(member, 20)
    with pytest.raises(errors.ConsentRequired):
        ledger.authorize(member, 1)


def test_a_hold_from_a_pool_counts_so_until_its_very_end(ledger: LedgerDriver) -> None:
    with ledger.database.unit_of_work() as session:
        set_consent_limit(session, points=Points(50))
    spender = ledger.member()
    ledger.pool(spender, ledger.member(available=50))
    ledger.authorize(spender, 50, from_pool=True, seconds_to_live=60)
    ledger.issue(spender, 50)
    ledger.pass_time(seconds=59)
    with pytest.raises(errors.ConsentRequired):
        ledger.redeem(spender, 1)
    ledger.pass_time(seconds=1)
    # Not lapsed yet, since that takes the giver's lock; over all the same.
    ledger.redeem(spender, 50)


def test_a_hold_sent_again_gets_its_answer_though_none_may_last_so_long_any_more(
    ledger: LedgerDriver,
) -> None:
    member = ledger.member(available=20)
    held = ledger.authorize(member, 10, key="k", seconds_to_live=900)
    with ledger.database.unit_of_work() as session:
        set_hold_limits(session, hold_time=timedelta(minutes=1), longest=timedelta(minutes=10))
    before = ledger.snapshot()
    again = ledger.authorize(member, 10, key="k", seconds_to_live=900)
    assert (again.replayed, again.ref, again.balance) == (True, held.ref, held.balance)
    for seconds in (899, 901):
        with pytest.raises(errors.HoldTimeInvalid):
            ledger.authorize(member, 10, key="k", seconds_to_live=seconds)
    assert ledger.snapshot() == before
