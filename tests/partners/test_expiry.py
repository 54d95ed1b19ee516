"""When points lapse: each rule's last day, what makes no sense, and lots that activity keeps alive."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from operating import START, Coalition
from sqlalchemy import Engine, text

from coalition.adjusting import AdjustmentReason
from coalition.amounts import Points
from coalition.audit import AUDIT, TERMS, run_audit
from coalition.db import Database
from coalition.errors import InvalidInput
from coalition.ids import MemberId
from coalition.pooling import OpenPool, accept_invitation, invite_to_pool, open_pool
from coalition.programme import OpenProgramme, open_programme
from partners import holds
from partners.adjustments import Adjust, adjust
from partners.directory import Partner
from partners.expiry import Activity, ActivityWhere, Expiry, ExpiryRule, check_expiry, last_day

DAYS = st.dates(min_value=date(2020, 1, 1), max_value=date(2060, 1, 1))


@pytest.mark.parametrize(
    ("rule", "months", "issued_on", "last"),
    [
        (ExpiryRule.TERM, 1, date(2026, 1, 31), date(2026, 2, 28)),
        (ExpiryRule.TERM, 12, date(2028, 2, 29), date(2029, 2, 28)),
        (ExpiryRule.END_OF_MONTH, 0, date(2026, 2, 3), date(2026, 2, 28)),
        (ExpiryRule.END_OF_MONTH, 1, date(2028, 1, 31), date(2028, 2, 29)),
        (ExpiryRule.END_OF_QUARTER, 0, date(2026, 3, 31), date(2026, 3, 31)),
        (ExpiryRule.END_OF_QUARTER, 3, date(2026, 3, 31), date(2026, 6, 30)),
        (ExpiryRule.END_OF_QUARTER, 12, date(2026, 11, 5), date(2027, 12, 31)),
        (ExpiryRule.END_OF_YEAR, 0, date(2026, 1, 1), date(2026, 12, 31)),
        (ExpiryRule.END_OF_YEAR, 24, date(2026, 6, 30), date(2028, 12, 31)),
        (ExpiryRule.INACTIVITY, 6, date(2026, 8, 31), date(2027, 2, 28)),
    ],
)
def test_the_last_day_of_each_rule(rule: ExpiryRule, months: int, issued_on: date, last: date) -> None:
    assert last_day(Expiry(expiry_rule=rule, expiry_months=months), issued_on, maturity_days=0) == last


@pytest.mark.parametrize(
    ("issued_on", "maturity_days", "last"),
    [
        (date(2026, 1, 1), 0, date(2027, 3, 31)),
        (date(2027, 3, 31), 0, date(2027, 3, 31)),
        (date(2027, 3, 31), 1, date(2028, 3, 31)),
        (date(2027, 4, 1), 0, date(2028, 3, 31)),
        (date(2030, 3, 1), 60, date(2031, 3, 31)),
    ],
)
def test_a_fixed_date_comes_again_each_year(issued_on: date, maturity_days: int, last: date) -> None:
    fixed = Expiry(expiry_rule=ExpiryRule.FIXED_DATE, expiry_months=None, expiry_date=date(2027, 3, 31))
    assert last_day(fixed, issued_on, maturity_days=maturity_days) == last


def test_points_without_a_term_never_expire() -> None:
    assert last_day(Expiry(expiry_months=None), date(2026, 1, 1), maturity_days=0) is None


@given(
    issued_on=DAYS,
    rule=st.sampled_from(ExpiryRule),
    months=st.one_of(st.none(), st.integers(0, 60)),
    fixed=st.one_of(st.none(), DAYS),
    maturity_days=st.integers(0, 400),
)
def test_whatever_terms_are_taken_points_mature_before_they_lapse(
    issued_on: date, rule: ExpiryRule, months: int | None, fixed: date | None, maturity_days: int
) -> None:
    idle = rule is ExpiryRule.INACTIVITY
    expiry = Expiry(
        expiry_rule=rule,
        expiry_months=months,
        expiry_date=fixed,
        activity=Activity.ANY if idle else None,
        activity_where=ActivityWhere.ANYWHERE if idle else None,
    )
    try:
        check_expiry(expiry, maturity_days=maturity_days)
    except InvalidInput:
        assume(False)  # noqa: FBT003 - what is refused makes no points
    last = last_day(expiry, issued_on, maturity_days=maturity_days)
    assert last is None or last >= issued_on + timedelta(days=maturity_days)


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("expiryDate", {"expiry_rule": ExpiryRule.FIXED_DATE, "expiry_months": None}),
    ("expiryDate", {"expiry_date": date(2027, 1, 1)}),
    (
        "expiryMonths",
        {"expiry_rule": ExpiryRule.FIXED_DATE, "expiry_months": 3, "expiry_date": date(2027, 1, 1)},
    ),
    (
        "expiryDate",
        {"expiry_rule": ExpiryRule.FIXED_DATE, "expiry_months": None, "expiry_date": date(9000, 1, 1)},
    ),
    ("expiryMonths", {"expiry_months": 1_201}),
    ("activity", {"expiry_rule": ExpiryRule.INACTIVITY}),
    ("activity", {"activity": Activity.ANY, "activity_where": ActivityWhere.ANYWHERE}),
    ("activityWhere", {"expiry_rule": ExpiryRule.INACTIVITY, "activity": Activity.ANY}),
    ("expiryMonths", {"expiry_rule": ExpiryRule.END_OF_YEAR, "expiry_months": None}),
    ("expiryMonths", {"expiry_rule": ExpiryRule.END_OF_YEAR, "expiry_months": -1}),
]


@pytest.mark.parametrize(("field", "parts"), WRONG)
def test_parts_that_do_not_belong_together_are_refused_by_field(field: str, parts: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_expiry(Expiry(**parts), maturity_days=0)
    assert refusal.value.path == ("input", field)


def test_terms_that_lead_out_of_the_calendar_are_not_published_and_the_longest_are_kept_to_its_end(
    coalition: Coalition,
) -> None:
    def fixed(day: date) -> Expiry:
        return Expiry(expiry_rule=ExpiryRule.FIXED_DATE, expiry_months=None, expiry_date=day)

    grocer = coalition.trading(expiry=fixed(date(8999, 12, 31)), maturity_days=364)
    for day in (date(9999, 12, 31), date(9999, 12, 30), date(9000, 1, 1)):
        with coalition.refused("INVALID_INPUT") as told:
            coalition.publish(grocer, expiry=fixed(day))
        assert told[0].path == ("input", "expiryDate")
    partners = [
        coalition.trading("century", expiry=Expiry(expiry_months=1_200), maturity_days=3_650),
        coalition.trading(
            "quiet", expiry=replace(idle(), expiry_months=1_200), maturity_days=3_650, grace_days=3_650
        ),
        grocer,
    ]
    member = coalition.member(of=grocer)
    # The last day to which a sandbox's clock goes.
    for moment in (START, datetime(8999, 12, 31, 12, tzinfo=UTC)):
        coalition.set_clock(moment)
        for partner in partners:
            coalition.issue(member, partner, points=5)
    assert coalition.rows("SELECT extract(year FROM max(expires_at))::int FROM ledger.lot") == [(9099,)]
    audited(coalition)


# -- inactivity, on the real ledger ------------------------------------------------------------------


def idle(activity: Activity = Activity.ANY, where: ActivityWhere = ActivityWhere.ANYWHERE) -> Expiry:
    return Expiry(expiry_rule=ExpiryRule.INACTIVITY, expiry_months=6, activity=activity, activity_where=where)


def last_days(coalition: Coalition, member: MemberId) -> list[date]:
    rows = coalition.rows(
        "SELECT ((expires_at - interval '1 second') AT TIME ZONE 'Europe/Berlin')::date FROM ledger.lot"
        " WHERE member_id = :member ORDER BY sequence",
        member=member,
    )
    return [day for (day,) in rows]


def audited(coalition: Coalition) -> None:
    with coalition.database.reading() as session:
        assert run_audit(session, checks=(*AUDIT, *TERMS)) == []


@pytest.fixture
def bakery(coalition: Coalition) -> Partner:
    return coalition.trading("bakery", expiry=idle(), maturity_days=0)


def test_an_activity_keeps_points_alive(coalition: Coalition, bakery: Partner) -> None:
    grocer = coalition.trading("grocer")
    member = coalition.member(of=bakery)
    coalition.issue(member, bakery, points=100)
    assert last_days(coalition, member) == [date(2026, 9, 2)]
    coalition.set_clock(datetime(2026, 5, 10, 8, tzinfo=UTC))
    coalition.redeem(member, grocer, points=30)
    assert last_days(coalition, member) == [date(2026, 11, 10)]
    coalition.set_clock(datetime(2026, 11, 10, 8, tzinfo=UTC))
    coalition.issue(member, grocer, points=5)
    assert last_days(coalition, member)[0] == date(2027, 5, 10)
    audited(coalition)
    # Half a year without any: they lapse, and what comes later revives nothing.
    coalition.set_clock(datetime(2027, 5, 11, 8, tzinfo=UTC))
    posting = coalition.issue(member, bakery, points=1)
    assert posting.balance.available == 6
    assert last_days(coalition, member)[0] == date(2027, 5, 10)
    audited(coalition)


def test_only_the_chosen_activity_counts_and_only_where_it_is_to(coalition: Coalition) -> None:
    here = coalition.trading("here", expiry=idle(Activity.ISSUE, ActivityWhere.AT_ISSUER))
    spending = coalition.trading("spending", expiry=idle(Activity.REDEEM))
    member = coalition.member(of=here)
    coalition.issue(member, here, points=10)
    coalition.issue(member, spending, points=10)
    before = date(2026, 9, 2)

    coalition.set_clock(datetime(2026, 4, 1, 8, tzinfo=UTC))
    coalition.issue(member, spending, points=1)
    assert last_days(coalition, member)[:2] == [before, before]
    coalition.redeem(member, here, points=1)
    assert last_days(coalition, member)[:2] == [before, date(2026, 10, 1)]
    coalition.set_clock(datetime(2026, 5, 1, 8, tzinfo=UTC))
    coalition.issue(member, here, points=1)
    assert last_days(coalition, member)[:2] == [date(2026, 11, 1), date(2026, 10, 1)]
    audited(coalition)


def test_a_hold_is_no_activity_and_its_capture_is(coalition: Coalition, bakery: Partner) -> None:
    member = coalition.member(of=bakery)
    coalition.issue(member, bakery, points=100)
    coalition.set_clock(datetime(2026, 4, 1, 8, tzinfo=UTC))
    with coalition.database.single_call() as session:
        held = holds.authorize(session, coalition.wish(holds.Authorize, member, bakery, points=10))
    assert last_days(coalition, member) == [date(2026, 9, 2)]
    with coalition.database.single_call() as session:
        holds.capture(
            session,
            holds.Capture(hold=held.ref, partner_id=bakery.partner_id, idempotency_key="c", points=10),
        )
    assert last_days(coalition, member) == [date(2026, 10, 1)]
    audited(coalition)


def household(coalition: Coalition, of: Partner) -> tuple[MemberId, MemberId]:
    """Who has nothing, and who has 100 points, in a pool."""
    spender, giver = coalition.member(of=of), coalition.member(of=of)
    coalition.issue(giver, of, points=100)
    pool_id = uuid4()
    with coalition.database.unit_of_work() as session:
        open_pool(session, OpenPool(member_id=spender, pool_id=pool_id, name="Home"))
        invite_to_pool(session, spender, invited=giver)
        accept_invitation(session, giver, pool_id)
    return spender, giver


@pytest.mark.parametrize("points", [10, 100])
@pytest.mark.parametrize("over", [False, True], ids=["it still lives", "it has expired"])
def test_a_spenders_activity_keeps_nothing_alive_that_others_of_its_pool_have(
    coalition: Coalition, superuser_engine: Engine, bakery: Partner, points: int, *, over: bool
) -> None:
    spender, giver = household(coalition, bakery)
    coalition.set_clock(datetime(2026, 9, 2, 8, tzinfo=UTC))  # its last day
    with coalition.database.unit_of_work() as session:
        asked = {"points": points, "from_pool": True, "seconds_to_live": 86_400}
        held = holds.authorize(session, coalition.wish(holds.Authorize, spender, bakery, **asked))
    coalition.issue(spender, bakery, points=5)
    if over:
        coalition.set_clock(datetime(2026, 9, 3, 7, tzinfo=UTC))
    with coalition.database.unit_of_work() as session:
        wish = holds.Void(hold=held.ref, partner_id=bakery.partner_id, idempotency_key="void")
        holds.void(session, wish)
    assert last_days(coalition, giver) == [date(2026, 9, 2)]
    left = coalition.rows("SELECT available FROM ledger.member_head WHERE member_id = :giver", giver=giver)
    assert left == [(0 if over else 100,)]
    audited(coalition)
    with superuser_engine.begin() as connection:
        moved = "expires_at = (SELECT max(expires_at) FROM ledger.lot)"
        connection.execute(text(f"UPDATE ledger.lot SET {moved} WHERE member_id = '{giver}'"))
    with coalition.database.reading() as session:
        found = {finding.check for finding in run_audit(session, checks=(*AUDIT, *TERMS))}
    assert {"lots_lapse_by_their_terms", "lots_keep_the_day_they_came_with"} <= found


def test_what_the_giver_did_meanwhile_keeps_alive_what_comes_back_to_a_lot_that_was_lent_in_part(
    coalition: Coalition, bakery: Partner
) -> None:
    spender, giver = household(coalition, bakery)
    coalition.set_clock(datetime(2026, 5, 10, 8, tzinfo=UTC))
    with coalition.database.unit_of_work() as session:
        asked = {"points": 10, "from_pool": True}
        held = holds.authorize(session, coalition.wish(holds.Authorize, spender, bakery, **asked))
    coalition.redeem(giver, bakery, points=1)
    with coalition.database.unit_of_work() as session:
        wish = holds.Void(hold=held.ref, partner_id=bakery.partner_id, idempotency_key="void")
        holds.void(session, wish)
    assert last_days(coalition, giver) == [date(2026, 11, 10)]
    audited(coalition)


def test_a_refused_redemption_keeps_nothing_alive(coalition: Coalition, bakery: Partner) -> None:
    member = coalition.member(of=bakery)
    coalition.issue(member, bakery, points=100)
    coalition.set_clock(START + timedelta(days=30))
    with coalition.refused("INSUFFICIENT_POINTS"):
        coalition.redeem(member, bakery, points=101)
    assert last_days(coalition, member) == [date(2026, 9, 2)]


# -- the audit -----------------------------------------------------------------------------------------

RULES = [
    Expiry(expiry_months=None),
    Expiry(expiry_months=3),
    Expiry(expiry_rule=ExpiryRule.END_OF_MONTH, expiry_months=1),
    Expiry(expiry_rule=ExpiryRule.END_OF_QUARTER, expiry_months=1),
    Expiry(expiry_rule=ExpiryRule.END_OF_YEAR, expiry_months=1),
    Expiry(expiry_rule=ExpiryRule.FIXED_DATE, expiry_months=None, expiry_date=date(2024, 2, 29)),
    Expiry(expiry_rule=ExpiryRule.FIXED_DATE, expiry_months=None, expiry_date=date(2026, 3, 31)),
    Expiry(expiry_rule=ExpiryRule.FIXED_DATE, expiry_months=None, expiry_date=date(2031, 6, 30)),
    idle(),
]


def test_the_audit_counts_each_rule_as_the_terms_do(coalition: Coalition) -> None:
    partners = [
        coalition.trading(f"partner-{nth}", expiry=rule, maturity_days=nth % 3)
        for nth, rule in enumerate(RULES)
    ]
    member = coalition.member(of=partners[0])
    for day in (0, 29, 30, 31, 150, 270, 302):
        coalition.set_clock(START + timedelta(days=day))
        for partner in partners:
            coalition.issue(member, partner, points=7)
        audited(coalition)


def test_to_the_audit_too_a_last_of_february_stays_the_28th_in_a_leap_year(coalition: Coalition) -> None:
    rule = Expiry(expiry_rule=ExpiryRule.FIXED_DATE, expiry_months=None, expiry_date=date(2026, 2, 28))
    grocer = coalition.trading("grocer", expiry=rule)
    member = coalition.member(of=grocer)
    for year in range(2026, 2029):
        coalition.set_clock(datetime(year, 6, 1, 12, tzinfo=UTC))
        coalition.issue(member, grocer, points=7)
    assert last_days(coalition, member) == [date(year, 2, 28) for year in (2027, 2028, 2029)]
    audited(coalition)


def test_points_reach_a_fixed_date_though_the_clocks_change_before_they_mature(coalition: Coalition) -> None:
    rule = Expiry(expiry_rule=ExpiryRule.FIXED_DATE, expiry_months=None, expiry_date=date(2026, 3, 31))
    grocer = coalition.trading("grocer", expiry=rule, maturity_days=14)
    member = coalition.member(of=grocer)
    # Half past eleven in Berlin: 14 days of 24 hours later it is half past midnight, in summer time.
    coalition.set_clock(datetime(2026, 3, 17, 22, 30, tzinfo=UTC))
    coalition.issue(member, grocer, points=7)
    assert last_days(coalition, member) == [date(2027, 3, 31)]
    audited(coalition)
    coalition.set_clock(datetime(2026, 4, 1, 8, tzinfo=UTC))
    assert coalition.issue(member, grocer, points=1).balance.available == 7


def test_to_the_audit_too_what_the_operator_gives_is_an_issue_and_keeps_points_alive(
    coalition: Coalition,
) -> None:
    grocer = coalition.trading("grocer", expiry=idle(Activity.ISSUE))
    member = coalition.member(of=grocer)
    coalition.issue(member, grocer, points=7)
    coalition.pass_time(days=10)
    goodwill = Adjust(
        member_id=member, points=5, reason=AdjustmentReason.GOODWILL, by="ada", issuer=grocer.code
    )
    with coalition.database.unit_of_work() as session:
        adjust(session, goodwill)
    assert last_days(coalition, member) == [date(2026, 9, 12), date(2026, 9, 12)]
    audited(coalition)


@pytest.mark.parametrize(
    ("zone", "last"),
    [
        ("Atlantic/Azores", date(2026, 10, 24)),  # whose next midnight comes twice
        ("America/Havana", date(2026, 10, 31)),
        ("Atlantic/Azores", date(2026, 3, 28)),  # and these have none
        ("Africa/Cairo", date(2026, 4, 23)),
        ("America/Santiago", date(2026, 9, 5)),
    ],
)
def test_points_lapse_as_the_next_day_begins_also_where_the_clocks_change_at_midnight(
    database: Database, zone: str, last: date
) -> None:
    day = last.replace(month=last.month - 2)
    began = datetime.combine(day - timedelta(days=1), time(12), tzinfo=ZoneInfo(zone))
    with database.unit_of_work() as session:
        opened = OpenProgramme(
            name="Test", mode="sandbox", consent_limit_points=Points(1_000), zone=zone, starts_at=began
        )
        open_programme(session, opened)
    coalition = Coalition(database)
    fixed = Expiry(expiry_rule=ExpiryRule.FIXED_DATE, expiry_months=None, expiry_date=last)
    grocer = coalition.trading("grocer", valid_from=began.date(), expiry=fixed)
    quiet = replace(idle(), expiry_months=2)
    bakery = coalition.trading("bakery", valid_from=began.date(), expiry=quiet, maturity_days=0)
    member = coalition.member(of=bakery)
    coalition.issue(member, bakery, points=5)
    coalition.set_clock(began + timedelta(days=1))
    coalition.issue(member, grocer, points=5)
    begins = datetime.combine(last + timedelta(days=1), time.min, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    assert {lapses for (lapses,) in coalition.rows("SELECT expires_at FROM ledger.lot")} == {begins}
    audited(coalition)


@pytest.mark.parametrize("nth", range(1, len(RULES)))
@pytest.mark.parametrize("moved", ["1 day", "-1 day"])
def test_the_audit_sees_an_expiry_that_was_moved(
    coalition: Coalition, superuser_engine: Engine, nth: int, moved: str
) -> None:
    partner = coalition.trading(expiry=RULES[nth])
    member = coalition.member(of=partner)
    coalition.issue(member, partner, points=7)
    with superuser_engine.begin() as connection:
        # The day that it came with, and what is due, follow, so that nothing else looks wrong.
        connection.execute(
            text(
                f"UPDATE ledger.lot SET expires_at = expires_at + interval '{moved}',"
                f" first_expires_at = first_expires_at + interval '{moved}'"
            )
        )
        connection.execute(
            text("UPDATE ledger.member_head SET next_due_at = (SELECT expires_at FROM ledger.lot)")
        )
    with coalition.database.reading() as session:
        [finding] = run_audit(session, checks=(*AUDIT, *TERMS))
    assert finding.check == "lots_lapse_by_their_terms"


def test_the_audit_sees_that_an_activity_extended_nothing(
    coalition: Coalition, superuser_engine: Engine, bakery: Partner
) -> None:
    member = coalition.member(of=bakery)
    coalition.issue(member, bakery, points=100)
    coalition.set_clock(datetime(2026, 5, 10, 8, tzinfo=UTC))
    coalition.redeem(member, bakery, points=30)
    audited(coalition)
    with superuser_engine.begin() as connection:
        connection.execute(text("UPDATE ledger.lot SET expires_at = first_expires_at"))
        connection.execute(
            text("UPDATE ledger.member_head SET next_due_at = (SELECT expires_at FROM ledger.lot)")
        )
    with coalition.database.reading() as session:
        [finding] = run_audit(session, checks=(*AUDIT, *TERMS))
    assert finding.check == "lots_lapse_by_their_terms"
