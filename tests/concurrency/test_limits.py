"""Limits while many post at once: exact for a member, overshot by a bounded number for a partner."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from driver import LedgerDriver, receipt
from sqlalchemy import text
from waiting import until_somebody_waits

from coalition.audit import run_audit
from coalition.errors import CoalitionError, LimitExceeded, ReviewRejected, UnderReview
from coalition.ledger import Posting
from coalition.reviewing import queue_review, reject, release
from partners import limits

pytestmark = pytest.mark.fire

HOUR = timedelta(hours=1)


def at_once(count: int, work: Any) -> tuple[list[Posting], list[CoalitionError]]:
    start = Barrier(count)

    def run(index: int) -> Posting | CoalitionError:
        start.wait()
        try:
            return work(index)
        except CoalitionError as refusal:
            return refusal

    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(run, range(count)))
    granted = [answer for answer in answers if isinstance(answer, Posting)]
    return granted, [answer for answer in answers if isinstance(answer, CoalitionError)]


def clean(ledger: LedgerDriver) -> bool:
    with ledger.database.reading() as session:
        return list(run_audit(session)) == []


def test_of_40_redemptions_at_once_a_members_limit_lets_just_seven_pass(ledger: LedgerDriver) -> None:
    member = ledger.member(available=1000)
    ledger.limit("seven", most=7, period=HOUR)
    granted, refused = at_once(40, lambda index: ledger.redeem(member, 1, key=f"r{index}"))
    assert len(granted) == 7
    assert {type(refusal) for refusal in refused} == {LimitExceeded}
    assert ledger.balance(member).available == 993
    assert clean(ledger)


def test_of_40_issues_and_holds_at_once_points_are_counted_to_the_point(ledger: LedgerDriver) -> None:
    member = ledger.member(available=1000)
    card = ledger.card(member)
    ledger.limit("card", scope="card", posting="both", measure="points", most=100, period=HOUR)
    acts = (ledger.issue, ledger.redeem, ledger.authorize)
    granted, refused = at_once(
        40, lambda index: acts[index % 3](member, 30, key=f"k{index}", identifier_id=card)
    )
    assert len(granted) == 3
    assert {type(refusal) for refusal in refused} == {LimitExceeded}
    assert clean(ledger)


def test_two_cards_at_once_each_have_their_own_count(ledger: LedgerDriver) -> None:
    member = ledger.member(available=1000)
    cards = ledger.card(member), ledger.card(member)
    ledger.limit("card", scope="card", most=2)
    granted, _ = at_once(
        20, lambda index: ledger.redeem(member, 1, key=f"k{index}", identifier_id=cards[index % 2])
    )
    assert len(granted) == 4


def test_a_partners_limit_is_overshot_by_no_more_than_was_posted_while_its_figure_was_old(
    ledger: LedgerDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound that is stated: what is posted within the age of a figure, and what is in flight."""
    monkeypatch.setattr(limits, "FIGURES_EVERY", timedelta(seconds=0.2))
    most, tills = 60, 6
    rule = ledger.limit("partner", scope="partner", posting="issue", most=most, period=HOUR)
    partner = ledger.any_partner()
    crowd = [ledger.member() for _ in range(tills)]
    moments: list[float] = []
    oldest: list[float] = [0.0]

    def post(index: int) -> None:
        for number in range(2_000):
            began = time.monotonic()
            limits.keep_fresh(ledger.database)
            try:
                ledger.issue(crowd[index], 1, by=partner, key=f"{index}-{number}")
            except LimitExceeded:
                return
            moments.append(time.monotonic())
            oldest.append(time.monotonic() - began)  # a figure is read, and derived, within such a time
        pytest.fail("the limit never held")

    with ThreadPoolExecutor(tills) as pool:
        list(pool.map(post, range(tills)))

    age = 1.5 * 0.2 + 2 * max(oldest)
    moments.sort()
    within = max(sum(start <= moment <= start + age for moment in moments) for start in moments)
    with ledger.database.unit_of_work() as session:
        limits.refresh_figures(session, older_than=timedelta(0))
    with ledger.database.reading() as session:
        [figure] = limits.figures_of(session, rule)
    assert figure.used == len(moments)
    assert figure.overshot == len(moments) - most
    assert 0 <= figure.overshot <= within + tills
    assert clean(ledger)


def test_a_wish_that_is_being_rejected_waits_for_it_and_is_not_posted(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.limit("all", posting="issue", most=0, action="review")
    with pytest.raises(UnderReview) as refusal:
        ledger.issue(member, 1, key="k")
    with ledger.database.unit_of_work() as session:
        queue_review(session, refusal.value)
    [(review_id,)] = ledger.rows("SELECT review_id FROM ledger.review")
    with ledger.database.unit_of_work() as session:
        release(session, member, review_id, by="ada")
    with ThreadPoolExecutor(1) as pool:
        with ledger.database.unit_of_work() as session:
            reject(session, member, review_id, by="bob")
            posting = pool.submit(ledger.issue, member, 1, key="k")
            until_somebody_waits(ledger.database)
        with pytest.raises(ReviewRejected):
            posting.result(timeout=10)
    assert ledger.balance(member).available == 0


def test_members_do_not_wait_for_each_other_under_limits_of_every_kind(ledger: LedgerDriver) -> None:
    """A posting that derives the figures and is not over holds up nobody but its own member."""
    busy, free = ledger.member(available=10), ledger.member(available=10)
    partner = ledger.any_partner()
    for scope in ("member", "card", "store", "partner"):
        ledger.limit(scope, scope=scope, posting="both", most=100, period=HOUR)
        ledger.limit(f"{scope}-day", scope=scope, posting="both", most=100, action="review")
    ledger.pass_time(minutes=1)  # the figures are too old to be trusted
    age = "SELECT as_of FROM partners.limit_state"
    before = ledger.rows(age)
    with ledger.database.engine.connect() as holder:
        holder.execute(
            text(
                "SELECT * FROM ledger.post_redeem(:member, :partner, :agreement, 1, 'k', '\\x00',"
                " 'S', 'T', 'held', 1, 0, NULL, NULL, now(), :card)"
            ),
            {
                "member": busy,
                "partner": partner,
                "agreement": ledger.agreements[partner],
                "card": ledger.card(busy),
            },
        )
        assert holder.execute(text(age)).scalar_one() > before[0][0]
        assert ledger.rows(age) == before
        assert ledger.issue(free, 5, receipt=receipt(), identifier_id=ledger.card(free)).points == 5
        assert ledger.redeem(free, 5, receipt=receipt(), identifier_id=ledger.card(free)).points == 5
        holder.rollback()
    assert clean(ledger)


def test_no_posting_writes_what_members_share(ledger: LedgerDriver) -> None:
    """While figures are fresh, a posting under limits touches its member's rows and its receipt's, no other."""
    member = ledger.member(available=10)
    for scope in ("member", "store", "partner"):
        ledger.limit(scope, scope=scope, most=100, period=HOUR)
    with ledger.database.unit_of_work() as session:
        limits.refresh_figures(session, older_than=timedelta(0))
    shared = "SELECT xmin::text FROM partners.{0} ORDER BY 1"
    tables = ("limit_state", "limit_figure", "limit_rule", "tally", "store", "partner")
    before = [ledger.rows(shared.format(table)) for table in tables]
    ledger.redeem(member, 1, receipt=receipt())
    assert [ledger.rows(shared.format(table)) for table in tables] == before
