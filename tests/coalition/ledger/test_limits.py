"""Limits of a member and a card are exact; those of a store and a partner act on figures."""

from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

import pytest
from driver import START, LedgerDriver, receipt
from sqlalchemy import Engine, text
from waiting import SlowClock

from coalition import clock
from coalition.amounts import Points
from coalition.audit import run_audit
from coalition.blocking import set_blocked
from coalition.db import Database
from coalition.errors import (
    REFUSALS,
    CoalitionError,
    IdempotencyConflict,
    LimitExceeded,
    ReviewDecided,
    ReviewRejected,
    ReviewUnknown,
    StoreUnknown,
    UnderReview,
)
from coalition.ids import MemberId, PartnerId
from coalition.members import EnrolMember, Identifier, IdentifierKind, enrol_member, find_named
from coalition.paging import PageRequest
from coalition.reviewing import ReviewState, list_reviews, queue_review, reject, release
from partners.guards import check_limits
from partners.limits import end_limit, figures_of, refresh_figures

HOUR = timedelta(hours=1)


def refused(ledger: LedgerDriver, kind: type[CoalitionError], act: Any) -> dict[str, Any]:
    """The facts of the refusal, which moved nothing."""
    before = ledger.snapshot()
    with pytest.raises(kind) as refusal:
        act()
    assert ledger.snapshot() == before
    return refusal.value.facts


def derive(ledger: LedgerDriver) -> bool:
    with ledger.database.unit_of_work() as session:
        return refresh_figures(session, older_than=timedelta(0))


def clean(ledger: LedgerDriver) -> bool:
    with ledger.database.reading() as session:
        return list(run_audit(session)) == []


@pytest.mark.parametrize("period", [None, 2 * HOUR])
def test_what_merged_records_did_counts_for_the_member_until_they_are_apart(
    ledger: LedgerDriver, period: timedelta | None
) -> None:
    first, second, third = (ledger.member(available=100) for _ in range(3))
    ledger.limit("ten", measure="points", most=10, period=period)
    for member, points in ((first, 6), (second, 2), (third, 1)):
        ledger.redeem(member, points)
    ledger.pass_time(minutes=5)
    ledger.merge(second, first)
    ledger.merge(third, second)
    ledger.pass_time(minutes=5)
    facts = refused(ledger, LimitExceeded, lambda: ledger.redeem(third, 2))
    assert (facts["used"], facts["asked"]) == (9, 2)
    if period:
        assert facts["again_at"] == (ledger.now - timedelta(minutes=10) + period).isoformat()
    ledger.redeem(third, 1)
    assert clean(ledger)
    ledger.unmerge(third, second)
    ledger.pass_time(minutes=5)
    ledger.redeem(third, 8)
    refused(ledger, LimitExceeded, lambda: ledger.redeem(second, 3))
    ledger.redeem(second, 2)
    ledger.unmerge(second, first)
    ledger.pass_time(minutes=5)
    ledger.redeem(second, 6)
    ledger.redeem(first, 4)
    for member in (first, second, third):
        refused(ledger, LimitExceeded, lambda member=member: ledger.redeem(member, 1))
    assert clean(ledger)


@pytest.mark.parametrize("period", [None, 2 * HOUR])
def test_what_a_card_did_while_its_member_was_merged_counts_when_they_are_apart(
    ledger: LedgerDriver, period: timedelta | None
) -> None:
    member, survivor = ledger.member(available=100), ledger.member(available=100)
    card, other = ledger.card(member), ledger.card(survivor)
    ledger.limit("card", scope="card", posting="both", measure="points", most=10, period=period)
    ledger.pass_time(minutes=5)
    ledger.merge(survivor, member)
    ledger.redeem(survivor, 6, identifier_id=card, by=ledger.partner())
    ledger.redeem(survivor, 10, identifier_id=other)
    ledger.pass_time(minutes=5)
    ledger.unmerge(survivor, member)
    ledger.pass_time(minutes=5)
    before = ledger.snapshot()
    facts = refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 5, identifier_id=card))
    assert (facts["used"], facts["asked"]) == (6, 5)
    if period:
        assert facts["again_at"] == (ledger.now - timedelta(minutes=10) + period).isoformat()
    [told] = ledger.batch(ledger.to_issue(member, 5, identifier_id=card))
    assert isinstance(told, LimitExceeded)
    assert ledger.snapshot() == before
    third = ledger.member()
    ledger.redeem(member, 3, identifier_id=card)
    ledger.merge(third, member)
    refused(ledger, LimitExceeded, lambda: ledger.redeem(third, 2, identifier_id=card))
    ledger.redeem(third, 1, identifier_id=card)
    ledger.redeem(third, 50)
    assert clean(ledger)


