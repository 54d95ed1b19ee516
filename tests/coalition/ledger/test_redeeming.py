"""Redeeming: which points are spent, the member's consent, and refusals that move nothing."""

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from driver import LedgerDriver, receipt
from sqlalchemy import text

from coalition import errors, programme
from coalition.amounts import Points
from coalition.blocking import set_blocked
from coalition.ids import MemberId
from coalition.redeeming import RedeemPoints, redeem_points


def test_soonest_expiry_goes_first_then_the_oldest_lot_and_what_never_expires_last(
    ledger: LedgerDriver,
) -> None:
    member = ledger.member()
    soon, late = ledger.now + timedelta(days=10), ledger.now + timedelta(days=90)
    never = ledger.issue(member, 10)
    old_late = ledger.issue(member, 10, expires_at=late)
    ledger.pass_time(minutes=1)
    new_late = ledger.issue(member, 10, expires_at=late)
    first = ledger.issue(member, 10, expires_at=soon)
    posting = ledger.redeem(member, 35)
    burned = ledger.rows(
        "SELECT l.transaction_id, e.points FROM ledger.entry e JOIN ledger.lot l USING (member_id, lot_id)"
        " WHERE e.transaction_id = :id AND e.bucket = 'burned' ORDER BY e.ordinal",
        id=posting.transaction_id,
    )
    assert burned == [
        (first.transaction_id, 10),
        (old_late.transaction_id, 10),
        (new_late.transaction_id, 10),
        (never.transaction_id, 5),
    ]


def test_refusals_of_a_redemption_move_nothing(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    ledger.issue(member, 50, matures_at=ledger.now + timedelta(days=3))
    ledger.issue(member, 40, expires_at=ledger.now + timedelta(days=1))
    blocked = ledger.member(available=10)
    with ledger.database.unit_of_work() as session:
        set_blocked(session, blocked, blocked=True, by="test")
    issuer_only = ledger.partner(redeemer=False)
    ledger.redeem(member, 1, key="used", receipt=receipt("taken"))
    ledger.pass_time(days=2)
    before = ledger.snapshot()

    refused = (
        (errors.PointsInvalid, lambda: ledger.redeem(member, 0)),
        (errors.PointsInvalid, lambda: ledger.redeem(member, -1)),
        (errors.PointsInvalid, lambda: ledger.redeem(member, 2**40)),
        (errors.MemberUnknown, lambda: ledger.redeem(MemberId(uuid4()), 1)),
        (errors.IdempotencyConflict, lambda: ledger.redeem(member, 2, key="used")),
        (errors.ReceiptDuplicate, lambda: ledger.redeem(member, 1, receipt=receipt("taken"))),
        (errors.PartnerRoleMissing, lambda: ledger.redeem(member, 1, by=issuer_only)),
        (errors.MemberBlocked, lambda: ledger.redeem(blocked, 1)),
        (errors.ConfirmationInvalid, lambda: ledger.redeem(member, 1, confirmation_id=uuid4())),
        # 50 still pend, and 39 have expired (and are not posted as such: a refusal).
        (errors.InsufficientPoints, lambda: ledger.redeem(member, 101)),
    )
    for refusal, attempt in refused:
        with pytest.raises(refusal) as told:
            attempt()
        assert ledger.snapshot() == before, refusal
    assert told.value.facts == {"available": 100, "requested": 101}


def test_what_the_points_stood_for_in_money_is_written_down(ledger: LedgerDriver) -> None:
    member = ledger.member(available=10)
    for amount in (None, Decimal("2.50")):
        ledger.redeem(member, 5, amount=amount)
    assert ledger.rows("SELECT amount FROM ledger.transaction WHERE kind = 'redeem' ORDER BY sequence") == [
        (None,),
        (Decimal("2.50"),),
    ]


def test_an_issue_and_a_redemption_may_share_a_receipt_line(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.issue(member, 10, receipt=receipt())
    assert ledger.redeem(member, 5, receipt=receipt()).balance.available == 5


def test_without_confirmation_a_partner_takes_at_most_the_limit_in_a_window(ledger: LedgerDriver) -> None:
    with ledger.database.unit_of_work() as session:
        programme.set_consent_limit(session, points=Points(100))
    shop, other = ledger.partner(), ledger.partner()
    member = ledger.member(available=1000)
    ledger.redeem(member, 60, by=shop)
    before = ledger.snapshot()
    with pytest.raises(errors.ConsentRequired) as refusal:
        ledger.redeem(member, 41, by=shop)
    assert refusal.value.facts == {"allowed": 40}
    assert ledger.snapshot() == before
    ledger.redeem(member, 100, by=other)
    confirmation = ledger.confirm(member, 500, at=shop)
    ledger.redeem(member, 500, by=shop, confirmation_id=confirmation)
    ledger.redeem(member, 40, by=shop)
    ledger.pass_time(days=1)
    ledger.close_window()
    ledger.redeem(member, 100, by=shop)


def test_consent_counts_what_merged_records_gave(ledger: LedgerDriver) -> None:
    with ledger.database.unit_of_work() as session:
        programme.set_consent_limit(session, points=Points(100))
    shop = ledger.partner()
    one, other = ledger.member(available=1000), ledger.member(available=1000)
    ledger.redeem(one, 30, by=shop)
    ledger.capture(ledger.authorize(one, 40, by=shop).ref, 20)
    ledger.redeem(other, 10, by=shop)
    ledger.merge(other, one)
    before = ledger.snapshot()
    for take in (ledger.redeem, ledger.authorize):
        with pytest.raises(errors.ConsentRequired) as refusal:
            take(other, 41, by=shop)
        assert refusal.value.facts == {"allowed": 40}
    assert ledger.snapshot() == before
    ledger.unmerge(other, one)
    ledger.redeem(other, 90, by=shop)


def test_a_confirmation_holds_once_for_its_partner_its_points_and_its_time(ledger: LedgerDriver) -> None:
    with ledger.database.unit_of_work() as session:
        programme.set_consent_limit(session, points=Points(0))
    shop, other = ledger.partner(), ledger.partner()
    member = ledger.member(available=1000)
    used, small, stale = (ledger.confirm(member, points, at=shop) for points in (10, 10, 10))
    ledger.redeem(member, 10, by=shop, confirmation_id=used)
    before = ledger.snapshot()
    attempts = (
        lambda: ledger.redeem(member, 10, by=shop, confirmation_id=used),
        lambda: ledger.redeem(member, 11, by=shop, confirmation_id=small),
        lambda: ledger.redeem(member, 10, by=other, confirmation_id=small),
    )
    for attempt in attempts:
        with pytest.raises(errors.ConfirmationInvalid):
            attempt()
    assert ledger.snapshot() == before
    ledger.pass_time(minutes=11)
    with pytest.raises(errors.ConfirmationInvalid):
        ledger.redeem(member, 10, by=shop, confirmation_id=stale)
    assert ledger.snapshot() == before


def test_the_kernel_refuses_an_old_snapshot(ledger: LedgerDriver) -> None:
    """In REPEATABLE READ a posting could stamp a window that was closed while it waited."""
    member = ledger.member(available=10)
    command = RedeemPoints(
        member_id=member, partner_id=ledger.any_partner(), points=Points(1), idempotency_key="k", request={}
    )
    before = ledger.snapshot()
    with pytest.raises(Exception, match="READ COMMITTED"), ledger.database.unit_of_work() as session:
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        redeem_points(session, command)
    assert ledger.snapshot() == before
