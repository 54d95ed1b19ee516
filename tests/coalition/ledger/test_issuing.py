"""Issuing: what comes into being, and every refusal in its order, with proof that nothing moved."""

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from driver import LedgerDriver, receipt

from coalition import errors
from coalition.blocking import set_blocked
from coalition.ids import FundingPlanId, MemberId
from coalition.ledger.posting import TermsSuperseded


def test_points_are_available_at_once_where_the_agreement_has_no_return_period(ledger: LedgerDriver) -> None:
    member = ledger.member()
    posting = ledger.issue(member, 100)
    assert (posting.points, posting.replayed, posting.late) == (100, False, False)
    assert posting.balance.available == ledger.balance(member).available == 100


def test_points_pend_until_they_mature_and_reading_a_balance_needs_no_write(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.issue(member, 100, matures_at=ledger.now + timedelta(days=14))
    assert (ledger.balance(member).available, ledger.balance(member).pending) == (0, 100)
    ledger.pass_time(days=14)
    before = ledger.snapshot()
    assert (ledger.balance(member).available, ledger.balance(member).pending) == (100, 0)
    assert ledger.snapshot() == before
    assert ledger.redeem(member, 100).balance.available == 0
    assert ledger.kinds(member) == [("issue", 100), ("mature", 100), ("redeem", 100)]


def test_points_that_expired_are_posted_as_expired_before_anything_else(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.issue(member, 60, expires_at=ledger.now + timedelta(days=30))
    ledger.pass_time(days=30)
    assert ledger.balance(member).available == 0
    ledger.issue(member, 5)
    assert ledger.kinds(member) == [("issue", 60), ("expire", 60), ("issue", 5)]
    assert ledger.balance(member).available == 5


def test_an_amount_that_earns_nothing_claims_its_receipt_and_makes_no_lot(ledger: LedgerDriver) -> None:
    member = ledger.member()
    posting = ledger.issue(member, 0, amount=Decimal("0.49"), receipt=receipt())
    assert posting.points == 0
    assert ledger.rows("SELECT count(*) FROM ledger.lot") == [(0,)]
    with pytest.raises(errors.ReceiptDuplicate):
        ledger.issue(member, 0, amount=Decimal("0.49"), receipt=receipt())


def test_the_same_key_and_request_get_the_same_answer(ledger: LedgerDriver) -> None:
    member = ledger.member()
    first = ledger.issue(member, 100, key="k", receipt=receipt())
    ledger.redeem(member, 30)
    before = ledger.snapshot()
    again = ledger.issue(member, 100, key="k", receipt=receipt())
    assert again.replayed
    assert (again.ref, again.points, again.balance) == (first.ref, first.points, first.balance)
    assert ledger.snapshot() == before


def test_a_key_of_another_partner_or_for_another_member_is_another_key(ledger: LedgerDriver) -> None:
    one, other = ledger.member(), ledger.member()
    partner = ledger.partner()
    for member, by in ((one, None), (other, None), (one, partner)):
        assert not ledger.issue(member, 10, by=by, key="same").replayed


def test_refusals_of_an_issue_move_nothing(ledger: LedgerDriver) -> None:
    member = ledger.member(available=10)
    blocked = ledger.member()
    with ledger.database.unit_of_work() as session:
        set_blocked(session, blocked, blocked=True, by="test")
    suspended = ledger.partner(state="suspended")
    redeemer_only = ledger.partner(issuer=False)
    ledger.issue(member, 1, key="used", receipt=receipt("taken"))
    before = ledger.snapshot()

    refused = (
        (errors.PointsInvalid, lambda: ledger.issue(member, 0)),
        (errors.PointsInvalid, lambda: ledger.issue(member, -5)),
        (errors.PointsInvalid, lambda: ledger.issue(member, 1_000_000_001)),
        (errors.PointsInvalid, lambda: ledger.issue(member, -1, amount=Decimal(1))),
        (errors.MemberUnknown, lambda: ledger.issue(MemberId(uuid4()), 5)),
        (errors.IdempotencyConflict, lambda: ledger.issue(member, 2, key="used", receipt=receipt("taken"))),
        (errors.ReceiptDuplicate, lambda: ledger.issue(member, 1, receipt=receipt("taken"))),
        (errors.ReceiptDuplicate, lambda: ledger.issue(blocked, 1, receipt=receipt("taken"))),
        (errors.ReceiptRevision, lambda: ledger.issue(member, 1, receipt=receipt("taken", revision=1))),
        (errors.ReceiptRevision, lambda: ledger.issue(member, 1, receipt=receipt("never", revision=1))),
        (errors.PartnerNotActive, lambda: ledger.issue(member, 5, by=suspended)),
        (errors.PartnerRoleMissing, lambda: ledger.issue(member, 5, by=redeemer_only)),
        (errors.MemberBlocked, lambda: ledger.issue(blocked, 5)),
        (errors.InvalidInput, lambda: ledger.issue(member, 5, key=" " * 0 + "x" * 256)),
        (errors.InvalidInput, lambda: ledger.issue(member, 5, key="a\x00b")),
    )
    for refusal, attempt in refused:
        with pytest.raises(refusal):
            attempt()
        assert ledger.snapshot() == before, refusal


def test_an_agreement_that_is_missing_for_the_date_is_refused(ledger: LedgerDriver) -> None:
    member = ledger.member(available=10)
    ledger.accept_late(days=3660)
    before = ledger.snapshot()
    with pytest.raises(errors.AgreementMissing) as refusal:
        ledger.issue(member, 5, agreement_id=None, occurred_at=ledger.now.replace(year=2019))
    assert refusal.value.facts == {"date": "2019-03-02"}
    assert ledger.snapshot() == before


def test_a_price_by_terms_that_are_not_in_force_is_noticed(ledger: LedgerDriver) -> None:
    member = ledger.member(available=10)
    partner = ledger.any_partner()
    old = ledger.agreements[partner]
    ledger.agreement(partner, valid_from=ledger.now.date())
    before = ledger.snapshot()
    with pytest.raises(TermsSuperseded):
        ledger.issue(member, 5, agreement_id=old)
    assert ledger.snapshot() == before
    yesterday = ledger.now - timedelta(days=1)
    assert ledger.issue(member, 5, agreement_id=old, occurred_at=yesterday).late


def test_where_several_refusals_hold_the_first_of_the_order_is_reported(ledger: LedgerDriver) -> None:
    """The codes of one hopeless issue, as its faults are mended one after the other."""
    member = ledger.member()
    with ledger.database.unit_of_work() as session:
        set_blocked(session, member, blocked=True, by="test")
    suspended = ledger.partner(state="suspended")
    other = ledger.member()
    ledger.set_state(suspended, "active")
    ledger.issue(other, 1, by=suspended, receipt=receipt("taken"))
    ledger.set_state(suspended, "suspended")

    codes = []
    for points, who, line, heal in (
        (0, MemberId(uuid4()), "taken", None),
        (1, MemberId(uuid4()), "taken", None),
        (1, member, "taken", None),
        (1, member, "free", None),
        (1, member, "free", lambda: ledger.set_state(suspended, "active")),
    ):
        if heal:
            heal()
        with pytest.raises(errors.CoalitionError) as refusal:
            ledger.issue(who, points, by=suspended, receipt=receipt(line))
        codes.append(type(refusal.value))
    assert codes == [
        errors.PointsInvalid,
        errors.MemberUnknown,
        errors.ReceiptDuplicate,
        errors.PartnerNotActive,
        errors.MemberBlocked,
    ]
    order = [errors.REFUSALS.index(code) for code in codes]
    assert order == sorted(order)


def test_points_whose_return_period_ends_this_moment_are_available_at_once(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.issue(member, 10, matures_at=ledger.now)
    ledger.issue(member, 10, matures_at=ledger.now + timedelta(microseconds=1))
    assert ledger.kinds(member) == [("issue", 10), ("issue", 10)]
    balance = ledger.balance(member)
    assert (balance.available, balance.pending) == (10, 10)


def test_points_that_expire_this_moment_are_never_available(ledger: LedgerDriver) -> None:
    member = ledger.member()
    assert ledger.issue(member, 10, expires_at=ledger.now).balance.available == 0
    assert ledger.issue(member, 10, expires_at=ledger.now + timedelta(microseconds=1)).balance.available == 10
    assert ledger.kinds(member) == [("issue", 10), ("expire", 10), ("issue", 10)]


def test_a_plan_of_somebody_else_does_not_make_an_unknown_one_known(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.funding_plan(_=[(ledger.any_partner(), 1_000_000)])
    before = ledger.snapshot()
    with pytest.raises(errors.FundingPlanUnknown):
        ledger.issue(member, 10, funding_plan_id=FundingPlanId(uuid4()))
    assert ledger.snapshot() == before


def test_points_with_a_fixed_date_do_not_end_what_inactivity_keeps_alive(ledger: LedgerDriver) -> None:
    sleepy = ledger.partner(expiry_rule="inactivity", activity="any", activity_where="anywhere")
    member, fixed = ledger.member(), ledger.partner()
    ledger.issue(member, 10, by=sleepy, expires_at=ledger.now + timedelta(days=365))
    ledger.issue(member, 10, by=fixed, expires_at=ledger.now + timedelta(days=365))
    ledger.pass_time(days=30)
    ledger.redeem(member, 1, by=fixed)
    [(kept,)] = ledger.rows("SELECT expires_at FROM ledger.lot WHERE issuer_id = :sleepy", sleepy=sleepy)
    assert kept > ledger.now + timedelta(days=364)