def test_the_audit_counts_what_a_card_did_in_all_journals(ledger: LedgerDriver) -> None:
    member, survivor = ledger.member(available=100), ledger.member(available=100)
    card, other = ledger.card(member), ledger.card(survivor)
    ledger.merge(survivor, member)
    ledger.redeem(survivor, 6, identifier_id=card)
    ledger.redeem(survivor, 6, identifier_id=other)
    ledger.pass_time(minutes=5)
    ledger.unmerge(survivor, member)
    beyond = ledger.redeem(member, 5, identifier_id=card)
    with ledger.database.unit_of_work() as session:
        session.execute(
            text("""
                INSERT INTO partners.limit_rule
                VALUES ('ten', 1, 'card', 'redeem', 'points', NULL, 10, 'refuse', NULL, '2026-03-01', 'test')
            """)
        )
    with ledger.database.reading() as session:
        [finding] = run_audit(session)
    assert finding.id.endswith(str(beyond.ref.transaction_id))
    assert "11 were used" in finding.message


def test_the_audit_counts_what_merged_records_did(ledger: LedgerDriver) -> None:
    first, second, third = (ledger.member(available=100) for _ in range(3))
    for member in (first, second, third):
        ledger.redeem(member, 4)
    ledger.pass_time(minutes=5)
    ledger.merge(second, first)
    ledger.merge(third, second)
    ledger.pass_time(minutes=5)
    beyond = ledger.redeem(third, 1)
    ledger.pass_time(minutes=5)
    ledger.unmerge(third, second)
    ledger.pass_time(minutes=5)
    ledger.redeem(third, 1)
    ledger.unmerge(second, first)
    with ledger.database.unit_of_work() as session:
        session.execute(
            text("""
                INSERT INTO partners.limit_rule
                VALUES ('twelve', 1, 'member', 'redeem', 'points', NULL, 12, 'refuse', NULL, '2026-03-01', 'test')
            """)
        )
    with ledger.database.reading() as session:
        [finding] = run_audit(session)
    assert finding.id.endswith(str(beyond.ref.transaction_id))
    assert "13 were used" in finding.message


def test_a_members_count_is_limited_over_the_last_hour(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    ledger.limit("thrice", most=3, period=HOUR)
    for minutes in (0, 20, 20):
        ledger.pass_time(minutes=minutes)
        ledger.redeem(member, 1)
    facts = refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 1))
    assert (facts["limit"], facts["scope"], facts["used"], facts["asked"]) == ("thrice", "member", 3, 1)
    assert (facts["over"], facts["again_at"]) == (0, (START + HOUR).isoformat())
    ledger.pass_time(minutes=20)  # the first is an hour old
    ledger.redeem(member, 1)
    refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 1))
    assert clean(ledger)


def test_when_there_is_room_again_is_when_enough_has_left_the_period(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    ledger.limit("fifty", measure="points", most=50, period=HOUR)
    first = ledger.redeem(member, 20).recorded_at
    ledger.pass_time(minutes=10)
    second = ledger.redeem(member, 20).recorded_at
    soon = refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 30))
    later = refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 50))
    never = refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 51))
    assert soon["again_at"].replace("Z", "+00:00") == (first + HOUR).isoformat()
    assert later["again_at"].replace("Z", "+00:00") == (second + HOUR).isoformat()
    assert never["again_at"] is None
    ledger.redeem(member, 10)


def test_a_period_reaches_back_over_the_cuts_of_windows(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    ledger.limit("hour", most=100, period=HOUR)
    ledger.limit("two-days", most=2, period=48 * HOUR)
    ledger.redeem(member, 1)
    ledger.pass_time(hours=24)
    ledger.close_window()
    ledger.pass_time(hours=2)
    ledger.redeem(member, 1)
    facts = refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 1))
    assert (facts["limit"], facts["used"]) == ("two-days", 2)
    ledger.pass_time(hours=22)
    ledger.redeem(member, 1)
    assert clean(ledger)


def test_of_several_limits_the_first_by_its_code_is_told(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    for code in "gebacfd":
        ledger.limit(code, most=0)
    assert refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 1))["limit"] == "a"
    for code in "gebacfd":
        ledger.limit(code, most=0, action="review")
    assert refused(ledger, UnderReview, lambda: ledger.redeem(member, 1))["limit"] == "a"


