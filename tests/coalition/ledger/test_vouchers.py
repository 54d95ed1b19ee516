"""Vouchers: given by a member, taken by one partner, once, in their time; and nobody loses by one that was."""

from datetime import timedelta
from decimal import Decimal

import pytest
from driver import LedgerDriver, receipt
from operating import Coalition

from coalition import errors, members
from coalition.amounts import Points
from coalition.audit import run_audit
from coalition.blocking import set_blocked
from coalition.db import Database
from coalition.ids import MemberId
from coalition.ledger import TransactionRef
from coalition.programme import set_consent_limit, set_voucher_limits


def _clean(ledger: LedgerDriver) -> None:
    with ledger.database.reading() as session:
        assert run_audit(session) == []


def _refused(
    ledger: LedgerDriver,
    refusal: type[errors.CoalitionError],
    voucher: TransactionRef,
    *given: int,
    **more: object,
) -> errors.CoalitionError:
    before = ledger.snapshot()
    with pytest.raises(refusal) as told:
        ledger.redeem_voucher(voucher, *given, **more)
    assert ledger.snapshot() == before
    return told.value


@pytest.fixture
def member(ledger: LedgerDriver) -> MemberId:
    """One with 500 points, of whom no partner may take any without the member's word."""
    found = ledger.member(available=500)
    with ledger.database.unit_of_work() as session:
        set_consent_limit(session, points=Points(0))
    return found


def test_a_voucher_holds_its_points_and_is_the_members_own_word(
    ledger: LedgerDriver, member: MemberId
) -> None:
    given = ledger.voucher(member, 200)
    assert (given.balance.available, given.balance.held) == (300, 200)
    taken = ledger.redeem_voucher(given.ref, 150, receipt=receipt())
    assert (taken.points, taken.balance.available, taken.balance.held) == (150, 350, 0)
    assert ledger.kinds(member)[-2:] == [("authorize", 200), ("capture", 150)]
    _clean(ledger)


def test_what_its_points_stood_for_in_money_is_written_down(ledger: LedgerDriver, member: MemberId) -> None:
    for amount in (None, Decimal("2.50")):
        ledger.redeem_voucher(ledger.voucher(member, 20).ref, amount=amount)
    amounts = ledger.rows("SELECT amount FROM ledger.transaction WHERE kind = 'capture' ORDER BY sequence")
    assert amounts == [(None,), (Decimal("2.50"),)]
    _clean(ledger)


def test_a_till_that_was_offline_presents_it_in_the_grace(ledger: LedgerDriver, member: MemberId) -> None:
    given = ledger.voucher(member, 200, seconds=600)
    bought_at = ledger.now + timedelta(minutes=9)
    ledger.pass_time(hours=24)
    taken = ledger.redeem_voucher(given.ref, occurred_at=bought_at)
    assert (taken.points, taken.balance.available) == (200, 300)
    _clean(ledger)


def test_what_nobody_presents_in_time_is_the_members_again(ledger: LedgerDriver, member: MemberId) -> None:
    given = ledger.voucher(member, 200, seconds=600)
    bought_at = ledger.now + timedelta(minutes=9)
    ledger.pass_time(hours=24, minutes=10)
    assert ledger.balance(member).available == 500
    told = _refused(ledger, errors.VoucherExpired, given.ref, occurred_at=bought_at)
    assert set(told.facts) == {"since", "redeem_by", "present_by"}
    ledger.bring_up_to_date(member)
    _refused(ledger, errors.VoucherExpired, given.ref, occurred_at=bought_at)
    _clean(ledger)


def test_a_purchase_after_or_long_before_its_time_is_not_paid(ledger: LedgerDriver, member: MemberId) -> None:
    ledger.pass_time(hours=1)
    made_at = ledger.now
    given = ledger.voucher(member, 200, seconds=600)
    ledger.pass_time(minutes=20)
    for away in (timedelta(minutes=10), timedelta(minutes=-5, seconds=-1)):
        _refused(ledger, errors.VoucherExpired, given.ref, occurred_at=made_at + away)
    assert ledger.redeem_voucher(given.ref, occurred_at=made_at - timedelta(minutes=5)).points == 200
    _clean(ledger)


def test_it_is_used_once_whatever_the_points_and_the_key(ledger: LedgerDriver, member: MemberId) -> None:
    given = ledger.voucher(member, 200).ref
    first = ledger.redeem_voucher(given, 50, key="k", receipt=receipt("1"))
    _refused(ledger, errors.VoucherUsed, given)
    _refused(ledger, errors.VoucherUsed, given, 50, receipt=receipt("2"))
    again = ledger.redeem_voucher(given, 50, key="k", receipt=receipt("1"))
    assert again.replayed
    assert (again.ref, again.balance.available) == (first.ref, first.balance.available)
    _refused(ledger, errors.IdempotencyConflict, given, 51, key="k", receipt=receipt("1"))
    _refused(ledger, errors.ReceiptDuplicate, given, 50, receipt=receipt("1"))
    _clean(ledger)


