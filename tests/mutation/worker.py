"""A process that has collected the tests once and runs them again for each mutant."""

import contextlib
import gc
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import databases
import psycopg
import pytest
from _pytest.runner import runtestprotocol
from databases import TestCluster, TestDatabase
from emptied import EmptiedDatabase

from mutation.database import STATEMENT_SECONDS, Laboratory, plan_once
from mutation.mutants import calls_within

TEST_SECONDS = 2 * STATEMENT_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A mutant, and which tests to try on it in which order."""

    id: str
    sql: str
    original: str
    tests: list[str]


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of a mutant: killed, survived, timeout or invalid; by which test, with what it said."""

    id: str
    fate: str
    test: str = ""
    said: str = ""
    ran: int = 0
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class Ground:
    """What is known of the tests when nothing is changed: how long each takes and what it calls."""

    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, list[str]] = field(default_factory=dict)
    failing: dict[str, str] = field(default_factory=dict)


class TookTooLongError(Exception):
    """A test that runs for ever under a mutant."""


def work(channel: Connection, paths: list[str]) -> None:
    """Collect the tests at these paths, then tell what those of some paths call, and judge mutants."""
    # The terminal belongs to the progress bar.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Of many tests in one process, what one left to the garbage collector would be said of another.
    without = ("cacheprovider", "xdist", "unraisableexception")
    arguments = [*(f"-pno:{plugin}" for plugin in without), "--tb=native", "-q", *paths]
    code = pytest.main(arguments, plugins=[_Judge(channel)])
    with contextlib.suppress(OSError):
        channel.send(f"the tests could not be collected: pytest ended with {code}")


class _Between:
    """Stands for the test that comes next: nothing but the session is kept for it."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def listchain(self) -> list[Any]:
        return [self._session]


class _Judge:
    def __init__(self, channel: Connection) -> None:
        self._channel = channel

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._items = {item.nodeid: item for item in session.items}
        self._between: Any = _Between(session)
        signal.signal(signal.SIGALRM, _too_long)
        with databases.running_cluster() as cluster, Laboratory.on(cluster) as laboratory:
            self._laboratory = laboratory
            self._give_everybody(laboratory)
            plan_once()
            gc.collect()
            gc.freeze()
            while (task := self._channel.recv()) is not None:
                self._channel.send(self._judge(task) if isinstance(task, Task) else self._survey(task))
        os._exit(0)

    def _give_everybody(self, laboratory: Laboratory) -> None:
        """Let every test that asks for a database of its own have this one, but those that would spoil it."""
        new_database = TestCluster.new_database

        @contextlib.contextmanager
        def given(cluster: TestCluster, *, template: str | None = None) -> Iterator[TestDatabase]:
            assert template is None, "a test that makes databases itself is not for mutants"
            if not self._alters_schema:
                yield laboratory.empty()
                return
            with new_database(cluster) as fresh, laboratory.prepared(fresh):
                yield fresh

        @contextlib.contextmanager
        def on(_: TestCluster) -> Iterator[EmptiedDatabase]:
            yield laboratory

        TestCluster.new_database = given
        EmptiedDatabase.on = on

    def _survey(self, paths: tuple[str, ...]) -> Ground:
        ground = Ground()
        within = calls_within()
        refused = _note_refused_calls()
        for name in self._items:
            if not name.startswith(paths):
                continue
            self._laboratory.forget_calls()
            refused.clear()
            began = time.monotonic()
            if said := self._fails(name):
                ground.failing[name] = said
                continue
            ground.seconds[name] = time.monotonic() - began
            # PostgreSQL does not count a call that ends in an error; it may have reached all that is within.
            within_refused = {inner for door in refused for inner in within.get(door, {door})}
            ground.calls[name] = sorted({*self._laboratory.called(), *within_refused})
        return ground

    def _judge(self, task: Task) -> Outcome:
        began = time.monotonic()
        outcome = Outcome(id=task.id, fate="survived")
        if complaint := self._laboratory.install(task.sql):
            return Outcome(id=task.id, fate="invalid", said=complaint)
        try:
            for name in task.tests:
                outcome.ran += 1
                said = self._fails(name)
                if said and self._blames(task, name):
                    slow = "TookTooLongError" in said or "statement timeout" in said
                    outcome.fate = "timeout" if slow else "killed"
                    outcome.test, outcome.said = name, said[-300:]
                    break
        finally:
            self._restore(task.original)
        outcome.seconds = round(time.monotonic() - began, 2)
        return outcome

    def _blames(self, task: Task, name: str) -> bool:
        """Whether the test passes again without the mutant: one that fails by itself kills nothing."""
        self._restore(task.original)
        if not self._fails(name):
            return True
        self._restore(task.sql)
        return False

    def _restore(self, function: str) -> None:
        complaint = self._laboratory.install(function)
        assert complaint is None, complaint

    def _fails(self, name: str) -> str:
        """Run one test. Returns how it failed, or nothing."""
        item: Any = self._items[name]
        item._initrequest()
        self._alters_schema = item.get_closest_marker("fresh_database") is not None
        signal.setitimer(signal.ITIMER_REAL, TEST_SECONDS)
        try:
            reports = runtestprotocol(item, log=False, nextitem=self._between)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return next((str(report.longrepr) or "failed" for report in reports if report.failed), "")


def _note_refused_calls() -> set[str]:
    """The kernel's functions that are named in statements which end in an error, from now on."""
    refused: set[str] = set()
    execute = psycopg.Cursor.execute

    def noting(self: Any, query: Any, *arguments: Any, **more: Any) -> Any:
        try:
            return execute(self, query, *arguments, **more)
        except psycopg.Error:
            refused.update(re.findall(r"ledger\.(\w+)", str(query)))
            raise

    psycopg.Cursor.execute = noting
    return refused


def _too_long(*_: object) -> None:
    raise TookTooLongError
