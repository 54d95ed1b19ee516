"""Reversing: what is refunded, what becomes a claim, and how later points pay it."""

from datetime import date, timedelta
from uuid import uuid4

import pytest
from driver import LedgerDriver, receipt

from coalition import errors
from coalition.ids import MemberId, TransactionId
from coalition.ledger import TransactionRef


def test_a_reversed_redemption_goes_back_to_the_lots_it_came_from(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.issue(member, 10, expires_at=ledger.now + timedelta(days=5))
    ledger.issue(member, 10, expires_at=ledger.now + timedelta(days=50))
    spent = ledger.redeem(member, 15)
    posting = ledger.reverse(spent.ref)
    assert (posting.points, posting.balance.available) == (15, 20)
    assert ledger.rows("SELECT available, burned FROM ledger.lot ORDER BY expires_at") == [(10, 0), (10, 0)]


def test_points_that_come_back_to_an_expired_lot_get_the_grace_period(ledger: LedgerDriver) -> None:
    partner = ledger.partner(grace_days=7)
    member = ledger.member()
    ledger.issue(member, 10, by=partner, expires_at=ledger.now + timedelta(days=5))
    spent = ledger.redeem(member, 6)
    ledger.pass_time(days=6)
    assert ledger.reverse(spent.ref).balance.available == 6
    assert ledger.kinds(member) == [("issue", 10), ("redeem", 6), ("expire", 4), ("reverse_redemption", 6)]
    ledger.pass_time(days=6)
    assert ledger.balance(member).available == 6
    ledger.pass_time(days=1)
    assert ledger.balance(member).available == 0


def test_a_reversed_issue_gives_back_what_is_left_and_claims_what_was_spent(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 100)
    ledger.redeem(member, 30)
    posting = ledger.reverse(issued.ref)
    assert (posting.points, posting.balance.available, posting.balance.deficit) == (70, 0, 30)


def test_points_that_become_available_later_pay_the_deficit_first(ledger: LedgerDriver) -> None:
    claimant = ledger.partner()
    member = ledger.member()
    issued = ledger.issue(member, 100, by=claimant)
    ledger.redeem(member, 100)
    ledger.reverse(issued.ref, by=claimant)
    assert ledger.issue(member, 30).balance.deficit == 70
    pending = ledger.issue(member, 50, matures_at=ledger.now + timedelta(days=1))
    assert (pending.balance.pending, pending.balance.deficit) == (50, 70)
    ledger.pass_time(days=2)
    assert (ledger.balance(member).available, ledger.balance(member).deficit) == (0, 20)
    final = ledger.issue(member, 25)
    assert (final.balance.available, final.balance.deficit) == (5, 0)
    assert ledger.kinds(member)[3:] == [
        ("issue", 30),
        ("recovery", 30),
        ("issue", 50),
        ("mature", 50),
        ("recovery", 50),
        ("issue", 25),
        ("recovery", 20),
    ]
    assert set(ledger.rows("SELECT partner_id FROM ledger.transaction WHERE kind = 'recovery'")) == {
        (claimant,)
    }


def test_points_the_member_already_had_are_not_taken_for_a_deficit(ledger: LedgerDriver) -> None:
    member = ledger.member(available=500)
    issued = ledger.issue(member, 100, expires_at=ledger.now + timedelta(days=1))
    ledger.redeem(member, 100)
    posting = ledger.reverse(issued.ref)
    assert (posting.balance.available, posting.balance.deficit) == (500, 100)
    assert ledger.issue(member, 40).balance.available == 500


def test_expired_points_are_nobodys_claim(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 100, expires_at=ledger.now + timedelta(days=1))
    ledger.pass_time(days=2)
    posting = ledger.reverse(issued.ref)
    assert (posting.points, posting.balance.deficit) == (0, 0)


def test_the_return_policy_decides_what_may_be_taken_back(ledger: LedgerDriver) -> None:
    strict, lenient = ledger.partner(return_policy="pending_only"), ledger.partner(return_policy="available")
    member = ledger.member()
    matured = ledger.issue(member, 10, by=strict)
    pending = ledger.issue(member, 20, by=strict, matures_at=ledger.now + timedelta(days=3))
    half_spent = ledger.issue(member, 40, by=lenient)
    before = ledger.snapshot()
    with pytest.raises(errors.ReturnPolicyForbids) as refusal:
        ledger.reverse(matured.ref, by=strict)
    assert refusal.value.facts == {"pending": 0, "points": 10}
    assert ledger.snapshot() == before
    assert ledger.reverse(pending.ref, by=strict).points == 20
    ledger.redeem(member, 25)
    forgone = ledger.reverse(half_spent.ref, by=lenient)
    assert (forgone.points, forgone.balance.deficit) == (25, 0)


def test_a_receipt_wholly_reversed_may_be_posted_again_with_the_next_revision(ledger: LedgerDriver) -> None:
    member = ledger.member()
    first = ledger.issue(member, 10, receipt=receipt())
    with pytest.raises(errors.ReceiptRevision):
        ledger.issue(member, 12, receipt=receipt(revision=1))
    ledger.reverse(first.ref)
    with pytest.raises(errors.ReceiptDuplicate):
        ledger.issue(member, 12, receipt=receipt())
    assert ledger.issue(member, 12, receipt=receipt(revision=1)).balance.available == 12


def test_refusals_of_a_reversal_move_nothing_and_not_yours_is_not_there(ledger: LedgerDriver) -> None:
    mine, other = ledger.partner(), ledger.partner()
    member = ledger.member(issuer=mine)
    issued = ledger.issue(member, 10, by=mine, matures_at=ledger.now + timedelta(days=1))
    gone = ledger.issue(member, 10, by=mine)
    undone = ledger.reverse(gone.ref, by=mine, key="used")
    ledger.pass_time(days=1)
    ledger.bring_up_to_date(member)
    [(day, matured)] = ledger.rows(
        "SELECT business_date, transaction_id FROM ledger.transaction WHERE kind = 'mature'"
    )
    before = ledger.snapshot()

    def ref(member_id: MemberId = member, on: date = day, id_: TransactionId | None = None) -> TransactionRef:
        return TransactionRef(
            member_id=member_id, business_date=on, transaction_id=id_ or TransactionId(uuid4())
        )

    refused = (
        (errors.IdempotencyConflict, lambda: ledger.reverse(issued.ref, by=mine, key="used")),
        (errors.TransactionUnknown, lambda: ledger.reverse(ref(), by=mine)),
        (errors.TransactionUnknown, lambda: ledger.reverse(ref(MemberId(uuid4())), by=mine)),
        (errors.TransactionUnknown, lambda: ledger.reverse(issued.ref, by=other)),
        (errors.TransactionUnknown, lambda: ledger.reverse(ref(id_=matured), by=mine)),
        (errors.NotReversible, lambda: ledger.reverse(undone.ref, by=mine)),
        (errors.AlreadyReversed, lambda: ledger.reverse(gone.ref, by=mine)),
    )
    told = {}
    for refusal, attempt in refused:
        with pytest.raises(refusal) as raised:
            attempt()
        assert ledger.snapshot() == before, refusal
        told.setdefault(refusal, set()).add(
            (raised.value.message, str(raised.value.facts), raised.value.path)
        )
    assert len(told[errors.TransactionUnknown]) == 1


def test_a_reversal_can_be_replayed(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 10)
    first = ledger.reverse(issued.ref, key="k")
    again = ledger.reverse(issued.ref, key="k")
    assert again.replayed
    assert (again.ref, again.balance) == (first.ref, first.balance)
