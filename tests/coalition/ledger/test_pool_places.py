"""Places in a pool: who is invited, joins and leaves, what is written of it, and what is refused by name."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from driver import LedgerDriver

from coalition import errors, pooling
from coalition.amounts import Points
from coalition.blocking import set_blocked
from coalition.erasing import erase_member
from coalition.ids import MemberId
from coalition.pooling import PoolSpenders

FOURTEEN_DAYS = timedelta(days=14)


def refused(ledger: LedgerDriver, kind: type[errors.CoalitionError], act: Any) -> dict[str, Any]:
    """The facts of a refusal that changed nothing."""
    before = ledger.snapshot()
    with pytest.raises(kind) as refusal:
        act()
    assert ledger.snapshot() == before
    return refusal.value.facts


def places(ledger: LedgerDriver, pool: UUID) -> set[tuple[Any, ...]]:
    return set(
        ledger.rows(
            "SELECT member_id, invited_at, joined_at, ended_at FROM ledger.pool_member WHERE pool_id = :pool",
            pool=pool,
        )
    )


def in_pools(ledger: LedgerDriver) -> dict[MemberId, UUID | None]:
    return dict(ledger.rows("SELECT member_id, pool_id FROM ledger.member_head"))


def erased(ledger: LedgerDriver) -> MemberId:
    member = ledger.member()
    with ledger.database.unit_of_work() as session:
        erase_member(session, member)
    return member


def merged(ledger: LedgerDriver, survivor: MemberId) -> MemberId:
    member = ledger.member()
    ledger.merge(survivor, member)
    return member


def test_what_is_written_of_a_pool_and_its_places(ledger: LedgerDriver) -> None:
    ada, ben, cleo, dora = (ledger.member() for _ in range(4))
    opened = ledger.pass_time(minutes=1)
    pool = ledger.pool(
        ada,
        name="Home",
        spenders=PoolSpenders.HEAD,
        spender_limit_points=Points(70),
        own_first=False,
        most_members=3,
    )
    other = ledger.pool(dora)
    with ledger.database.reading() as session:
        found = pooling.find_pool(session, pool)
        assert found is not None
        assert pooling.names_of(session, [found]) == {pool: "Home"}
    assert ledger.rows("SELECT * FROM ledger.pool WHERE pool_id = :pool", pool=pool) == [
        (pool, found.words, ada, "head", 70, False, 3, opened, None)
    ]
    assert places(ledger, pool) == {(ada, opened, opened, None)}
    invited = ledger.pass_time(minutes=1)
    assert ledger.invite(ada, ben) == pool
    ledger.invite(ada, cleo)
    joined = ledger.pass_time(minutes=1)
    ledger.join_pool(ben, pool)
    assert places(ledger, pool) == {
        (ada, opened, opened, None),
        (ben, invited, joined, None),
        (cleo, invited, None, None),
    }
    assert in_pools(ledger) == {ada: pool, ben: pool, cleo: None, dora: other}
    left = ledger.pass_time(minutes=1)
    assert ledger.leave_pool(ben) == pool
    assert places(ledger, pool) == {
        (ada, opened, opened, None),
        (ben, invited, joined, left),
        (cleo, invited, None, None),
    }
    assert in_pools(ledger) == {ada: pool, ben: None, cleo: None, dora: other}
    closed = ledger.pass_time(minutes=1)
    assert ledger.leave_pool(ada) == pool
    assert places(ledger, pool) == {
        (ada, opened, opened, closed),
        (ben, invited, joined, left),
        (cleo, invited, None, closed),
    }
    assert in_pools(ledger) == {ada: None, ben: None, cleo: None, dora: other}
    assert set(ledger.rows("SELECT pool_id, closed_at FROM ledger.pool")) == {(pool, closed), (other, None)}
    assert places(ledger, other) == {(dora, opened, opened, None)}


def test_an_invitation_is_good_for_less_than_fourteen_days(ledger: LedgerDriver) -> None:
    ada, ben, cleo = (ledger.member() for _ in range(3))
    pool = ledger.pool(ada, most_members=2)
    invited = ledger.now
    ledger.invite(ada, ben)
    ledger.pass_time(days=13, hours=23, minutes=59)
    assert refused(ledger, errors.PoolFull, lambda: ledger.invite(ada, cleo)) == {"most": 2}
    over = ledger.pass_time(minutes=1)
    assert over == invited + FOURTEEN_DAYS
    refused(ledger, errors.PoolUnknown, lambda: ledger.join_pool(ben, pool))
    ledger.invite(ada, cleo)  # whose place is free again
    assert places(ledger, pool) == {
        (ada, invited, invited, None),
        (ben, invited, None, over),
        (cleo, over, None, None),
    }
    ledger.pass_time(days=13, hours=23, minutes=59)
    ledger.join_pool(cleo, pool)
    ledger.pass_time(days=30)  # a place that was taken stays taken
    assert refused(ledger, errors.PoolFull, lambda: ledger.invite(ada, ben)) == {"most": 2}
    before = ledger.snapshot()
    ledger.join_pool(cleo, pool)
    assert ledger.snapshot() == before


def test_places_of_other_pools_and_of_those_who_left_are_not_counted(ledger: LedgerDriver) -> None:
    ada, ben, cleo, dora = (ledger.member() for _ in range(4))
    mine = ledger.pool(ada, ben, most_members=2)
    theirs = ledger.pool(cleo, most_members=2)
    ledger.invite(cleo, dora)
    ledger.leave_pool(ben)
    ledger.invite(ada, dora)  # who is invited elsewhere, too
    refused(ledger, errors.PoolFull, lambda: ledger.invite(ada, ben))
    ledger.pass_time(days=14)
    ledger.invite(ada, ben)
    assert {row[0] for row in places(ledger, theirs) if row[3] is None} == {
        cleo,
        dora,
    }  # who has asked nobody
    ledger.join_pool(ben, mine)
    assert in_pools(ledger)[ben] == mine


def test_who_comes_back_is_invited_anew(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(), ledger.member()
    pool = ledger.pool(ada, ben)
    ledger.pass_time(minutes=1)
    ledger.leave_pool(ben)
    refused(ledger, errors.PoolUnknown, lambda: ledger.join_pool(ben, pool))
    ledger.pass_time(minutes=1)
    ledger.invite(ada, ben)
    joined = ledger.pass_time(minutes=1)
    ledger.join_pool(ben, pool)
    assert [row[2] for row in places(ledger, pool) if row[0] == ben and row[3] is None] == [joined]
    assert in_pools(ledger) == {ada: pool, ben: pool}


def test_whoever_is_not_there_was_merged_or_erased_has_no_part_in_pools(ledger: LedgerDriver) -> None:
    ada, ben, survivor = (ledger.member() for _ in range(3))
    nobody, gone, part = MemberId(uuid4()), erased(ledger), merged(ledger, survivor)
    pool = ledger.pool(ada)
    told = {"survivor": str(survivor)}
    acts: tuple[Any, ...] = (
        ledger.pool,
        lambda who: ledger.invite(who, ben),
        lambda who: ledger.join_pool(who, pool),
        ledger.leave_pool,
    )
    for act in acts:
        for who, kind, facts in (
            (nobody, errors.MemberUnknown, {}),
            (gone, errors.MemberErased, {}),
            (part, errors.MemberMerged, told),
        ):
            assert refused(ledger, kind, lambda act=act, who=who: act(who)) == facts
    for invited in (nobody, gone, part):
        facts = refused(ledger, errors.MemberUnknown, lambda invited=invited: ledger.invite(ada, invited))
        assert facts == {"receiver": True}


def test_who_was_never_in_a_pool_learns_nothing_of_it_and_who_was_may_not_close_it(
    ledger: LedgerDriver,
) -> None:
    ada, ben, cleo, stranger = (ledger.member() for _ in range(4))
    pool, other = ledger.pool(ada, ben), ledger.pool(stranger)
    ledger.invite(ada, cleo)
    ledger.leave_pool(ben)
    for by, kind in (
        (cleo, errors.PoolUnknown),  # only invited
        (stranger, errors.PoolUnknown),
        (ben, errors.PoolHeadOnly),
    ):
        refused(ledger, kind, lambda by=by: ledger.close_pool(pool, by=by))
    refused(ledger, errors.PoolUnknown, lambda: ledger.close_pool(uuid4(), by=ada))
    refused(ledger, errors.NotInPool, lambda: ledger.invite(ben, cleo))
    refused(ledger, errors.NotInPool, lambda: ledger.leave_pool(ben))
    ledger.close_pool(pool, by=ada)
    refused(ledger, errors.PoolClosed, lambda: ledger.close_pool(pool, by=ben))
    refused(ledger, errors.PoolClosed, lambda: ledger.join_pool(ada, pool))
    assert in_pools(ledger)[stranger] == other


def test_who_is_blocked_keeps_its_place_and_takes_no_other(ledger: LedgerDriver) -> None:
    ada, ben, cleo = (ledger.member() for _ in range(3))
    pool = ledger.pool(ada, ben)
    ledger.invite(ada, cleo)
    for member in (ada, ben, cleo):
        with ledger.database.unit_of_work() as session:
            set_blocked(session, member, blocked=True, by="test")
    refused(ledger, errors.MemberBlocked, lambda: ledger.pool(cleo))
    refused(ledger, errors.MemberBlocked, lambda: ledger.join_pool(cleo, pool))
    refused(ledger, errors.AlreadyInPool, lambda: ledger.pool(ben))
    ledger.leave_pool(ben)
    assert in_pools(ledger) == {ada: pool, ben: None, cleo: None}
