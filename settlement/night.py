"""The night: close the window, seal it, calculate its run, write its papers.

Each step is one transaction and safe to repeat, so a night that is killed anywhere goes on where it
was. Only one settles at a time; a second waits, and finds it done.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from coalition import clock, members, windows
from coalition.config import Settings
from coalition.db import Database
from coalition.errors import DatabaseUnavailable, WindowBusy, WindowNotOver
from coalition.programme import get_programme
from coalition.windows import Window, find_window, open_window
from partners import refusals
from settlement.calculation import Outcome, calculate, work_in_bulk
from settlement.files import complete, write_files
from settlement.runs import Finding, Run, RunState, read_books, run_of

_ALONE: Final = 7_305_137_150_463_300
"""Key of the advisory lock that the one who settles holds. Not the window's, which postings share."""
_MEMBERS_AT_ONCE: Final = 20
"""Members brought up to date in one transaction: few, since the closer waits for it like for a posting."""
# Short at first, as postings queue behind a waiting closer; the last outlasts the longest posting.
_PATIENCE: Final = tuple(timedelta(seconds=seconds) for seconds in (0.1, 0.2, 0.4, 0.8, 1.6, 3, 3, 3))
_BREATH: Final = 0.25  # seconds between two tries, in which the tills catch up


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What a night did for one window."""

    run: Run
    findings: tuple[Finding, ...]
    """Why the run is held; empty for one that is not."""
    closed_now: bool
    """This night closed the window; or else it was closed before."""
    stall: timedelta
    """The longest that a posting can have waited for the closing; zero where this night closed nothing."""
    files: tuple[Path, ...]
    """None are written for a held run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """What a night did; nothing where no window was over."""

    settled: tuple[Settled, ...]

    @property
    def run(self) -> Run | None:
        """The run of the last window that was settled."""
        return self.settled[-1].run if self.settled else None

    @property
    def stall(self) -> timedelta:
        """The longest that a posting can have waited for a closing."""
        return max((one.stall for one in self.settled), default=timedelta(0))


def statements_directory(settings: Settings) -> Path:
    """Where papers go unless a command names another place."""
    return settings.statements_dir or settings.data_dir / "statements"


def settle(
    db: Database,
    *,
    directory: Path,
    business_date: date | None = None,
    now: bool = False,
    wait: bool = True,
) -> Night:
    """Settle one window, or every one that is due.

    Args:
        db: The database, as the application.
        directory: Where the papers go.
        business_date: The window; earlier ones that were not settled come first, because liability
            rolls forward. None: all closed ones that have no run, then the open one if it is over.
        now: Close the open window although its day is not over.
        wait: Where someone else is settling, wait for them; or else do nothing.

    Raises:
        WindowUnknown: no window has that date.
        WindowNotOver: its day is not over, and `now` was not asked for.
        WindowBusy: postings in flight did not end in time; nothing has changed for that window.
    """
    with _alone(db, wait=wait) as alone:
        if not alone:
            return Night(settled=())
        with db.reading() as session:
            due = _due(session, business_date=business_date, now=now)
            last = _last_calculated(session)
        if last is not None:
            _complete_files(db, last, directory)
        return Night(settled=tuple(_settle_one(db, window, directory) for window in due))


def _settle_one(db: Database, window: Window, directory: Path) -> Settled:
    stall = timedelta(0)
    if window.state == "open":
        _prepare(db)
        stall = _close(db, window)
    with db.unit_of_work() as session:
        work_in_bulk(session)
        windows.seal_window(session, business_date=window.business_date)
    outcome = calculate(db, business_date=window.business_date)
    return Settled(
        run=outcome.run,
        findings=outcome.findings,
        closed_now=window.state == "open",
        stall=stall,
        files=_write(db, outcome, directory),
    )


