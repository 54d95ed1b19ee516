"""Checks side by side: several sessions that look at one snapshot, where the books are large."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from coalition.audit import AUDIT, FINDINGS_PER_CHECK, TERMS, run_audit
from coalition.db.engine import driver_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg import Connection

    from coalition.audit.finding import Check, Finding
    from coalition.db import Database

_PAUSE: Final = 0.1  # seconds between two attempts at stopping a session


def run_audit_side_by_side(
    database: Database,
    *,
    jobs: int,
    checks: Sequence[Check] = AUDIT,
    per_check: int = FINDINGS_PER_CHECK,
    started: Callable[[str], None] = lambda _: None,
) -> list[Finding]:
    """What `run_audit` finds, in the same order, by so many sessions at once.

    PostgreSQL lets a transaction take over the snapshot of another (`pg_export_snapshot`), so that
    all sessions see the same moment. It takes one connection more than `jobs`, which keeps the
    snapshot, and makes do with fewer where the pool is small. `started` hears each
    check's name, from any thread.
    """
    jobs = min(jobs, database.pool_size - 1)
    if jobs < 2:  # noqa: PLR2004  (one is nobody to share with)
        with database.reading() as session:
            return run_audit(session, checks=checks, per_check=per_check, started=started)
    waiting: SimpleQueue[tuple[int, Check]] = SimpleQueue()
    # Of the last checks those of terms alone take long: nobody waits for one of them in the end.
    for numbered in sorted(enumerate(checks), key=lambda one: one[1] not in TERMS):
        waiting.put(numbered)
    at_work: list[Connection] = []

    def work(snapshot: str) -> list[tuple[int, list[Finding]]]:
        found: list[tuple[int, list[Finding]]] = []
        with database.reading() as session:
            connection = driver_of(session)
            at_work.append(connection)
            # The first thing that the transaction does; it takes no parameter.
            session.execute(text(f"SET TRANSACTION SNAPSHOT '{snapshot}'"))
            with suppress(Empty):
                while True:
                    number, check = waiting.get_nowait()
                    one = run_audit(session, checks=[check], per_check=per_check, started=started)
                    found.append((number, one))
            at_work.remove(connection)
        return found

    with database.reading() as keeper, ThreadPoolExecutor(jobs) as pool:
        keeper.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        snapshot = keeper.execute(text("SELECT pg_export_snapshot()")).scalar_one()
        working: list[Future[list[tuple[int, list[Finding]]]]] = []
        try:
            working += [pool.submit(work, snapshot) for _ in range(jobs)]
            # As they end: who fails is heard while others are at long checks.
            parts = [part for one in as_completed(working) for part in one.result()]
        except BaseException:
            _stop(waiting, at_work, working)
            raise
    return [one for _, found in sorted(parts, key=lambda part: part[0]) for one in found]


def _stop(
    waiting: SimpleQueue[tuple[int, Check]],
    at_work: list[Connection],
    working: Sequence[Future[list[tuple[int, list[Finding]]]]],
) -> None:
    """Nobody waits minutes for the other checks when one has failed, or the operator has had enough."""
    with suppress(Empty):
        while True:
            waiting.get_nowait()
    # Again and again: to cancel a session between two statements does nothing.
    while wait(working, timeout=_PAUSE).not_done:
        for connection in tuple(at_work):
            connection.cancel_safe()