def test_by_a_slow_clock_a_period_ends_when_the_member_was_last_seen(
    database: Database, owner_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = LedgerDriver(database).open(mode="production")
    with owner_engine.begin() as connection:  # or nothing is recorded before now
        connection.execute(
            text("UPDATE ledger.settlement_window SET opened_at = opened_at - interval '1 minute'")
        )
    member = ledger.member()
    ledger.limit("twice", posting="issue", most=2, period=timedelta(seconds=2))
    with monkeypatch.context() as earlier:
        earlier.setattr(clock, "datetime", SlowClock)
        ledger.issue(member, 1)
    last = ledger.issue(member, 1)
    monkeypatch.setattr(clock, "datetime", SlowClock)
    assert ledger.issue(member, 1).recorded_at == last.recorded_at


def test_points_of_a_window_are_counted_over_all_kinds_and_start_anew_with_the_next(
    ledger: LedgerDriver,
) -> None:
    member = ledger.member()
    ledger.limit("window", posting="both", measure="points", most=100)
    ledger.issue(member, 60)
    hold = ledger.authorize(member, 30)
    refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 11))
    ledger.capture(hold.ref, 10)  # what was promised is taken; the rest is free again
    ledger.redeem(member, 20)
    ledger.redeem(member, 10)
    refused(ledger, LimitExceeded, lambda: ledger.issue(member, 1))
    ledger.close_window()
    ledger.issue(member, 100)
    assert clean(ledger)


def test_a_hold_that_was_let_go_is_not_counted(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    ledger.limit("once", most=1)
    hold = ledger.authorize(member, 10)
    refused(ledger, LimitExceeded, lambda: ledger.authorize(member, 10))
    ledger.void(hold.ref)
    ledger.redeem(member, 10)
    refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 10))


def test_a_hold_that_is_over_is_not_counted_though_nothing_has_ended_it_yet(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    ledger.limit("two", posting="both", most=2)  # of which the issue is one
    ledger.authorize(member, 10, seconds_to_live=60)
    refused(ledger, LimitExceeded, lambda: ledger.issue(member, 1))
    ledger.pass_time(minutes=1)
    ledger.issue(member, 1)


def test_a_hold_of_a_pools_points_that_is_over_counts_no_more_to_guard_and_audit(
    ledger: LedgerDriver,
) -> None:
    spender, giver = ledger.member(available=10), ledger.member(available=100)
    ledger.pool(spender, giver)
    ledger.limit("one", most=1)
    ledger.pass_time(minutes=2)  # the audit's grace after that
    ledger.authorize(spender, 50, from_pool=True, seconds_to_live=60)
    refused(ledger, LimitExceeded, lambda: ledger.redeem(spender, 5, from_pool=True))
    ledger.pass_time(minutes=1)
    ledger.issue(spender, 10)
    ledger.redeem(spender, 5)
    assert ledger.rows("SELECT state FROM ledger.hold") == [("open",)]  # nobody has posted its end yet
    assert clean(ledger)


def test_of_several_holds_each_is_counted_once(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    ledger.limit("thrice", most=3)
    for _ in range(3):
        ledger.authorize(member, 1)
    assert refused(ledger, LimitExceeded, lambda: ledger.authorize(member, 1))["used"] == 3


def ask(ledger: LedgerDriver, member: MemberId, by: PartnerId, posting: Literal["issue", "redeem"]) -> None:
    with ledger.database.reading() as session:
        check_limits(
            session, member_id=member, partner_id=by, posting=posting, points=Points(1), identifier_id=None
        )


def test_a_question_is_answered_as_the_posting_would_be(ledger: LedgerDriver) -> None:
    grocer, florist = ledger.partner(), ledger.partner()
    member = ledger.member(available=100, issuer=grocer)
    ledger.limit("grocers", most=1, partner_id=grocer)
    ledger.limit("hour", most=2, period=HOUR)
    ask(ledger, member, grocer, "redeem")
    ledger.redeem(member, 1, by=grocer)
    refused(ledger, LimitExceeded, lambda: ask(ledger, member, grocer, "redeem"))
    ask(ledger, member, grocer, "issue")
    ask(ledger, member, florist, "redeem")
    ledger.redeem(member, 1, by=florist)
    refused(ledger, LimitExceeded, lambda: ask(ledger, member, florist, "redeem"))
    ledger.pass_time(hours=1)
    ask(ledger, member, florist, "redeem")


def test_a_replay_is_no_second_posting(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    ledger.limit("once", most=1)
    ledger.redeem(member, 10, key="k")
    assert ledger.redeem(member, 10, key="k").replayed


def test_a_rule_of_one_partner_counts_and_limits_that_one(ledger: LedgerDriver) -> None:
    grocer, florist = ledger.partner(), ledger.partner()
    member = ledger.member(available=100, issuer=grocer)
    ledger.limit("once-at-grocers", most=1, partner_id=grocer)
    ledger.redeem(member, 1, by=florist)
    ledger.redeem(member, 1, by=grocer)
    facts = refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 1, by=grocer))
    assert facts["own"] is True
    ledger.redeem(member, 1, by=florist)


def test_a_partner_is_told_of_its_own_postings_alone(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    ledger.limit("everywhere", most=0)
    with pytest.raises(LimitExceeded) as refusal:
        ledger.redeem(member, 1)
    assert refusal.value.told == {"scope": "member"}
    assert "everywhere" not in refusal.value.message


def test_transfers_are_limited_by_the_giver(ledger: LedgerDriver) -> None:
    giver, taker = ledger.member(available=100), ledger.member(available=100)
    ledger.limit("gifts", posting="transfer", measure="points", most=30)
    ledger.transfer(giver, 30, to=taker)
    refused(ledger, LimitExceeded, lambda: ledger.transfer(giver, 1, to=taker))
    ledger.transfer(taker, 30, to=giver)


def test_a_superseded_rule_and_an_ended_one_hold_no_more(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    ledger.limit("rule", most=0)
    refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 1))
    assert ledger.limit("rule", most=1).version == 2
    ledger.redeem(member, 1)
    refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 1))


