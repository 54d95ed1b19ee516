"""A batch: many wishes in one call, each with an outcome of its own, and the rows that single calls would leave."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from databases import TestCluster
from driver import START, LedgerDriver, receipt
from listing import listing
from sqlalchemy import text
from waiting import SlowClock

from coalition import clock, identifier_changes
from coalition.audit import AUDIT, CHAIN, run_audit
from coalition.blocking import set_blocked
from coalition.db import Database
from coalition.errors import (
    AgreementMissing,
    BatchStopped,
    CoalitionError,
    FundingPlanUnknown,
    IdempotencyConflict,
    IdentifierBlocked,
    InsufficientPoints,
    InvalidInput,
    LimitExceeded,
    MemberBlocked,
    MemberMerged,
    MemberUnknown,
    OccurredInFuture,
    OccurredTooLongAgo,
    PartnerNotActive,
    PartnerRoleMissing,
    PointsInvalid,
    ReceiptDuplicate,
    ReceiptRevision,
    StoreUnknown,
    UnderReview,
)
from coalition.identifiers import Identifier, IdentifierKind
from coalition.ids import NETWORK, MemberId
from coalition.issuing import IssuePoints, issue_points
from coalition.ledger import Posting
from coalition.ledger.posting import TermsSuperseded
from coalition.members import LinkIdentifier, find_named, link_identifier
from coalition.redeeming import RedeemPoints, redeem_points
from coalition.reviewing import queue_review

Wish = IssuePoints | RedeemPoints
SOON, LATER = START + timedelta(days=2), START + timedelta(days=300)


def whole(ledger: LedgerDriver) -> bool:
    """The audit finds nothing, in the chains neither."""
    with ledger.database.reading() as session:
        return run_audit(session, checks=(*AUDIT, *CHAIN)) == []


def one_by_one(ledger: LedgerDriver, wishes: Sequence[Wish]) -> list[Posting | CoalitionError]:
    """What tills get that post each wish alone."""
    outcomes: list[Posting | CoalitionError] = []
    for wish in wishes:
        try:
            with ledger.database.single_call() as session:
                if isinstance(wish, IssuePoints):
                    outcomes.append(issue_points(session, wish))
                else:
                    outcomes.append(redeem_points(session, wish))
        except CoalitionError as refusal:
            outcomes.append(refusal)
    return outcomes


def block(ledger: LedgerDriver, member: MemberId) -> None:
    with ledger.database.unit_of_work() as session:
        set_blocked(session, member, blocked=True, by="test")


def block_card(ledger: LedgerDriver, member: MemberId, card: UUID) -> None:
    operator = identifier_changes.Actor(name="test", party_id=NETWORK)
    with ledger.database.unit_of_work() as session:
        identifier_changes.block(
            session, identifier_changes.ChangeIdentifier(member_id=member, identifier_id=card, by=operator)
        )


def phone_of(ledger: LedgerDriver, member: MemberId) -> UUID:
    """The id of a new identifier of the member's that is no card."""
    phone = Identifier.of(IdentifierKind.PHONE, f"+4930901{member.int % 1000:03}", partner_id=NETWORK)
    with ledger.database.unit_of_work() as session:
        link_identifier(
            session, LinkIdentifier(member_id=member, partner_id=ledger.any_partner(), identifier=phone)
        )
        found = find_named(session, phone)
    assert found is not None
    assert found.identifier_id is not None
    return found.identifier_id


def told(outcomes: Sequence[Posting | CoalitionError]) -> list[object]:
    """What can be compared of outcomes: all but ids."""
    return [
        (type(one).__name__, one.facts)
        if isinstance(one, CoalitionError)
        else (one.points, one.replayed, one.late, one.recorded_at, one.balance)
        for one in outcomes
    ]


# -- the same rows ---------------------------------------------------------------------------------


def joined(ledger: LedgerDriver, count: int) -> list[MemberId]:
    """Members with moments of their own, which is the order in which a listing has them."""
    members = []
    for _ in range(count):
        ledger.pass_time(seconds=1)
        members.append(ledger.member())
    return members


