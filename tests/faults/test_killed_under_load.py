"""`kill -9` of the server and of the database under load: what was acknowledged is there, once.

Eight tills post over HTTP and keep a log of what was acknowledged. A till that got no answer asks again
under the same key, as a real one would, and goes on with the next when it has its answer.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from operating import Coalition
from sqlalchemy import text

from coalition.audit import run_audit
from coalition.config import Settings
from coalition.db import Database, migrating
from coalition.db.owner import as_owner
from coalition.ids import MemberId
from coalition.programme import OpenProgramme, open_programme
from coalition.windows import open_window
from partners.clients import CreateClient, create_client
from schema.ids import to_global

pytestmark = pytest.mark.fire

TILLS = 8
MEMBERS = 12
POST = """mutation ($input: %sPointsInput!) {
  %sPoints(input: $input) { transaction { id points } userErrors { code } }
}"""


@dataclass
class Till:
    """One till: its own log, and one wish after the other."""

    url: str
    basic: tuple[str, str]
    members: list[MemberId]
    number: int
    stop: threading.Event
    acknowledged: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By key: the transaction's global id, and the kind."""
    refused: set[str] = field(default_factory=set)
    unanswered: int = 0
    token: str = ""
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.url, timeout=10)

    def work(self) -> None:
        chance = random.Random(self.number)
        for count in range(100_000):
            if self.stop.is_set():
                return
            kind = chance.choice(["issue", "issue", "redeem"])
            key = f"till-{self.number}-{count}"
            wish = {
                "idempotencyKey": key,
                "member": {"id": to_global("Member", chance.choice(self.members))},
                "points": str(chance.randint(1, 50)),
                "receipt": {"store": "S", "terminal": str(self.number), "number": key},
            }
            self.until_answered(kind, key, wish)

    def until_answered(self, kind: str, key: str, wish: dict[str, Any]) -> None:
        while True:
            try:
                payload = self.post(kind, wish)
            except httpx.HTTPError:
                payload = None
            if payload is not None:
                if payload["userErrors"]:
                    assert payload["userErrors"][0]["code"] == "INSUFFICIENT_POINTS", payload
                    self.refused.add(key)
                else:
                    self.acknowledged[key] = (payload["transaction"]["id"], kind)
                return
            self.unanswered += 1
            if self.stop.is_set():
                return
            time.sleep(0.05)

    def post(self, kind: str, wish: dict[str, Any]) -> dict[str, Any] | None:
        if not self.token:
            answer = self.http.post(
                "/oauth/token", data={"grant_type": "client_credentials"}, auth=self.basic
            )
            if answer.status_code == 503:
                return None
            self.token = answer.json()["access_token"]
        answer = self.http.post(
            "/graphql",
            json={"query": POST % (kind.capitalize(), kind), "variables": {"input": wish}},
            headers={"Authorization": f"Bearer {self.token}"},
        )
        if answer.status_code == 503:
            assert answer.headers["Retry-After"]
            return None
        body = answer.json()
        assert "errors" not in body, body
        payload: dict[str, Any] = body["data"][f"{kind}Points"]
        return payload


@pytest.fixture
def settings() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # as root, the server's own user must get in
        yield Settings(data_dir=Path(folder) / "data")


@contextmanager
def serving(settings: Settings, port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "coalition", "serve", "--port", str(port), "--no-nightly", "--quiet"],
        env={**os.environ, "COALITION_DATA_DIR": str(settings.data_dir)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_what_was_acknowledged_is_there_once_whoever_was_killed(settings: Settings) -> None:
    with as_owner(settings) as owner:
        migrating.migrate(owner, to="head")
    with Database.connect(settings) as database:
        with database.unit_of_work() as session:
            open_programme(session, OpenProgramme(name="Fire", consent_limit_points=10**9))
        coalition = Coalition(database)
        with database.reading() as session:
            today = open_window(session).business_date
        partner = coalition.partner()
        coalition.publish(partner, valid_from=today)
        people = [coalition.member(of=partner) for _ in range(MEMBERS)]
        with database.unit_of_work() as session:
            client = create_client(
                session,
                CreateClient(
                    name="Tills", partner_id=partner.partner_id, scopes=["points:issue", "points:redeem"]
                ),
            )
    port = _free_port()
    tills = _run(settings, port, (client.client.client_id, client.secret), people)

    with Database.connect(settings) as database, database.reading() as session:
        assert list(run_audit(session)) == []
        rows = session.execute(
            text("SELECT * FROM ledger.transaction WHERE idempotency_key IS NOT NULL")
        ).all()
    stored = {
        row.idempotency_key: (
            to_global("Transaction", row.member_id, row.business_date, row.transaction_id),
            row.kind,
        )
        for row in rows
    }
    assert len(stored) == len(rows), "a key has two effects"
    acknowledged = {key: answer for till in tills for key, answer in till.acknowledged.items()}
    assert len(acknowledged) > 100
    assert {key: stored.get(key) for key in acknowledged} == acknowledged
    assert not {key for till in tills for key in till.refused} & stored.keys()
    # What is stored and was not acknowledged is at most the last wish of each till.
    assert len(stored.keys() - acknowledged.keys()) <= TILLS
    assert sum(till.unanswered for till in tills) > 0, "nobody noticed the kills"


def _run(settings: Settings, port: int, basic: tuple[str, str], people: list[MemberId]) -> list[Till]:
    stop = threading.Event()
    url = f"http://127.0.0.1:{port}"
    tills = [Till(url, basic, people, number, stop) for number in range(TILLS)]
    threads = [threading.Thread(target=till.work) for till in tills]
    try:
        with serving(settings, port) as server:
            _until_ready(url)
            for thread in threads:
                thread.start()
            _until_more(tills)
            server.send_signal(signal.SIGKILL)
            server.wait()
        with serving(settings, port):
            _until_more(tills)
            os.kill(_postmaster(settings), signal.SIGKILL)
            _until_more(tills)
    finally:
        stop.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join(timeout=30)
        for till in tills:
            till.http.close()
    return tills


def _until_more(tills: list[Till], *, more: int = 100, seconds: float = 60) -> None:
    """Wait for so many further acknowledgements: the load runs, or runs again."""
    before = sum(len(till.acknowledged) for till in tills)
    until = time.monotonic() + seconds
    while sum(len(till.acknowledged) for till in tills) < before + more:
        assert time.monotonic() < until, "the load did not go on"
        time.sleep(0.05)


def _until_ready(url: str) -> None:
    for _ in range(300):
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
            continue
        time.sleep(0.1)
    pytest.fail("the server did not become ready")


def _postmaster(settings: Settings) -> int:
    [file] = settings.data_dir.rglob("postmaster.pid")
    return int(file.read_text().splitlines()[0])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
