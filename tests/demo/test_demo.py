"""`coalition demo` as it is typed: it tells, serves, ends when told to, and leaves nothing behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from coalition.config import Settings
from coalition.db import roles
from coalition.db.embedded import EmbeddedServer

COMMAND = [str(Path(sys.executable).with_name("coalition")), "demo", "--days", "1"]
pytestmark = pytest.mark.long


@pytest.fixture
def home() -> Iterator[Path]:
    # Not pytest's own folder: where this is root, PostgreSQL runs as another user, who must get there.
    made = Path(tempfile.mkdtemp(prefix="coalition-demo-"))
    made.chmod(0o755)
    yield made
    try:
        assert processes_of(made) == []
    finally:
        shutil.rmtree(made)


def processes_of(home: Path) -> list[str]:
    """Whatever still runs from that directory, servers told by it in their environment included."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(home).encode() in told and int(process.name) != os.getpid():
            found.append(told.replace(b"\0", b" ").decode(errors="replace")[:200])
    return found


def digest(told: str) -> str:
    [found] = re.findall(r"Digest of the last run: ([0-9a-f]{64})", told)
    return str(found)


def run(home: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--data-dir", str(home), *more], capture_output=True, text=True, timeout=300, check=False
    )


@contextmanager
def begun(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo on its way; killed at the end, if it has not ended."""
    with (
        (home / "stderr").open("w") as stderr,
        subprocess.Popen(
            [*COMMAND, "--data-dir", str(home)], stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as demo,
    ):
        try:
            yield demo
        finally:
            demo.kill()


def told_before_serving(demo: subprocess.Popen[str], home: Path) -> str:
    assert demo.stdout is not None
    told = ""
    for line in demo.stdout:
        told += line
        if line.startswith("Serving until"):
            return told
    raise AssertionError(f"the demo did not serve: {told}\n{(home / 'stderr').read_text()}")


def test_it_serves_what_it_tells_and_is_the_same_after_it_was_killed(home: Path) -> None:
    with begun(home) as demo:
        told = told_before_serving(demo, home)
        assert "Audit: clean." in told
        assert "Saved:" in told

        commands = "\n".join(line for line in told.splitlines() if line.startswith(("TOKEN=", "curl ")))
        answered = subprocess.run(["bash", "-c", commands], capture_output=True, text=True, check=True)
        available = json.loads(answered.stdout)["data"]["member"]["balance"]["available"]
        [shown] = re.findall(r"([\d,]+) points available", told)
        assert available == shown.replace(",", "")

        second = run(home, "--once")
        assert second.returncode == 1
        assert "another demo runs" in second.stderr

        demo.kill()
    deadline = time.monotonic() + 30
    while any("schema.demo.server" in one for one in processes_of(home)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any("schema.demo.server" in one for one in processes_of(home))

    with begun(home) as demo:
        assert digest(told_before_serving(demo, home)) == digest(told)
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(60) == 0

    other = run(home, "--once", "--seed", "2")
    assert other.returncode == 0, other.stderr
    assert digest(other.stdout) != digest(told)


def test_ctrl_c_in_the_middle_leaves_nothing(home: Path) -> None:
    with begun(home) as demo:
        deadline = time.monotonic() + 60
        while not (home / "server.log").exists() and time.monotonic() < deadline:
            time.sleep(0.1)

        demo.send_signal(signal.SIGINT)

        assert demo.wait(60) == 130, (home / "stderr").read_text()


def test_a_database_that_is_no_demos_is_left_alone(home: Path) -> None:
    settings = Settings(data_dir=home)
    with closing(EmbeddedServer.start(settings)) as server, connected(server) as connection:
        connection.execute("CREATE SCHEMA ledger")
        connection.execute("CREATE TABLE ledger.programme AS SELECT 'Real' AS name, 'production' AS mode")

    refused = run(home, "--once")

    assert refused.returncode == 1
    assert "'Real'" in refused.stderr
    with closing(EmbeddedServer.start(settings)) as server, connected(server) as connection:
        assert connection.execute("SELECT name FROM ledger.programme").fetchall() == [("Real",)]


def connected(server: EmbeddedServer) -> psycopg.Connection:
    return psycopg.connect(roles.conninfo(server.url(roles.SUPERUSER)), autocommit=True)
