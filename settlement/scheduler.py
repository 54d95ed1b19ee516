"""What happens by itself: the night, at a local time; each minute, the end of holds with a pool's points.

Each server runs a worker of the job library. A periodic task is queued once per tick over all of
them (the library's table is unique in task and tick), and is safe to repeat; for the night whoever takes
it asks whether one is due, and settling takes a lock. The wall clock decides, so a programme whose
clock stands is left alone.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

from procrastinate import App, PsycopgConnector
from sqlalchemy import text
from sqlalchemy.orm import Session

from coalition import clock
from coalition.config import Settings
from coalition.db import Database, roles
from coalition.errors import ProgrammeNotOpen
from coalition.lapsing import lapse_pooled_holds
from coalition.programme import get_programme
from coalition.windows import open_window
from settlement.night import Night, is_over, settle, statements_directory
from settlement.runs import RunState

EVERY_FIVE_MINUTES: Final = "*/5 * * * *"
EVERY_MINUTE: Final = "* * * * *"
QUEUE: Final = "night"
LAPSING: Final = "lapsing"
_AGAIN: Final = 10.0  # seconds until a worker that lost its database is started again
_LOOK_AGAIN: Final = 60.0  # seconds until a programme whose clock stood is looked at again

_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def running(
    db: Database, settings: Settings, *, night: str = EVERY_FIVE_MINUTES, lapsing: str = EVERY_MINUTE
) -> AsyncIterator[None]:
    """Run the scheduler beside a server; it ends with the block, and lets a night in progress finish.

    Args:
        db: The database, as the application.
        settings: Say at which local time to settle, and where the papers go.
        night: When to ask whether a night is due; a line of a crontab, the sixth field being seconds.
        lapsing: When to let pooled holds lapse that are over.
    """
    worker = asyncio.create_task(_keep_working(db, settings, night, lapsing), name="settlement scheduler")
    try:
        yield
    finally:
        worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await worker


def settle_if_due(db: Database, settings: Settings, *, moment: datetime | None = None) -> Night | None:
    """Settle if it is time; None where it is not, or where someone else is at it.

    Args:
        db: The database, as the application.
        settings: Say at which local time, and where the papers go.
        moment: The wall clock's time.
    """
    with db.reading() as session:
        if not is_due(session, at=settings.settle_at, moment=moment or clock.wall()):
            return None
    night = settle(db, directory=statements_directory(settings), wait=False)
    for one in night.settled:
        _log.info("settled window %s: run %s, %s", one.run.business_date, one.run.run_id, one.run.state)
        if one.run.state is RunState.HELD:
            for finding in one.findings:
                _log.error("window %s is held: %s: %s", one.run.business_date, finding.check, finding.message)
    return night if night.settled else None


def is_due(session: Session, *, at: time, moment: datetime) -> bool:
    """Is there a window to settle, and is it time?

    A window that a killed night left without a run is taken up at once. One that is over waits for
    the local time. A held run waits for someone to look at it, or for the next night.
    """
    try:
        programme = get_programme(session)
    except ProgrammeNotOpen:
        return False
    if programme.clock_at is not None:
        return False
    if session.execute(_UNFINISHED).scalar_one():
        return True
    return has_struck(moment, at=at, zone=programme.tz) and is_over(session, open_window(session))


def has_struck(moment: datetime, *, at: time, zone: ZoneInfo) -> bool:
    """Has the local time of the moment's local day come?

    Compared as instants. A time that a change to summer time skips counts as if it had not been
    skipped; one that comes twice in autumn counts from the first.
    """
    struck = datetime.combine(moment.astimezone(zone).date(), at, tzinfo=zone)
    return moment.astimezone(UTC) >= struck.astimezone(UTC)


_UNFINISHED: Final = text("""
    SELECT EXISTS (
        SELECT FROM ledger.settlement_window w
         WHERE w.state <> 'open'
           AND NOT EXISTS (SELECT FROM settlement.run r
                            WHERE r.business_date = w.business_date AND r.state <> 'superseded'))
""")


async def _keep_working(db: Database, settings: Settings, night: str, lapsing: str) -> None:
    """Run a worker, and another one when it dies: a database that was down comes back."""
    while True:
        try:
            if await asyncio.to_thread(_clock_stands, db):
                await asyncio.sleep(_LOOK_AGAIN)
                continue
            await _work(db, settings, night, lapsing)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - whatever it was, there is another night
            _log.warning("the settlement scheduler lost its footing and starts again", exc_info=True)
        await asyncio.sleep(_AGAIN)


def _clock_stands(db: Database) -> bool:
    with db.reading() as session:
        try:
            return get_programme(session).clock_at is not None
        except ProgrammeNotOpen:
            return False


async def _work(db: Database, settings: Settings, night: str, lapsing: str) -> None:
    app = App(
        connector=PsycopgConnector(
            conninfo=roles.conninfo(db.engine.url),
            # The library names its tables without a schema.
            kwargs={"options": "-c search_path=jobs", "application_name": "coalition jobs"},
            min_size=1,
            max_size=3,
        )
    )

    # Queued at most once while it waits. No lock on running: a killed server's job would hold it for ever.
    @app.periodic(cron=night)
    @app.task(name="settle_if_due", queue=QUEUE, queueing_lock="settle_if_due")
    def tick(timestamp: int) -> None:
        del timestamp  # of the tick; what counts is the time at which the job runs
        settle_if_due(db, settings)

    @app.periodic(cron=lapsing)
    @app.task(name="lapse_pooled_holds", queue=LAPSING, queueing_lock="lapse_pooled_holds")
    def lapse(timestamp: int) -> None:
        del timestamp
        lapse_pooled_holds(db)

    async with app.open_async():
        await app.run_worker_async(
            queues=[QUEUE, LAPSING],
            concurrency=2,  # holds lapse during the night, too
            install_signal_handlers=False,
            delete_jobs="successful",
        )