def all_sorts(ledger: LedgerDriver) -> list[Wish]:
    """Wishes that go every way that there is, of members in every state that matters."""
    ledger.partner()
    other = ledger.partner(
        expiry_rule="inactivity", expiry_months=1, activity="any", activity_where="anywhere"
    )
    plain, pending, due, indebted, blocked, gone, stays, spent, dated, lively, alive = joined(ledger, 11)
    punctual, brief = joined(ledger, 2)
    plan = ledger.funding_plan(_=[(ledger.any_partner(), 500_000), (other, 500_000)])
    card, blocked_card, of_gone = ledger.card(dated), ledger.card(lively), ledger.card(gone)
    block_card(ledger, lively, blocked_card)
    ledger.issue(due, 30, matures_at=SOON, expires_at=LATER)
    ledger.issue(punctual, 8, matures_at=START + timedelta(days=4), expires_at=LATER)
    owed = ledger.issue(indebted, 50)
    ledger.redeem(indebted, 50)
    ledger.reverse(owed.ref)
    block(ledger, blocked)
    ledger.issue(alive, 15, by=other, expires_at=START + timedelta(days=20))
    ledger.issue(gone, 5, key="of the merged", request={"same": 2})
    ledger.merge(stays, gone)
    ledger.issue(spent, 40, receipt=receipt("taken"))
    back = ledger.issue(spent, 10, receipt=receipt("revised"))
    ledger.reverse(back.ref)
    ledger.issue(plain, 7, key="of old", request={"same": 1})
    ledger.pass_time(days=4, seconds=-13)
    assert ledger.now == START + timedelta(days=4)
    issue, redeem = ledger.to_issue, ledger.to_redeem
    return [
        issue(plain, 10, receipt=receipt("1"), expires_at=LATER),
        issue(pending, 20, matures_at=ledger.now + timedelta(days=9), expires_at=LATER, receipt=receipt("2")),
        issue(due, 5, expires_at=LATER),
        issue(punctual, 5),
        issue(brief, 5, expires_at=ledger.now),
        issue(indebted, 30),
        issue(blocked, 5, receipt=receipt("free again")),
        issue(gone, 5),
        issue(alive, 5),
        issue(stays, 6, receipt=receipt("3", store="S-2", line=2)),
        issue(stays, 5, key="of the merged", request={"same": 2}),
        issue(dated, 0, amount=Decimal("0.40"), receipt=receipt("4")),
        issue(dated, 12, amount=Decimal("12.5"), funding_plan_id=plan, identifier_id=card),
        issue(dated, 3, identifier_id=phone_of(ledger, dated)),
        issue(lively, 13, identifier_id=blocked_card),
        issue(stays, 14, identifier_id=of_gone),
        issue(pending, 15, identifier_id=of_gone),
        issue(spent, 4, receipt=receipt("taken")),
        issue(spent, 9, receipt=receipt("revised", revision=1)),
        issue(spent, 9, receipt=receipt("revised", revision=3)),
        redeem(spent, 30, receipt=receipt("5")),
        redeem(spent, 300),
        issue(plain, 11, receipt=receipt("6"), occurred_at=ledger.now - timedelta(days=2)),
        issue(plain, 7, key="of old", request={"same": 1}),
        issue(lively, 1, matures_at=ledger.now - timedelta(days=1)),
        issue(lively, 2, expires_at=LATER),
        issue(lively, 3, expires_at=ledger.now + timedelta(days=1)),
        issue(lively, 4, matures_at=ledger.now + timedelta(hours=1), expires_at=LATER),
        issue(
            dated, 2, expires_at=ledger.now - timedelta(hours=1), occurred_at=ledger.now - timedelta(days=2)
        ),
        issue(MemberId(UUID(int=5)), 5, receipt=receipt("nobody's")),
        issue(pending, -1),
        issue(pending, 5, occurred_at=ledger.now - timedelta(days=400)),
    ]


