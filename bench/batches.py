"""Issues in batches, beside a bare COPY of the same rows; and `coalition import` of a long file.

Each round the domain function posts batches as the API and the import do, each a transaction of its own. Then
the rows that these wrote are copied into the very tables that they are in, under other ids: one COPY for each
table, all in one transaction, by the owner. COPY is the limit: it claims, checks, locks and computes nothing,
and leaves the members' heads as they are. Rounds are interleaved.
"""

from __future__ import annotations

import base64
import csv
import gc
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

import psycopg
from sqlalchemy import text
from stage import MEMBERS, Stage, member_id

from coalition.db import roles
from coalition.ids import NETWORK, MemberId
from coalition.ledger import Posting
from coalition.receipts import Receipt
from partners.batches import MAX_LINES, post_batch
from partners.till import Issue

_KIBIBYTES: Final = 1_024  # of a mebibyte: in which Linux counts resident memory

# The rows of one round by table, found by its receipts.
_ROWS: Final = {
    "receipt": "ledger.receipt r WHERE r.terminal = %(round)s",
    "transaction": "ledger.transaction r WHERE r.terminal = %(round)s",
    "lot": "ledger.lot r JOIN ledger.transaction t USING (member_id, business_date, transaction_id)"
    " WHERE t.terminal = %(round)s",
    "entry": "ledger.entry r JOIN ledger.transaction t USING (member_id, business_date, transaction_id)"
    " WHERE t.terminal = %(round)s",
    "idempotency": "ledger.idempotency r JOIN ledger.transaction t USING (member_id, business_date, transaction_id)"
    " WHERE t.terminal = %(round)s",
}
# What is unique, and so another's in a copy.
_OTHERWISE: Final = {
    "transaction_id": "md5(r.transaction_id::text)::uuid",
    "lot_id": "md5(r.lot_id::text)::uuid",
    "key": "'copy-' || r.key",
    "idempotency_key": "'copy-' || r.idempotency_key",
    "number": "'copy-' || r.number",
    "receipt_number": "'copy-' || r.receipt_number",
    "sequence": "r.sequence + 1000000000",
}


def measure(stage: Stage, *, lines: int, rounds: int, connections: int) -> dict[str, float]:
    """Medians of issued lines a second, by one connection and by several: batches, and the COPY of their rows."""
    rates: dict[str, list[float]] = {}
    for round_ in range(rounds):
        for at_once in (1, connections):
            names = [f"round-{round_}-{at_once}-{part}" for part in range(at_once)]
            # Made beforehand, as what COPY reads is.
            batches = [_batches(stage, name, lines) for name in names]
            gc.collect()
            gc.freeze()  # no till holds that much at once, for the collector to look through
            rate = _in_turn(at_once, lambda part, batches=batches: _post(stage, batches[part])) * lines
            rates.setdefault(f"batches_{at_once}", []).append(rate)
            files = [_rows_of(stage, name) for name in names]
            rate = _in_turn(at_once, lambda part, files=files: _copy(stage, files[part])) * lines
            rates.setdefault(f"copy_{at_once}", []).append(rate)
        told = ", ".join(f"{way} {found[-1]:,.0f}/s" for way, found in rates.items())
        print(f"batches: round {round_ + 1} of {rounds}: {told}", file=sys.stderr)
    return {way: median(found) for way, found in rates.items()}


def _in_turn(at_once: int, act: Callable[[int], None]) -> float:
    """How many of so many parts that run at once are done in a second."""
    threads = [threading.Thread(target=act, args=(part,)) for part in range(at_once)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return at_once / (time.perf_counter() - started)


def _batches(stage: Stage, name: str, lines: int) -> list[list[Issue]]:
    return [
        [
            Issue(
                member_id=MemberId(member_id(number)),
                partner_id=stage.partner_id,
                points=10,
                idempotency_key=uuid.uuid4().hex,
                receipt=Receipt(store="S-1", terminal=name, number=str(first + place)),
                occurred_at=datetime.now(UTC),
            )
            for place, number in enumerate(random.sample(range(1, MEMBERS + 1), MAX_LINES))
        ]
        for first in range(0, lines, MAX_LINES)
    ]


def _post(stage: Stage, batches: list[list[Issue]]) -> None:
    for wishes in batches:
        with stage.database.single_call() as session:
            outcomes = post_batch(session, stage.partner_id, wishes)
        assert all(isinstance(one, Posting) for one in outcomes), outcomes


def _owner(stage: Stage) -> psycopg.Connection:
    return psycopg.connect(roles.conninfo(stage.url.set(username=roles.OWNER)))


def _rows_of(stage: Stage, name: str) -> dict[str, bytes]:
    """By table what COPY reads: a round's rows under other ids."""
    found = {}
    with _owner(stage) as connection:
        for table, rows in _ROWS.items():
            columns = [
                str(column)
                for (column,) in connection.execute(
                    "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
                    " AND NOT attisdropped ORDER BY attnum",
                    (f"ledger.{table}",),
                )
            ]
            picked = ", ".join(_OTHERWISE.get(column, f"r.{column}") for column in columns)
            query = f"COPY (SELECT {picked} FROM {rows}) TO STDOUT"  # noqa: S608 - of names that are here
            with connection.cursor().copy(query, {"round": name}) as copy:
                found[table] = b"".join(copy)
            assert found[table], table
    return found


def _copy(stage: Stage, files: dict[str, bytes]) -> None:
    with _owner(stage) as connection:
        for table, content in files.items():
            with connection.cursor().copy(f"COPY ledger.{table} FROM STDIN") as copy:
                copy.write(content)


def measure_import(stage: Stage, *, lines: int, folder: Path) -> dict[str, float]:
    """Seconds, and the peak of resident memory in MiB, of `coalition import` of so many issues by card."""
    with stage.database.unit_of_work() as session:
        session.execute(text("SET LOCAL statement_timeout = '300s'"))
        session.execute(
            text(
                "SELECT ledger.link_identifier(md5('member ' || n)::uuid, :partner, 'card', :network, 'CARD' || n,"
                " clock_timestamp()) FROM generate_series(1, CAST(:members AS int)) AS n"
            ),
            {"partner": stage.partner_id, "network": NETWORK, "members": MEMBERS},
        )
    file = folder / "till.csv"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(("store", "terminal", "receipt", "kind", "member", "time", "amount"))
        for number in range(lines):
            member = f"CARD{random.randint(1, MEMBERS)}"
            amount = f"{random.randint(100, 9_999) / 100:.2f}"
            writer.writerow((f"S-{number % 20}", f"T-{number % 7}", number, "issue", member, now, amount))
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "coalition", "import", str(file), "--partner", "bench", "--json"],
        env={
            **os.environ,
            "COALITION_DATA_DIR": str(stage.settings.data_dir),
            "COALITION_VAULT_KEYS": base64.b64encode(os.urandom(32)).decode(),
        },
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    mebibytes = 0.0
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        mebibytes = _most_held(process.pid) or mebibytes
        time.sleep(0.1)
    seconds = time.perf_counter() - started
    _, status, used = ended
    told: Any = json.loads(process.stdout.read())
    assert status == 0, told
    assert told["posted"] == {"issue": lines}, told
    return {
        "lines": lines,
        "seconds": seconds,
        "of_the_client": used.ru_utime + used.ru_stime,
        "mebibytes": mebibytes,
    }


def _most_held(pid: int) -> float:
    """The most memory that a process has held by now. Its ru_maxrss would count what its parent held at the fork."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    peak = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(peak[1]) / _KIBIBYTES if peak else 0.0  # none, once it has ended and nobody has waited for it
