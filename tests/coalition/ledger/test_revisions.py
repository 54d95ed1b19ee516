"""A receipt line is posted again only as the next revision of what was wholly taken back."""

from decimal import Decimal
from typing import Any

import pytest
from driver import LedgerDriver, receipt

from coalition.errors import ReceiptDuplicate, ReceiptRevision


def _refused(ledger: LedgerDriver, **parts: Any) -> None:
    before = ledger.snapshot()
    with pytest.raises(ReceiptRevision) as refusal:
        ledger.issue(ledger.member(), 12, receipt=receipt(**parts))
    assert refusal.value.facts == {"revision": parts["revision"]}
    assert ledger.snapshot()["receipt"] == before["receipt"]
    assert ledger.snapshot()["transaction"] == before["transaction"]


@pytest.mark.parametrize("other", ["store", "terminal", "number", "line", "partner", "kind"])
def test_what_was_taken_back_of_another_line_is_no_revision_of_this_one(
    ledger: LedgerDriver, other: str
) -> None:
    shop, member = ledger.any_partner(), ledger.member(available=50)
    parts: dict[str, Any] = {"line": 9} if other == "line" else {}
    if other in {"store", "terminal", "number"}:
        parts = {other: "X"}
    by = ledger.partner() if other == "partner" else shop
    post = ledger.redeem if other == "kind" else ledger.issue
    ledger.reverse(post(member, 10, by=by, receipt=receipt(**parts)).ref, by=by)
    _refused(ledger, revision=1)


def test_no_revision_is_left_out(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.reverse(ledger.issue(member, 10, receipt=receipt()).ref)
    _refused(ledger, revision=2)
    ledger.reverse(ledger.issue(member, 11, receipt=receipt(revision=1)).ref)
    assert ledger.issue(member, 12, receipt=receipt(revision=2)).points == 12


def test_parts_that_were_taken_back_count_together(ledger: LedgerDriver) -> None:
    member = ledger.member()
    first = ledger.issue(member, 10, receipt=receipt())
    for points in (4, 5, 1):
        _refused(ledger, revision=1)
        ledger.reverse(first.ref, points)
    with pytest.raises(ReceiptDuplicate):
        ledger.issue(member, 12, receipt=receipt())
    assert ledger.issue(member, 12, receipt=receipt(revision=1)).points == 12


def test_what_was_taken_back_of_the_members_other_purchases_does_not_count(ledger: LedgerDriver) -> None:
    member, other = ledger.member(), ledger.member()
    ledger.issue(member, 10, receipt=receipt())
    ledger.reverse(ledger.issue(member, 10).ref)
    ledger.reverse(ledger.issue(other, 10, receipt=receipt("R-2")).ref)
    _refused(ledger, revision=1)


def test_a_receipt_that_earned_nothing_is_posted_again_once_it_was_taken_back(ledger: LedgerDriver) -> None:
    member = ledger.member()
    nothing = ledger.issue(member, 0, amount=Decimal("0.40"), receipt=receipt())
    _refused(ledger, revision=1)
    ledger.reverse(nothing.ref)
    assert ledger.issue(member, 3, receipt=receipt(revision=1)).points == 3
