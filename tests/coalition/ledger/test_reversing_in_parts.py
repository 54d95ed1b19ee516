"""Parts of an issue or a redemption, until nothing is left: from which bucket, to which lot, and what is claimed."""

from datetime import timedelta
from decimal import Decimal

import pytest
from driver import LedgerDriver

from coalition import errors
from coalition.audit import run_audit
from coalition.ids import MemberId
from coalition.ledger.posting import TermsSuperseded


def _clean(ledger: LedgerDriver) -> None:
    with ledger.database.reading() as session:
        assert run_audit(session) == []


def _first_lot(ledger: LedgerDriver) -> tuple[int, ...]:
    """available, held, recalled, burned, reversed, transferred."""
    return ledger.rows(
        "SELECT available, held, recalled, burned, reversed, transferred FROM ledger.lot"
        " WHERE from_lot_id IS NULL ORDER BY issued_at, sequence LIMIT 1"
    )[0]


def _deficit(ledger: LedgerDriver, member: MemberId) -> int:
    return ledger.balance(member).deficit


def test_a_part_takes_what_is_available_then_what_is_held_then_what_is_spent(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 100)
    ledger.redeem(member, 20)
    hold = ledger.authorize(member, 30)
    assert ledger.reverse(issued.ref, 45).points == 45
    assert _first_lot(ledger) == (5, 30, 0, 20, 45, 0)
    assert ledger.reverse(issued.ref, 15).points == 5
    assert _first_lot(ledger) == (0, 30, 10, 20, 50, 0)
    assert ledger.reverse(issued.ref, 25).points == 0
    assert (_first_lot(ledger), _deficit(ledger, member)) == ((0, 30, 30, 20, 50, 0), 5)
    before = ledger.snapshot()
    with pytest.raises(errors.ReversalExceeded) as refusal:
        ledger.reverse(issued.ref, 16)
    assert refusal.value.facts == {"left": 15, "requested": 16}
    assert ledger.snapshot() == before
    ledger.reverse(issued.ref)
    assert _deficit(ledger, member) == 20
    with pytest.raises(errors.AlreadyReversed):
        ledger.reverse(issued.ref, 1)
    ledger.void(hold.ref)
    assert (_first_lot(ledger), _deficit(ledger, member)) == ((0, 0, 0, 20, 80, 0), 20)
    _clean(ledger)


def test_what_pends_is_taken_and_no_more_than_pends_where_the_policy_says_so(ledger: LedgerDriver) -> None:
    strict = ledger.partner(return_policy="pending_only")
    member = ledger.member()
    issued = ledger.issue(member, 20, by=strict, matures_at=ledger.now + timedelta(days=3))
    assert ledger.reverse(issued.ref, 5, by=strict).balance.pending == 15
    assert ledger.reverse(issued.ref, 15, by=strict).balance.pending == 0
    again = ledger.issue(member, 20, by=strict, matures_at=ledger.now + timedelta(days=3))
    ledger.pass_time(days=3)
    with pytest.raises(errors.ReturnPolicyForbids) as refusal:
        ledger.reverse(again.ref, 1, by=strict)
    assert refusal.value.facts == {"pending": 0, "points": 1}
    _clean(ledger)


def test_what_was_given_away_is_claimed_as_what_was_spent_is(ledger: LedgerDriver) -> None:
    member, friend = ledger.member(), ledger.member()
    issued = ledger.issue(member, 50)
    ledger.transfer(member, 30, to=friend)
    ledger.redeem(member, 15)
    assert ledger.reverse(issued.ref).points == 5
    assert (_first_lot(ledger), _deficit(ledger, member)) == ((0, 0, 0, 15, 5, 30), 45)
    _clean(ledger)


