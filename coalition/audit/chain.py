"""The hash chains and the Merkle roots, computed again from the stored rows (`coalition audit --chain`).

What was rewritten with all its sums in order shows here: a digest covers every column of a transaction, every
leg, what the lots, claims and hold that began with it came with, and the digest before it; a window's root
covers all of its digests.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from coalition.audit.finding import ROWS_PER_FETCH, Finding, findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

_LEVELS: Final = 10  # a stored subtree has 2 ** 10 leaves


def digests_are_of_their_rows(session: Session) -> Iterator[Finding]:
    """A transaction's digest is that of its columns, its legs and the member's digest before it."""
    query = """
    WITH legs AS (
        SELECT e.member_id, e.business_date, e.transaction_id,
               string_agg(concat_ws(E'\\n',
                   concat_ws('|', e.ordinal, e.bucket, e.points, e.lot_id, e.deficit_id, e.issuer_id,
                             e.agreement_id, e.funding_plan_id),
                   CASE WHEN l.lot_id IS NOT NULL THEN
                       concat('lot|', utc(l.issued_at), '|', l.sequence, '|', l.ordinal, '|',
                              utc(l.matures_at), '|', utc(l.first_expires_at), '|',
                              l.from_member_id, '|', l.from_lot_id) END,
                   CASE WHEN d.deficit_id IS NOT NULL THEN
                       concat('claim|', utc(d.claimed_at), '|', d.sequence, '|', d.ordinal, '|', d.points,
                              '|', d.claimant_id, '|', d.agreement_id, '|', d.lot_id, '|', d.from_member_id,
                              '|', d.from_deficit_id) END), E'\\n' ORDER BY e.ordinal) AS text
          FROM ledger.entry e
          LEFT JOIN ledger.lot l ON e.bucket IN ('issued', 'received') AND l.member_id = e.member_id
                                AND l.lot_id = e.lot_id
          LEFT JOIN ledger.deficit d ON e.bucket = 'reversed' AND e.points > 0 AND d.member_id = e.member_id
                                    AND d.deficit_id = e.deficit_id
         GROUP BY e.member_id, e.business_date, e.transaction_id
    ), chained AS (
        SELECT t.*, lag(t.digest, 1, decode(repeat('00', 32), 'hex'))
                    OVER (PARTITION BY t.member_id ORDER BY t.sequence) AS before
          FROM ledger.transaction t
    ), computed AS (
        SELECT c.member_id, c.business_date, c.transaction_id, c.digest,
               sha256(c.before
                      || sha256(convert_to(json_strip_nulls(json_build_object(
                           'member', c.member_id, 'window', c.business_date,
                           'transaction', c.transaction_id, 'sequence', c.sequence, 'kind', c.kind,
                           'partner', c.partner_id, 'agreement', c.agreement_id, 'points', c.points,
                           'amount', c.amount::text, 'store', c.store, 'terminal', c.terminal,
                           'receipt', c.receipt_number, 'line', c.receipt_line,
                           'revision', c.receipt_revision, 'card', c.card_id,
                           'occurred_at', utc(c.occurred_at), 'recorded_at', utc(c.recorded_at),
                           'late', c.late, 'reverses', c.reverses_id, 'reverses_window', c.reverses_date,
                           'undone', c.undone_points, 'hold', c.hold_id, 'hold_window', c.hold_date,
                           'confirmation', c.confirmation_id, 'key', c.idempotency_key,
                           'reason', c.reason))::text, 'UTF8'))
                      || sha256(convert_to(concat_ws(E'\\n', l.text,
                           CASE WHEN h.transaction_id IS NOT NULL THEN
                               concat('hold|', utc(h.authorized_at), '|', utc(h.lapses_at), '|',
                                      utc(h.redeem_by), '|', h.points, '|', h.partner_id, '|',
                                      h.agreement_id, '|', h.confirmed, '|', h.pooled) END,
                           'other|' || c.other_member_id || '|' || c.other_id,
                           'inserted|' || utc(c.inserted_at),
                           CASE WHEN l.text IS NOT NULL OR h.transaction_id IS NOT NULL
                                  OR c.other_id IS NOT NULL THEN
                               concat_ws('|', 'after', c.available_after, c.pending_after, c.held_after,
                                         c.deficit_after) END), 'UTF8'))) AS expected
          FROM chained c
          LEFT JOIN legs l USING (member_id, business_date, transaction_id)
          LEFT JOIN ledger.hold h USING (member_id, business_date, transaction_id)
    )
    SELECT concat_ws('/', member_id, business_date, transaction_id) AS id,
           format('its digest is %s, its rows and the digest before make %s',
                  left(encode(digest, 'hex'), 16), left(encode(expected, 'hex'), 16)) AS message
      FROM computed
     WHERE digest IS DISTINCT FROM expected
     ORDER BY 1
    """
    return findings(digests_are_of_their_rows, session, subject="transaction", query=_spelled(query))


def heads_hold_the_end_of_the_chain(session: Session) -> Iterator[Finding]:
    """A member's head remembers the digest of the last transaction: none was cut off the end."""
    query = """
    WITH last AS (
        SELECT DISTINCT ON (member_id) member_id, digest
          FROM ledger.transaction ORDER BY member_id, sequence DESC
    )
    SELECT h.member_id::text AS id,
           format('the head ends the chain with %s, the last transaction with %s',
                  left(encode(h.digest, 'hex'), 16), coalesce(left(encode(l.digest, 'hex'), 16), 'nothing'))
                  AS message
      FROM ledger.member_head h
      LEFT JOIN last l USING (member_id)
     WHERE h.digest IS DISTINCT FROM coalesce(l.digest, decode(repeat('00', 32), 'hex'))
     ORDER BY 1
    """
    return findings(heads_hold_the_end_of_the_chain, session, subject="member_head", query=query)