# -- cards -----------------------------------------------------------------------------------------


def test_each_card_of_a_member_has_its_own_count(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    one, other = ledger.card(member), ledger.card(member)
    ledger.limit("card-once", scope="card", most=1, period=HOUR)
    ledger.redeem(member, 1, identifier_id=one)
    assert (
        refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 1, identifier_id=one))["scope"] == "card"
    )
    refused(ledger, LimitExceeded, lambda: ledger.authorize(member, 1, identifier_id=one))
    ledger.redeem(member, 1, identifier_id=other)
    ledger.redeem(member, 1)  # named by its id: no card
    assert ledger.rows("SELECT card_id FROM ledger.transaction WHERE kind = 'redeem' ORDER BY sequence") == [
        (one,),
        (other,),
        (None,),
    ]
    assert clean(ledger)


def test_only_a_card_is_remembered(ledger: LedgerDriver) -> None:
    mail = Identifier(kind=IdentifierKind.EMAIL, value="ada@example.org")
    with ledger.database.unit_of_work() as session:
        member = enrol_member(session, EnrolMember(partner_id=ledger.any_partner(), identifiers=[mail]))
        found = find_named(session, mail)
    assert found is not None
    ledger.issue(member, 1, identifier_id=found.identifier_id)
    assert ledger.rows("SELECT card_id FROM ledger.transaction") == [(None,)]


# -- stores and partners ---------------------------------------------------------------------------


def test_a_partners_figure_is_derived_and_its_limit_acts_on_it(ledger: LedgerDriver) -> None:
    grocer, florist = ledger.partner(), ledger.partner()
    rule = ledger.limit("grocer", scope="partner", posting="both", measure="points", most=100, period=HOUR)
    crowd = [ledger.member(issuer=grocer) for _ in range(4)]
    for member in crowd:
        ledger.issue(member, 40, by=grocer)  # nobody has counted since the first of them
    assert derive(ledger)
    facts = refused(ledger, LimitExceeded, lambda: ledger.issue(crowd[0], 1, by=grocer))
    assert (facts["used"], facts["most"], facts["over"], facts["own"]) == (160, 100, 60, True)
    ledger.issue(crowd[0], 1, by=florist)
    with ledger.database.reading() as session:
        [figure] = figures_of(session, rule)
    assert (figure.partner_id, figure.store, figure.used, figure.overshot) == (grocer, None, 160, 60)
    ledger.pass_time(minutes=62)
    derive(ledger)
    ledger.issue(crowd[0], 40, by=grocer)
    with ledger.database.reading() as session:
        assert [
            (one.used, one.overshot) for one in figures_of(session, rule) if one.partner_id == grocer
        ] == [(0, 60)]


