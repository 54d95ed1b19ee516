"""Single postings a second: over HTTP with a token, by the domain function, and by pgbench.

pgbench calls the same kernel functions with the same arguments over as many connections on the same
database: it is the limit, since it does nothing else. The three take turns, round after round.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import math
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from statistics import median
from typing import Final

from sqlalchemy import text
from stage import MEMBERS, Stage, member_id

from coalition.db import roles
from coalition.db.programs import wheel_folder
from coalition.ids import MemberId
from coalition.receipts import Receipt
from partners import holds, till
from partners.clients import CreateClient, create_client

PLAIN_ROW: Final = "plain row"
KINDS: Final = ("issue", "redeem", "redeem over five lots", "authorise and capture")
_OVER_HTTP: Final = ("issue", "redeem")
_LOTS_EACH: Final = 5
_SMALL: Final = 10  # points of a small lot; five of them are one redemption
_FINGERPRINT: Final = "'\\x" + "00" * 32 + "'"
_SCRIPTS: Final = {
    "issue": """
\\set member random({first}, {members})
\\set key random(1, 9000000000000000000)
SELECT * FROM ledger.post_issue(md5('member ' || :member::text)::uuid, '{partner}', '{agreement}', NULL,
    10, NULL, 'k' || :key::text, {fingerprint}, 'S-1', 'T-1', :key::text, 1, 0, clock_timestamp(), NULL,
    '{expires_at}', clock_timestamp());
""",
    "redeem": r"""
\set member random({first}, {members})
\set key random(1, 9000000000000000000)
SELECT * FROM ledger.post_redeem(md5('member ' || :member::text)::uuid, '{partner}', '{agreement}', 10,
    'k' || :key::text, {fingerprint}, 'S-1', 'T-1', :key::text, 1, 0, clock_timestamp(), NULL,
    clock_timestamp());
""",
    # Each redemption is the next member's, who has five small lots for it.
    "redeem over five lots": r"""
\set n :n + 1
\set member 1 + (:start + :n * :clients + :client_id) % {members}
\set key random(1, 9000000000000000000)
SELECT * FROM ledger.post_redeem(md5('member ' || :member::text)::uuid, '{partner}', '{agreement}', 50,
    'k' || :key::text, {fingerprint}, 'S-1', 'T-1', :key::text, 1, 0, clock_timestamp(), NULL,
    clock_timestamp());
""",
    "authorise and capture": r"""
\set member random({first}, {members})
\set key random(1, 9000000000000000000)
SELECT business_date AS date, transaction_id AS hold
FROM ledger.post_authorize(md5('member ' || :member::text)::uuid, '{partner}', '{agreement}', 10,
    'a' || :key::text, {fingerprint}, NULL, clock_timestamp(), NULL, clock_timestamp()) \gset
SELECT * FROM ledger.post_capture(md5('member ' || :member::text)::uuid, '{partner}', :date, :hold, 7,
    'c' || :key::text, {fingerprint}, 'S-1', 'T-1', :key::text, 1, 0, clock_timestamp(), clock_timestamp());
""",
    # No posting: what the machine makes at that moment of a row that logs as much as one.
    PLAIN_ROW: """
INSERT INTO bench.plain VALUES (repeat(md5(random()::text), 80));
""",
}


@dataclass
class _Small:
    """Which members have had their small lots spent: the next redemption over five lots is the next one's."""

    next: int = 0
    each: int = 0

    def fill(self, stage: Stage, redemptions: float) -> None:
        """Give every member lots for as many such redemptions as make so many in all."""
        self.each = math.ceil(redemptions / MEMBERS)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda first: self._fill(stage, first), range(1, MEMBERS + 1, 500)))

    def _fill(self, stage: Stage, first: int) -> None:
        with stage.database.unit_of_work() as session:
            session.execute(text("SET LOCAL statement_timeout = '120s'"))
            session.execute(
                text("""
                    SELECT ledger.post_issue(md5('member ' || n)::uuid, :partner, :agreement, NULL, :points, NULL,
                               'small' || k, '\\x00', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                               clock_timestamp() + interval '1 month', clock_timestamp())
                    FROM generate_series(CAST(:first AS int), CAST(:first AS int) + 499) AS n,
                         generate_series(1, CAST(:lots AS int)) AS k
                """),
                {
                    "partner": stage.partner_id,
                    "agreement": stage.agreement_id,
                    "first": first,
                    "points": _SMALL,
                    "lots": self.each * _LOTS_EACH,
                },
            )

    def used(self, count: float) -> None:
        # Clients don't keep step; the next run begins where none of them has been.
        self.next += math.ceil(count * 1.5)
        assert self.next <= self.each * MEMBERS, "the small lots are used up"