def merely_issues(ledger: LedgerDriver) -> list[Wish]:
    """What the statement for all of them takes, several of a member among them."""
    first, second, third = joined(ledger, 3)
    plan = ledger.funding_plan(_=[(ledger.any_partner(), 1_000_000)])
    names = {first: ledger.card(first), second: ledger.card(second), third: phone_of(ledger, third)}
    ledger.issue(second, 17, matures_at=START + timedelta(days=30), expires_at=LATER)
    return [
        ledger.to_issue(
            (first, second, third, second)[number % 4],
            number,
            amount=Decimal("1.5") if number == 0 else None,
            key=f'key "{number}" \\ ä€',
            receipt=receipt(f'R"{number}\\', line=number) if number % 3 else None,
            matures_at=START + timedelta(days=number - 1) if number % 5 == 1 else None,
            expires_at=START + timedelta(days=400 - number) if number % 2 else None,
            occurred_at=START - timedelta(days=number % 7),
            funding_plan_id=plan if number % 4 == 1 else None,
            identifier_id=names[(first, second, third, second)[number % 4]] if number % 3 == 1 else None,
        )
        for number in range(40)
    ]


def kept_alive(ledger: LedgerDriver) -> list[Wish]:
    """By terms under which each issue keeps the earlier ones alive."""
    ledger.partner(expiry_rule="inactivity", expiry_months=1, activity="any", activity_where="anywhere")
    first, second = joined(ledger, 2)
    return [
        ledger.to_issue(
            (first, second)[number % 2], 5 + number, expires_at=START + timedelta(days=1 + number)
        )
        for number in range(5)
    ]


def limited(ledger: LedgerDriver) -> list[Wish]:
    """Some of what is asked is too much."""
    members = joined(ledger, 4)
    card = ledger.card(members[1])
    ledger.limit("member", posting="issue", measure="points", most=30, period=timedelta(hours=1))
    ledger.limit("often", posting="both", measure="count", most=5)
    ledger.limit("card", scope="card", posting="issue", measure="count", most=2, period=timedelta(days=1))
    ledger.limit("looked-at", posting="issue", measure="points", most=24, action="review")
    return [
        ledger.to_issue(members[number % 4], 3 + number, identifier_id=card if number % 4 == 1 else None)
        for number in range(24)
    ]


@pytest.mark.parametrize("sort", [all_sorts, merely_issues, kept_alive, limited])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_the_same_wishes_singly_and_as_batches_leave_the_same_rows(
    cluster: TestCluster, sort: Callable[[LedgerDriver], list[Wish]], size: int
) -> None:
    outcomes, rows = [], []
    for batched in (False, True):
        with cluster.new_database() as made, made.connect() as database:
            ledger = LedgerDriver(database).open()
            wishes = sort(ledger)
            if batched:
                chunks = [wishes[at : at + size] for at in range(0, len(wishes), size)]
                got = [one for chunk in chunks for one in ledger.batch(*chunk)]
            else:
                got = one_by_one(ledger, wishes)
            outcomes.append(told(got))
            rows.append(listing(ledger).splitlines())
            assert whole(ledger)
    for alone, together in zip(*outcomes, strict=True):
        assert _unnamed(alone) == _unnamed(together)
    assert rows[0] == rows[1]


def _unnamed(outcome: Any) -> Any:
    """A refusal's facts name members and wishes, which have other ids in each database."""
    if isinstance(outcome[1], dict):
        return outcome[0], sorted(outcome[1])
    return outcome


def statements_of(ledger: LedgerDriver, posted: Sequence[Posting | CoalitionError]) -> list[str]:
    """For each posting what those have in common that one statement wrote: any other has a savepoint of its own."""
    wrote = dict(ledger.rows("SELECT transaction_id, xmin::text FROM ledger.transaction"))
    return [wrote[one.ref.transaction_id] for one in posted if isinstance(one, Posting)]


def test_what_needs_nothing_else_is_posted_by_one_statement(ledger: LedgerDriver) -> None:
    """Or the comparison above would compare one way with itself."""
    wishes = merely_issues(ledger)
    posted = ledger.batch(*wishes)
    assert all(isinstance(one, Posting) for one in posted)
    assert len(set(statements_of(ledger, posted))) == 1
    assert whole(ledger)