def test_the_partner_may_void_it_and_nobody_else_ends_it(ledger: LedgerDriver, member: MemberId) -> None:
    given = ledger.voucher(member, 200).ref
    before = ledger.snapshot()
    with pytest.raises(errors.HoldUnknown):
        ledger.capture(given, 10)
    with pytest.raises(errors.HoldUnknown):
        ledger.void(given, by=ledger.partner())
    assert ledger.snapshot() == before
    assert ledger.void(given).balance.available == 500
    _refused(ledger, errors.VoucherUsed, given)
    _clean(ledger)


def test_what_is_not_a_voucher_of_the_callers_is_none(ledger: LedgerDriver, member: MemberId) -> None:
    given = ledger.voucher(member, 200).ref
    with ledger.database.unit_of_work() as session:
        set_consent_limit(session, points=Points(100))
    own_hold = ledger.authorize(member, 50).ref
    nothing = TransactionRef(
        member_id=MemberId(given.transaction_id),
        business_date=given.business_date,
        transaction_id=given.transaction_id,
    )
    stranger = ledger.partner()
    answers = [
        _refused(ledger, errors.VoucherInvalid, voucher, by=by).message
        for voucher, by in ((given, stranger), (own_hold, None), (nothing, None), (nothing, stranger))
    ]
    assert len(set(answers)) == 1
    _clean(ledger)


def test_more_than_it_is_good_for_is_refused(ledger: LedgerDriver, member: MemberId) -> None:
    given = ledger.voucher(member, 200).ref
    assert _refused(ledger, errors.VoucherExceeded, given, 201).facts == {"good_for": 200, "requested": 201}
    _refused(ledger, errors.PointsInvalid, given, 0)


def test_a_member_has_at_most_so_many_points_in_vouchers(ledger: LedgerDriver, member: MemberId) -> None:
    with ledger.database.unit_of_work() as session:
        set_voucher_limits(session, points=Points(300), good_for=timedelta(minutes=5), grace=timedelta(0))
    first = ledger.voucher(member, 200)
    before = ledger.snapshot()
    with pytest.raises(errors.VoucherLimitExceeded) as told:
        ledger.voucher(member, 101)
    assert told.value.facts == {"allowed": 100, "requested": 101}
    assert ledger.snapshot() == before
    ledger.voucher(member, 100)
    ledger.redeem_voucher(first.ref, 1)
    ledger.voucher(member, 200)
    _clean(ledger)


def test_what_is_refused_to_the_member_moves_nothing(ledger: LedgerDriver, member: MemberId) -> None:
    shy = ledger.partner(redeemer=False)
    before = ledger.snapshot()
    for refusal, points, more in (
        (errors.PointsInvalid, 0, {}),
        (errors.HoldTimeInvalid, 1, {"seconds": 0}),
        (errors.HoldTimeInvalid, 1, {"seconds": 3_601}),
        (errors.PartnerRoleMissing, 1, {"at": shy}),
        (errors.InsufficientPoints, 501, {}),
    ):
        with pytest.raises(refusal):
            ledger.voucher(member, points, **more)
        assert ledger.snapshot() == before
    with ledger.database.unit_of_work() as session:
        set_blocked(session, member, blocked=True, by="test")
    with pytest.raises(errors.MemberBlocked):
        ledger.voucher(member, 1)


def test_one_that_was_given_is_good_though_the_member_is_blocked_and_the_points_expired(
    ledger: LedgerDriver,
) -> None:
    member = ledger.member()
    ledger.issue(member, 100, expires_at=ledger.now + timedelta(minutes=30))
    given = ledger.voucher(member, 100).ref
    bought_at = ledger.now
    with ledger.database.unit_of_work() as session:
        set_blocked(session, member, blocked=True, by="test")
    ledger.pass_time(hours=2)
    taken = ledger.redeem_voucher(given, 60, occurred_at=bought_at)
    assert (taken.points, taken.balance.available) == (60, 0)
    assert ledger.kinds(member)[-2:] == [("capture", 60), ("expire", 40)]
    _clean(ledger)


def test_what_it_paid_is_returned_as_any_redemption(ledger: LedgerDriver, member: MemberId) -> None:
    given = ledger.voucher(member, 200).ref
    taken = ledger.redeem_voucher(given, 150)
    assert ledger.reverse(taken.ref, 50).balance.available == 400
    _clean(ledger)


def test_a_member_with_a_voucher_is_not_merged_away_from_it(ledger: LedgerDriver, member: MemberId) -> None:
    other = ledger.member()
    ledger.voucher(member, 200)
    with pytest.raises(errors.MemberHasHolds):
        ledger.merge(other, member)


def test_a_voucher_asked_for_twice_is_one(ledger: LedgerDriver, member: MemberId) -> None:
    first, again = ledger.voucher(member, 200, key="v"), ledger.voucher(member, 200, key="v")
    assert (again.replayed, again.ref, again.balance.held) == (True, first.ref, 200)
    with pytest.raises(errors.IdempotencyConflict):
        ledger.voucher(member, 201, key="v")
    with ledger.database.reading() as session:
        assert members.get_balance(session, member).held == 200


