"""Forced orders, by who waits for whom; and a clock that is behind."""

import time
from datetime import datetime, timedelta, tzinfo

import pytest
from sqlalchemy import text

from coalition.db import Database

PATIENCE = 30  # seconds; on a busy machine a thread may be long in coming


def until_somebody_waits(database: Database, *, many: int = 1) -> None:
    """Return when so many sessions of this database wait for a lock."""
    tried_until = time.monotonic() + PATIENCE
    while _waiting(database) < many:
        if time.monotonic() > tried_until:
            pytest.fail(f"{many} should wait for a lock, and {_waiting(database)} did")
        time.sleep(0.01)


def _waiting(database: Database) -> int:
    statement = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with database.reading() as session:
        waiting: int = session.execute(statement).scalar_one()
        return waiting


class SlowClock(datetime):
    """A caller's clock that is three seconds behind the database's."""

    behind = timedelta(seconds=3)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) - cls.behind
