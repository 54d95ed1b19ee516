"""Batches that meet each other, and tills, on members and receipts: nobody waits in a ring."""

import random
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from concurrency.interleaving import Act, counter, in_forced_order
from driver import START, LedgerDriver, receipt
from operating import Coalition
from sqlalchemy import text
from waiting import PATIENCE, until_somebody_waits

from coalition import identifier_changes
from coalition.audit import AUDIT, CHAIN, run_audit
from coalition.db import Database
from coalition.errors import (
    CoalitionError,
    IdempotencyConflict,
    IdentifierBlocked,
    MemberMerged,
    NotInPool,
    ReceiptDuplicate,
)
from coalition.identifiers import Identifier, IdentifierKind
from coalition.ids import NETWORK, MemberId
from coalition.issuing import IssuePoints
from coalition.ledger import Posting
from coalition.members import EnrolMember, enrol_member
from coalition.receipts import Receipt
from coalition.redeeming import RedeemPoints
from partners import importing
from partners.directory import Partner
from partners.importing import Counts, post_lines
from partners.till_files import LineKind, Reject, TillLine


@pytest.fixture
def coalition(ledger: LedgerDriver) -> Coalition:
    return Coalition(ledger.database)


def findings(database: Database) -> list[Any]:
    with database.reading() as session:
        return list(run_audit(session, checks=(*AUDIT, *CHAIN)))


def holding(ledger: LedgerDriver, member: MemberId, *, number: str | None = None) -> Any:
    """A session that holds the member, and a receipt where one is given, until it is rolled back."""
    holder = ledger.database.engine.connect()
    holder.execute(
        text(
            "SELECT * FROM ledger.post_issue(:member, :partner, :agreement, NULL, 1, NULL, 'holds', '\\x00',"
            " :store, :terminal, :number, :line, :revision, NULL, NULL, NULL, now())"
        ),
        {
            "store": number and "S-1",
            "terminal": number and "T-1",
            "number": number,
            "line": number and 1,
            "revision": number and 0,
            "member": member,
            "partner": ledger.any_partner(),
            "agreement": ledger.agreements[ledger.any_partner()],
        },
    )
    return holder


