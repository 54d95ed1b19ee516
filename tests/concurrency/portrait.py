"""What the books say of some members, without what chance or the wall clock put into them.

Two members to whom the same was done in the same order have equal portraits, on whatever day and under
whatever ids: every column of every row that a posting may write is in it, with ids named for what they are
and moments counted from a start.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from driver import LedgerDriver
from sqlalchemy import text

from coalition.ids import NETWORK

Portrait = dict[str, list[str]]

OF_A_MEMBER = (
    "member_head",
    "lot",
    "transaction",
    "entry",
    "hold",
    "deficit",
    "idempotency",
    "receipt",
    "confirmation",
    "adjustment",
    "pool_member",
    "review",
    "identifier",
    "identifier_change",
    "member_block",
    "operator_act",
)
# One statement: the portraits are the greater part of what the interleavings cost.
ROWS = text(
    " UNION ALL ".join(
        f"SELECT '{table}', to_jsonb(t) FROM ledger.{table} t WHERE {whose} = ANY (:ids)"
        for table, whose in (*((table, "member_id") for table in OF_A_MEMBER), ("pool", "head_id"))
    )
)
AN_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Of chance (what stands for words, too), of the ids that it hashes, or of the wall clock.
LEFT_OUT = frozenset({"digest", "fingerprint", "inserted_at", "name", "value"})


def portrait(ledger: LedgerDriver, names: Mapping[UUID, str], *, start: datetime) -> Portrait:
    """Every row of the members among the named, and of their pools; each a line, each table sorted."""
    with ledger.database.reading() as session:
        rows = session.execute(ROWS, {"ids": list(names)}).all()
    tables: dict[str, list[dict[str, Any]]] = {table: [] for table in (*OF_A_MEMBER, "pool")}
    for table, row in rows:
        tables[table].append(row)
    called = {str(one): name for one, name in names.items()} | {str(NETWORK): "the network"}
    # A member's rows are told apart by their place in its journal.
    for table, key in (("transaction", "transaction_id"), ("lot", "lot_id"), ("deficit", "deficit_id")):
        for row in tables[table]:
            place = f"{row['sequence']}.{row.get('ordinal', 0)}"
            called[row[key]] = f"{table} {place} of {called[row['member_id']]}"
    return {
        table: sorted(json.dumps(_plain(row, called, start), sort_keys=True) for row in rows)
        for table, rows in tables.items()
    }


def differences(expected: Portrait, got: Portrait) -> list[str]:
    """The lines that one has and the other has not."""
    return [
        f"{sign} {table} {line}"
        for table in expected
        for sign, mine, other in (("-", expected, got), ("+", got, expected))
        for line in mine[table]
        if mine[table].count(line) > other[table].count(line)
    ]


def _plain(row: Mapping[str, Any], called: Mapping[str, str], start: datetime) -> dict[str, Any]:
    return {column: _value(value, called, start) for column, value in row.items() if column not in LEFT_OUT}


def _value(value: Any, called: Mapping[str, str], start: datetime) -> Any:
    if not isinstance(value, str):
        return value
    value, ids = AN_ID.subn(lambda found: called.get(found[0], "an id"), value)
    if not ids and len(value) > len("2026-03-02") and value[4:5] == "-":
        return (datetime.fromisoformat(value) - start).total_seconds()
    return value
