"""Wishes that wait for an operator: what is remembered of them, how many wait, and who decides once."""

from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from driver import LedgerDriver, receipt

from coalition import clock, errors
from coalition.amounts import Points
from coalition.audit import run_audit
from coalition.ids import MemberId
from coalition.ledger.posting import call
from coalition.paging import PageRequest
from coalition.reviewing import ReviewState, find_review, list_reviews, queue_review, reject, release
from partners.guards import check_limits
from partners.limits import end_limit


def ask(ledger: LedgerDriver, member: MemberId, key: str, **more: Any) -> errors.UnderReview:
    with pytest.raises(errors.UnderReview) as refusal:
        ledger.issue(member, 60, key=key, **more)
    return refusal.value


def queue(ledger: LedgerDriver, refusal: errors.UnderReview) -> bool:
    with ledger.database.unit_of_work() as session:
        return queue_review(session, refusal)


def held(ledger: LedgerDriver, member: MemberId, key: str) -> UUID:
    """The review of a wish that waits."""
    assert queue(ledger, ask(ledger, member, key))
    [(review,)] = ledger.rows(
        "SELECT review_id FROM ledger.review WHERE member_id = :member AND key = :key", member=member, key=key
    )
    assert isinstance(review, UUID)
    return review


def decide(ledger: LedgerDriver, how: Any, member: MemberId, review: UUID, *, by: str = "ada") -> None:
    with ledger.database.unit_of_work() as session:
        how(session, member, review, by=by)


@pytest.fixture
def member(ledger: LedgerDriver) -> MemberId:
    """One of whom every issue of more than fifty points is looked at."""
    found = ledger.member()
    ledger.limit("large", posting="issue", measure="points", most=50, action="review")
    return found


def test_what_is_remembered_is_the_wish_the_rule_and_the_moment(
    ledger: LedgerDriver, member: MemberId
) -> None:
    partner, moment = ledger.any_partner(), ledger.pass_time(minutes=3)
    refusal = ask(ledger, member, "k", receipt=receipt("R-7"))
    assert queue(ledger, refusal)
    assert ledger.rows(
        "SELECT member_id, partner_id, key, kind, points, store, terminal, receipt_number, limit_code, asked_at,"
        " state, decided_by, decided_at, transaction_id FROM ledger.review"
    ) == [
        (member, partner, "k", "issue", 60, "S-1", "T-1", "R-7", "large", moment, "waiting", None, None, None)
    ]
    [(facts,)] = ledger.rows("SELECT facts FROM ledger.review")
    assert facts == {name: value for name, value in refusal.facts.items() if name != "wish"}


def test_who_only_asks_is_told_the_rule_and_nothing_that_could_wait(
    ledger: LedgerDriver, member: MemberId
) -> None:
    before = ledger.snapshot()
    with pytest.raises(errors.UnderReview) as asked, ledger.database.unit_of_work() as session:
        check_limits(
            session,
            member_id=member,
            partner_id=ledger.any_partner(),
            posting="issue",
            points=Points(60),
            identifier_id=None,
        )
    posted = ask(ledger, member, "k").facts
    assert posted.pop("wish")
    assert asked.value.facts == posted
    assert ledger.snapshot() == before


def test_a_decision_is_of_one_wish_alone_and_says_who_and_when(
    ledger: LedgerDriver, member: MemberId
) -> None:
    other = ledger.member()
    mine, second, others = held(ledger, member, "a"), held(ledger, member, "b"), held(ledger, other, "a")
    moment = ledger.pass_time(minutes=3)
    for of, review in ((member, others), (other, mine), (member, uuid4())):
        before = ledger.snapshot()
        with pytest.raises(errors.ReviewUnknown):
            decide(ledger, release, of, review)
        assert ledger.snapshot() == before
    decide(ledger, release, member, mine)
    ledger.pass_time(minutes=1)
    decide(ledger, release, member, mine, by="grace")  # it is so already
    decided = "SELECT review_id, state, decided_by, decided_at FROM ledger.review"
    assert set(ledger.rows(decided)) == {
        (mine, "released", "ada", moment),
        (second, "waiting", None, None),
        (others, "waiting", None, None),
    }
    decide(ledger, release, member, second)
    posted = ledger.issue(member, 60, key="a")
    states = "SELECT review_id, state, transaction_id, business_date FROM ledger.review"
    assert set(ledger.rows(states)) == {
        (mine, "posted", posted.ref.transaction_id, posted.ref.business_date),
        (second, "released", None, None),
        (others, "waiting", None, None),
    }
    before = ledger.snapshot()
    decide(ledger, release, member, mine, by="grace")
    with pytest.raises(errors.ReviewDecided) as refusal:
        decide(ledger, reject, member, mine)
    assert refusal.value.facts == {"state": "posted"}
    assert ledger.snapshot() == before