def test_a_store_has_a_figure_of_its_own(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    ledger.limit("till", scope="store", most=2)
    for number in range(2):
        ledger.redeem(member, 1, receipt=receipt(f"{number}", store="north"))
    derive(ledger)
    refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 1, receipt=receipt("3", store="north")))
    ledger.redeem(member, 1, receipt=receipt("3", store="south"))
    ledger.redeem(member, 1)
    held = ledger.authorize(member, 5).ref
    ledger.capture(held, receipt=receipt("4", store="north"))  # promised before
    derive(ledger)
    assert ledger.rows("SELECT store, used, peak FROM partners.limit_figure ORDER BY store") == [
        ("north", 3, 3),
        ("south", 1, 1),
    ]


def test_figures_of_a_window_start_anew_with_the_next(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    ledger.limit("day", scope="partner", most=1)
    ledger.redeem(member, 1)
    derive(ledger)
    refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 1))
    ledger.close_window()
    ledger.redeem(member, 1)  # this one derives: the figures were another window's


def test_what_was_posted_at_the_very_moment_of_a_cut_is_counted(ledger: LedgerDriver) -> None:
    assert ledger.now == ledger.now.replace(minute=0, second=0, microsecond=0), (
        "figures go back to a whole hour"
    )
    shop, member = ledger.partner(), ledger.member(available=10)
    ledger.issue(member, 5, by=shop)
    ledger.close_window()
    ledger.limit("most", scope="partner", posting="issue", measure="points", most=1000)
    ledger.issue(member, 7, by=shop)
    assert derive(ledger)
    ledger.pass_time(hours=2)
    assert derive(ledger)
    assert clean(ledger)


def test_figures_are_what_the_journal_says_however_often_they_are_derived(ledger: LedgerDriver) -> None:
    member = ledger.member(available=1000)
    partner = ledger.any_partner()
    ledger.limit("hour", scope="partner", posting="both", measure="points", most=10**9, period=HOUR)
    for minutes in (0, 1, 7, 50, 3):
        ledger.pass_time(minutes=minutes)
        ledger.redeem(member, 10)
        derive(ledger)
    ledger.limit("day", scope="partner", posting="redeem", measure="count", most=10**9, period=24 * HOUR)
    derive(ledger)
    assert ledger.rows(
        "SELECT code, used FROM partners.limit_figure WHERE partner_id = :partner ORDER BY code",
        partner=partner,
    ) == [("day", 5), ("hour", 40)]  # the first was an hour and a minute ago


def test_minutes_that_no_rule_asks_for_any_more_are_forgotten(ledger: LedgerDriver) -> None:
    member = ledger.member(available=1000)
    ledger.limit("hour", scope="partner", most=10**9, period=HOUR)
    for _ in range(3):
        ledger.redeem(member, 10)
        derive(ledger)
        ledger.pass_time(minutes=50)
    derive(ledger)
    assert ledger.rows("SELECT count(*) FROM partners.tally WHERE kind = 'redeem'") == [(1,)]


def test_hours_that_are_long_over_are_counted_as_one(ledger: LedgerDriver) -> None:
    member = ledger.member(available=1000)
    partner = ledger.any_partner()
    ledger.limit("day", scope="partner", measure="points", most=10**9, period=24 * HOUR)
    for _ in range(20):
        ledger.redeem(member, 10)
        derive(ledger)
        ledger.pass_time(minutes=17)
    derive(ledger)
    rows = ledger.rows(
        "SELECT count(*), sum(postings), sum(points) FROM partners.tally WHERE kind = 'redeem'"
    )
    assert rows[0][1:] == (20, 200)
    assert rows[0][0] < 20
    ledger.limit("day-and-more", scope="partner", measure="points", most=10**9, period=48 * HOUR)
    derive(ledger)
    assert ledger.rows(
        "SELECT used FROM partners.limit_figure WHERE partner_id = :partner ORDER BY code", partner=partner
    ) == [(200,), (200,)]
    ledger.pass_time(hours=20)
    derive(ledger)
    [(day,), (more,)] = ledger.rows(
        "SELECT used FROM partners.limit_figure WHERE partner_id = :partner ORDER BY code", partner=partner
    )
    since = ledger.now - 24 * HOUR
    [(exact,)] = ledger.rows(
        "SELECT sum(points) FROM ledger.transaction WHERE kind = 'redeem' AND recorded_at > :since",
        since=since,
    )
    assert exact <= day <= exact + 40  # whole hours: on the strict side
    assert more == 200
    assert clean(ledger)


