"""The tree over a window's transactions: its root, and the roots of whole blocks that it keeps for proofs."""

from hashlib import sha256

import pytest
from driver import LedgerDriver
from sqlalchemy import Engine, text

BLOCK = 1024

# As many rows as are wanted, like the one that was posted but for what the tree is made of.
_COPIES = """
    INSERT INTO ledger.transaction
    SELECT (jsonb_populate_record(t, jsonb_build_object(
        'sequence', n, 'transaction_id', gen_random_uuid(), 'digest', '\\x' || encode(sha256(n::text::bytea), 'hex')))).*
    FROM ledger.transaction t CROSS JOIN generate_series(2, :count) AS n
"""


def root(leaves: list[bytes]) -> bytes:
    """As RFC 9162, 2.1.1, has it."""
    if len(leaves) <= 1:
        return sha256(b"".join(b"\0" + leaf for leaf in leaves)).digest()
    left = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha256(b"\1" + root(leaves[:left]) + root(leaves[left:])).digest()


@pytest.mark.parametrize("count", [1, 2, 3, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 70])
def test_the_root_is_that_of_the_rfc_and_whole_blocks_are_kept(
    ledger: LedgerDriver, owner_engine: Engine, count: int
) -> None:
    member = ledger.member()
    day = ledger.issue(member, 5).business_date
    with owner_engine.connect() as connection:
        connection.execute(text("SET search_path = ledger, pg_temp"))
        connection.execute(text(_COPIES), {"count": count})
        leaves = [
            bytes(digest)
            for (digest,) in connection.execute(
                text("SELECT digest FROM ledger.transaction ORDER BY member_id, sequence")
            )
        ]
        assert len(leaves) == count
        planted = connection.execute(text("SELECT ledger.plant_tree(:day)"), {"day": day}).scalar_one()
        kept = connection.execute(text("SELECT * FROM ledger.window_node ORDER BY position")).all()
    assert bytes(planted) == root(leaves)
    assert [tuple(node) for node in kept] == [
        (day, number, member, BLOCK * number + 1, root(leaves[BLOCK * number : BLOCK * (number + 1)]))
        for number in range(count // BLOCK)
    ]


def test_a_window_without_transactions_has_the_root_of_nothing(
    ledger: LedgerDriver, owner_engine: Engine
) -> None:
    with owner_engine.connect() as connection:
        connection.execute(text("SET search_path = ledger, pg_temp"))
        planted = connection.execute(text("SELECT ledger.plant_tree(:day)"), {"day": ledger.now.date()})
        assert bytes(planted.scalar_one()) == sha256(b"").digest()