@pytest.mark.parametrize("first", ["import", "till"])
def test_an_import_and_a_till_post_one_receipt_of_one_member(
    coalition: Coalition, ledger: LedgerDriver, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both wait for the member, in either order, the till with a receipt that the import will come to."""
    monkeypatch.setattr(importing, "_TRIES", 1)  # or it would try again, and the ring would not show
    grocer = coalition.trading("grocer")
    card = Identifier.of(IdentifierKind.CARD, "100001", partner_id=grocer.partner_id)
    with coalition.database.unit_of_work() as session:
        member = enrol_member(session, EnrolMember(partner_id=grocer.partner_id, identifiers=[card]))
    lines = [
        TillLine(
            number=number,
            kind=LineKind.ISSUE,
            member=card,
            receipt=Receipt(store="S", terminal="T", number=str(number)),
            occurred_at=START,
            points=number,
            amount=None,
        )
        for number in (1, 2)
    ]

    def import_them() -> list[Reject]:
        return list(post_lines(coalition.database, lines, partner_id=grocer.partner_id, counts=Counts()))

    def post_one() -> Posting | CoalitionError:
        try:
            return coalition.issue(member, grocer, points=2, receipt=lines[1].receipt)
        except ReceiptDuplicate as refusal:
            return refusal

    ledger.agreements[grocer.partner_id] = _agreement_of(coalition, grocer)
    holder = holding(ledger, member)
    with ThreadPoolExecutor(2) as pool:
        asked: list[Future[Any]] = []
        for waiting, act in enumerate(
            (import_them, post_one) if first == "import" else (post_one, import_them)
        ):
            asked.append(pool.submit(act))
            until_somebody_waits(coalition.database, many=waiting + 1)
        holder.rollback()
        holder.close()
        done = [one.result(timeout=30) for one in asked]
    rejects, posted = done if first == "import" else done[::-1]
    # Whoever came first has the second receipt.
    assert ([one.code for one in rejects], type(posted)) in (
        ([], ReceiptDuplicate),
        (["RECEIPT_DUPLICATE"], Posting),
    )
    assert coalition.rows("SELECT sum(points) FROM ledger.transaction") == [(3,)]
    assert findings(coalition.database) == []


def _agreement_of(coalition: Coalition, partner: Partner) -> Any:
    [(agreement_id,)] = coalition.rows(
        "SELECT agreement_id FROM partners.agreement WHERE partner_id = :id", id=partner.partner_id
    )
    return agreement_id


def test_batches_over_the_same_members_in_opposite_order(ledger: LedgerDriver) -> None:
    crowd = [ledger.member() for _ in range(60)]
    ledger.any_partner()
    start = threading.Barrier(4)

    def run(index: int) -> list[Posting | CoalitionError]:
        outcomes: list[Posting | CoalitionError] = []
        order = crowd if index % 2 else crowd[::-1]
        for round_ in range(8):
            # Every other one has a line that goes the single way.
            lines = [
                ledger.to_issue(
                    one, 2, key=f"{index}-{round_}", receipt=receipt(f"{index}-{round_}-{number}")
                )
                for number, one in enumerate(order)
            ] + [ledger.to_redeem(order[0], 1, key=f"r{index}-{round_}")] * (round_ % 2)
            start.wait(timeout=30)
            outcomes += ledger.batch(*lines)
        return outcomes

    with ThreadPoolExecutor(4) as pool:
        outcomes = [one for part in pool.map(run, range(4)) for one in part]
    assert len(outcomes) == 4 * (8 * 60 + 4)
    assert all(isinstance(one, Posting) for one in outcomes)
    assert sum(ledger.balance(one).available for one in crowd) == 4 * (8 * 60 * 2 - 4)
    assert findings(ledger.database) == []


def test_batches_with_the_same_receipts_in_any_order(ledger: LedgerDriver) -> None:
    crowd = [ledger.member() for _ in range(40)]
    ledger.any_partner()
    start = threading.Barrier(4)

    def run(index: int) -> list[Posting | CoalitionError]:
        outcomes: list[Posting | CoalitionError] = []
        chance = random.Random(index)
        for round_ in range(8):
            numbers = chance.sample(range(40), 40)
            members = chance.sample(crowd, 40)
            lines = [
                ledger.to_issue(
                    one, 1, key=f"{index}-{round_}-{number}", receipt=receipt(f"{round_}-{number}")
                )
                for number, one in zip(numbers, members, strict=True)
            ]
            start.wait(timeout=30)
            outcomes += ledger.batch(*lines)
        return outcomes

    with ThreadPoolExecutor(4) as pool:
        outcomes = [one for part in pool.map(run, range(4)) for one in part]
    assert sum(isinstance(one, Posting) for one in outcomes) == 8 * 40
    assert sum(isinstance(one, ReceiptDuplicate) for one in outcomes) == 3 * 8 * 40
    assert sum(ledger.balance(one).available for one in crowd) == 8 * 40
    assert findings(ledger.database) == []


def test_two_batches_wait_for_one_member_with_others_that_both_want(ledger: LedgerDriver) -> None:
    """Forced order: a till holds the member in the middle, on either side of whom the batches begin."""
    crowd = sorted(ledger.member() for _ in range(3))
    holder = holding(ledger, crowd[1])
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ledger.batch, *(ledger.to_issue(one, 1) for one in crowd))
        until_somebody_waits(ledger.database)
        second = pool.submit(ledger.batch, *(ledger.to_issue(one, 1) for one in reversed(crowd)))
        until_somebody_waits(ledger.database, many=2)
        holder.rollback()
        holder.close()
        outcomes = first.result(timeout=30) + second.result(timeout=30)
    assert [type(outcome) for outcome in outcomes] == [Posting] * 6
    assert findings(ledger.database) == []


def test_two_batches_wait_for_one_receipt_with_others_that_both_want(ledger: LedgerDriver) -> None:
    """Forced order: a till holds the receipt in the middle, on either side of which the batches begin."""
    one, two, till = ledger.member(), ledger.member(), ledger.member()
    numbers = ["1", "2", "3"]
    forth = [ledger.to_issue(one, 1, receipt=receipt(number)) for number in numbers]
    back = [ledger.to_issue(two, 1, receipt=receipt(number)) for number in reversed(numbers)]
    holder = holding(ledger, till, number="2")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ledger.batch, *forth)
        until_somebody_waits(ledger.database)
        second = pool.submit(ledger.batch, *back)
        until_somebody_waits(ledger.database, many=2)
        holder.rollback()
        holder.close()
        outcomes = first.result(timeout=30) + second.result(timeout=30)
    assert [type(outcome) for outcome in outcomes] == [Posting] * 3 + [ReceiptDuplicate] * 3
    assert findings(ledger.database) == []


def behind(ledger: LedgerDriver, first: Act, *lines: IssuePoints | RedeemPoints) -> list[Any]:
    """What became of the lines of a batch that waited for who was before, and saw that one commit."""
    with counter(ledger) as till:
        ended = in_forced_order(till, [first, lambda held: held.batch(*lines)], commits=(True, True))
    assert findings(ledger.database) == []
    outcomes: list[Any] = ended.answers[1]
    return outcomes


def test_a_member_who_is_merged_while_a_batch_waits_costs_its_own_line(ledger: LedgerDriver) -> None:
    survivor, gone, other = ledger.member(), ledger.member(available=7), ledger.member()
    merged, posted = behind(
        ledger,
        lambda held: held.merge(survivor, gone),
        ledger.to_issue(gone, 5, receipt=receipt()),
        ledger.to_issue(other, 5),
    )
    assert isinstance(merged, MemberMerged)
    assert merged.facts == {"survivor": str(survivor)}
    assert isinstance(posted, Posting)
    assert [ledger.balance(one).available for one in (survivor, gone, other)] == [7, 0, 5]
    # Its receipt is free for whom it should have named.
    assert ledger.issue(survivor, 5, receipt=receipt()).points == 5


def test_a_card_that_is_blocked_while_a_batch_waits_costs_its_own_line(ledger: LedgerDriver) -> None:
    member, other = ledger.member(), ledger.member()
    lost, kept = ledger.card(member), ledger.card(other)
    operator = identifier_changes.Actor(name="test", party_id=NETWORK)

    def block(held: LedgerDriver) -> None:
        command = identifier_changes.ChangeIdentifier(member_id=member, identifier_id=lost, by=operator)
        with held.database.unit_of_work() as session:
            identifier_changes.block(session, command)

    refused, posted = behind(
        ledger,
        block,
        ledger.to_issue(member, 5, identifier_id=lost),
        ledger.to_issue(other, 5, identifier_id=kept),
    )
    assert isinstance(refused, IdentifierBlocked)
    assert isinstance(posted, Posting)
    assert [ledger.balance(one).available for one in (member, other)] == [0, 5]


@pytest.mark.parametrize("leaves", [True, False])
def test_who_joins_or_leaves_a_pool_while_a_batch_waits_is_asked_again(
    ledger: LedgerDriver, leaves: bool
) -> None:
    head, member = ledger.member(available=50), ledger.member(available=10)
    pool = ledger.pool(head, *([member] if leaves else []))
    if not leaves:
        ledger.invite(head, member)
    [spent] = behind(
        ledger,
        lambda held: held.leave_pool(member) if leaves else held.join_pool(member, pool),
        ledger.to_redeem(member, 30, from_pool=True),
    )
    if leaves:
        assert isinstance(spent, NotInPool)
    else:
        assert isinstance(spent, Posting)
    assert [ledger.balance(one).available for one in (head, member)] == ([50, 10] if leaves else [30, 0])


def test_a_batch_locks_no_pool_after_the_members(ledger: LedgerDriver) -> None:
    """While it waits a member of it joins a pool, which a till locks; who wanted it now would close a ring."""
    other, head, joins = sorted(ledger.member(available=50) for _ in range(3))
    pool = ledger.pool(head)
    ledger.invite(head, joins)
    lines = [ledger.to_redeem(one, 5, from_pool=True) for one in (joins, other)]
    with counter(ledger) as counted, counted.tellers(4) as (first, second, till, batch):
        for holder, held in ((first, other), (second, head)):
            holder.start(lambda driver, held=held: driver.bring_up_to_date(held)).result(PATIENCE)
        batching = batch.start(lambda driver: driver.batch(*lines))
        counted.until_waiting(batch, batching, behind={first.pid})
        ledger.join_pool(joins, pool)
        spending = till.start(lambda driver: driver.redeem(head, 60, key="till", from_pool=True))
        counted.until_waiting(till, spending, behind={second.pid})

        first.end(commit=True)
        # The batch has got what it waited for, and has let go of it: it asks anew, the pool first.
        counted.until_waiting(batch, batching, behind={till.pid})
        second.end(commit=True)
        assert isinstance(spending.result(PATIENCE), Posting)
        till.end(commit=True)
        outcomes = batching.result(PATIENCE)
        batch.end(commit=True)
    assert [type(one) for one in outcomes] == [Posting, NotInPool]
    assert [ledger.balance(one).available for one in (other, head)] == [50, 0]
    assert findings(ledger.database) == []


def test_a_batch_and_the_same_wishes_singly_have_one_effect(ledger: LedgerDriver) -> None:
    crowd = [ledger.member() for _ in range(20)]
    wishes = [ledger.to_issue(one, 3, receipt=receipt(str(number))) for number, one in enumerate(crowd)]
    start = threading.Barrier(4)

    def run(index: int) -> list[Posting | CoalitionError]:
        start.wait(timeout=30)
        if index % 2:
            return ledger.batch(*wishes)
        return [one for wish in wishes for one in ledger.batch(wish)]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(run, range(4)))
    for same in zip(*answers, strict=True):
        assert not any(isinstance(one, IdempotencyConflict) for one in same)
        assert len({one.ref for one in same if isinstance(one, Posting)}) == 1
        assert sum(not one.replayed for one in same if isinstance(one, Posting)) == 1
    assert sum(ledger.balance(one).available for one in crowd) == 60
    assert findings(ledger.database) == []