def test_fresh_figures_are_not_derived_again(ledger: LedgerDriver) -> None:
    ledger.limit("hour", scope="partner", most=5, period=HOUR)  # whoever publishes derives
    with ledger.database.unit_of_work() as session:
        assert not refresh_figures(session, older_than=HOUR)
        assert refresh_figures(session, older_than=timedelta(0))
        assert not refresh_figures(session, older_than=HOUR)
    ledger.pass_time(hours=1)
    with ledger.database.unit_of_work() as session:
        assert not refresh_figures(session, older_than=HOUR)
    ledger.pass_time(microseconds=1)
    with ledger.database.unit_of_work() as session:
        assert refresh_figures(session, older_than=HOUR)


def test_before_the_programme_is_open_there_is_nothing_to_derive(database: Database) -> None:
    assert not derive(LedgerDriver(database))


def test_where_no_rule_is_about_stores_or_partners_nothing_is_derived(
    ledger: LedgerDriver, owner_engine: Engine
) -> None:
    ledger.limit("member", most=1)
    assert not derive(ledger)
    # Nor where the last that was is ended between the look at it and the derivation.
    with owner_engine.begin() as connection:
        connection.execute(text("SET LOCAL search_path = ledger"))
        assert connection.execute(text("SELECT derive_figures(now(), current_date)")).scalar_one() is False
    assert ledger.rows("SELECT FROM partners.limit_state") == []


def used(ledger: LedgerDriver) -> list[tuple[Any, ...]]:
    return ledger.rows("SELECT code, used FROM partners.limit_figure ORDER BY code, partner_id, store")


