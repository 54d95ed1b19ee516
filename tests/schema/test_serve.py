"""`coalition serve` as a process: it says where it listens, answers, and stops when it is told to."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from databases import TestCluster, TestDatabase

from coalition.db import migrating, roles
from coalition.db.owner import as_owner

SERVE = [sys.executable, "-c", "from coalition.cli import main; main()", "serve", "--no-nightly"]


@contextmanager
def _server(test_database: TestDatabase, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    url = test_database.url(roles.APP_LOGIN).render_as_string(hide_password=False)
    process = subprocess.Popen(
        [*SERVE, *arguments],
        env={**os.environ, "COALITION_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("GraphQL"), line
    return line.split()[1].removesuffix("/graphql")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(test_database: TestDatabase, how: signal.Signals) -> None:
    with _server(test_database, "--port", "0") as process:
        address = _address(process)
        assert httpx.get(f"{address}/healthz").status_code == 200
        assert httpx.post(f"{address}/graphql", json={"query": "{ __typename }"}).status_code == 401
        began = time.monotonic()
        process.send_signal(how)
        process.wait(timeout=15)
        assert process.stdout is not None
        # Nobody said where clients reach it, and it is not there that it listens.
        assert "Issuer      http://127.0.0.1:8000: clients are told to come there" in process.stdout.read()
        _, said = process.communicate(timeout=15)
    assert process.returncode in {0, 128 + how}
    assert time.monotonic() - began < 10
    assert "Traceback" not in said
    assert '"path":"/graphql"' in said


def test_a_port_that_is_taken_is_told(test_database: TestDatabase) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with _server(test_database, "--port", str(taken.getsockname()[1])) as process:
            _, said = process.communicate(timeout=15)
    assert process.returncode not in {0, None}
    assert "address already in use" in said


def test_it_starts_before_the_tables_are_there_and_says_so_until_they_are(cluster: TestCluster) -> None:
    with cluster.new_database(template="template1") as empty, _server(empty, "--port", "0") as process:
        address = _address(process)
        assert httpx.get(f"{address}/healthz").status_code == 200
        ready = httpx.get(f"{address}/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "NOT_MIGRATED")
        assert "coalition migrate" in ready.json()["message"]
        asked = httpx.post(
            f"{address}/oauth/token", data={"grant_type": "client_credentials"}, auth=("some", "body")
        )
        assert (asked.status_code, asked.headers["retry-after"]) == (503, "2")
        with as_owner(empty.settings) as owner:
            migrating.migrate(owner, to=migrating.HEAD)
        assert httpx.get(f"{address}/readyz").json() == {"ready": True}
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=15)
    assert "Traceback" not in said
    assert said.count("run `coalition migrate`") == 1
