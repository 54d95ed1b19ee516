"""Single issues and redemptions a second: over HTTP with a token, by the domain function, and by pgbench.

pgbench calls the same kernel function with the same arguments over as many connections on the same
database: it is the limit, since it does nothing else. The three take turns, round after round.
"""

from __future__ import annotations

import asyncio
import base64
import json
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
from contextlib import contextmanager
from statistics import median
from typing import Final

from stage import MEMBERS, Stage, member_id

from coalition.db import roles
from coalition.db.programs import wheel_folder
from coalition.ids import MemberId
from coalition.receipts import Receipt
from partners import till
from partners.clients import CreateClient, create_client

KINDS: Final = ("issue", "redeem")
_FINGERPRINT: Final = "'\\x" + "00" * 32 + "'"
_SCRIPTS: Final = {
    "issue": """
\\set member random(1, {members})
\\set key random(1, 9000000000000000000)
SELECT * FROM ledger.post_issue(md5('member ' || :member::text)::uuid, '{partner}', '{agreement}', NULL,
    10, NULL, 'k' || :key::text, {fingerprint}, 'S-1', 'T-1', :key::text, 1, 0, clock_timestamp(), NULL,
    clock_timestamp() + interval '1 year', clock_timestamp());
""",
    "redeem": """
\\set member random(1, {members})
\\set key random(1, 9000000000000000000)
SELECT * FROM ledger.post_redeem(md5('member ' || :member::text)::uuid, '{partner}', '{agreement}', 10,
    'k' || :key::text, {fingerprint}, 'S-1', 'T-1', :key::text, 1, 0, clock_timestamp(), NULL,
    clock_timestamp());
""",
}


def measure(stage: Stage, *, connections: int, seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """Medians of postings a second, by kind and by way."""
    rates: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    with _server(stage) as (port, headers):
        for round_ in range(rounds):
            for kind in KINDS:
                for way, run in (
                    ("pgbench", lambda k: _pgbench(stage, k, connections, seconds)),
                    ("domain", lambda k: _domain(stage, k, connections, seconds)),
                    ("http", lambda k: asyncio.run(_http(port, headers, k, connections, seconds))),
                ):
                    rate = run(kind)
                    rates[kind].setdefault(way, []).append(rate)
                    print(f"round {round_ + 1} of {rounds}: {kind:6} {way:8} {rate:8,.0f}/s", file=sys.stderr)
    return {kind: {way: median(found) for way, found in ways.items()} for kind, ways in rates.items()}


def _pgbench(stage: Stage, kind: str, connections: int, seconds: float) -> float:
    folder = wheel_folder()
    assert folder is not None, "pgbench comes with the wheel"
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(
            _SCRIPTS[kind].format(
                members=MEMBERS,
                partner=stage.partner_id,
                agreement=stage.agreement_id,
                fingerprint=_FINGERPRINT,
            )
        )
        script.flush()
        done = subprocess.run(
            [
                folder / "pgbench",
                *("--no-vacuum", "--protocol=prepared", f"--client={connections}", "--jobs=2"),
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
    return float(found.group(1))


def _domain(stage: Stage, kind: str, connections: int, seconds: float) -> float:
    """The till's function as the API and the import call it, from as many threads as connections."""
    wish = _wishes(stage)[kind]
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
    return sum(counts) / (time.perf_counter() - started)


def _wishes(stage: Stage) -> dict[str, Callable[[], object]]:
    def issue() -> object:
        key = uuid.uuid4().hex
        wish = till.Issue(
            member_id=MemberId(member_id(random.randint(1, MEMBERS))),
            partner_id=stage.partner_id,
            points=10,
            idempotency_key=key,
            receipt=Receipt(store="S-1", terminal="T-1", number=key),
        )
        with stage.database.single_call() as session:
            return till.issue(session, wish)

    def redeem() -> object:
        key = uuid.uuid4().hex
        wish = till.Redeem(
            member_id=MemberId(member_id(random.randint(1, MEMBERS))),
            partner_id=stage.partner_id,
            points=10,
            idempotency_key=key,
            receipt=Receipt(store="S-1", terminal="T-1", number=key),
        )
        with stage.database.single_call() as session:
            return till.redeem(session, wish)

    return {"issue": issue, "redeem": redeem}


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
        env={**os.environ, "COALITION_DATA_DIR": str(stage.settings.data_dir)},
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
