"""Lots and claims that change hands, in a transfer, a merge or an un-merge: in which order, and what they take along."""

from datetime import datetime, timedelta
from typing import Any

from driver import START, LedgerDriver

from coalition.audit import run_audit
from coalition.ids import MemberId

SOON, LATE = START + timedelta(days=5), START + timedelta(days=200)


def clean(ledger: LedgerDriver) -> bool:
    with ledger.database.reading() as session:
        return run_audit(session) == []


def legs(ledger: LedgerDriver, kind: str, bucket: str = "%") -> list[tuple[Any, ...]]:
    """The legs of the member's last transaction of a kind, as they are numbered."""
    return ledger.rows(
        """
        SELECT ordinal, bucket, points FROM ledger.entry WHERE bucket LIKE :bucket AND transaction_id = (
            SELECT transaction_id FROM ledger.transaction WHERE kind = :kind ORDER BY inserted_at DESC LIMIT 1)
        ORDER BY ordinal
        """,
        kind=kind,
        bucket=bucket,
    )


def due(ledger: LedgerDriver, member: MemberId) -> datetime | None:
    [(at,)] = ledger.rows("SELECT next_due_at FROM ledger.member_head WHERE member_id = :id", id=member)
    return at  # type: ignore[no-any-return]


def available(ledger: LedgerDriver, member: MemberId) -> list[int]:
    return [
        points
        for (points,) in ledger.rows(
            "SELECT available FROM ledger.lot WHERE member_id = :id ORDER BY sequence, ordinal", id=member
        )
    ]


def with_six_lots_that_came_together(ledger: LedgerDriver, taker: MemberId, giver: MemberId) -> None:
    for points in (2, 3, 4, 5, 6, 7):
        ledger.issue(giver, points, expires_at=LATE)
    ledger.merge(taker, giver)
    # The first row is written again, and lies behind the others from now on.
    ledger.redeem(taker, 1)


def test_lots_that_came_together_are_given_in_the_order_in_which_they_lie(ledger: LedgerDriver) -> None:
    taker, other = ledger.member(), ledger.member()
    with_six_lots_that_came_together(ledger, taker, ledger.member())
    ledger.transfer(taker, 8, to=other)
    assert available(ledger, taker) == [0, 0, 0, 5, 6, 7]
    assert available(ledger, other) == [1, 3, 4]
    assert clean(ledger)