def test_what_expired_is_not_claimed_though_more_is_missing(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 50, expires_at=ledger.now + timedelta(days=1))
    ledger.redeem(member, 12)
    ledger.pass_time(days=1)
    assert ledger.reverse(issued.ref, 5).points == 0
    assert _deficit(ledger, member) == 5
    ledger.reverse(issued.ref, 30)
    assert _deficit(ledger, member) == 12
    ledger.reverse(issued.ref)
    assert _deficit(ledger, member) == 12
    _clean(ledger)


def test_a_claim_of_one_point(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 10)
    ledger.redeem(member, 1)
    ledger.reverse(issued.ref)
    assert _deficit(ledger, member) == 1
    assert ledger.rows("SELECT points, claimed_at FROM ledger.deficit") == [(1, ledger.now)]
    _clean(ledger)


def test_an_issue_that_earned_nothing_is_taken_back_once(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 0, amount=Decimal("0.40"))
    assert ledger.reverse(issued.ref).points == 0
    before = ledger.snapshot()
    with pytest.raises(errors.AlreadyReversed):
        ledger.reverse(issued.ref)
    assert ledger.snapshot() == before
    _clean(ledger)


def test_money_that_went_back_meanwhile_is_noticed_and_no_more_goes_back_than_was_paid(
    ledger: LedgerDriver,
) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 10, amount=Decimal("10.50"))
    ledger.reverse(issued.ref, 4, amount=Decimal("4.20"))
    before = ledger.snapshot()
    with pytest.raises(TermsSuperseded):
        ledger.reverse(issued.ref, 3, amount=Decimal("3.00"))
    with pytest.raises(errors.ReversalExceeded):
        ledger.reverse(issued.ref, 3, amount=Decimal("6.31"), amount_before=Decimal("4.20"))
    assert ledger.snapshot() == before
    ledger.reverse(issued.ref, 6, amount=Decimal("6.30"), amount_before=Decimal("4.20"))
    _clean(ledger)


def test_the_last_of_the_money_goes_back_though_no_point_is_left(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 1, amount=Decimal("1.50"))
    nothing = ledger.issue(member, 0, amount=Decimal("0.90"))
    spent = ledger.redeem(member, 1, amount=Decimal(10))
    for posting, first, points, last in (
        (nothing, Decimal("0.10"), 0, Decimal("0.80")),
        (spent, Decimal(6), 1, Decimal(4)),
        (issued, Decimal(1), 1, Decimal("0.50")),
    ):
        ledger.reverse(posting.ref, points, amount=first)
        before = ledger.snapshot()
        # What another till takes for a point was worked out before the first part went back.
        with pytest.raises(TermsSuperseded):
            ledger.reverse(posting.ref, 1, amount=last)
        with pytest.raises(errors.ReversalExceeded):
            ledger.reverse(posting.ref, 0, amount=last + Decimal("0.01"), amount_before=first)
        for more in (None, 1):
            with pytest.raises(errors.AlreadyReversed):
                ledger.reverse(posting.ref, more, amount=last, amount_before=first)
        with pytest.raises(errors.AlreadyReversed):
            ledger.reverse(posting.ref)
        assert ledger.snapshot() == before
        assert ledger.reverse(posting.ref, 0, amount=last, amount_before=first).points == 0
        before = ledger.snapshot()
        with pytest.raises(errors.AlreadyReversed):
            ledger.reverse(posting.ref, 0, amount=Decimal("0.01"), amount_before=first + last)
        assert ledger.snapshot() == before
    assert ledger.balance(member).available == 0
    _clean(ledger)


def test_money_that_is_worth_no_point_is_none_where_nothing_says_of_money(ledger: LedgerDriver) -> None:
    issued = ledger.issue(ledger.member(), 5)
    ledger.reverse(issued.ref)
    before = ledger.snapshot()
    with pytest.raises(errors.AlreadyReversed):
        ledger.reverse(issued.ref, 0, amount=Decimal("0.01"))
    assert ledger.snapshot() == before


