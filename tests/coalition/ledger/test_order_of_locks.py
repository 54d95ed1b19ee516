"""In which order a batch waits: for receipts by their keys, then pools by their ids, then members by theirs.

Whoever takes two things in one order never waits for another who takes them in the other. Asked by holding the
last of what a batch needs: when it waits for that, it has all the rest.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from concurrency.interleaving import HeldDatabase
from driver import LedgerDriver, receipt
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError
from waiting import until_somebody_waits

from coalition.audit import run_audit
from coalition.ids import MemberId
from coalition.ledger import Posting, TransactionRef
from coalition.receipts import Receipt

Hold = Callable[[Connection], Any]


@contextmanager
def waiting(ledger: LedgerDriver, owner: Engine, batch: Callable[[], Any], *, hold: Hold) -> Iterator[None]:
    """While the batch waits for what is held; after that it must have gone through."""
    with ThreadPoolExecutor(1) as pool:
        with owner.begin() as holder:
            hold(holder)
            later = pool.submit(batch)
            until_somebody_waits(ledger.database)
            yield
        assert all(isinstance(one, Posting) for one in later.result())
    with ledger.database.reading() as session:
        assert run_audit(session) == []


def is_taken(owner: Engine, statement: str, **given: Any) -> bool:
    """Whether somebody has what the statement would lock."""
    with owner.connect() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '200ms'"))
        try:
            connection.execute(text(statement), given)
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable):
                raise
            return True
        return False


def lock(table: str, key: UUID) -> Hold:
    return lambda connection: connection.execute(
        text(f"SELECT FROM ledger.{table} WHERE {_key(table)} = :key FOR UPDATE"), {"key": key}
    )


def is_locked(owner: Engine, table: str, key: UUID) -> bool:
    return is_taken(
        owner, f"SELECT FROM ledger.{table} WHERE {_key(table)} = :key FOR UPDATE NOWAIT", key=key
    )


def _key(table: str) -> str:
    return {"member_head": "member_id", "pool": "pool_id"}[table]


def locked_by(ledger: LedgerDriver, owner: Engine, act: Callable[[LedgerDriver], Any]) -> set[MemberId]:
    """Whom somebody has locked who has done this and not committed."""
    members = [member for (member,) in ledger.rows("SELECT member_id FROM ledger.member_head")]
    with ledger.database.unit_of_work() as session:
        act(replace(ledger, database=HeldDatabase(session)))  # type: ignore[arg-type]
        return {one for one in members if is_locked(owner, "member_head", one)}


_RECEIPT = """
    INSERT INTO ledger.receipt (partner_id, kind, store, terminal, number, line, revision, member_id, business_date, transaction_id)
    VALUES (:partner, :kind, :store, :terminal, :number, :line, :revision, :member, current_date, gen_random_uuid())