def test_lots_that_came_together_are_given_back_in_the_order_in_which_they_lie(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(), ledger.member()
    with_six_lots_that_came_together(ledger, ada, ben)
    ledger.unmerge(ada, ben)
    assert [points for *_, points in legs(ledger, "unmerge_out", "available")] == [-1, -3, -4, -5, -6, -7]
    assert clean(ledger)


def test_lots_of_several_merges_are_given_back_by_expiry_then_as_they_came(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(), ledger.member()
    for points, expires_at in ((5, SOON), (7, LATE), (8, LATE), (11, LATE)):
        ledger.issue(ben, points, expires_at=expires_at)
    spent = ledger.redeem(ben, 6)  # what expires first, and one of the next
    rest = ledger.redeem(ben, 6)
    ledger.merge(ada, ben)
    # Each goes back to its lot at the merged member, and comes along once more.
    ledger.reverse(rest.ref)
    ledger.reverse(spent.ref, 1)
    ledger.reverse(spent.ref)
    assert ledger.rows(
        "SELECT sequence, ordinal, available FROM ledger.lot WHERE member_id = :ada ORDER BY expires_at, sequence, ordinal",
        ada=ada,
    ) == [(4, 0, 5), (1, 0, 8), (1, 3, 11), (2, 0, 6), (3, 0, 1)]
    ledger.unmerge(ada, ben)
    assert [points for *_, points in legs(ledger, "unmerge_out", "available")] == [-5, -8, -11, -6, -1]
    assert clean(ledger)


def test_what_is_given_back_comes_due_at_who_had_nothing_left_to_come_due(ledger: LedgerDriver) -> None:
    ada, ben, cleo = ledger.member(), ledger.member(), ledger.member()
    for member in (ben, cleo):
        ledger.issue(member, 5, expires_at=SOON)
    ledger.issue(ben, 3, expires_at=LATE)
    matures_at = START + timedelta(days=90)
    ledger.issue(cleo, 1, matures_at=matures_at, expires_at=LATE)
    for member in (ben, cleo):
        ledger.merge(ada, member)
    ledger.pass_time(days=6)
    ledger.bring_up_to_date(ben, cleo)
    assert [due(ledger, member) for member in (ben, cleo)] == [None, None]
    for member in (ben, cleo):
        ledger.unmerge(ada, member)
    assert [due(ledger, member) for member in (ben, cleo)] == [LATE, matures_at]
    assert clean(ledger)


def test_a_lot_in_its_grace_period_is_handed_over_with_that_and_none_of_its_past(
    ledger: LedgerDriver,
) -> None:
    giver, taker = ledger.member(), ledger.member()
    ledger.issue(giver, 7, expires_at=SOON)
    spent = ledger.redeem(giver, 2)
    now = ledger.pass_time(days=6)
    ledger.bring_up_to_date(giver)
    ledger.reverse(spent.ref)
    ledger.transfer(giver, 2, to=taker)
    until = now + timedelta(days=14)
    assert ledger.rows(
        "SELECT points, available, expired, expires_at, first_expires_at FROM ledger.lot WHERE member_id = :taker",
        taker=taker,
    ) == [(2, 2, 0, until, until)]
    assert clean(ledger)


def test_what_is_recalled_of_a_lot_stays_with_its_holder(ledger: LedgerDriver) -> None:
    giver, taker = ledger.member(), ledger.member()
    issued = ledger.issue(giver, 10)
    spent = ledger.redeem(giver, 3)
    hold = ledger.authorize(giver, 4)
    ledger.reverse(issued.ref, 5)  # three that are available, and two of the held
    ledger.reverse(spent.ref)
    lots = "SELECT member_id = :taker, available, held, recalled FROM ledger.lot ORDER BY 1"
    assert ledger.rows(lots, taker=taker) == [(False, 3, 4, 2)]
    ledger.transfer(giver, 3, to=taker)
    assert ledger.rows(lots, taker=taker) == [(False, 0, 4, 2), (True, 3, 0, 0)]
    ledger.void(hold.ref)
    assert ledger.balance(giver).available == 2
    assert clean(ledger)


def test_one_point_that_pends_is_handed_over_pending_and_matures_there(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(), ledger.member()
    matures_at = START + timedelta(days=20)
    ledger.issue(ben, 1, matures_at=matures_at, expires_at=LATE)
    ledger.merge(ada, ben)
    assert legs(ledger, "merge_in") == [(1, "received", -1), (2, "pending", 1)]
    assert legs(ledger, "merge_out") == [(1, "pending", -1), (3, "transferred", 1)]
    assert due(ledger, ada) == matures_at
    assert clean(ledger)


def test_of_a_lot_that_has_matured_only_its_expiry_is_still_due(ledger: LedgerDriver) -> None:
    giver, taker = ledger.member(), ledger.member()
    ledger.issue(giver, 5, matures_at=SOON, expires_at=LATE)
    ledger.pass_time(days=6)
    ledger.transfer(giver, 5, to=taker)
    assert due(ledger, taker) == LATE


def test_points_that_activity_keeps_alive_it_keeps_alive_for_who_got_them(ledger: LedgerDriver) -> None:
    ledger.partner()
    lively = ledger.partner(
        expiry_rule="inactivity", expiry_months=1, activity="any", activity_where="anywhere"
    )
    giver, taker = ledger.member(), ledger.member(available=1)
    ledger.issue(giver, 5, by=lively, expires_at=START + timedelta(days=30))
    ledger.transfer(giver, 5, to=taker)
    ledger.pass_time(days=20)
    ledger.redeem(taker, 1)
    ledger.pass_time(days=20)
    ledger.bring_up_to_date(taker)
    assert ledger.balance(taker).available == 5


def owing(ledger: LedgerDriver, member: MemberId, *claims: int) -> None:
    """One who has spent what is reversed then: so many claims."""
    issued = [ledger.issue(member, points) for points in claims]
    ledger.redeem(member, sum(claims))
    for posting in issued:
        ledger.reverse(posting.ref)


def test_open_claims_go_along_in_the_order_in_which_they_arose(ledger: LedgerDriver) -> None:
    eve, ben, ada = ledger.member(), ledger.member(), ledger.member()
    later = ledger.issue(ben, 6)
    ledger.redeem(ben, 6)
    owing(ledger, eve, 2, 5, 8)
    ledger.issue(eve, 2)  # pays the first of them
    ledger.pass_time(days=1)
    ledger.close_window()
    ledger.merge(ben, eve)
    assert legs(ledger, "merge_out") == [
        (1, "available", 5),
        (2, "reversed", -5),
        (3, "available", 8),
        (4, "reversed", -8),
    ]
    assert legs(ledger, "merge_in") == [
        (1, "available", -5),
        (2, "reversed", 5),
        (3, "available", -8),
        (4, "reversed", 8),
    ]
    ledger.issue(ben, 4)  # pays all but one point of the first of these, whose row lies last from now on
    ledger.reverse(later.ref)
    ledger.merge(ada, ben)
    assert ledger.rows(
        "SELECT ordinal, points, open_points FROM ledger.deficit WHERE member_id = :ada ORDER BY ordinal",
        ada=ada,
    ) == [(0, 1, 1), (2, 8, 8), (4, 6, 6)]
    assert ledger.rows(
        "SELECT count(*) FROM ledger.deficit d LEFT JOIN ledger.transaction t USING (member_id, business_date, transaction_id)"
        " WHERE t.kind IS NULL"
    ) == [(0,)]
    assert clean(ledger)


def test_what_a_survivor_owes_itself_it_owes_after_an_unmerge_too(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(), ledger.member()
    owing(ledger, ada, 7)
    owing(ledger, ben, 5)
    ledger.merge(ada, ben)
    ledger.unmerge(ada, ben)
    assert ledger.rows(
        "SELECT member_id, open_points FROM ledger.deficit WHERE open_points > 0 ORDER BY open_points"
    ) == [(ben, 5), (ada, 7)]
    assert clean(ledger)