def measure(stage: Stage, *, connections: int, seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """Medians of postings a second, by kind and by way."""
    rates: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    small = _Small()
    small.fill(stage, redemptions=rounds * 2 * seconds * 1_500)
    ways = {
        "pgbench": lambda kind: pgbench(stage, kind, connections, seconds, small=small),
        "domain": lambda kind: _domain(stage, kind, connections, seconds, small),
        "http": lambda kind: asyncio.run(_http(port, headers, kind, connections, seconds)),
    }
    with _server(stage) as (port, headers):
        for round_ in range(rounds):
            for kind in KINDS:
                for way, run in ways.items():
                    if way == "http" and kind not in _OVER_HTTP:
                        continue
                    rate = run(kind)
                    rates[kind].setdefault(way, []).append(rate)
                    print(
                        f"round {round_ + 1} of {rounds}: {kind:21} {way:8} {rate:8,.0f}/s", file=sys.stderr
                    )
    return {kind: {way: median(found) for way, found in ways.items()} for kind, ways in rates.items()}


def pgbench(
    stage: Stage,
    kind: str,
    connections: int,
    seconds: float,
    *,
    first: int = 1,
    members: int = MEMBERS,
    small: _Small | None = None,
) -> float:
    """Operations a second of the kernel alone, on random ones of the members from the first to the last number."""
    folder = wheel_folder()
    assert folder is not None, "pgbench comes with the wheel"
    small = small or _Small()
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(
            _SCRIPTS[kind].format(
                first=first,
                members=members,
                partner=stage.partner_id,
                agreement=stage.agreement_id,
                fingerprint=_FINGERPRINT,
                expires_at=stage.expires_at,
            )
        )
        script.flush()
        done = subprocess.run(
            [
                folder / "pgbench",
                *("--no-vacuum", "--protocol=prepared", f"--client={connections}", "--jobs=2"),
                *("-Dn=-1", f"-Dstart={small.next}", f"-Dclients={connections}"),
                *(f"--time={max(1, round(seconds))}", f"--file={script.name}", roles.conninfo(stage.url)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.search(r"tps = ([\d.]+) \(without", done.stdout)
    failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
    assert found is not None, done.stderr
    assert failed is None or failed.group(1) == "0", done.stdout
    rate = float(found.group(1))
    if kind == "redeem over five lots":
        small.used(rate * seconds)
    return rate


def _domain(stage: Stage, kind: str, connections: int, seconds: float, small: _Small) -> float:
    """The till's functions as the API and the import call them, from as many threads as connections."""
    numbers = count(small.next)
    wish = _wishes(stage, numbers)[kind]
    gc.freeze()  # as the server does
    deadline = time.perf_counter() + seconds
    counts = [0] * connections

    def work(index: int) -> None:
        while time.perf_counter() < deadline:
            wish()
            counts[index] += 1

    threads = [threading.Thread(target=work, args=(index,)) for index in range(connections)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = sum(counts) / (time.perf_counter() - started)
    if kind == "redeem over five lots":
        small.used(sum(counts))
    return rate


def _wishes(stage: Stage, numbers: Iterator[int]) -> dict[str, Callable[[], object]]:
    def some() -> MemberId:
        return MemberId(member_id(random.randint(1, MEMBERS)))

    def receipt(number: str) -> Receipt:
        return Receipt(store="S-1", terminal="T-1", number=number)

    def issue() -> object:
        key = uuid.uuid4().hex
        wish = till.Issue(
            member_id=some(),
            partner_id=stage.partner_id,
            points=10,
            idempotency_key=key,
            receipt=receipt(key),
        )
        with stage.database.single_call() as session:
            return till.issue(session, wish)

    def redeem(member: MemberId | None = None, points: int = 10) -> object:
        key = uuid.uuid4().hex
        wish = till.Redeem(
            member_id=member or some(),
            partner_id=stage.partner_id,
            points=points,
            idempotency_key=key,
            receipt=receipt(key),
        )
        with stage.database.single_call() as session:
            return till.redeem(session, wish)

    def redeem_five() -> object:
        member = MemberId(member_id(1 + next(numbers) % MEMBERS))
        return redeem(member, _SMALL * _LOTS_EACH)

    def hold() -> object:
        key = uuid.uuid4().hex
        with stage.database.single_call() as session:
            held = holds.authorize(
                session,
                holds.Authorize(
                    member_id=some(), partner_id=stage.partner_id, points=10, idempotency_key=f"a{key}"
                ),
            )
        with stage.database.single_call() as session:
            return holds.capture(
                session,
                holds.Capture(
                    hold=held.ref,
                    partner_id=stage.partner_id,
                    points=7,
                    idempotency_key=f"c{key}",
                    receipt=receipt(key),
                ),
            )

    return dict(zip(KINDS, (issue, redeem, redeem_five, hold), strict=True))


# -- over HTTP -------------------------------------------------------------------------------------

_MUTATION: Final = """
mutation ($input: {Kind}PointsInput!) {{
  {kind}Points(input: $input) {{
    transaction {{ id }} balance {{ available }} replayed userErrors {{ code message }}
  }}
}}
"""


@contextmanager
def _server(stage: Stage) -> Iterator[tuple[int, dict[str, str]]]:
    """`coalition serve` in a process of its own, and what a client with a token sends it."""
    with stage.database.unit_of_work() as session:
        client = create_client(
            session,
            CreateClient(name="Bench", scopes=["points:issue", "points:redeem"], partner_id=stage.partner_id),
        )
    process = subprocess.Popen(
        [sys.executable, "-m", "coalition", "serve", "--port", "0", "--no-nightly", "--quiet"],
        env={
            **os.environ,
            "COALITION_DATA_DIR": str(stage.settings.data_dir),
            "COALITION_VAULT_KEYS": base64.b64encode(os.urandom(32)).decode(),
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = next(line for line in process.stdout if "graphql" in line.lower())
        port = int(address.rpartition(":")[2].partition("/")[0])
        basic = base64.b64encode(f"{client.client.client_id}:{client.secret}".encode()).decode()
        yield port, {"basic": basic}
    finally:
        process.terminate()
        process.wait(timeout=20)


async def _http(port: int, headers: dict[str, str], kind: str, connections: int, seconds: float) -> float:
    """So many connections, each with one request after the other; every answer is looked at."""
    token = await _token(port, headers["basic"])
    query = _MUTATION.format(kind=kind, Kind=kind.capitalize())
    deadline = time.perf_counter() + seconds
    started = time.perf_counter()
    counts = await asyncio.gather(*(_client(port, token, query, deadline) for _ in range(connections)))
    return sum(counts) / (time.perf_counter() - started)


async def _client(port: int, token: str, query: str, deadline: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    count = 0
    while time.perf_counter() < deadline:
        key = uuid.uuid4().hex
        body = json.dumps(
            {
                "query": query,
                "variables": {
                    "input": {
                        "idempotencyKey": key,
                        "member": {"id": _global_id(random.randint(1, MEMBERS))},
                        "points": "10",
                        "receipt": {"store": "S-1", "terminal": "T-1", "number": key},
                    }
                },
            }
        ).encode()
        answer = await _exchange(
            reader,
            writer,
            f"POST /graphql HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json",
            body,
        )
        assert b'"userErrors":[]' in answer.replace(b" ", b""), answer
        count += 1
    writer.close()
    return count


async def _token(port: int, basic: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = await _exchange(
        reader,
        writer,
        f"POST /oauth/token HTTP/1.1\r\nAuthorization: Basic {basic}\r\n"
        "Content-Type: application/x-www-form-urlencoded",
        b"grant_type=client_credentials",
    )
    writer.close()
    return str(json.loads(answer)["access_token"])


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str, body: bytes
) -> bytes:
    writer.write(f"{head}\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", answer, re.IGNORECASE)
    assert length is not None, answer
    return await reader.readexactly(int(length.group(1)))


def _global_id(number: int) -> str:
    return base64.urlsafe_b64encode(f"Member:{member_id(number)}".encode()).rstrip(b"=").decode()