def test_what_a_batch_writes_has_ids_of_the_standards_form_and_each_its_own(ledger: LedgerDriver) -> None:
    wishes = [wish for wish in merely_issues(ledger) if wish.points]
    transactions = {one.ref.transaction_id for one in ledger.batch(*wishes) if isinstance(one, Posting)}
    lots = {
        lot for lot, of in ledger.rows("SELECT lot_id, transaction_id FROM ledger.lot") if of in transactions
    }
    assert len(transactions | lots) == 2 * len(wishes)
    # RFC 9562, section 5.8; an id of another variant has no version.
    assert {one.version for one in transactions | lots} == {8}


def test_limits_with_room_for_all_keep_nobody_from_the_one_statement(ledger: LedgerDriver) -> None:
    first, second, third = ledger.member(), ledger.member(), ledger.member()
    ledger.limit("often", posting="both", measure="count", most=2)
    ledger.limit("much", scope="partner", posting="issue", measure="points", most=100)
    ledger.limit("nothing", posting="redeem", most=0)  # which is not about issues
    posted = ledger.batch(*(ledger.to_issue(member, 10) for member in (first, second, first, second)))
    assert len(set(statements_of(ledger, posted))) == 1
    refused, *posted = ledger.batch(*(ledger.to_issue(member, 10) for member in (first, third, third)))
    assert isinstance(refused, LimitExceeded)
    assert len(set(statements_of(ledger, posted))) == 1
    # Each of these has its own, since one more would be too many.
    fourth = ledger.member()
    posted = ledger.batch(*(ledger.to_issue(fourth, 1) for _ in range(3)))
    assert [type(one) for one in posted] == [Posting, Posting, LimitExceeded]
    assert len(set(statements_of(ledger, posted))) == 2


def test_keys_that_others_used_keep_nobody_from_the_one_statement(ledger: LedgerDriver) -> None:
    other, another, first, second = (ledger.member() for _ in range(4))
    ledger.limit("large", posting="issue", measure="points", most=50, action="review")
    for key in ("one", "two"):
        ledger.issue(other, 1, key=key)
        with pytest.raises(UnderReview) as refusal:
            ledger.issue(another, 60, key=key)
        with ledger.database.unit_of_work() as session:
            assert queue_review(session, refusal.value)
    posted = ledger.batch(ledger.to_issue(first, 2, key="one"), ledger.to_issue(second, 2, key="two"))
    assert len(set(statements_of(ledger, posted))) == 1
    elsewhere = ledger.partner()
    wishes = [ledger.to_issue(member, 2, by=elsewhere, key="one") for member in (another, first)]
    posted = ledger.batch(*wishes, by=elsewhere)
    assert len(set(statements_of(ledger, posted))) == 1


def test_as_many_points_as_there_may_be_go_either_way_and_no_more(ledger: LedgerDriver) -> None:
    most = 1_000_000_000
    first, second, third = ledger.member(), ledger.member(), ledger.member()
    ledger.issue(third, 5, matures_at=SOON)
    ledger.pass_time(days=3)
    oldest = ledger.now - timedelta(days=90)
    posted = ledger.batch(ledger.to_issue(first, most), ledger.to_issue(second, 1, occurred_at=oldest))
    assert len(set(statements_of(ledger, posted))) == 1
    # The third's earlier points have come due, so it goes alone.
    [alone, refused] = ledger.batch(ledger.to_issue(third, most), ledger.to_issue(first, most + 1))
    assert isinstance(alone, Posting)
    assert isinstance(refused, PointsInvalid)
    assert ledger.balance(third).available == most + 5


def test_one_point_comes_due_and_none_does_not(ledger: LedgerDriver) -> None:
    one, none = ledger.member(), ledger.member()
    ledger.batch(
        ledger.to_issue(one, 1, expires_at=LATER),
        ledger.to_issue(none, 0, amount=Decimal("0.49"), expires_at=LATER),
    )
    due = "SELECT member_id, next_due_at FROM ledger.member_head"
    assert dict(ledger.rows(due)) == {one: LATER, none: None}


