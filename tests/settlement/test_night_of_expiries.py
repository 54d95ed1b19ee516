"""The night posts what is due in small batches: killed amid them and again it ends in the same books, and a till
waits for no more than the batch that has its member."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from concurrency.interleaving import PATIENCE, Act, Counter, Teller, counter
from concurrency.portrait import Portrait, differences, portrait
from conftest import TestDatabase
from driver import START
from night_driver import NightDriver

from coalition.audit import AUDIT, CHAIN, run_audit
from coalition.ids import MemberId
from settlement import night

pytestmark = pytest.mark.long

BATCH = night._MEMBERS_AT_ONCE
MEMBERS = 3 * BATCH + 5
# Who is held is held until the test has looked; in production a night gives up sooner and is tried again.
PATIENTLY = f"?options=-c%20lock_timeout%3D{PATIENCE}s%20-c%20statement_timeout%3D{2 * PATIENCE}s"


def business(ledger: NightDriver) -> list[MemberId]:
    """Members for whom points mature, a hold lapses and points expire before the night; each with other sums."""
    partner = ledger.named("a")
    people = []
    for points in range(100, 100 + MEMBERS):
        member = ledger.member(available=points, issuer=partner)
        ledger.issue(member, points, by=partner, expires_at=START + timedelta(hours=9))
        ledger.issue(member, points, by=partner, matures_at=START + timedelta(hours=5))
        ledger.authorize(member, points // 2, by=partner)
        people.append(member)
    ledger.pass_time(days=1)
    return people


def books(ledger: NightDriver, people: list[MemberId]) -> Portrait:
    names = {member: f"member {nth}" for nth, member in enumerate(people)} | {
        ledger.any_partner(): "the partner"
    }
    return portrait(ledger, names, start=START)


def papers(files: dict[str, bytes]) -> dict[str, bytes]:
    """The night's papers without the window's root, in which the members' ids are."""
    return {name: re.sub(rb'"merkleRoot": "[0-9a-f]{64}"', b"", content) for name, content in files.items()}


@pytest.fixture
def till(ledger: NightDriver) -> Iterator[Counter]:
    with counter(ledger) as found:
        yield found
    with ledger.database.reading() as session:
        assert run_audit(session, checks=(*AUDIT, *CHAIN)) == []


@contextmanager
def settling(database: TestDatabase, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A `coalition settle` of its own, killed at the end if it still runs."""
    environment = dict(database.environment)
    environment["COALITION_DATABASE_URL"] += PATIENTLY
    process = subprocess.Popen(
        [Path(sys.executable).parent / "coalition", "settle", "--directory", directory],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


def the_nights_pid(till: Counter, *, behind: Teller) -> int:
    """The session of the night, once it is seen waiting for that teller."""
    for _ in range(PATIENCE * 100):
        found = till.pids_behind(behind)
        if found:
            [pid] = found
            return pid
        till.pause()
    raise AssertionError("the night never came to that member")


def holding(teller: Teller, member: MemberId) -> None:
    """A till amid its posting for the member."""
    teller.start(issuing(member)).result(timeout=PATIENCE)


def issuing(member: MemberId) -> Act:
    return lambda ledger: ledger.issue(member, 7)


def done_for(ledger: NightDriver) -> set[MemberId]:
    return {row[0] for row in ledger.rows("SELECT member_id FROM ledger.transaction WHERE kind = 'expire'")}


def test_killed_amid_its_batches_and_again_it_ends_in_the_same_books(
    ledger: NightDriver,
    till: Counter,
    test_database: TestDatabase,
    make_another: Callable[[], NightDriver],
) -> None:
    undisturbed = make_another()
    expected_people = business(undisturbed)
    expected_files = papers(undisturbed.files(undisturbed.settle()))

    people = business(ledger)
    by_id = sorted(people)
    # Stopped in the third batch, and then, with that one posted, in the fourth.
    for stopped_at, batches in ((2 * BATCH + 10, 2), (3 * BATCH + 3, 3)):
        with till.tellers(1) as [holder]:
            holding(holder, by_id[stopped_at])
            with settling(test_database, ledger.directory) as process:
                pid = the_nights_pid(till, behind=holder)
                process.kill()
                process.wait()
            # Its session learns of that when it has got the lock for which it waits.
            holder.end(commit=False)
            till.until_gone(pid)
        assert done_for(ledger) == set(by_id[: batches * BATCH])
        assert ledger.rows("SELECT DISTINCT state FROM ledger.settlement_window") == [("open",)]

    with settling(test_database, ledger.directory) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said.decode()
    assert differences(books(undisturbed, expected_people), books(ledger, people)) == []
    files = [path for path in ledger.directory.rglob("*") if path.is_file()]
    assert papers({path.name: path.read_bytes() for path in files}) == expected_files


def test_a_till_waits_for_the_batch_that_has_its_member_and_for_no_more(
    ledger: NightDriver, till: Counter, test_database: TestDatabase
) -> None:
    by_id = sorted(business(ledger))
    amid_the_third, amid_the_fourth = by_id[2 * BATCH + 10], by_id[3 * BATCH + 3]
    posted, yet_to_come, not_due = by_id[0], by_id[-1], ledger.member()
    in_the_batch = by_id[2 * BATCH + 2]
    with till.tellers(3) as [first, second, waiter]:
        holding(first, amid_the_third)
        holding(second, amid_the_fourth)
        with settling(test_database, ledger.directory) as process:
            pid = the_nights_pid(till, behind=first)
            with ThreadPoolExecutor(1) as others:
                for free in (posted, yet_to_come, not_due):
                    assert others.submit(ledger.issue, free, 7).result(timeout=PATIENCE).points == 7
            assert till.pids_behind(first) == {pid}, "the night has not gone on meanwhile"

            waiting = waiter.start(issuing(in_the_batch))
            till.until_waiting(waiter, waiting, behind={pid})
            first.end(commit=True)
            answer: Any = waiting.result(timeout=PATIENCE)
            assert answer.points == 7
            waiter.end(commit=True)
            assert the_nights_pid(till, behind=second) == pid, "the night is not over, and the till is"
            second.end(commit=True)
            said, _ = process.communicate(timeout=60)
            assert process.returncode == 0, said.decode()
    assert done_for(ledger) == set(by_id)