def test_no_money_goes_back_of_what_was_not_posted_as_money(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued, redeemed = ledger.issue(member, 100), ledger.redeem(member, 40)
    before = ledger.snapshot()
    for posting in (issued, redeemed):
        for points in (None, 1):
            with pytest.raises(errors.ReversalExceeded) as refusal:
                ledger.reverse(posting.ref, points, amount=Decimal("0.01"))
            assert refusal.value.facts["amount_left"] == "0"
    assert ledger.snapshot() == before
    _clean(ledger)


@pytest.mark.parametrize("pooled", [False, True])
def test_money_that_is_worth_no_point_goes_back_and_moves_none(ledger: LedgerDriver, pooled: bool) -> None:
    ada, ben = ledger.member(available=5), ledger.member(available=5)
    ledger.pool(ada, ben)
    spent = ledger.redeem(ada, 10 if pooled else 5, from_pool=pooled, amount=Decimal(100))
    sale = ledger.issue(ada, 3)
    ledger.redeem(ada, 3)
    ledger.reverse(sale.ref)
    owed = _deficit(ledger, ada)
    nothing = ledger.reverse(spent.ref, 0, amount=Decimal(1))
    assert (nothing.points, nothing.balance.available, _deficit(ledger, ada)) == (0, 0, owed)
    _clean(ledger)
    ledger.reverse(spent.ref, amount=Decimal(99), amount_before=Decimal(1))
    assert [ledger.balance(one).available for one in (ada, ben)] == [5 - owed, 5]
    _clean(ledger)


def test_a_redemption_goes_back_in_parts_the_last_drawn_first(ledger: LedgerDriver) -> None:
    member = ledger.member()
    for days in (1, 2, 3):
        ledger.issue(member, 10, expires_at=ledger.now + timedelta(days=days))
    redeemed = ledger.redeem(member, 25)
    available = []
    for points in (3, 4, 11, 7):
        ledger.reverse(redeemed.ref, points)
        available.append([n for (n,) in ledger.rows("SELECT available FROM ledger.lot ORDER BY sequence")])
    assert available == [[0, 0, 8], [0, 2, 10], [3, 10, 10], [10, 10, 10]]
    with pytest.raises(errors.AlreadyReversed):
        ledger.reverse(redeemed.ref, 1)
    entries = ledger.rows(
        "SELECT e.ordinal, e.bucket, e.points FROM ledger.entry e JOIN ledger.transaction t"
        " USING (member_id, business_date, transaction_id) WHERE t.points = 11 ORDER BY e.ordinal"
    )
    assert entries == [(1, "burned", -3), (2, "available", 3), (3, "burned", -8), (4, "available", 8)]
    _clean(ledger)


def test_what_comes_back_is_due_again_when_the_first_of_its_lots_expires(ledger: LedgerDriver) -> None:
    member, expires = ledger.member(), ledger.now + timedelta(days=5)
    ledger.issue(member, 10, expires_at=ledger.now + timedelta(days=2))
    ledger.redeem(member, 10)
    for later in (0, 1):
        ledger.issue(member, 10, expires_at=expires + timedelta(days=later))
    redeemed = ledger.redeem(member, 20)
    ledger.issue(member, 1, matures_at=ledger.now + timedelta(days=1))
    ledger.pass_time(days=1)
    ledger.bring_up_to_date(member)
    due = "SELECT next_due_at FROM ledger.member_head WHERE member_id = :member"
    assert ledger.rows(due, member=member) == [(None,)]
    ledger.reverse(redeemed.ref, 11)
    assert ledger.rows(due, member=member) == [(expires,)]


@pytest.mark.parametrize(("grace", "left"), [(14, 10), (0, 0)])
def test_points_that_come_back_in_the_moment_their_lot_expires_get_its_grace(
    ledger: LedgerDriver, grace: int, left: int
) -> None:
    partner = ledger.partner(grace_days=grace)
    member, expires = ledger.member(), ledger.now + timedelta(days=5)
    ledger.issue(member, 10, by=partner, expires_at=expires)
    redeemed = ledger.redeem(member, 10, by=partner)
    ledger.pass_time(days=5)
    assert ledger.reverse(redeemed.ref, by=partner).balance.available == left
    assert ledger.rows("SELECT expires_at FROM ledger.lot") == [(expires + timedelta(days=grace),)]
    _clean(ledger)


def test_a_lot_that_lives_keeps_its_day(ledger: LedgerDriver) -> None:
    member, expires = ledger.member(), ledger.now + timedelta(days=5, microseconds=1)
    ledger.issue(member, 10, expires_at=expires)
    redeemed = ledger.redeem(member, 10)
    ledger.pass_time(days=5)
    ledger.reverse(redeemed.ref)
    assert ledger.rows("SELECT expires_at FROM ledger.lot") == [(expires,)]


def _entries(ledger: LedgerDriver, member: MemberId, kind: str) -> list[tuple[int, str, int]]:
    return [
        (ordinal, bucket, points)
        for ordinal, bucket, points in ledger.rows(
            "SELECT e.ordinal, e.bucket, e.points FROM ledger.entry e JOIN ledger.transaction t"
            " USING (member_id, business_date, transaction_id) WHERE t.member_id = :member AND t.kind = :kind"
            " ORDER BY t.sequence, e.ordinal",
            member=member,
            kind=kind,
        )
    ]


def test_the_entries_of_what_is_taken_back_have_places_of_their_own(ledger: LedgerDriver) -> None:
    pending, spent, recalled = (ledger.member() for _ in range(3))
    ledger.reverse(ledger.issue(pending, 5, matures_at=ledger.now + timedelta(days=1)).ref)
    assert _entries(ledger, pending, "reverse_issue") == [(1, "pending", -5), (3, "reversed", 5)]
    issued = ledger.issue(spent, 5)
    ledger.redeem(spent, 3)
    ledger.reverse(issued.ref)
    assert _entries(ledger, spent, "reverse_issue") == [
        (2, "available", -2),
        (3, "reversed", 2),
        (4, "available", -3),
        (5, "reversed", 3),
    ]
    held = ledger.issue(recalled, 5)
    hold = ledger.authorize(recalled, 5)
    ledger.reverse(held.ref)
    ledger.capture(hold.ref, 4)
    assert _entries(ledger, recalled, "reverse_issue") == [
        (1, "available", -1),
        (2, "reversed", 1),
        (3, "available", -4),
        (4, "reversed", 4),
    ]
    _clean(ledger)


def test_what_other_holds_still_have_waits_for_these(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 100)
    first, second = ledger.authorize(member, 50), ledger.authorize(member, 50)
    ledger.reverse(issued.ref, 30)
    ledger.capture(first.ref)
    assert ledger.kinds(member)[-2:] == [("reverse_issue", 0), ("capture", 50)]
    ledger.void(second.ref)
    assert ledger.kinds(member)[-2:] == [("void", 50), ("reverse_issue", 30)]
    assert (ledger.balance(member).available, _deficit(ledger, member)) == (20, 0)
    _clean(ledger)


def test_a_single_point_that_was_recalled_and_is_taken_is_claimed(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 1)
    hold = ledger.authorize(member, 1)
    ledger.reverse(issued.ref)
    ledger.capture(hold.ref)
    assert _deficit(ledger, member) == 1
    _clean(ledger)


def test_what_leaves_when_its_hold_ends_was_undone_before(ledger: LedgerDriver) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 100)
    hold = ledger.authorize(member, 60)
    ledger.reverse(issued.ref, 45)
    ledger.void(hold.ref)
    before = ledger.snapshot()
    with pytest.raises(errors.ReversalExceeded) as refusal:
        ledger.reverse(issued.ref, 56)
    assert refusal.value.facts == {"left": 55, "requested": 56}
    assert ledger.snapshot() == before
    assert ledger.reverse(issued.ref, 55).balance.available == 0
    _clean(ledger)