def test_a_figure_grows_within_a_minute_and_stays_while_nothing_is_posted(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    ledger.limit("hour", scope="partner", most=10**9, period=HOUR)
    for count in (1, 2, 3):
        ledger.redeem(member, 1)
        for _ in range(2):
            derive(ledger)
            assert used(ledger) == [("hour", count)]


def test_a_minute_is_counted_again_while_postings_of_it_may_still_arrive(
    ledger: LedgerDriver, superuser_engine: Engine
) -> None:
    member = ledger.member(available=100)
    ledger.limit("hour", scope="partner", most=10**9, period=HOUR)
    for _ in range(6):
        ledger.pass_time(minutes=1)
        ledger.redeem(member, 1)
    derive(ledger)

    def counted_again(*, after: int) -> list[int]:
        """Minutes of which a derivation mends the count, when all of them are wrong."""
        ledger.pass_time(seconds=after)
        with superuser_engine.begin() as connection:
            connection.execute(text("UPDATE partners.tally SET postings = postings + 1000"))
        assert derive(ledger)
        return [
            minute.minute
            for (minute,) in ledger.rows(
                "SELECT minute FROM partners.tally WHERE kind = 'redeem' AND postings < 1000 ORDER BY minute"
            )
        ]

    assert counted_again(after=30) == [6]  # 09:06:30, after 09:06:00
    assert counted_again(after=35) == [4, 5, 6]  # 09:07:05: a minute is over
    assert counted_again(after=4) == [6]  # 09:07:09
    assert counted_again(after=1) == []


def test_the_tally_reaches_back_as_far_as_any_rule_asks(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    ledger.limit("hour", scope="partner", most=10**9, period=HOUR)
    ledger.limit("window", scope="partner", most=10**9)
    ledger.redeem(member, 1)
    derive(ledger)
    assert used(ledger) == [("hour", 1), ("window", 1)]
    ledger.pass_time(hours=3)
    derive(ledger)
    assert used(ledger) == [("hour", 0), ("window", 1)]


def test_a_period_of_two_hours_is_counted_by_minutes_and_a_longer_one_by_hours(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    ledger.limit("longer", scope="partner", most=10**9, period=2 * HOUR + timedelta(seconds=1))
    ledger.limit("two-hours", scope="partner", most=10**9, period=2 * HOUR)
    ledger.redeem(member, 1)
    derive(ledger)
    ledger.pass_time(hours=2, minutes=1, seconds=5)
    derive(ledger)
    assert used(ledger) == [("longer", 1), ("two-hours", 0)]


def test_a_rule_of_one_partner_has_a_figure_of_that_one_alone(ledger: LedgerDriver) -> None:
    grocer, florist = ledger.partner(), ledger.partner()
    member = ledger.member()
    ledger.limit("grocers", scope="partner", posting="issue", most=1, partner_id=grocer)
    for by in (grocer, florist):
        ledger.issue(member, 1, by=by)
    derive(ledger)
    assert ledger.rows("SELECT partner_id, used FROM partners.limit_figure") == [(grocer, 1)]
    refused(ledger, LimitExceeded, lambda: ledger.issue(member, 1, by=grocer))
    ledger.issue(member, 1, by=florist)


def test_a_peak_is_of_when_it_was_reached_first(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    rule = ledger.limit("hour", scope="partner", measure="points", most=10**9, period=HOUR)

    def peak_after(points: int) -> tuple[int, int, datetime]:
        if points:
            ledger.redeem(member, points)
        derive(ledger)
        with ledger.database.reading() as session:
            [figure] = figures_of(session, rule)
        return figure.used, figure.peak, figure.peak_at

    assert peak_after(5) == (5, 5, START)
    ledger.pass_time(hours=2)
    assert peak_after(0) == (0, 5, START)
    assert peak_after(5) == (5, 5, START)
    assert peak_after(1) == (6, 6, ledger.now)


def test_a_posting_that_finds_old_figures_derives_them(ledger: LedgerDriver) -> None:
    member = ledger.member(available=10)
    ledger.limit("twice", scope="partner", most=2, period=HOUR)
    ledger.redeem(member, 1)
    ledger.redeem(member, 1)
    ledger.redeem(member, 1)  # the figure is younger than half a minute
    ledger.pass_time(seconds=31)
    facts = refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 1))
    assert facts["used"] == 3


def test_whoever_finds_another_deriving_goes_on_with_what_is_there(ledger: LedgerDriver) -> None:
    member = ledger.member(available=10)
    ledger.limit("hour", scope="partner", most=5, period=HOUR)
    with ledger.database.unit_of_work() as busy:
        assert refresh_figures(busy, older_than=timedelta(0))
        assert not derive(ledger)
        ledger.redeem(member, 1)


# -- reviews ---------------------------------------------------------------------------------------


def held(ledger: LedgerDriver, act: Any) -> UUID:
    """The review's id of a wish that was held."""
    before = ledger.snapshot()
    with pytest.raises(UnderReview) as refusal:
        act()
    assert ledger.snapshot() == before
    for _ in range(2):
        with ledger.database.unit_of_work() as session:
            assert queue_review(session, refusal.value)
    [(review_id,)] = ledger.rows(
        "SELECT review_id FROM ledger.review ORDER BY asked_at DESC, review_id LIMIT 1"
    )
    return review_id


def decide(ledger: LedgerDriver, how: Any, member: MemberId, review_id: UUID) -> None:
    with ledger.database.unit_of_work() as session:
        how(session, member, review_id, by="ada")


def test_a_wish_that_was_released_is_posted_when_it_is_sent_again(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    ledger.limit("large", measure="points", most=50, action="review")

    def wish() -> Any:
        return ledger.redeem(member, 60, key="k")

    review = held(ledger, wish)
    refused(ledger, UnderReview, wish)
    decide(ledger, release, member, review)
    decide(ledger, release, member, review)
    refused(ledger, IdempotencyConflict, lambda: ledger.redeem(member, 61, key="k"))
    refused(ledger, UnderReview, lambda: ledger.redeem(member, 60, key="another"))
    posted = wish()
    assert posted.balance.available == 40
    assert wish().replayed
    assert ledger.rows("SELECT state, transaction_id FROM ledger.review") == [
        ("posted", posted.transaction_id)
    ]
    decide(ledger, release, member, review)
    refused(ledger, ReviewDecided, lambda: decide(ledger, reject, member, review))
    assert clean(ledger)


def test_a_wish_that_was_rejected_stays_refused(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.limit("large", posting="issue", measure="points", most=50, action="review")

    def wish() -> Any:
        return ledger.issue(member, 60, key="k")

    review = held(ledger, wish)
    decide(ledger, release, member, review)
    decide(ledger, reject, member, review)
    refused(ledger, ReviewRejected, wish)
    refused(ledger, ReviewDecided, lambda: decide(ledger, release, member, review))
    refused(ledger, ReviewUnknown, lambda: decide(ledger, release, member, uuid4()))
    ledger.issue(member, 50, key="k2")


def test_a_released_wish_is_judged_by_the_guards_before_and_by_rules_that_refuse(
    ledger: LedgerDriver,
) -> None:
    member = ledger.member(available=100)
    ledger.limit("large", measure="points", most=50, action="review")
    review = held(ledger, lambda: ledger.redeem(member, 60, key="k"))
    decide(ledger, release, member, review)
    ledger.limit("a-zero", measure="count", most=0)
    refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 60, key="k"))


def test_of_one_member_at_most_twenty_wait(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.limit("all", posting="issue", most=0, action="review")
    waits = []
    for number in range(22):
        with pytest.raises(UnderReview) as refusal:
            ledger.issue(member, 1, key=f"k{number}")
        with ledger.database.unit_of_work() as session:
            waits.append(queue_review(session, refusal.value))
    assert waits == [True] * 20 + [False] * 2
    assert ledger.rows("SELECT count(*) FROM ledger.review") == [(20,)]


def test_what_was_posted_once_its_rule_was_ended_waits_no_more(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.limit("large", posting="issue", measure="points", most=50, action="review")
    held(ledger, lambda: ledger.issue(member, 60, key="k"))
    with ledger.database.unit_of_work() as session:
        assert len(list_reviews(session, PageRequest(), state=ReviewState.WAITING).items) == 1
        end_limit(session, code="large", published_by="test")
    ledger.issue(member, 60, key="k")
    with ledger.database.reading() as session:
        assert list_reviews(session, PageRequest(), state=ReviewState.WAITING).items == []
    assert clean(ledger)


# -- stores ----------------------------------------------------------------------------------------


def open_store(ledger: LedgerDriver, partner: PartnerId, code: str, *days: Any) -> None:
    since, closed = days or (None, None)
    with ledger.database.unit_of_work() as session:
        session.execute(
            text(
                "INSERT INTO partners.store VALUES (:partner, :code, :code, :since, :closed, now(), 'test')"
            ),
            {"partner": partner, "code": code, "since": since, "closed": closed},
        )


def test_who_has_published_stores_posts_from_them_alone(ledger: LedgerDriver) -> None:
    grocer, florist = ledger.partner(), ledger.partner()
    member = ledger.member(available=100, issuer=grocer)
    open_store(ledger, grocer, "north")
    open_store(ledger, grocer, "old", "2020-01-01", "2026-03-01")
    open_store(ledger, grocer, "new", "2026-03-03", None)
    hold = ledger.authorize(member, 5, by=grocer)
    for store in ("south", "old", "new"):
        for act in (
            lambda line: ledger.issue(member, 1, by=grocer, receipt=line),
            lambda line: ledger.redeem(member, 1, by=grocer, receipt=line),
            lambda line: ledger.capture(hold.ref, by=grocer, receipt=line),
        ):
            facts = refused(ledger, StoreUnknown, lambda act=act, store=store: act(receipt(store=store)))
            assert facts["store"] == store
    ledger.issue(member, 1, by=grocer, receipt=receipt(store="north"))
    ledger.issue(member, 1, by=grocer)
    ledger.redeem(member, 1, by=florist, receipt=receipt(store="south"))
    ledger.pass_time(days=1)
    ledger.redeem(member, 1, by=grocer, receipt=receipt(store="new"))


def test_the_first_of_several_refusals_is_the_one_in_the_order(ledger: LedgerDriver) -> None:
    """Limits come last: nobody waits for a review of what would be refused anyhow."""
    partner = ledger.partner()
    member = ledger.member(issuer=partner)
    open_store(ledger, partner, "north")
    ledger.limit("none", most=0)
    ledger.limit("looked-at", most=0, action="review")

    def act(store: str, **more: Any) -> str:
        with pytest.raises(CoalitionError) as refusal:
            ledger.redeem(member, 10, by=partner, receipt=receipt(store=store), **more)
        return refusal.value.code

    with ledger.database.unit_of_work() as session:
        set_blocked(session, member, blocked=True, by="test")
    found = [act("south", agreement_id=None, occurred_at=None), act("north")]
    with ledger.database.unit_of_work() as session:
        set_blocked(session, member, blocked=False, by="test")
    found += [act("north", confirmation_id=uuid4()), act("north")]
    ledger.issue(member, 100, by=partner)
    found.append(act("north"))
    with ledger.database.unit_of_work() as session:
        end_limit(session, code="none", published_by="test")
    found.append(act("north"))
    assert found == [
        "STORE_UNKNOWN",
        "MEMBER_BLOCKED",
        "CONFIRMATION_INVALID",
        "INSUFFICIENT_POINTS",
        "LIMIT_EXCEEDED",
        "UNDER_REVIEW",
    ]
    assert found == [refusal.code for refusal in REFUSALS if refusal.code in found]


def test_a_voucher_is_a_redemption_under_limits(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    ledger.limit("few", posting="redeem", measure="points", most=10)
    refused(ledger, LimitExceeded, lambda: ledger.voucher(member, 11))
    ledger.voucher(member, 10)
    refused(ledger, LimitExceeded, lambda: ledger.redeem(member, 1))
