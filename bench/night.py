"""The night over a million entries, beside the bare GROUP BY that it cannot be faster than."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median
from typing import Final

from sqlalchemy import text
from stage import MEMBERS, Stage

from coalition.db.owner import as_owner
from settlement.night import settle

_CHUNK: Final = 5_000

_FILL: Final = text("""
    SELECT ledger.post_issue(md5('member ' || m)::uuid, :partner, :agreement, NULL, 10, NULL,
                             'n' || n, '\\x00', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, clock_timestamp()),
           CASE WHEN n % 3 = 0 THEN
             (ledger.post_redeem(md5('member ' || m)::uuid, :partner, :agreement, 10, 'r' || n, '\\x00',
                                 NULL, NULL, NULL, NULL, NULL, NULL, NULL, clock_timestamp())).points END
    FROM (SELECT n, 1 + n % :members AS m
          FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n) AS s
""")

_BARE: Final = text("""
    SELECT bucket, issuer_id, agreement_id, sum(points), count(*) FROM ledger.entry
    WHERE business_date = :business_date GROUP BY bucket, issuer_id, agreement_id
""")

_JOINED: Final = text("""
    SELECT t.kind, t.partner_id, e.bucket, e.issuer_id, sum(e.points) FROM ledger.entry e
    JOIN ledger.transaction t USING (member_id, business_date, transaction_id)
    WHERE e.business_date = :business_date AND t.business_date = :business_date
    GROUP BY t.kind, t.partner_id, e.bucket, e.issuer_id
""")


def measure(stage: Stage, *, entries: int, rounds: int, directory: Path) -> dict[str, float]:
    """Seconds: the bare GROUP BY (median), with the journal joined, and the whole night with its files."""
    _fill(stage, entries)
    with as_owner(stage.settings) as owner, owner.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))
    with stage.database.reading() as session:
        [(business_date, count)] = session.execute(
            text("SELECT business_date, count(*) FROM ledger.entry GROUP BY 1 ORDER BY 2 DESC LIMIT 1")
        ).tuples()
    bare, joined = [], []
    for _ in range(rounds):
        for statement, times in ((_BARE, bare), (_JOINED, joined)):
            started = time.perf_counter()
            with stage.database.engine.connect() as connection:
                connection.execute(text("SET statement_timeout = '10min'"))
                connection.execute(statement, {"business_date": business_date}).all()
                connection.rollback()
            times.append(time.perf_counter() - started)
    started = time.perf_counter()
    night = settle(stage.database, directory=directory, business_date=business_date, now=True)
    whole = time.perf_counter() - started
    return {
        "entries": float(count),
        "bare": median(bare),
        "joined": median(joined),
        "night": whole,
        "stall": night.stall.total_seconds(),
    }


def _fill(stage: Stage, entries: int) -> None:
    with stage.database.reading() as session:
        done = session.execute(text("SELECT count(*) FROM ledger.entry")).scalar_one()
    # Per three issues (two entries each) one redemption (two or more).
    wanted = max(0, (entries - done) * 3 // 8)
    for first in range(1, wanted + 1, _CHUNK):
        with stage.database.unit_of_work() as session:
            session.execute(text("SET LOCAL statement_timeout = '120s'"))
            session.execute(
                _FILL,
                {
                    "partner": stage.partner_id,
                    "agreement": stage.agreement_id,
                    "members": MEMBERS,
                    "first": first,
                    "last": min(first + _CHUNK - 1, wanted),
                },
            )
        print(f"filling: {first + _CHUNK - 1:,} of {wanted:,} issues", file=sys.stderr)