def test_one_that_waits_can_be_rejected_at_once_and_stays_so(ledger: LedgerDriver, member: MemberId) -> None:
    review = held(ledger, member, "k")
    decide(ledger, reject, member, review)
    before = ledger.snapshot()
    decide(ledger, reject, member, review, by="grace")
    with pytest.raises(errors.ReviewDecided) as refusal:
        decide(ledger, release, member, review)
    assert refusal.value.facts == {"state": "rejected"}
    with pytest.raises(errors.ReviewRejected):
        ledger.issue(member, 60, key="k")
    assert ledger.snapshot() == before


def test_who_waits_again_after_the_decision_waits_no_more(ledger: LedgerDriver, member: MemberId) -> None:
    refusal = ask(ledger, member, "k")
    other = ask(ledger, member, "another")
    review = held(ledger, member, "k")
    decide(ledger, release, member, review)
    assert queue(ledger, other)
    assert not queue(ledger, refusal)


def test_only_who_waits_takes_one_of_the_twenty_places_and_each_member_has_its_own(
    ledger: LedgerDriver, member: MemberId
) -> None:
    held(ledger, ledger.member(), "other")
    reviews = [held(ledger, member, f"k{number}") for number in range(20)]
    full = ask(ledger, member, "full")
    assert not queue(ledger, full)
    decide(ledger, reject, member, reviews[0])
    assert queue(ledger, full)
    assert not queue(ledger, ask(ledger, member, "full again"))


def test_a_key_that_is_held_for_another_wish_is_a_conflict(ledger: LedgerDriver, member: MemberId) -> None:
    held(ledger, member, "k")
    before = ledger.snapshot()
    with pytest.raises(errors.IdempotencyConflict):
        ledger.issue(member, 61, key="k")
    with pytest.raises(errors.UnderReview):
        ledger.issue(member, 61, key="k", by=ledger.partner())
    assert ledger.snapshot() == before


@pytest.mark.parametrize("decision", ["waiting", "posted", "maybe"])
def test_a_decision_is_one_of_two(ledger: LedgerDriver, member: MemberId, decision: str) -> None:
    review = held(ledger, member, "k")
    before = ledger.snapshot()
    with pytest.raises(psycopg.errors.AssertFailure), ledger.database.unit_of_work() as session:
        call(
            session,
            "SELECT ledger.decide_review(%s, %s, %s, %s, %s)",
            (member, review, decision, "ada", clock.wall()),
        )
    assert ledger.snapshot() == before


@pytest.mark.parametrize("ended", [False, True], ids=["there is room again", "the rule was ended"])
@pytest.mark.parametrize("kind", ["issue", "redeem"])
def test_what_was_rejected_is_refused_for_good(ledger: LedgerDriver, kind: str, *, ended: bool) -> None:
    member = ledger.member(available=100)
    ledger.limit("once", posting=kind, most=1, period=timedelta(hours=1), action="review")
    post, line = getattr(ledger, kind), getattr(ledger, f"to_{kind}")
    ledger.pass_time(hours=1)
    post(member, 1)
    with pytest.raises(errors.UnderReview) as refusal:
        post(member, 2, key="k")
    assert queue(ledger, refusal.value)
    [(review,)] = ledger.rows("SELECT review_id FROM ledger.review")
    decide(ledger, reject, member, review)
    if ended:
        with ledger.database.unit_of_work() as session:
            end_limit(session, code="once", published_by="ada")
    else:
        ledger.pass_time(hours=1)
    before = ledger.snapshot()
    with pytest.raises(errors.ReviewRejected):
        post(member, 2, key="k")
    [told] = ledger.batch(line(member, 2, key="k"))
    assert isinstance(told, errors.ReviewRejected)
    assert ledger.snapshot() == before
    # Nothing else of the member's is.
    assert not post(member, 2, key="another").replayed


def test_a_wish_that_terms_make_other_points_of_meanwhile_is_posted_as_what_it_is_worth_then(
    ledger: LedgerDriver, member: MemberId
) -> None:
    asked = {"amount": Decimal(60), "key": "k", "request": {"amount": "60"}}
    with pytest.raises(errors.UnderReview) as refusal:
        ledger.issue(member, 60, **asked)
    assert queue(ledger, refusal.value)
    [(review,)] = ledger.rows("SELECT review_id FROM ledger.review")
    decide(ledger, release, member, review)
    assert ledger.issue(member, 120, **asked).points == 120
    with ledger.database.reading() as session:
        assert run_audit(session) == []