def _due(session: Session, *, business_date: date | None, now: bool) -> list[Window]:
    """The windows to settle, oldest first."""
    wanted = open_window(session) if business_date is None else find_window(session, business_date)
    closing = wanted.state == "open"
    if closing and not now and not is_over(session, wanted):
        if business_date is not None:
            raise WindowNotOver(business_date=wanted.business_date)
        closing = False
    rows = session.execute(_UNSETTLED, {"before": wanted.business_date})
    due = [windows.window_of(row) for row in rows]
    if closing or wanted.state != "open":
        due.append(wanted)
    return due


def is_over(session: Session, window: Window) -> bool:
    """Has the window's day passed, in the programme's zone and by the programme's clock?"""
    return window.business_date < local_date(session, clock.now(session))


def local_date(session: Session, moment: datetime) -> date:
    """The date in the programme's zone."""
    return moment.astimezone(get_programme(session).tz).date()


# A held run is tried again: what it was held for may have been repaired.
_UNSETTLED: Final = text("""
    SELECT w.* FROM ledger.settlement_window w
     WHERE w.business_date < :before AND w.state <> 'open'
       AND NOT EXISTS (SELECT FROM settlement.run r
                        WHERE r.business_date = w.business_date AND r.state = 'calculated')
     ORDER BY w.business_date
""")

_LAST: Final = text("""
    SELECT * FROM settlement.run WHERE state = 'calculated' ORDER BY business_date DESC LIMIT 1
""")


def _last_calculated(session: Session) -> Run | None:
    row = session.execute(_LAST).one_or_none()
    return None if row is None else run_of(row)


def _complete_files(db: Database, run: Run, directory: Path) -> None:
    """Write what a night that was killed after its last transaction could not."""
    with db.reading() as session:
        books = read_books(session, run)
    if not complete(books, directory):
        write_files(books, directory)


def _prepare(db: Database) -> None:
    """Partitions for the time to come, and members up to date whom nobody touched."""
    with contextlib.suppress(DatabaseUnavailable), db.unit_of_work() as session:
        # Postings that use the table may be in the way; it is done months ahead, and tried every night.
        windows.prepare_partitions(session, business_date=local_date(session, clock.now(session)))
    with db.unit_of_work() as session:
        refusals.trim(session)
    last = None
    while True:
        with db.unit_of_work() as session:
            due = members.members_due(session, at=clock.now(session), limit=_MEMBERS_AT_ONCE, after=last)
            members.bring_up_to_date(session, [one.member_id for one in due])
        if len(due) < _MEMBERS_AT_ONCE:
            break
        last = due[-1]


def _close(db: Database, window: Window) -> timedelta:
    """Close the window; returns how long postings can have waited for it, at most."""
    longest = timedelta(0)
    for patience in _PATIENCE:
        began = time.monotonic()
        try:
            with db.unit_of_work() as session:
                windows.close_window(session, business_date=window.business_date, patience=patience)
        except WindowBusy:
            longest = max(longest, timedelta(seconds=time.monotonic() - began))
            time.sleep(_BREATH)
        else:
            return max(longest, timedelta(seconds=time.monotonic() - began))
    raise WindowBusy(business_date=window.business_date)


def _write(db: Database, outcome: Outcome, directory: Path) -> tuple[Path, ...]:
    if outcome.run.state is not RunState.CALCULATED:
        return ()
    with db.reading() as session:
        books = read_books(session, outcome.run)
    return tuple(write_files(books, directory))


_PATIENTLY: Final = text("""
    SELECT set_config('lock_timeout', '0', false), set_config('statement_timeout', '0', false)
""")


@contextlib.contextmanager
def _alone(db: Database, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of the one who settles; yields whether it was got.

    A lock of the session and not of a transaction, as the night is many transactions. The connection
    is closed at the end, and by a kill, and the lock goes with it.
    """
    with db.single_call() as session:
        try:
            if wait:
                session.execute(_PATIENTLY)
                session.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _ALONE})
                got = True
            else:
                got = session.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _ALONE}).scalar_one()
            yield got
        finally:
            session.invalidate()
