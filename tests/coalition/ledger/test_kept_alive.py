"""Which lots an activity keeps alive, and until when."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from driver import LedgerDriver

from coalition.ids import MemberId, PartnerId


def _sleepy(ledger: LedgerDriver, **terms: Any) -> PartnerId:
    """An issuer whose points lapse after two months in which nothing happened."""
    return ledger.partner(
        **{"expiry_rule": "inactivity", "expiry_months": 2, "activity": "any", "activity_where": "anywhere"}
        | terms
    )


def _expiries(ledger: LedgerDriver, member: MemberId) -> list[datetime]:
    rows = ledger.rows(
        "SELECT expires_at FROM ledger.lot WHERE member_id = :member ORDER BY sequence", member=member
    )
    return [expires for (expires,) in rows]


def _two_months_on(ledger: LedgerDriver) -> datetime:
    """The end of the day two months after today, where the programme is."""
    zone = ZoneInfo(ledger.rows("SELECT zone FROM ledger.programme")[0][0])
    today = ledger.now.astimezone(zone)
    return datetime(today.year, today.month + 2, today.day, tzinfo=zone) + timedelta(days=1)


def test_an_activity_extends_to_the_end_of_the_day_and_what_lasts_longer_stays(ledger: LedgerDriver) -> None:
    sleepy, member = _sleepy(ledger), ledger.member()
    soon, long = ledger.now + timedelta(days=1), ledger.now + timedelta(days=200)
    ledger.issue(member, 10, by=sleepy, expires_at=soon)
    ledger.issue(member, 10, by=sleepy, expires_at=long)
    ledger.issue(member, 10, by=sleepy)  # never
    ledger.pass_time(hours=1)
    ledger.redeem(member, 1, by=sleepy)
    assert _expiries(ledger, member) == [_two_months_on(ledger), long, None]


@pytest.mark.parametrize("points", [1, 10])
def test_points_that_pend_or_are_held_are_kept_alive_too_and_what_is_spent_is_not(
    ledger: LedgerDriver, points: int
) -> None:
    sleepy, member, now = _sleepy(ledger), ledger.member(), ledger.now
    days = [now + timedelta(days=day) for day in (10, 11, 12)]
    ledger.issue(member, points, by=sleepy, expires_at=days[0])
    ledger.redeem(member, points, by=sleepy)
    ledger.issue(member, points, by=sleepy, expires_at=days[1])
    ledger.authorize(member, points, by=sleepy, seconds_to_live=86_400)
    ledger.issue(member, points, by=sleepy, expires_at=days[2], matures_at=now + timedelta(days=5))
    spent, *_ = _expiries(ledger, member)
    ledger.pass_time(hours=40)
    ledger.issue(member, 1, by=sleepy)
    until = _two_months_on(ledger)
    assert _expiries(ledger, member) == [spent, until, until, None]


def test_held_points_are_kept_alive_while_they_live_and_not_once_their_time_is_over(
    ledger: LedgerDriver,
) -> None:
    sleepy, member = _sleepy(ledger, activity="redeem"), ledger.member()
    over = ledger.now + timedelta(days=1)
    for expires in (over, over + timedelta(microseconds=1)):
        ledger.issue(member, 10, by=sleepy, expires_at=expires)
    ledger.authorize(member, 20, by=sleepy, seconds_to_live=5 * 86_400)
    ledger.issue(member, 1, by=ledger.partner())
    ledger.pass_time(days=1)
    ledger.redeem(member, 1, by=sleepy)
    assert _expiries(ledger, member)[:2] == [over, _two_months_on(ledger)]


def test_an_activity_touches_nobody_elses_lots_and_none_of_other_terms(ledger: LedgerDriver) -> None:
    sleepy, other_terms, fixed = _sleepy(ledger), _sleepy(ledger, activity="redeem"), ledger.partner()
    member, other, soon = ledger.member(), ledger.member(), ledger.now + timedelta(days=3)
    for who in (member, other):
        for issuer in (sleepy, other_terms, fixed):
            ledger.issue(who, 10, by=issuer, expires_at=soon)
    untouched = _expiries(ledger, other)
    ledger.pass_time(days=1)
    until = _two_months_on(ledger)
    ledger.issue(member, 1, by=fixed)  # counts where any activity does
    assert _expiries(ledger, member)[:3] == [until, soon, soon]
    ledger.redeem(member, 1, by=fixed)
    assert _expiries(ledger, member)[:3] == [until, until, soon]
    assert _expiries(ledger, other) == untouched


def test_where_only_the_issuers_own_count_anothers_do_not(ledger: LedgerDriver) -> None:
    own = _sleepy(ledger, activity_where="at_issuer")
    member, soon = ledger.member(), ledger.now + timedelta(days=3)
    ledger.issue(member, 10, by=own, expires_at=soon)
    ledger.pass_time(days=1)
    ledger.redeem(member, 1, by=ledger.partner())
    assert _expiries(ledger, member) == [soon]
    ledger.redeem(member, 1, by=own)
    assert _expiries(ledger, member) == [_two_months_on(ledger)]


def test_what_is_taken_for_a_voucher_is_an_activity(ledger: LedgerDriver) -> None:
    sleepy, member, soon = _sleepy(ledger, activity="redeem"), ledger.member(), ledger.now + timedelta(days=3)
    ledger.issue(member, 10, by=sleepy, expires_at=soon)
    voucher = ledger.voucher(member, 5)
    assert _expiries(ledger, member) == [soon]
    ledger.redeem_voucher(voucher.ref)
    assert _expiries(ledger, member) == [_two_months_on(ledger)]
