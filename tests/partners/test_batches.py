"""Batches as tills send them: what is wrong with a line is that line's, and what comes twice is named."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from operating import START, TODAY, Coalition

from coalition.audit import run_audit
from coalition.errors import (
    BatchStopped,
    BatchTooLarge,
    CoalitionError,
    DuplicateInBatch,
    InsufficientPoints,
    InvalidInput,
    MemberUnknown,
    OccurredInFuture,
    PointsInvalid,
)
from coalition.ids import MemberId
from coalition.ledger import Posting
from coalition.receipts import Receipt
from partners.batches import MAX_LINES, post_batch
from partners.directory import Partner
from partners.earning import EarnRule
from partners.till import Issue, Redeem
from schema.inputs import NOBODY

HOUR = timedelta(hours=1)


@pytest.fixture
def grocer(coalition: Coalition) -> Partner:
    return coalition.trading("grocer")


@pytest.fixture
def member(coalition: Coalition, grocer: Partner) -> MemberId:
    return coalition.member(of=grocer)


def receipt(number: str) -> Receipt:
    return Receipt(store="S", terminal="T", number=number)


def posted(
    coalition: Coalition, partner: Partner, *lines: Any, atomic: bool = False
) -> list[Posting | CoalitionError]:
    with coalition.database.single_call() as session:
        return post_batch(session, partner.partner_id, lines, atomic=atomic)


def codes(outcomes: list[Posting | CoalitionError]) -> list[str]:
    return [one.code if isinstance(one, CoalitionError) else "" for one in outcomes]


def whole(coalition: Coalition) -> bool:
    with coalition.database.reading() as session:
        return run_audit(session) == []


def test_a_line_is_the_wish_that_a_till_posts_alone(
    coalition: Coalition, grocer: Partner, member: MemberId
) -> None:
    coalition.publish(grocer, maturity_days=3, earn_rule=EarnRule(points=Decimal(2), amount=Decimal(1)))
    wishes = [
        coalition.wish(Issue, member, grocer, amount=Decimal("10.75"), receipt=receipt("1")),
        coalition.wish(Issue, member, grocer, points=5, occurred_at=START - timedelta(hours=1)),
        coalition.wish(Issue, member, grocer, amount=Decimal("0.20")),
    ]
    outcomes = posted(coalition, grocer, *wishes)
    assert [one.points for one in outcomes if isinstance(one, Posting)] == [21, 5, 0]
    for wish, outcome in zip(wishes, outcomes, strict=True):
        again = coalition.issue(
            member,
            grocer,
            **{
                name: getattr(wish, name)
                for name in ("points", "amount", "receipt", "occurred_at", "idempotency_key")
            },
        )
        assert isinstance(outcome, Posting)
        assert (again.replayed, again.ref) == (True, outcome.ref)
    assert coalition.rows("SELECT pending, available FROM ledger.member_head") == [(26, 0)]
    assert whole(coalition)


def test_what_is_wrong_with_a_line_is_that_lines(
    coalition: Coalition, grocer: Partner, member: MemberId
) -> None:
    outcomes = posted(
        coalition,
        grocer,
        coalition.wish(Issue, member, grocer, points=5),
        coalition.wish(Issue, member, grocer),
        coalition.wish(Issue, member, grocer, points=0),
        coalition.wish(Issue, member, grocer, points=5, idempotency_key="\n"),
        coalition.wish(Issue, member, grocer, points=5, occurred_at=START + timedelta(hours=1)),
        coalition.wish(Issue, member, grocer, points=5, occurred_at=START.replace(tzinfo=None)),
        coalition.wish(Issue, member, grocer, amount=Decimal("0.00001")),
        coalition.wish(Issue, member, grocer, points=5, funding_plan="nobody's"),
        coalition.wish(Issue, member, grocer, points=5, funding_plan="a\0b"),
        coalition.wish(Issue, NOBODY, grocer, points=5),
        MemberUnknown("as the caller found out"),
        coalition.wish(Redeem, member, grocer, points=3),
        coalition.wish(Redeem, member, grocer, points=3),
        coalition.wish(Redeem, member, grocer, points=-3),
    )
    assert codes(outcomes) == [
        "",
        "INVALID_INPUT",
        "POINTS_INVALID",
        "INVALID_INPUT",
        "OCCURRED_IN_FUTURE",
        "INVALID_INPUT",
        "INVALID_INPUT",
        "FUNDING_PLAN_UNKNOWN",
        "INVALID_INPUT",
        "MEMBER_UNKNOWN",
        "MEMBER_UNKNOWN",
        "",
        "INSUFFICIENT_POINTS",
        "POINTS_INVALID",
    ]
    assert isinstance(outcomes[4], OccurredInFuture)
    assert coalition.rows("SELECT kind, points FROM ledger.transaction ORDER BY sequence") == [
        ("issue", 5),
        ("redeem", 3),
    ]


def test_too_many_lines_or_none_are_refused_whole(
    coalition: Coalition, grocer: Partner, member: MemberId
) -> None:
    lines = [coalition.wish(Issue, member, grocer, points=1) for _ in range(MAX_LINES + 1)]
    with coalition.refused("BATCH_TOO_LARGE") as told:
        posted(coalition, grocer, *lines)
    assert isinstance(told[0], BatchTooLarge)
    assert told[0].facts == {"lines": 1001, "most": 1000}
    with coalition.refused("INVALID_INPUT"):
        posted(coalition, grocer)
    assert codes(posted(coalition, grocer, *lines[1:])) == [""] * 1000
    assert coalition.rows("SELECT available, last_sequence FROM ledger.member_head") == [(1000, 1000)]
    assert whole(coalition)


def test_a_receipt_line_or_key_that_comes_twice_is_named_with_the_line_that_has_it(
    coalition: Coalition, grocer: Partner, member: MemberId
) -> None:
    other = coalition.member(of=grocer)
    lines = [
        coalition.wish(Redeem, member, grocer, points=1, receipt=receipt("1")),
        coalition.wish(Issue, member, grocer, points=5, receipt=receipt("1")),
        coalition.wish(Issue, other, grocer, points=5, receipt=receipt("1")),
        coalition.wish(Issue, member, grocer, points=6, idempotency_key="k"),
        coalition.wish(Issue, member, grocer, points=6, idempotency_key="k"),
        coalition.wish(Issue, other, grocer, points=7, idempotency_key="k"),
        coalition.wish(Issue, member, grocer, points=0, receipt=receipt("2")),
        coalition.wish(Issue, other, grocer, points=8, receipt=receipt("2")),
        coalition.wish(Issue, NOBODY, grocer, points=8, idempotency_key="n"),
        coalition.wish(Issue, NOBODY, grocer, points=8, idempotency_key="n"),
        coalition.wish(Issue, member, grocer, points=9, idempotency_key="f", occurred_at=START + HOUR),
        coalition.wish(Issue, member, grocer, points=9, idempotency_key="f"),
        # Its receipt comes twice, and its key is not the next line's for that.
        coalition.wish(Issue, member, grocer, points=9, idempotency_key="g", receipt=receipt("1")),
        coalition.wish(Issue, member, grocer, points=9, idempotency_key="g", receipt=receipt("3")),
        coalition.wish(Redeem, member, grocer, points=-1, receipt=receipt("4")),
        coalition.wish(Redeem, member, grocer, points=-1, receipt=receipt("4")),
    ]
    outcomes = posted(coalition, grocer, *lines)
    assert codes(outcomes) == [
        # The first line with a receipt counts, whatever becomes of it, also where it could never be posted.
        "INSUFFICIENT_POINTS",
        "",
        "DUPLICATE_IN_BATCH",
        "",
        "DUPLICATE_IN_BATCH",
        "",
        "POINTS_INVALID",
        "DUPLICATE_IN_BATCH",
        "MEMBER_UNKNOWN",
        "MEMBER_UNKNOWN",
        "OCCURRED_IN_FUTURE",
        "DUPLICATE_IN_BATCH",
        "DUPLICATE_IN_BATCH",
        "DUPLICATE_IN_BATCH",
        "POINTS_INVALID",
        "DUPLICATE_IN_BATCH",
    ]
    assert [(one.facts["line"], one.path) for one in outcomes if isinstance(one, DuplicateInBatch)] == [
        (1, ("input", "receipt")),
        (3, ("input", "idempotencyKey")),
        (6, ("input", "receipt")),
        (10, ("input", "idempotencyKey")),
        (1, ("input", "receipt")),
        (12, ("input", "idempotencyKey")),
        (14, ("input", "receipt")),
    ]
    assert coalition.rows("SELECT sum(available) FROM ledger.member_head") == [(18,)]
    before = coalition.snapshot()
    again = posted(coalition, grocer, *lines[1:])
    assert codes(again) == codes(outcomes)[1:]
    assert all(one.replayed for one in again if isinstance(one, Posting))
    assert coalition.snapshot() == before
    assert whole(coalition)


def test_an_atomic_batch_stops_at_the_first_line_that_could_never_be_posted(
    coalition: Coalition, grocer: Partner, member: MemberId
) -> None:
    good = coalition.wish(Issue, member, grocer, points=5)
    with coalition.refused("BATCH_STOPPED") as told:
        posted(coalition, grocer, good, coalition.wish(Issue, member, grocer, points=0), atomic=True)
    [stopped] = told
    assert isinstance(stopped, BatchStopped)
    assert (stopped.line, type(stopped.refusal)) == (1, PointsInvalid)
    with coalition.refused("BATCH_STOPPED") as told:
        posted(coalition, grocer, good, good, atomic=True)
    [stopped] = told
    assert isinstance(stopped, BatchStopped)
    assert (stopped.line, type(stopped.refusal)) == (1, DuplicateInBatch)
    with coalition.refused("BATCH_STOPPED") as told:
        posted(coalition, grocer, good, coalition.wish(Redeem, member, grocer, points=6), atomic=True)
    [stopped] = told
    assert isinstance(stopped, BatchStopped)
    assert isinstance(stopped.refusal, InsufficientPoints)
    assert stopped.refusal.facts == {"available": 5, "requested": 6}
    assert stopped.message.startswith("Line 1 was refused (INSUFFICIENT_POINTS)")
    assert codes(posted(coalition, grocer, good, atomic=True)) == [""]


def test_terms_published_meanwhile_are_looked_up_again(
    coalition: Coalition, grocer: Partner, member: MemberId
) -> None:
    posted(coalition, grocer, coalition.wish(Issue, member, grocer, amount=Decimal(1)))
    coalition.publish(grocer, valid_from=TODAY, earn_rule=EarnRule(points=Decimal(3), amount=Decimal(1)))
    lines = [coalition.wish(Issue, member, grocer, amount=Decimal(number)) for number in (1, 2)]
    assert [one.points for one in posted(coalition, grocer, *lines) if isinstance(one, Posting)] == [3, 6]
    coalition.publish(grocer, valid_from=TODAY, earn_rule=None)
    again = posted(coalition, grocer, *lines, coalition.wish(Issue, member, grocer, amount=Decimal(9)))
    assert codes(again) == ["", "", "INVALID_INPUT"]
    assert isinstance(again[2], InvalidInput)
    assert [one.replayed for one in again if isinstance(one, Posting)] == [True, True]