def roots_are_of_their_windows(session: Session) -> Iterator[Finding]:
    """A sealed window's Merkle root, and the stored roots of its subtrees, are those of its transactions."""
    windows = session.execute(
        text(
            "SELECT business_date, merkle_root, transactions FROM ledger.settlement_window"
            " WHERE state = 'sealed' ORDER BY business_date"
        )
    ).all()
    for window in windows:
        root, size, subtrees = _tree(session, window.business_date)
        stored = _stored_subtrees(session, window.business_date)

        def finding(message: str, *, of: str = "", window: Any = window) -> Finding:
            return Finding(
                check=roots_are_of_their_windows.__name__,
                subject="window_node" if of else "settlement_window",
                id=f"{window.business_date}{of}",
                message=message,
            )

        # None where somebody took the root away, and the constraint that wants one.
        kept = window.merkle_root or b""
        if root != kept or size != window.transactions:
            yield finding(
                f"its root is {kept.hex()[:16] or 'gone'} over {window.transactions} transactions,"
                f" the {size} that there are make {root.hex()[:16]}"
            )
        for position in sorted(stored.keys() | subtrees.keys()):
            if stored.get(position) != subtrees.get(position):
                yield finding(
                    "the stored root of the subtree is not that of its transactions", of=f"/{position}"
                )


CHAIN: Final = (digests_are_of_their_rows, heads_hold_the_end_of_the_chain, roots_are_of_their_windows)
"""What `--chain` proves on top of the other checks."""


def _spelled(query: str) -> str:
    """A query with each utc(…) as the SQL that writes a moment as digests have it."""
    return re.sub(
        r"utc\(([a-z_.]+)\)", r"""to_char(\1 AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""", query
    )


def _tree(session: Session, business_date: Any) -> tuple[bytes, int, dict[int, tuple[Any, ...]]]:
    """The root over a window's transactions, how many they are, and the roots of the whole subtrees."""
    leaves = session.execute(
        text(
            "SELECT member_id, sequence, digest FROM ledger.transaction WHERE business_date = :date"
            " ORDER BY member_id, sequence"
        ),
        {"date": business_date},
        execution_options={"stream_results": True, "yield_per": 10 * ROWS_PER_FETCH},
    )
    # Roots of whole subtrees, each half as large as the one before it: (level, hash).
    waiting: list[tuple[int, bytes]] = []
    subtrees: dict[int, tuple[Any, ...]] = {}
    first: Any = None
    size = 0
    for leaf in leaves:
        if size % (1 << _LEVELS) == 0:
            first = leaf
        size += 1
        level, here = 0, sha256(b"\x00" + leaf.digest).digest()
        while waiting and waiting[-1][0] == level:
            here = sha256(b"\x01" + waiting.pop()[1] + here).digest()
            level += 1
            if level == _LEVELS:
                subtrees[len(subtrees)] = (first.member_id, first.sequence, here)
        waiting.append((level, here))
    if not waiting:
        return sha256(b"").digest(), 0, {}
    root = waiting.pop()[1]
    while waiting:
        root = sha256(b"\x01" + waiting.pop()[1] + root).digest()
    return root, size, subtrees


def _stored_subtrees(session: Session, business_date: Any) -> dict[int, tuple[Any, ...]]:
    rows = session.execute(
        text(
            "SELECT position, first_member_id, first_sequence, digest FROM ledger.window_node"
            " WHERE business_date = :date"
        ),
        {"date": business_date},
    )
    return {row.position: (row.first_member_id, row.first_sequence, bytes(row.digest)) for row in rows}