@pytest.mark.parametrize("decision", [release, reject])
@pytest.mark.parametrize("asked_while_merged", [False, True])
def test_a_decision_is_of_the_record_that_was_named_over_a_merge_and_an_un_merge(
    ledger: LedgerDriver, member: MemberId, decision: Any, *, asked_while_merged: bool
) -> None:
    twin = ledger.member()
    by = {"identifier_id": ledger.card(twin), "request": {"points": 60}, "key": "k"}
    if asked_while_merged:
        ledger.merge(member, twin)
    who = member if asked_while_merged else twin
    with pytest.raises(errors.UnderReview) as refusal:
        ledger.issue(who, 60, **by)
    assert queue(ledger, refusal.value)
    [(review,)] = ledger.rows("SELECT review_id FROM ledger.review WHERE member_id = :twin", twin=twin)
    decide(ledger, decision, twin, review)
    if asked_while_merged:
        ledger.unmerge(member, twin)
    else:
        ledger.merge(member, twin)
    who = twin if asked_while_merged else member
    if decision is reject:
        with pytest.raises(errors.ReviewRejected):
            ledger.issue(who, 60, **by)
    else:
        # Nor does it let pass what another record asked under the same key.
        with pytest.raises(errors.UnderReview):
            ledger.issue(member, 60, **by | {"identifier_id": ledger.card(member)})
        posted = ledger.issue(who, 60, **by)
        with ledger.database.reading() as session:
            found = find_review(session, twin, review)
        assert found is not None
        assert (found.state, found.posted) == (ReviewState.POSTED, posted.ref)
    with ledger.database.reading() as session:
        assert run_audit(session) == []


def test_what_was_posted_with_a_survivor_as_the_rule_was_ended_waits_no_more(
    ledger: LedgerDriver, member: MemberId
) -> None:
    twin = ledger.member()
    by = {"identifier_id": ledger.card(twin), "request": {"points": 60}, "key": "k"}
    with pytest.raises(errors.UnderReview) as refusal:
        ledger.issue(twin, 60, **by)
    assert queue(ledger, refusal.value)
    [(review,)] = ledger.rows("SELECT review_id FROM ledger.review")
    ledger.merge(member, twin)
    with ledger.database.unit_of_work() as session:
        end_limit(session, code="large", published_by="ada")
    posted = ledger.issue(member, 60, **by)
    with ledger.database.reading() as session:
        assert list_reviews(session, PageRequest(), state=ReviewState.WAITING).items == []
        found = find_review(session, twin, review)
        assert run_audit(session) == []
    assert found is not None
    assert (found.state, found.posted) == (ReviewState.POSTED, posted.ref)


@pytest.mark.parametrize("kind", ["issue", "redeem", "authorize", "transfer"])
@pytest.mark.parametrize("released", [False, True], ids=["it waits", "it is released"])
def test_what_there_is_room_for_by_now_is_posted_with_its_review(
    ledger: LedgerDriver, kind: str, *, released: bool
) -> None:
    member = ledger.member(available=100)
    to = {"to": ledger.member()} if kind == "transfer" else {}
    post = partial(getattr(ledger, kind), **to)
    posting = "redeem" if kind == "authorize" else kind
    ledger.limit("once", posting=posting, most=0, period=timedelta(hours=1), action="review")
    with pytest.raises(errors.UnderReview) as refusal:
        post(member, 2, key="k")
    assert queue(ledger, refusal.value)
    [(review,)] = ledger.rows("SELECT review_id FROM ledger.review")
    if released:
        decide(ledger, release, member, review)
    ledger.limit("once", posting=posting, most=2, period=timedelta(hours=1), action="review")
    posted = post(member, 2, key="k")
    before = ledger.snapshot()
    with pytest.raises(errors.ReviewDecided) as decided:
        decide(ledger, reject, member, review)
    assert decided.value.facts == {"state": "posted"}
    decide(ledger, release, member, review)
    assert not queue(ledger, refusal.value)
    assert ledger.snapshot() == before
    with ledger.database.reading() as session:
        found = find_review(session, member, review)
        assert run_audit(session) == []
    assert found is not None
    assert (found.state, found.posted) == (ReviewState.POSTED, posted.ref)
    assert (found.decided_by, found.decided_at is None) == ("ada" if released else None, not released)


@pytest.mark.parametrize("points", [60, 40], ids=["it", "another wish"])
def test_what_cannot_be_posted_any_more_as_its_key_was_used_before_it_could_wait_does_not_wait(
    ledger: LedgerDriver, member: MemberId, points: int
) -> None:
    refusal = ask(ledger, member, "k")
    with ledger.database.unit_of_work() as session:
        end_limit(session, code="large", published_by="ada")
    ledger.issue(member, points, key="k")
    before = ledger.snapshot()
    assert not queue(ledger, refusal)
    assert ledger.snapshot() == before


def test_a_wish_of_another_under_the_same_key_leaves_the_one_that_waits(
    ledger: LedgerDriver, member: MemberId
) -> None:
    review = held(ledger, member, "k")
    with ledger.database.unit_of_work() as session:
        end_limit(session, code="large", published_by="ada")
    ledger.issue(member, 61, key="k")
    with ledger.database.reading() as session:
        assert list_reviews(session, PageRequest(), state=ReviewState.WAITING).items == []
        assert run_audit(session) == []
    decide(ledger, reject, member, review)