"""


@pytest.mark.parametrize(
    ("kinds", "first", "last"),
    [
        (("issue", "redeem"), receipt("2"), receipt("1")),
        (("issue", "issue"), receipt("2", store="S-1"), receipt("1", store="S-2")),
        (("issue", "issue"), receipt("2", terminal="T-1"), receipt("1", terminal="T-2")),
        (("issue", "issue"), receipt("1", line=2), receipt("2", line=1)),
        (("issue", "issue"), receipt(line=1, revision=1), receipt(line=2)),
        (("issue", "issue"), receipt(revision=0), receipt(revision=1)),
    ],
)
def test_receipts_are_claimed_in_the_order_of_their_keys(
    ledger: LedgerDriver, owner_engine: Engine, kinds: tuple[str, str], first: Receipt, last: Receipt
) -> None:
    member = ledger.member(available=100)
    wishes = {"issue": ledger.to_issue, "redeem": ledger.to_redeem}
    # The one that comes last by its key is asked for first.
    lines = [wishes[kinds[1]](member, 2, receipt=last), wishes[kinds[0]](member, 1, receipt=first)]

    def claim(kind: str, of: Receipt) -> dict[str, Any]:
        names = ("store", "terminal", "number", "line", "revision")
        return {
            "partner": ledger.any_partner(),
            "kind": kind,
            "member": member,
            **dict(zip(names, of.as_arguments(), strict=True)),
        }

    with ThreadPoolExecutor(1) as pool, owner_engine.connect() as holder:
        held = holder.begin()
        holder.execute(text(_RECEIPT), claim(kinds[1], last))
        later = pool.submit(ledger.batch, *lines)
        until_somebody_waits(ledger.database)
        assert is_taken(owner_engine, _RECEIPT, **claim(kinds[0], first))
        held.rollback()
        assert len(later.result()) == 2


def test_members_are_locked_in_the_order_of_their_ids(ledger: LedgerDriver, owner_engine: Engine) -> None:
    *others, last = sorted(ledger.member(available=5) for _ in range(4))
    outsider = ledger.member()
    lines = [ledger.to_issue(member, 1) for member in (last, *reversed(others))]
    with waiting(ledger, owner_engine, lambda: ledger.batch(*lines), hold=lock("member_head", last)):
        assert all(is_locked(owner_engine, "member_head", member) for member in others)
        assert not is_locked(owner_engine, "member_head", outsider)


def test_so_are_they_by_the_night_of_however_many_it_brings_up_to_date(
    ledger: LedgerDriver, owner_engine: Engine
) -> None:
    *others, last = sorted(ledger.member() for _ in range(40))

    def night() -> list[Posting]:
        ledger.bring_up_to_date(last, *reversed(others))
        return []

    with waiting(ledger, owner_engine, night, hold=lock("member_head", last)):
        assert all(is_locked(owner_engine, "member_head", member) for member in others)


def test_pools_are_locked_in_the_order_of_their_ids_and_all_their_members_after_them(
    ledger: LedgerDriver, owner_engine: Engine
) -> None:
    spenders, givers = [ledger.member() for _ in range(2)], [ledger.member(available=50) for _ in range(3)]
    *_, stranger = givers
    pools = [ledger.pool(*pair) for pair in zip(spenders, givers, strict=False)]
    unconcerned = ledger.pool(stranger)
    first, last = sorted(pools)
    by_pool = dict(zip(pools, zip(spenders, givers, strict=False), strict=True))

    def batch() -> Any:
        return ledger.batch(
            *(ledger.to_redeem(by_pool[pool][0], 5, from_pool=True) for pool in (last, first))
        )

    with waiting(ledger, owner_engine, batch, hold=lock("pool", last)):
        assert is_locked(owner_engine, "pool", first)
        assert not is_locked(owner_engine, "pool", unconcerned)
        assert not any(
            is_locked(owner_engine, "member_head", one) for pair in by_pool.values() for one in pair
        )

    # Who is asked for first has the last of all members in its pool.
    everybody = sorted(one for pair in by_pool.values() for one in pair)
    *others, greatest = everybody
    begins = next(pool for pool, pair in by_pool.items() if greatest in pair)
    ends = next(pool for pool in pools if pool != begins)

    def again() -> Any:
        return ledger.batch(
            *(ledger.to_redeem(by_pool[pool][0], 5, from_pool=True) for pool in (begins, ends))
        )

    with waiting(ledger, owner_engine, again, hold=lock("member_head", greatest)):
        assert all(is_locked(owner_engine, "member_head", member) for member in others)
        assert not is_locked(owner_engine, "member_head", stranger)


def test_who_draws_on_a_pool_locks_its_members_and_who_gets_points_back_by_that(
    ledger: LedgerDriver, owner_engine: Engine
) -> None:
    spender, stranger = ledger.member(), ledger.member()

    def hold(of: MemberId, *, by: MemberId, seconds: int) -> TransactionRef:
        """Of a pool that is over by now."""
        pool = ledger.pool(by, of)
        held = ledger.authorize(by, 5, from_pool=True, seconds_to_live=seconds)
        ledger.close_pool(pool)
        return held.ref

    lapsed, ended, open_still, others = (ledger.member(available=5) for _ in range(4))
    hold(lapsed, by=spender, seconds=60)
    ledger.void(hold(ended, by=spender, seconds=60))
    hold(open_still, by=spender, seconds=600)
    hold(others, by=stranger, seconds=60)
    giver = ledger.member(available=5)
    ledger.pool(spender, giver)
    ledger.pass_time(minutes=2)
    assert locked_by(ledger, owner_engine, lambda held: held.redeem(spender, 5, from_pool=True)) == {
        spender,
        giver,
        lapsed,
    }


def test_who_is_told_again_what_it_was_told_locks_only_the_member(
    ledger: LedgerDriver, owner_engine: Engine
) -> None:
    """Not those into whom that member was merged, where no points of others are concerned."""
    member, survivor = ledger.member(available=5), ledger.member()
    hold = ledger.authorize(member, 5)
    ledger.capture(hold.ref, key="till")
    ledger.merge(survivor, member)
    assert locked_by(ledger, owner_engine, lambda held: held.capture(hold.ref, key="till")) == {member}
