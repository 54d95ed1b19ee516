"""What has come due: to the moment, to the last point, in the order of time, and once."""

from datetime import datetime, timedelta

import pytest
from driver import LedgerDriver

from coalition.audit import run_audit
from coalition.ids import MemberId

MOMENT = timedelta(microseconds=1)


def _clean(ledger: LedgerDriver) -> None:
    with ledger.database.reading() as session:
        assert run_audit(session) == []


def _set_clock(ledger: LedgerDriver, to: datetime) -> None:
    ledger.pass_time(microseconds=(to - ledger.now) / MOMENT)
    assert ledger.now == to


def _next_due(ledger: LedgerDriver, member: MemberId) -> datetime | None:
    [(due,)] = ledger.rows("SELECT next_due_at FROM ledger.member_head WHERE member_id = :m", m=member)
    return due


def _comes_due(ledger: LedgerDriver, member: MemberId, at: datetime) -> None:
    """It comes due in that moment, not before, and leaves nothing that will."""
    assert _next_due(ledger, member) == at
    _set_clock(ledger, at - MOMENT)
    assert ledger.bring_up_to_date(member) == 0
    _set_clock(ledger, at)
    assert ledger.bring_up_to_date(member) == 1
    assert _next_due(ledger, member) is None
    _clean(ledger)


@pytest.mark.parametrize("points", [1, 2])
@pytest.mark.parametrize(("term", "kind"), [("matures_at", "mature"), ("expires_at", "expire")])
def test_points_come_due_in_the_moment_that_was_said(
    ledger: LedgerDriver, term: str, kind: str, points: int
) -> None:
    member, due = ledger.member(), ledger.now + timedelta(days=1)
    ledger.issue(member, points, **{term: due})
    _comes_due(ledger, member, due)
    assert ledger.kinds(member) == [("issue", points), (kind, points)]


@pytest.mark.parametrize("points", [1, 2])
def test_a_hold_lapses_in_the_moment_that_was_said(ledger: LedgerDriver, points: int) -> None:
    member = ledger.member(available=points)
    ledger.authorize(member, points, seconds_to_live=60)
    _comes_due(ledger, member, ledger.now + timedelta(seconds=60))
    assert ledger.kinds(member)[1:] == [("authorize", points), ("lapse", points)]


def test_what_is_due_next_is_the_first_of_all_that_will_be(ledger: LedgerDriver) -> None:
    member, now = ledger.member(), ledger.now
    ledger.issue(member, 10, expires_at=now + timedelta(days=9))
    ledger.issue(member, 10, matures_at=now + timedelta(days=5), expires_at=now + timedelta(days=7))
    assert _next_due(ledger, member) == now + timedelta(days=5)
    ledger.issue(member, 10, expires_at=now + timedelta(days=6))
    assert _next_due(ledger, member) == now + timedelta(days=5)
    ledger.authorize(member, 1, seconds_to_live=86_400)
    assert _next_due(ledger, member) == now + timedelta(days=1)
    due = []
    for day in (1, 5, 6, 7, 9):
        _set_clock(ledger, now + timedelta(days=day))
        assert ledger.bring_up_to_date(member) == 1
        due.append(_next_due(ledger, member))
    assert due == [*(now + timedelta(days=day) for day in (5, 6, 7, 9)), None]
    _clean(ledger)


def test_what_came_due_before_does_not_come_due_again(ledger: LedgerDriver) -> None:
    member, other, now = ledger.member(), ledger.member(), ledger.now
    for who in (member, other):
        for day in (1, 2, 3):
            ledger.issue(
                who, 4 - day, matures_at=now + timedelta(days=day), expires_at=now + timedelta(days=10 + day)
            )
    posted, due = [], []
    for day in (1, 2, 3, 11, 12, 13):
        _set_clock(ledger, now + timedelta(days=day))
        assert ledger.bring_up_to_date(member) == 1
        posted.append(ledger.kinds(member)[-1])
        due.append(_next_due(ledger, member))
    assert due == [*(now + timedelta(days=day) for day in (2, 3, 11, 12, 13)), None]
    assert posted == [(kind, points) for kind in ("mature", "expire") for points in (3, 2, 1)]
    assert ledger.rows(
        "SELECT count(*) FROM ledger.entry WHERE member_id = :m AND bucket = 'expired'", m=member
    ) == [(3,)]
    assert [kind for kind, _ in ledger.kinds(other)] == ["issue"] * 3
    _clean(ledger)


