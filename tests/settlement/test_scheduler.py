"""The nightly job: at its local hour, once, however many servers run."""

import asyncio
import threading
from datetime import UTC, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from conftest import TestDatabase
from driver import LedgerDriver
from sqlalchemy import Engine, text

from coalition.config import Settings
from coalition.db import Database
from coalition.programme import OpenProgramme, open_programme
from settlement import scheduler

BERLIN = ZoneInfo("Europe/Berlin")
TWO = time(2, 0)
MIDNIGHT = time(0, 0)


@pytest.mark.parametrize(
    ("moment", "struck"),
    [
        (datetime(2026, 6, 1, 23, 59, tzinfo=UTC), False),  # 01:59 in Berlin
        (datetime(2026, 6, 2, 0, 0, tzinfo=UTC), True),  # 02:00
        (datetime(2026, 6, 2, 21, 59, tzinfo=UTC), True),  # 23:59, still that day's
        (datetime(2026, 6, 2, 22, 0, tzinfo=UTC), False),  # 00:00 of the next
        # On 2026-03-29 the clocks go from 02:00 straight to 03:00.
        (datetime(2026, 3, 29, 0, 59, tzinfo=UTC), False),
        (datetime(2026, 3, 29, 1, 0, tzinfo=UTC), True),
        # On 2026-10-25 they go from 03:00 back to 02:00, at 01:00 UTC.
        (datetime(2026, 10, 24, 23, 59, tzinfo=UTC), False),
        (datetime(2026, 10, 25, 0, 0, tzinfo=UTC), True),
        (datetime(2026, 10, 25, 1, 0, tzinfo=UTC), True),
    ],
)
def test_the_hour_strikes_in_the_programmes_zone(moment: datetime, struck: bool) -> None:
    assert scheduler.has_struck(moment, at=TWO, zone=BERLIN) is struck


@pytest.fixture
def production(database: Database, superuser_engine: Engine) -> LedgerDriver:
    """A production programme whose window began yesterday."""
    with database.unit_of_work() as session:
        open_programme(session, OpenProgramme(name="Test", mode="production", zone="UTC"))
    with superuser_engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE ledger.settlement_window"
                " SET business_date = business_date - 1, opened_at = opened_at - interval '1 day'"
            )
        )
    return LedgerDriver(database)


def settings(test_database: TestDatabase, directory: Path, *, at: time = MIDNIGHT) -> Settings:
    return test_database.settings.model_copy(update={"settle_at": at, "statements_dir": directory})


def test_a_window_that_is_over_waits_for_the_hour(
    production: LedgerDriver, test_database: TestDatabase, tmp_path: Path
) -> None:
    chosen = settings(test_database, tmp_path, at=time(12, 0))
    today = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)

    assert scheduler.settle_if_due(production.database, chosen, moment=today.replace(hour=11)) is None
    assert production.rows("SELECT count(*) FROM settlement.run") == [(0,)]

    night = scheduler.settle_if_due(production.database, chosen, moment=today.replace(hour=12))
    assert night is not None
    assert len(night.settled) == 1
    assert scheduler.settle_if_due(production.database, chosen, moment=today.replace(hour=13)) is None


def test_a_programme_whose_clock_stands_is_left_alone(
    database: Database, test_database: TestDatabase, tmp_path: Path
) -> None:
    ledger = LedgerDriver(database).open()
    ledger.pass_time(days=2)

    assert scheduler.settle_if_due(database, settings(test_database, tmp_path)) is None
    assert ledger.rows("SELECT count(*) FROM settlement.run") == [(0,)]


def test_a_window_that_a_killed_night_left_is_taken_up_at_once(
    production: LedgerDriver, test_database: TestDatabase, tmp_path: Path
) -> None:
    production.close_window()
    late = settings(test_database, tmp_path, at=time(23, 59, 59))

    night = scheduler.settle_if_due(
        production.database, late, moment=datetime.now(UTC).replace(hour=0, minute=0)
    )
    assert night is not None
    assert len(night.settled) == 1


def test_two_servers_settle_a_night_once(
    production: LedgerDriver, test_database: TestDatabase, tmp_path: Path
) -> None:
    """Both run the real worker, on its own connections, ticking every second."""
    chosen = settings(test_database, tmp_path)

    async def both() -> None:
        with Database.connect(chosen) as other:
            async with (
                scheduler.running(production.database, chosen, night="* * * * * *"),
                scheduler.running(other, chosen, night="* * * * * *"),
            ):
                async with asyncio.timeout(30):
                    while await asyncio.to_thread(runs) == 0:  # noqa: ASYNC110 - it happens in the database
                        await asyncio.sleep(0.1)
                    await asyncio.sleep(2.5)

    def runs() -> int:
        [(count,)] = production.rows("SELECT count(*) FROM settlement.run")
        return int(count)

    asyncio.run(both())
    assert runs() == 1
    assert production.rows("SELECT count(*) FROM ledger.settlement_window WHERE state = 'sealed'") == [(1,)]
    assert (production.rows("SELECT state FROM ledger.settlement_window ORDER BY business_date")) == [
        ("sealed",),
        ("open",),
    ]
    assert [path.name for path in tmp_path.glob("*/*/run.json")] == ["run.json"]


def test_a_scheduler_that_lost_its_database_takes_it_up_again(
    production: LedgerDriver,
    test_database: TestDatabase,
    superuser_engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its connections are cut before its first tick that finds a night due."""
    monkeypatch.setattr(scheduler, "_AGAIN", 0.2)
    chosen = settings(test_database, tmp_path)
    due = threading.Event()
    ask = scheduler.is_due
    monkeypatch.setattr(scheduler, "is_due", lambda *args, **named: due.is_set() and ask(*args, **named))

    def cut() -> int:
        with superuser_engine.begin() as connection:
            return connection.execute(
                text(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE application_name = 'coalition jobs' AND datname = current_database()"
                )
            ).scalar_one()

    def runs() -> int:
        [(count,)] = production.rows("SELECT count(*) FROM settlement.run")
        return int(count)

    async def night() -> None:
        async with (
            scheduler.running(production.database, chosen, night="* * * * * *"),
            asyncio.timeout(60),
        ):
            while await asyncio.to_thread(cut) == 0:  # noqa: ASYNC110 - it happens in the database
                await asyncio.sleep(0.1)
            due.set()
            while await asyncio.to_thread(runs) == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    asyncio.run(night())
    assert runs() == 1


def test_a_server_lets_pooled_holds_lapse_by_themselves(
    production: LedgerDriver, test_database: TestDatabase, tmp_path: Path
) -> None:
    spender, giver = production.member(), production.member(available=10)
    production.pool(spender, giver)
    production.authorize(spender, 10, from_pool=True, seconds_to_live=1)
    # It is no hour to settle at, and the night would do the same.
    late = settings(test_database, tmp_path, at=time(23, 59, 59))

    async def a_while() -> None:
        async with (
            scheduler.running(production.database, late, lapsing="* * * * * *"),
            asyncio.timeout(30),
        ):
            while await asyncio.to_thread(available) == 0:  # noqa: ASYNC110 - it happens in the database
                await asyncio.sleep(0.1)

    def available() -> int:
        return production.balance(giver).available

    asyncio.run(a_while())
    assert available() == 10
    assert production.rows("SELECT count(*) FROM settlement.run") == [(0,)]