def _limits(ledger: LedgerDriver, points: int, *, good_for: int = 300, grace: int = 0) -> None:
    with ledger.database.unit_of_work() as session:
        set_voucher_limits(
            session,
            points=Points(points),
            good_for=timedelta(seconds=good_for),
            grace=timedelta(seconds=grace),
        )


def test_how_long_it_is_good_and_how_long_held_is_the_members_wish_and_the_programmes_rule(
    ledger: LedgerDriver, member: MemberId
) -> None:
    _limits(ledger, 400, good_for=420, grace=60)
    moment = ledger.pass_time(minutes=1)
    for seconds, good in ((None, 420), (1, 1), (3_600, 3_600)):
        given = ledger.voucher(member, 7, seconds=seconds)
        assert ledger.rows(
            "SELECT points, authorized_at, redeem_by, lapses_at, confirmed FROM ledger.hold WHERE transaction_id = :id",
            id=given.transaction_id,
        ) == [
            (7, moment, moment + timedelta(seconds=good), moment + timedelta(seconds=good + 60), True),
        ]
    with pytest.raises(errors.HoldTimeInvalid) as told:
        ledger.voucher(member, 7, seconds=3_601)
    assert told.value.facts == {"asked": 3_601, "longest": 3_600}


def test_only_the_members_own_open_vouchers_fill_its_limit(ledger: LedgerDriver, member: MemberId) -> None:
    _limits(ledger, 300)
    before = ledger.snapshot()
    with pytest.raises(errors.VoucherLimitExceeded) as told:
        ledger.voucher(member, 301)
    assert told.value.facts == {"allowed": 300, "requested": 301}
    assert ledger.snapshot() == before
    with ledger.database.unit_of_work() as session:
        set_consent_limit(session, points=Points(1_000))
    ledger.authorize(member, 100)
    ledger.voucher(ledger.member(available=300), 300)
    whole = ledger.voucher(member, 300)
    _limits(ledger, 200)
    with pytest.raises(errors.VoucherLimitExceeded) as told:
        ledger.voucher(member, 1)
    assert told.value.facts == {"allowed": 0, "requested": 1}
    ledger.void(whole.ref)
    ledger.voucher(member, 200)


def test_a_purchase_in_the_moment_in_which_it_ends_is_not_paid(
    ledger: LedgerDriver, member: MemberId
) -> None:
    _limits(ledger, 300, grace=3_600)
    made_at = ledger.now
    given = ledger.voucher(member, 200, seconds=600).ref
    end = made_at + timedelta(minutes=10)
    ledger.pass_time(minutes=20)
    told = _refused(ledger, errors.VoucherExpired, given, occurred_at=end)
    assert told.facts == {
        "since": made_at.isoformat(),
        "redeem_by": end.isoformat(),
        "present_by": (end + timedelta(hours=1)).isoformat(),
    }
    assert ledger.redeem_voucher(given, 200, occurred_at=end - timedelta(microseconds=1)).points == 200


def test_where_it_was_taken_is_written_down(ledger: LedgerDriver, member: MemberId) -> None:
    given = ledger.voucher(member, 200).ref
    ledger.redeem_voucher(given, 1, receipt=receipt("R-9", line=3))
    assert ledger.rows(
        "SELECT store, terminal, receipt_number, receipt_line, points FROM ledger.transaction WHERE kind = 'capture'"
    ) == [("S-1", "T-1", "R-9", 3, 1)]
    assert ledger.rows("SELECT kind, number, line FROM ledger.receipt") == [("redeem", "R-9", 3)]


def test_the_most_that_a_voucher_takes(ledger: LedgerDriver) -> None:
    most = 1_000_000_000
    rich = ledger.member(available=most)
    _limits(ledger, most)
    given = ledger.voucher(rich, most).ref
    for points in (0, -1, most + 1):
        assert _refused(ledger, errors.PointsInvalid, given, points).facts == {"points": points}
    assert ledger.redeem_voucher(given, most).points == most
    _clean(ledger)


def test_limits_of_vouchers_are_a_programmes(database: Database) -> None:
    with Coalition(database).refused("PROGRAMME_NOT_OPEN"), database.unit_of_work() as session:
        set_voucher_limits(session, points=Points(1), good_for=timedelta(minutes=5), grace=timedelta(0))


def test_no_key_of_a_partner_is_a_members_whatever_it_is_spelt(
    ledger: LedgerDriver, member: MemberId
) -> None:
    ledger.voucher(member, 20, key="k")
    for rest in ("k", " k"):
        ledger.authorize(
            member,
            5,
            key=f"voucher:{rest}",
            confirmation_id=ledger.confirm(member, 5, at=ledger.any_partner()),
        )
    keys = {key for (key,) in ledger.rows("SELECT key FROM ledger.idempotency WHERE key LIKE 'voucher%'")}
    [members_own] = keys - {"voucher:k", "voucher: k"}
    before = ledger.snapshot()
    with pytest.raises(errors.InvalidInput):
        ledger.authorize(member, 5, key=members_own)
    assert ledger.snapshot() == before
    assert ledger.voucher(member, 20, key="k").replayed
    _clean(ledger)
