"""`kill -9` of `coalition settle` at each step: the next one goes on, and the result is the same."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from conftest import TestDatabase
from night_driver import NightDriver
from sqlalchemy import Connection, Engine, text

pytestmark = pytest.mark.long

WINDOW_LOCK = "SELECT pg_advisory_xact_lock_shared(7305137150463214)"


def business(ledger: NightDriver) -> None:
    """The same in each database: what follows from it has the same digest and the same bytes."""
    a, b = ledger.named("a"), ledger.named("b")
    for points in range(1_000, 9_000, 1_000):
        member = ledger.member(available=points, issuer=a)
        ledger.redeem(member, points // 2, by=b)
    ledger.pass_time(days=1)


@pytest.fixture
def expected(make_another: Callable[[], NightDriver]) -> dict[str, bytes]:
    """The files of a night that nobody killed."""
    undisturbed = make_another()
    business(undisturbed)
    files = undisturbed.files(undisturbed.settle())
    del files["window.json"]  # its root is of each database's own ids
    return files


@contextmanager
def settling(database: TestDatabase, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A `coalition settle` of its own, killed at the end if it still runs."""
    process = subprocess.Popen(
        [Path(sys.executable).parent / "coalition", "settle", "--directory", directory],
        env={**os.environ, **database.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


def wait_until(engine: Engine, condition: str, *, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with engine.connect() as connection:
            if connection.execute(text(f"SELECT {condition}")).scalar_one():
                return
        time.sleep(0.02)
    raise AssertionError(f"never: {condition}")


IT_WAITS = """EXISTS (
    SELECT FROM pg_stat_activity
     WHERE application_name = 'coalition' AND wait_event_type = 'Lock' AND datname = current_database())"""
IT_IS_GONE = """NOT EXISTS (
    SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
     WHERE locktype = 'advisory' AND application_name = 'coalition' AND datname = current_database())"""

# At which lock it is stopped, and what it had done by then: the window's state, and runs.
STEPS = {
    "before the window is closed": (WINDOW_LOCK, ("open", 0)),
    "before it is sealed": ("LOCK ledger.window_total IN EXCLUSIVE MODE", ("closed", 0)),
    "before the run is stored": ("LOCK settlement.run IN EXCLUSIVE MODE", ("sealed", 0)),
    "amid the run's rows": ("LOCK settlement.roll_forward IN EXCLUSIVE MODE", ("sealed", 0)),
}


def standing(ledger: NightDriver) -> tuple[object, ...]:
    [row] = ledger.rows("""
        SELECT state, (SELECT count(*) FROM settlement.run)
          FROM ledger.settlement_window ORDER BY business_date LIMIT 1
    """)
    return row


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step_the_night_goes_on_where_it_was(
    ledger: NightDriver,
    test_database: TestDatabase,
    superuser_engine: Engine,
    expected: dict[str, bytes],
    step: str,
) -> None:
    business(ledger)
    lock, done = STEPS[step]
    with ExitStack() as stack:
        holder = stack.enter_context(superuser_engine.connect())
        holder.execute(text(lock))
        process = stack.enter_context(settling(test_database, ledger.directory))
        wait_until(superuser_engine, IT_WAITS)
        process.kill()
        process.wait()
        holder.rollback()
    wait_until(superuser_engine, IT_IS_GONE)
    assert standing(ledger) == done

    finish(ledger, test_database, expected)


def test_killed_before_the_files_the_next_night_writes_them(
    ledger: NightDriver,
    test_database: TestDatabase,
    superuser_engine: Engine,
    expected: dict[str, bytes],
) -> None:
    """Stopped amid the run's rows until somebody else is in line for a table that the files need."""
    business(ledger)
    with ExitStack() as stack:
        first = stack.enter_context(superuser_engine.connect())
        first.execute(text("LOCK settlement.roll_forward IN EXCLUSIVE MODE"))
        process = stack.enter_context(settling(test_database, ledger.directory))
        wait_until(superuser_engine, IT_WAITS)
        second = stack.enter_context(superuser_engine.connect())
        with in_line(second, superuser_engine, "LOCK settlement.position IN ACCESS EXCLUSIVE MODE"):
            first.rollback()
        wait_until(superuser_engine, IT_WAITS)
        process.kill()
        process.wait()
        second.rollback()
    wait_until(superuser_engine, IT_IS_GONE)
    assert standing(ledger) == ("sealed", 1)
    assert not list(ledger.directory.rglob("run.json"))

    finish(ledger, test_database, expected)


def test_killed_at_any_time_and_again(
    ledger: NightDriver, test_database: TestDatabase, expected: dict[str, bytes]
) -> None:
    business(ledger)
    for delay in (0.4, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.3):
        with settling(test_database, ledger.directory):
            time.sleep(delay)

    finish(ledger, test_database, expected)


def finish(ledger: NightDriver, database: TestDatabase, expected: dict[str, bytes]) -> None:
    """One more, left alone: all is there once, and its files are those of an undisturbed night."""
    with settling(database, ledger.directory) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said.decode()
    assert standing(ledger) == ("sealed", 1)
    assert ledger.rows("SELECT count(*) FROM ledger.settlement_window") == [(2,)]
    files = {path.name: path.read_bytes() for path in ledger.directory.rglob("*") if path.is_file()}
    [(root,)] = ledger.rows(
        "SELECT encode(merkle_root, 'hex') FROM ledger.settlement_window WHERE state = 'sealed'"
    )
    assert json.loads(files.pop("window.json"))["merkleRoot"] == root
    assert files == expected


@contextmanager
def in_line(connection: Connection, engine: Engine, lock: str) -> Iterator[None]:
    """Wait for a lock in a thread; when the block ends, it has been got."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(connection.execute, text(lock))
        pid = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
        wait_until(engine, f"wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = {pid}")
        yield
        waiting.result(timeout=20)
