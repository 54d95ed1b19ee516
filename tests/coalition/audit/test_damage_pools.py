"""Pools: each check sees the damage that it is for, and names the row."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from audit_books import Damage
from databases import TestCluster, TestDatabase
from driver import LedgerDriver
from sqlalchemy import create_engine, text

from coalition.audit import run_audit
from coalition.db import roles

REF = "concat_ws('/', member_id, business_date, transaction_id)"
LOT = "concat_ws('/', member_id, lot_id)"
POOL_IN = (
    "(SELECT l.ctid FROM ledger.lot l JOIN ledger.transaction t USING (member_id, business_date, transaction_id)"
    " WHERE t.kind = 'pool_in' ORDER BY l.lot_id LIMIT 1)"
)


@pytest.fixture(scope="module")
def shared(cluster: TestCluster) -> Iterator[TestDatabase]:
    """Books in which members gave each other points, and a pool's were spent, held and given back."""
    with cluster.new_database() as test_database, test_database.connect() as database:
        ledger = LedgerDriver(database).open()
        ada, ben, cleo = ledger.member(available=50), ledger.member(available=50), ledger.member()
        ledger.transfer(ada, 10, to=cleo)
        ledger.pool(ada, ben, cleo)
        spent = ledger.redeem(ada, 60, from_pool=True)
        ledger.reverse(spent.ref, 15)
        ledger.authorize(ben, 53, from_pool=True)
        ledger.close_pool(ledger.pool(ledger.member()))
        with database.reading() as session:
            assert run_audit(session) == []
        yield test_database


@pytest.fixture
def damage(shared: TestDatabase) -> Iterator[Damage]:
    engine = create_engine(shared.url(roles.SUPERUSER), isolation_level="REPEATABLE READ")
    with engine.connect() as connection:
        for table, name in connection.execute(
            text(
                "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype IN ('c', 'f')"
                " AND connamespace = 'ledger'::regnamespace AND coninhcount = 0 AND conparentid = 0"
            )
        ).all():
            connection.execute(text(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"'))
        yield Damage(connection)
        connection.rollback()
    engine.dispose()


@pytest.mark.parametrize(
    ("check", "done", "row"),
    [
        (
            "both_sides_name_each_other",
            "UPDATE ledger.transaction SET points = points + 1 WHERE kind = 'transfer_out'",
            f"SELECT {REF} FROM ledger.transaction WHERE kind = 'transfer_out'",
        ),
        (
            "both_sides_name_each_other",
            "UPDATE ledger.transaction SET other_id = gen_random_uuid() WHERE kind = 'unpool_in'",
            f"SELECT {REF} FROM ledger.transaction WHERE kind = 'unpool_in'",
        ),
        (
            "both_sides_name_each_other",
            "UPDATE ledger.transaction SET kind = 'merge_in' WHERE kind = 'transfer_in'",
            f"SELECT {REF} FROM ledger.transaction WHERE kind = 'merge_in'",
        ),
        (
            "received_lots_lead_back",
            f"UPDATE ledger.lot SET issued_at = issued_at - interval '1 day' WHERE ctid = {POOL_IN}",
            f"SELECT {LOT} FROM ledger.lot WHERE ctid = {POOL_IN}",
        ),
        (
            "received_lots_lead_back",
            "UPDATE ledger.lot SET from_lot_id = gen_random_uuid() WHERE from_lot_id IS NOT NULL",
            f"SELECT {LOT} FROM ledger.lot WHERE from_lot_id IS NOT NULL",
        ),
        (
            "received_lots_lead_back",
            f"UPDATE ledger.lot SET first_expires_at = '2026-04-01', expires_at = '2026-04-01' WHERE ctid = {POOL_IN}",
            f"SELECT {LOT} FROM ledger.lot WHERE ctid = {POOL_IN}",
        ),
        (
            "given_points_are_received",
            "UPDATE ledger.lot SET points = points + 1 WHERE from_lot_id IS NOT NULL",
            "SELECT concat_ws('/', from_member_id, from_lot_id) FROM ledger.lot WHERE from_lot_id IS NOT NULL",
        ),
        (
            "places_agree_with_heads",
            "UPDATE ledger.member_head SET pool_id = gen_random_uuid() WHERE pool_id IS NOT NULL",
            "SELECT member_id FROM ledger.member_head WHERE pool_id IS NOT NULL",
        ),
        (
            "places_agree_with_heads",
            "UPDATE ledger.pool_member SET ended_at = joined_at WHERE ended_at IS NULL",
            "SELECT member_id FROM ledger.member_head WHERE pool_id IS NOT NULL",
        ),
        (
            "pools_keep_their_rules",
            "UPDATE ledger.pool SET most_members = 2 WHERE closed_at IS NULL",
            "SELECT pool_id FROM ledger.pool WHERE closed_at IS NULL",
        ),
        (
            "pools_keep_their_rules",
            "UPDATE ledger.pool SET head_id = gen_random_uuid() WHERE closed_at IS NULL",
            "SELECT pool_id FROM ledger.pool WHERE closed_at IS NULL",
        ),
        (
            "pools_keep_their_rules",
            "UPDATE ledger.pool_member SET ended_at = NULL WHERE ended_at IS NOT NULL",
            "SELECT pool_id FROM ledger.pool WHERE closed_at IS NOT NULL",
        ),
        *(
            (
                "pools_lend_among_their_members",
                done,
                f"SELECT {REF} FROM ledger.transaction WHERE kind = 'pool_in'",
            )
            for done in (
                "UPDATE ledger.pool_member SET joined_at = joined_at + interval '1 day' WHERE ended_at IS NULL",
                "UPDATE ledger.pool_member SET ended_at = joined_at - interval '1 day' WHERE ended_at IS NULL",
                "UPDATE ledger.pool_member SET pool_id = gen_random_uuid() WHERE ended_at IS NULL",
                "UPDATE ledger.pool SET spender_limit_points = 9 WHERE closed_at IS NULL",
                "UPDATE ledger.pool SET spenders = 'head', head_id = gen_random_uuid() WHERE closed_at IS NULL",
            )
        ),
        (
            "what_a_pool_gave_is_spent_or_went_back",
            f"UPDATE ledger.lot SET available = 1 WHERE ctid = {POOL_IN}",
            f"SELECT {LOT} FROM ledger.lot WHERE available = 1",
        ),
        (
            "what_a_pool_gave_is_spent_or_went_back",
            "UPDATE ledger.hold SET pooled = false",
            f"SELECT {REF} FROM ledger.hold",
        ),
        (
            "rows_belong_to_members",
            "UPDATE ledger.pool_member SET member_id = gen_random_uuid()",
            "SELECT concat('pool_member ', member_id) FROM ledger.pool_member",
        ),
        (
            "entries_fit_their_transactions_kind",
            "UPDATE ledger.entry SET bucket = 'burned' WHERE bucket = 'received'",
            (
                "SELECT concat_ws('/', member_id, business_date, transaction_id, ordinal) FROM ledger.entry e JOIN"
                " ledger.transaction t USING (member_id, business_date, transaction_id) WHERE bucket = 'burned'"
                " AND t.kind = 'pool_in'"
            ),
        ),
    ],
)
def test_damage_is_seen_and_named(damage: Damage, check: str, done: str, row: str) -> None:
    damage.do(done)
    damaged = damage.ids(row)
    seen = {found.id for found in run_audit(damage.session) if found.check == check}
    assert seen & damaged, (check, seen)