def test_the_only_limit_there_is_holds_for_a_line(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.limit("much", posting="issue", measure="points", most=10)
    posted, refused = ledger.batch(ledger.to_issue(ledger.member(), 10), ledger.to_issue(member, 11))
    assert isinstance(posted, Posting)
    assert isinstance(refused, LimitExceeded)
    assert ledger.balance(member).available == 0


def test_by_a_slow_clock_points_mature_when_the_member_was_last_seen(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = LedgerDriver(database).open(mode="production")
    member = ledger.member(available=10)
    [(last,)] = ledger.rows("SELECT last_recorded_at FROM ledger.member_head")
    other = ledger.member()
    monkeypatch.setattr(clock, "datetime", SlowClock)
    posted, beside = ledger.batch(ledger.to_issue(member, 5, matures_at=last), ledger.to_issue(other, 5))
    assert isinstance(posted, Posting)
    assert (posted.recorded_at, posted.balance.available, posted.balance.pending) == (last, 15, 0)
    assert isinstance(beside, Posting)
    assert beside.recorded_at < last  # another's moments are not its own
    assert whole(ledger)


# -- outcomes --------------------------------------------------------------------------------------


def test_a_refusal_stops_no_other_line_and_what_it_asked_has_not_moved(ledger: LedgerDriver) -> None:
    member, blocked = ledger.member(available=10), ledger.member()
    block(ledger, blocked)
    before = ledger.snapshot()
    refused = ledger.batch(
        ledger.to_issue(blocked, 5, receipt=receipt()), ledger.to_redeem(member, 11, receipt=receipt())
    )
    assert [type(one) for one in refused] == [MemberBlocked, InsufficientPoints]
    assert ledger.snapshot() == before

    first, second, third = ledger.batch(
        ledger.to_issue(member, 5),
        ledger.to_issue(blocked, 5, receipt=receipt()),
        ledger.to_issue(member, 6, receipt=receipt("another")),
    )
    assert isinstance(second, MemberBlocked)
    assert isinstance(first, Posting)
    assert isinstance(third, Posting)
    assert (first.balance.available, third.balance.available) == (15, 21)
    # The receipt of what was refused is free.
    assert ledger.issue(member, 1, receipt=receipt()).points == 1
    assert whole(ledger)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_atomic_batch_with_a_refusal_moves_nothing_and_names_the_line(
    ledger: LedgerDriver, place: int
) -> None:
    member, rich = ledger.member(), ledger.member(available=100)
    lines: list[Wish] = [ledger.to_issue(member, 5, receipt=receipt("1")), ledger.to_redeem(rich, 50)]
    lines.insert(place, ledger.to_redeem(member, 70, receipt=receipt("2")))
    lines.append(ledger.to_redeem(rich, 70))
    before = ledger.snapshot()
    with pytest.raises(BatchStopped) as stopped:
        ledger.batch(*lines, atomic=True)
    assert stopped.value.line == place
    assert isinstance(stopped.value.refusal, InsufficientPoints)
    assert stopped.value.refusal.facts["requested"] == 70
    assert ledger.snapshot() == before

    del lines[place]
    assert all(isinstance(one, Posting) for one in ledger.batch(*lines[:-1], atomic=True))
    assert whole(ledger)


@pytest.mark.parametrize("atomic", [False, True])
def test_a_replay_of_the_whole_batch_gets_the_same_answers(ledger: LedgerDriver, atomic: bool) -> None:
    members = [ledger.member(available=100) for _ in range(3)]
    lines = [
        ledger.to_issue(one, 5 + number, receipt=receipt(str(number))) for number, one in enumerate(members)
    ]
    spent = [ledger.to_redeem(one, 50, receipt=receipt(f"r{number}")) for number, one in enumerate(members)]
    first = ledger.batch(*lines, *spent, atomic=atomic)
    ledger.issue(members[0], 1000)
    ledger.pass_time(minutes=5)
    before = ledger.snapshot()
    again = ledger.batch(*lines, *spent, atomic=atomic)
    for earlier, later in zip(first, again, strict=True):
        assert isinstance(earlier, Posting)
        assert isinstance(later, Posting)
        assert (earlier.replayed, later.replayed) == (False, True)
        assert (later.ref, later.points, later.balance) == (earlier.ref, earlier.points, earlier.balance)
    assert ledger.snapshot() == before
    # Whichever way it came first.
    assert [one.replayed for one in one_by_one(ledger, lines) if isinstance(one, Posting)] == [True] * 3


def test_a_wish_that_was_posted_alone_is_a_replay_in_a_batch(ledger: LedgerDriver) -> None:
    member, other = ledger.member(), ledger.member()
    wish = ledger.to_issue(member, 5, receipt=receipt())
    [alone] = one_by_one(ledger, [wish])
    fresh, replayed = ledger.batch(ledger.to_issue(other, 1), wish)
    assert isinstance(alone, Posting)
    assert isinstance(replayed, Posting)
    assert (replayed.ref, replayed.replayed) == (alone.ref, True)
    assert isinstance(fresh, Posting)
    conflicting = ledger.batch(ledger.to_issue(member, 6, key=wish.idempotency_key))
    assert isinstance(conflicting[0], IdempotencyConflict)


def test_what_the_kernel_finds_twice_in_a_batch_is_posted_once(ledger: LedgerDriver) -> None:
    """The till's part names such lines beforehand; the kernel is right by itself."""
    member, other = ledger.member(), ledger.member()
    outcomes = ledger.batch(
        ledger.to_issue(member, 5, key="one", request={"is": 1}),
        ledger.to_issue(member, 5, key="one", request={"is": 1}),
        ledger.to_issue(member, 6, key="one", request={"is": 2}),
        ledger.to_issue(member, 7, receipt=receipt()),
        ledger.to_issue(other, 8, receipt=receipt()),
        ledger.to_issue(other, 9, key="one"),
    )
    assert [one.replayed if isinstance(one, Posting) else type(one) for one in outcomes] == [
        False,
        True,
        IdempotencyConflict,
        False,
        ReceiptDuplicate,
        False,
    ]
    assert (ledger.balance(member).available, ledger.balance(other).available) == (12, 9)
    assert whole(ledger)


def test_every_guard_of_a_till_holds_for_a_line(ledger: LedgerDriver) -> None:
    member, blocked, gone = ledger.member(), ledger.member(), ledger.member()
    partner = ledger.any_partner()
    block(ledger, blocked)
    lost = ledger.card(member)
    block_card(ledger, member, lost)
    ledger.merge(ledger.member(), gone)
    ledger.issue(member, 1, receipt=receipt("held"))
    ledger.limit("large", posting="issue", measure="points", most=1000)
    ledger.limit("odd", scope="card", posting="issue", measure="count", most=0, action="review")
    with ledger.database.unit_of_work() as session:
        session.execute(
            text("INSERT INTO partners.store VALUES (:id, 'S-1', 'One', NULL, NULL, now(), 'test')"),
            {"id": partner},
        )
    lines: dict[type[CoalitionError], Wish] = {
        PointsInvalid: ledger.to_issue(member, 1_000_000_001),
        MemberUnknown: ledger.to_issue(MemberId(uuid4()), 5),
        MemberMerged: ledger.to_issue(gone, 5),
        ReceiptDuplicate: ledger.to_issue(member, 5, receipt=receipt("held")),
        ReceiptRevision: ledger.to_issue(member, 5, receipt=receipt("held", revision=1)),
        OccurredInFuture: ledger.to_issue(
            member, 5, occurred_at=ledger.now + timedelta(minutes=5, microseconds=1)
        ),
        OccurredTooLongAgo: ledger.to_issue(member, 5, occurred_at=START - timedelta(days=100)),
        StoreUnknown: ledger.to_issue(member, 5, receipt=receipt(store="S-9")),
        FundingPlanUnknown: ledger.to_issue(member, 5, funding_plan_id=uuid4()),
        MemberBlocked: ledger.to_issue(blocked, 5),
        IdentifierBlocked: ledger.to_issue(member, 5, identifier_id=lost),
        LimitExceeded: ledger.to_issue(member, 1001),
        UnderReview: ledger.to_issue(member, 5, identifier_id=ledger.card(member)),
    }
    before = ledger.snapshot()
    for expected, line in lines.items():
        [outcome] = ledger.batch(line)
        assert type(outcome) is expected
        with pytest.raises(BatchStopped) as stopped:
            ledger.batch(ledger.to_issue(member, 3), line, atomic=True)
        assert (stopped.value.line, type(stopped.value.refusal)) == (1, expected)
    assert [type(one) for one in ledger.batch(*lines.values())] == list(lines)
    assert ledger.snapshot() == before

    for state, issuer, expected in (
        ("suspended", True, PartnerNotActive),
        ("active", False, PartnerRoleMissing),
    ):
        barred = ledger.partner(state=state, issuer=issuer)
        [outcome] = ledger.batch(ledger.to_issue(member, 5, by=barred), by=barred)
        assert type(outcome) is expected
    assert whole(ledger)


def test_a_line_is_of_as_many_points_as_a_till_may_post(ledger: LedgerDriver) -> None:
    member = ledger.member(available=10)
    before = ledger.snapshot()
    for line in (
        ledger.to_issue(member, 0),
        ledger.to_issue(member, -1, amount=Decimal(1)),
        ledger.to_redeem(member, 0),
        ledger.to_redeem(member, -1),
        replace(ledger.to_issue(member, 1), points=None),  # type: ignore[arg-type]
    ):
        [outcome] = ledger.batch(line)
        assert isinstance(outcome, PointsInvalid)
    assert ledger.snapshot() == before


def test_terms_that_are_not_in_force_undo_the_whole_call(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.any_partner()
    stale = ledger.to_issue(member, 5)
    ledger.agreement(ledger.any_partner(), valid_from=START.date())
    before = ledger.snapshot()
    with pytest.raises(TermsSuperseded):
        ledger.batch(ledger.to_issue(member, 4), stale)
    assert ledger.snapshot() == before


def test_a_partner_without_terms_is_told_so_for_each_line(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.any_partner()
    newcomer = ledger.partner()
    lines = [ledger.to_issue(member, 5, by=newcomer, agreement_id=None, occurred_at=START.replace(year=2019))]
    ledger.accept_late(days=3650)
    assert [type(one) for one in ledger.batch(*lines, by=newcomer)] == [AgreementMissing]


def test_a_key_that_cannot_be_stored_is_refused_before_anything_is_asked(ledger: LedgerDriver) -> None:
    member = ledger.member()
    before = ledger.snapshot()
    with pytest.raises(InvalidInput):
        ledger.batch(ledger.to_issue(member, 5), ledger.to_issue(member, 5, key="\n"))
    assert ledger.snapshot() == before


def test_lines_may_draw_on_pools_and_are_posted_in_their_order(ledger: LedgerDriver) -> None:
    head, child, other = ledger.member(available=100), ledger.member(), ledger.member()
    ledger.pool(head, child, other)
    outcomes = ledger.batch(
        ledger.to_redeem(child, 60, from_pool=True),
        ledger.to_issue(child, 5),
        ledger.to_redeem(other, 60, from_pool=True),
        ledger.to_redeem(other, 45, from_pool=True),
        ledger.to_redeem(head, 1),
    )
    assert [type(one).__name__ for one in outcomes] == [
        "Posting",
        "Posting",
        "InsufficientPoints",
        "Posting",
        "InsufficientPoints",
    ]
    assert [ledger.balance(one).available for one in (head, child, other)] == [0, 0, 0]

    given, spent = ledger.batch(ledger.to_issue(head, 7), ledger.to_redeem(child, 7, from_pool=True))
    assert isinstance(given, Posting)
    assert isinstance(spent, Posting)
    assert whole(ledger)
