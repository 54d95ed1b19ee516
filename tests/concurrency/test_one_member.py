"""Many at once on one member: what the locks and keys are for."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from driver import LedgerDriver, receipt
from sqlalchemy import text
from waiting import until_somebody_waits

from coalition.audit import run_audit
from coalition.db import Database
from coalition.errors import (
    CoalitionError,
    HoldCaptured,
    InsufficientPoints,
    ReceiptDuplicate,
    VoucherUsed,
)
from coalition.ledger import Posting, TransactionRef

pytestmark = pytest.mark.fire


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What each of so many threads got, refusals included; all start at the same moment."""
    start = threading.Barrier(count)

    def run(index: int) -> Any:
        start.wait()
        try:
            return work(index)
        except CoalitionError as refusal:
            return refusal

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def findings(database: Database) -> list[Any]:
    with database.reading() as session:
        return list(run_audit(session))


def test_64_clients_take_300_of_1000_and_three_succeed(ledger: LedgerDriver) -> None:
    member = ledger.member(available=1000)
    answers = at_once(64, lambda index: ledger.redeem(member, 300, key=f"r{index}"))
    granted = [answer for answer in answers if isinstance(answer, Posting)]
    assert len(granted) == 3
    assert all(isinstance(answer, InsufficientPoints) for answer in answers if answer not in granted)
    assert ledger.balance(member).available == 100
    assert findings(ledger.database) == []


def test_40_calls_with_one_key_have_one_effect_and_equal_answers(ledger: LedgerDriver) -> None:
    member = ledger.member(available=1000)
    answers = at_once(40, lambda _: ledger.redeem(member, 10, key="the-key", receipt=receipt()))
    assert (
        len({(answer.ref.transaction_id, answer.points, answer.balance.available) for answer in answers}) == 1
    )
    assert sum(not answer.replayed for answer in answers) == 1
    assert ledger.balance(member).available == 990
    assert findings(ledger.database) == []


def test_40_tills_present_one_voucher_and_one_of_them_is_paid(ledger: LedgerDriver) -> None:
    member = ledger.member(available=1000)
    given = ledger.voucher(member, 300).ref
    answers = at_once(40, lambda index: ledger.redeem_voucher(given, 100 + index, key=f"v{index}"))
    [paid] = [answer for answer in answers if isinstance(answer, Posting)]
    assert all(isinstance(answer, VoucherUsed) for answer in answers if answer is not paid)
    assert ledger.balance(member).available == 1000 - paid.points
    assert findings(ledger.database) == []


def test_a_voucher_is_voided_while_it_is_presented_and_ends_once(ledger: LedgerDriver) -> None:
    for _ in range(10):
        member = ledger.member(available=100)
        given = ledger.voucher(member, 60).ref

        def race(index: int, given: TransactionRef = given) -> Posting:
            return ledger.void(given) if index else ledger.redeem_voucher(given)

        paid, voided = at_once(2, race)
        if isinstance(paid, Posting):
            assert isinstance(voided, HoldCaptured)
        else:
            assert isinstance(paid, VoucherUsed)
        assert ledger.balance(member).available == (40 if isinstance(paid, Posting) else 100)
    assert findings(ledger.database) == []


def test_one_receipt_for_forty_members_has_one_effect(ledger: LedgerDriver) -> None:
    crowd = [ledger.member() for _ in range(40)]
    answers = at_once(40, lambda index: ledger.issue(crowd[index], 10, receipt=receipt()))
    assert sum(isinstance(answer, Posting) for answer in answers) == 1
    assert sum(isinstance(answer, ReceiptDuplicate) for answer in answers) == 39
    assert sum(ledger.balance(member).available for member in crowd) == 10
    assert findings(ledger.database) == []


def test_a_reversal_races_a_redemption_and_one_of_them_is_first(ledger: LedgerDriver) -> None:
    for round_ in range(10):
        member = ledger.member()
        issued = ledger.issue(member, 100)

        def race(index: int, member: Any = member, issued: Posting = issued, round_: int = round_) -> Posting:
            if index == 0:
                return ledger.reverse(issued.ref, key=f"v{round_}")
            return ledger.redeem(member, 60, key=f"r{round_}")

        undone, spent = at_once(2, race)
        assert isinstance(undone, Posting)
        balance = ledger.balance(member)
        if isinstance(spent, Posting):
            assert (undone.points, balance.deficit) == (40, 60)
        else:
            assert (undone.points, balance.deficit) == (100, 0)
        assert balance.available == 0
    assert findings(ledger.database) == []


def test_a_posting_that_waited_sees_what_the_lock_holder_did(ledger: LedgerDriver) -> None:
    """Forced order: one session holds the member, a second waits, the first commits, the second decides."""
    member = ledger.member(available=100)
    engine = ledger.database.engine
    first = engine.connect()
    first.execute(
        text(
            "SELECT * FROM ledger.post_redeem(:member, :partner, :agreement, 80, 'first', '\\x00',"
            " NULL, NULL, NULL, NULL, NULL, NULL, NULL, now())"
        ),
        {
            "member": member,
            "partner": ledger.any_partner(),
            "agreement": ledger.agreements[ledger.any_partner()],
        },
    )
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(ledger.redeem, member, 80)
        until_somebody_waits(ledger.database)
        assert not second.done()
        first.commit()
        with pytest.raises(InsufficientPoints) as refusal:
            second.result(timeout=10)
    first.close()
    assert refusal.value.facts == {"available": 20, "requested": 80}
    assert findings(ledger.database) == []


def test_members_do_not_wait_for_each_other(ledger: LedgerDriver) -> None:
    """While one member's row is held, others of the same partner are served: no row is shared."""
    busy, free = ledger.member(available=10), ledger.member(available=10)
    partner = ledger.any_partner()
    with ledger.database.engine.connect() as holder:
        for kind in ("issue", "redeem"):
            holder.execute(
                text(
                    f"SELECT * FROM ledger.post_{kind}(:member, :partner, :agreement,"
                    + (" NULL, 1, NULL," if kind == "issue" else " 1,")
                    + f" '{kind}', '\\x00', 'S', 'T', 'held', 1, 0, NULL,"
                    + (" NULL, NULL, now())" if kind == "issue" else " NULL, now())")
                ),
                {"member": busy, "partner": partner, "agreement": ledger.agreements[partner]},
            )
        assert ledger.issue(free, 5, receipt=receipt()).points == 5
        assert ledger.redeem(free, 5, receipt=receipt()).points == 5
        ledger.reverse(ledger.issue(free, 5).ref)
        holder.rollback()
    assert findings(ledger.database) == []