def test_what_comes_due_at_once_is_posted_in_the_order_of_its_time(ledger: LedgerDriver) -> None:
    member, now = ledger.member(), ledger.now
    for day in (3, 1, 4, 2):
        ledger.issue(
            member, day, matures_at=now + timedelta(days=day), expires_at=now + timedelta(days=20 - day)
        )
    ledger.pass_time(days=5)
    ledger.bring_up_to_date(member)
    ledger.pass_time(days=20)
    ledger.bring_up_to_date(member)
    for kind, order in (("mature", [1, 2, 3, 4]), ("expire", [4, 3, 2, 1])):
        entries = ledger.rows(
            "SELECT e.ordinal, e.points FROM ledger.entry e JOIN ledger.transaction t"
            " USING (member_id, business_date, transaction_id) WHERE kind = :kind ORDER BY ordinal",
            kind=kind,
        )
        assert entries == [
            (nth, points)
            for nth, points in enumerate((sign * points for points in order for sign in (-1, 1)), start=1)
        ]
    _clean(ledger)


def test_holds_lapse_in_the_order_of_their_time(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    for minutes in (3, 1, 4, 2):
        ledger.authorize(member, minutes, seconds_to_live=60 * minutes)
    other = ledger.member(available=10)
    ledger.authorize(other, 1, seconds_to_live=90)
    now = ledger.now
    _set_clock(ledger, now + timedelta(seconds=60))
    ledger.bring_up_to_date(member)
    assert _next_due(ledger, member) == now + timedelta(minutes=2)
    ledger.pass_time(minutes=10)
    ledger.bring_up_to_date(member)
    assert _next_due(ledger, member) is None
    assert ledger.kinds(member)[-4:] == [("lapse", minutes) for minutes in (1, 2, 3, 4)]
    _clean(ledger)


def test_all_that_can_come_due_comes_due_in_one_posting(ledger: LedgerDriver) -> None:
    member, claimant, now = ledger.member(), ledger.partner(), ledger.now
    issued = ledger.issue(member, 5, by=claimant)
    ledger.redeem(member, 5, by=claimant)
    ledger.reverse(issued.ref, by=claimant)
    ledger.issue(member, 12, matures_at=now + timedelta(days=1), expires_at=now + timedelta(days=2))
    with_hold = ledger.issue(member, 5 + 20, expires_at=now + timedelta(days=90))  # 5 pay the claim
    assert with_hold.balance.available == 20
    ledger.authorize(member, 20, seconds_to_live=60)
    _set_clock(ledger, now + timedelta(days=2))
    assert ledger.issue(member, 1).balance.available == 21
    assert ledger.kinds(member)[-4:] == [("mature", 12), ("lapse", 20), ("expire", 12), ("issue", 1)]
    _clean(ledger)


@pytest.mark.parametrize(("term", "kind"), [("matures_at", "mature"), ("expires_at", "expire")])
def test_what_came_due_at_several_moments_is_posted_in_their_order(
    ledger: LedgerDriver, term: str, kind: str
) -> None:
    member = ledger.member()
    for points in (8, 3, 6, 1, 7, 2, 5, 4):
        ledger.issue(member, points, **{term: ledger.now + timedelta(days=points)})
    ledger.pass_time(days=9)
    ledger.bring_up_to_date(member)
    posted = ledger.rows(
        "SELECT abs(e.points) FROM ledger.entry e JOIN ledger.transaction t USING (member_id, business_date, transaction_id)"
        " WHERE t.kind = :kind AND e.points < 0 ORDER BY e.ordinal",
        kind=kind,
    )
    assert posted == [(points,) for points in range(1, 9)]
    _clean(ledger)
