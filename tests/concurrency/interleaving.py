"""Sessions in forced order: one has done its part and not committed, others are seen waiting for it.

Nothing here is left to timing. A session waits when PostgreSQL itself says by whom it is blocked
(`pg_blocking_pids`), and only then does the test go on.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from driver import LedgerDriver
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session
from waiting import PATIENCE, until_somebody_waits

from coalition.db.engine import make_engine
from coalition.errors import CoalitionError
from coalition.ledger.posting import TermsSuperseded

Act = Callable[[LedgerDriver], Any]

_TRIES = 3  # as in partners.till


@dataclass
class HeldDatabase:
    """A database whose every unit of work is one and the same open transaction."""

    session: Session

    @contextmanager
    def unit_of_work(self) -> Iterator[Session]:
        yield self.session

    single_call = unit_of_work


def one_after_another(ledger: LedgerDriver, first: Act, second: Act) -> Any:
    """The second's answer, or refusal, who waited while the first had acted and not committed."""
    with ThreadPoolExecutor(1) as pool:
        with ledger.database.unit_of_work() as session:
            first(replace(ledger, database=HeldDatabase(session)))  # type: ignore[arg-type]
            later = pool.submit(second, ledger)
            until_somebody_waits(ledger.database)
        try:
            return later.result()
        except (CoalitionError, TermsSuperseded) as refusal:
            return refusal


@dataclass(repr=False)
class Teller:
    """One session of its own: acts in a thread, and commits or rolls back when it is told."""

    driver: LedgerDriver
    connection: Connection
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    acted_at: float = 0.0
    """When it had its answer and had not let go of its locks."""

    def __post_init__(self) -> None:
        self.session = Session(self.connection, autoflush=False, expire_on_commit=False)
        self.pid: int = self.session.execute(text("SELECT pg_backend_pid()")).scalar_one()
        self.session.rollback()
        # Its keys are its own, or two sessions with one operation would be one that is asked twice.
        self.held = replace(self.driver, database=HeldDatabase(self.session))  # type: ignore[arg-type]

    def start(self, act: Act) -> "Future[Any]":
        return self.threads.submit(self._act, act)

    def _act(self, act: Act) -> Any:
        """What it was answered, a refusal too; its transaction stays open, unless it was refused."""
        try:
            for _ in range(_TRIES):
                try:
                    with self.session.begin_nested():
                        answer = act(self.held)
                    self.acted_at = time.monotonic()
                    return answer  # noqa: TRY300 - what is refused is the caller's, not ours
                except TermsSuperseded:
                    continue
        except CoalitionError as refusal:
            self.session.rollback()
            return refusal
        raise AssertionError("superseded again and again")

    def end(self, *, commit: bool) -> None:
        if commit:
            self.session.commit()
        else:
            self.session.rollback()

    def close(self) -> None:
        self.session.close()
        self.threads.shutdown()
        self.connection.close()


@dataclass(repr=False)
class Counter:
    """Where tellers work, and who watches them."""

    ledger: LedgerDriver
    engine: Engine
    watcher: Connection

    @contextmanager
    def tellers(self, count: int) -> Iterator[list[Teller]]:
        tellers = [Teller(self.ledger, self.engine.connect()) for _ in range(count)]
        try:
            yield tellers
        finally:
            for teller in tellers:
                teller.close()

    def blockers(self, teller: Teller) -> set[int]:
        """Who keeps the teller's session waiting now, by the database's word."""
        found = self.watcher.execute(text("SELECT pg_blocking_pids(:pid)"), {"pid": teller.pid}).scalar_one()
        return set(found)

    def pids_behind(self, teller: Teller) -> set[int]:
        """The sessions that the teller's keeps waiting now, the night's among them."""
        found = self.watcher.execute(
            text("""
                SELECT pid FROM pg_stat_activity
                 WHERE datname = current_database() AND CAST(:pid AS int) = ANY (pg_blocking_pids(pid))
            """),
            {"pid": teller.pid},
        )
        return set(found.scalars())

    def until_gone(self, pid: int) -> None:
        """Until the server has noticed that the session's program was killed, and rolled it back."""
        until = time.monotonic() + PATIENCE
        here = text("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = :pid)")
        while self.watcher.execute(here, {"pid": pid}).scalar_one():
            assert time.monotonic() < until, "the session of a killed program stays"
            self.pause()

    @staticmethod
    def pause() -> None:
        """Between two looks."""
        threading.Event().wait(0.005)

    def until_waiting(self, teller: Teller, doing: "Future[Any]", *, behind: set[int]) -> None:
        """Until the teller waits for one of those; a failure where it ends without having waited."""
        until = time.monotonic() + PATIENCE
        while not self.blockers(teller) & behind:
            assert not doing.done(), f"it did not wait: {doing.result()!r}"
            assert time.monotonic() < until, "it neither waits nor ends"
            self.pause()


@contextmanager
def counter(ledger: LedgerDriver) -> Iterator[Counter]:
    """Sessions whose time-outs don't interfere: who waits, waits until the test lets it go on."""
    engine = make_engine(
        ledger.database.engine.url, pool_size=5, bounds={"statement_timeout": f"{2 * PATIENCE}s"}
    )
    try:
        with engine.connect() as connection:
            watcher = connection.execution_options(isolation_level="AUTOCOMMIT")
            yield Counter(ledger, engine, watcher)
    finally:
        engine.dispose()


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How sessions in forced order ended."""

    answers: list[Any]
    """What each was answered, in the order in which they began."""
    order: list[int]
    """In which they came to act; those that rolled back are in it."""


def in_forced_order(till: Counter, acts: Sequence[Act], *, commits: Sequence[bool]) -> Ended:
    """The first acts and waits for a word; the others begin one by one, and each is seen waiting.

    Then the first ends as is told for it, and whoever acts next; until all have ended.
    """
    with till.tellers(len(acts)) as tellers:
        doing = {0: tellers[0].start(acts[0])}
        answer = doing[0].result(timeout=PATIENCE)
        assert not isinstance(answer, CoalitionError), f"the first is refused, and holds nothing: {answer!r}"
        for nth in range(1, len(acts)):
            doing[nth] = tellers[nth].start(acts[nth])
            till.until_waiting(tellers[nth], doing[nth], behind={one.pid for one in tellers[:nth]})
        tellers[0].end(commit=commits[0])
        order = [0]
        while len(order) < len(acts):
            rest = [doing[nth] for nth in doing if nth not in order]
            done, _ = wait(rest, timeout=PATIENCE, return_when=FIRST_COMPLETED)
            assert done, "those who waited did not get on"
            acted = sorted(
                (tellers[nth].acted_at, nth) for nth in doing if nth not in order and doing[nth] in done
            )
            nth = acted[0][1]
            doing[nth].result()
            tellers[nth].end(commit=commits[nth])
            order.append(nth)
        return Ended(answers=[doing[nth].result() for nth in range(len(acts))], order=order)
