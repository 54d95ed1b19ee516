"""What each part of an issue costs in the database: the kernel as it is, beside the kernel without that part.

Each part is cut out of the functions' own source, thousands of issues are posted in one statement, and the
transaction is rolled back. Each run without a part stands beside one of the whole, now before it and now after it,
and the median of their differences is the part's share: what the machine does by the minute falls out.
Nothing is flushed meanwhile: what a commit costs stands in a line of its own.
"""

from __future__ import annotations

import re
import sys
import time
from statistics import median
from typing import Final

from postings import pgbench
from sqlalchemy import Connection, text
from stage import Stage

from coalition.db.owner import as_owner

_ISSUES: Final = 2_000
_PAIRS: Final = 3
"""In each round, of the whole and each part."""

# Of each part: the function, what is cut out of its source, and what stands in its place.
_PARTS: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {
    "window: lock, read, clock": (
        (
            "post_issue",
            r"wish := ledger\.enter_window\(wish, p_now\);",
            """wish.now := p_now; wish.occurred_at := p_now; wish.window_opened := p_now;
               wish.oldest := p_now - interval '1 day'; wish.business_date := '{business_date}';
               wish := ledger.with_limits(wish);""",
        ),
    ),
    "receipt: claim it": (("post_issue", r"wish := ledger\.claim_receipt\(wish, p_member\);", ""),),
    "key: look for a replay, remember the answer": (
        (
            "issue",
            r"earlier := ledger\.replay\(p_wish, p_member\);\s*IF earlier\.transaction_id IS NOT NULL THEN RETURN earlier; END IF;",
            "",
        ),
        ("conclude", r"INSERT INTO idempotency .*?;", ""),
    ),
    "partner and terms: check them": (
        ("issue", r"PERFORM ledger\.check_partner\(p_wish, 'an issuer'\);", ""),
    ),
    "chain: the digest": (("append_transaction", r"ledger\.chained\(head\.digest, posted\)", "head.digest"),),
    "lot: insert it": (("issue", r"INSERT INTO lot .*?;", ""),),
    "entries: insert them": (("issue", r"INSERT INTO entry .*?;", ""),),
    "journal: insert the transaction": (("append_transaction", r"INSERT INTO transaction VALUES .*?;", ""),),
    "head: store it": (("conclude", r"PERFORM ledger\.store_head\(head\);", ""),),
}


def measure(stage: Stage, *, rounds: int, seconds: float) -> dict[str, float]:
    """Microseconds of an issue: the whole of it, each part, and the commit's flush."""
    wholes: list[float] = []
    taken: dict[str, list[float]] = {part: [] for part in _PARTS}
    with as_owner(stage.settings) as owner, owner.engine.connect() as connection:
        connection.execute(text("SET statement_timeout = 0"))
        business_date = connection.execute(
            text("SELECT business_date FROM ledger.settlement_window WHERE state = 'open'")
        ).scalar_one()
        connection.rollback()

        def spent(part: str | None) -> float:
            for function, cut, instead in _PARTS[part] if part else ():
                _cut(connection, function, cut, instead.format(business_date=business_date))
            seconds = _issue(connection, stage)
            connection.rollback()
            return seconds / _ISSUES * 1e6

        for round_ in range(rounds * _PAIRS):
            for part, differences in taken.items():
                pair = {one: spent(one) for one in ((None, part) if round_ % 2 else (part, None))}
                wholes.append(pair[None])
                differences.append(pair[None] - pair[part])
            print(f"costs: round {round_ + 1} of {rounds * _PAIRS}", file=sys.stderr)
    whole = median(wholes)
    one_client = median(pgbench(stage, "issue", 1, seconds) for _ in range(rounds))
    return {
        "whole": whole,
        **{part: median(differences) for part, differences in taken.items()},
        "commit": 1e6 / one_client - whole,
    }


def _cut(connection: Connection, function: str, cut: str, instead: str) -> None:
    """Install the function without a part of it; rolled back with the transaction."""
    source = connection.execute(
        text(
            "SELECT pg_get_functiondef(oid) FROM pg_proc"
            " WHERE pronamespace = 'ledger'::regnamespace AND proname = :name"
        ),
        {"name": function},
    ).scalar_one()
    without, times = re.subn(cut, lambda _: instead, source, flags=re.DOTALL)
    assert times == 1, f"the part of {function} that was to be cut is not there: {cut}"
    connection.execute(text("SET LOCAL search_path = ledger, pg_temp"))
    connection.exec_driver_sql(without)


def _issue(connection: Connection, stage: Stage) -> float:
    """The seconds of so many issues to different members, posted in one statement."""
    statement = text("""
        SELECT count(ledger.post_issue(md5('member ' || n)::uuid, :partner, :agreement, NULL, 10, NULL, 'c' || n,
                   decode(repeat('00', 32), 'hex'), 'S-1', 'T-1', 'c' || n, 1, 0, NULL, NULL,
                   clock_timestamp() + interval '1 year', clock_timestamp()))
        FROM generate_series(1, CAST(:issues AS int)) AS n
    """)
    started = time.perf_counter()
    connection.execute(
        statement,
        {"partner": stage.partner_id, "agreement": stage.agreement_id, "issues": _ISSUES},
    )
    return time.perf_counter() - started
