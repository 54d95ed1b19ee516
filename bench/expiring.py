"""What a till feels of the night in which points of every member expire."""

from __future__ import annotations

import random
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

from sqlalchemy import text
from stage import Stage, member_id

from coalition.ids import MemberId
from partners import till
from settlement.night import settle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CHUNK: Final = 2_000

_ISSUE: Final = text("""
    SELECT count(ledger.post_issue(md5('member ' || m)::uuid, :partner, :agreement, NULL, 10, NULL,
                                   'x' || m || '/' || n || ' ' || CAST(:expires_at AS timestamptz), '\\x00', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                                   CAST(:expires_at AS timestamptz), clock_timestamp()))
    FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS m, generate_series(1, :each) AS n
""")


def measure(stage: Stage, *, members: int, lots_each: int, calm: float, directory: Path) -> dict[str, float]:
    """The night's seconds and lots; and the milliseconds of one till's redemptions, in a calm and beside it.

    The till goes on at members drawn at random, so some of them are just being brought up to date, or are
    brought up to date by the till before the night comes to them.
    """
    expires_at = _fill(stage, members, lots_each)
    before = _Till(stage, members)
    before.run_beside(lambda: time.sleep(calm))
    time.sleep(max(0, (expires_at - datetime.now(UTC)).total_seconds()))
    beside = _Till(stage, members)
    started = time.perf_counter()
    beside.run_beside(lambda: settle(stage.database, directory=directory, now=True))
    seconds = time.perf_counter() - started
    with stage.database.reading() as session:
        expired, left = session.execute(
            text("""
                SELECT count(*) FILTER (WHERE expired > 0), sum(available) FROM ledger.lot
                WHERE expires_at = :moment
            """),
            {"moment": expires_at},
        ).one()
    assert left == 0, "the night left points that were due"
    return {
        "lots": float(expired),
        "members": float(members),
        "seconds": seconds,
        **{f"calm_{name}": value for name, value in before.felt().items()},
        **{f"night_{name}": value for name, value in beside.felt().items()},
    }


class _Till:
    """One till that redeems a point of somebody, again and again, and notes how long each takes."""

    def __init__(self, stage: Stage, members: int) -> None:
        self._stage = stage
        self._members = members
        self._milliseconds: list[float] = []
        self._over = threading.Event()

    def run_beside(self, what: Callable[[], object]) -> None:
        thread = threading.Thread(target=self._redeem)
        thread.start()
        try:
            what()
        finally:
            self._over.set()
            thread.join()

    def felt(self) -> dict[str, float]:
        taken = self._milliseconds
        return {"median": median(taken), "p99": quantiles(taken, n=100)[98], "most": max(taken)}

    def _redeem(self) -> None:
        chance = random.Random(1)
        while not self._over.is_set():
            wish = till.Redeem(
                member_id=MemberId(member_id(chance.randint(1, self._members))),
                partner_id=self._stage.partner_id,
                points=1,
                idempotency_key=uuid.uuid4().hex,
            )
            started = time.perf_counter()
            with self._stage.database.single_call() as session:
                till.redeem(session, wish)
            self._milliseconds.append((time.perf_counter() - started) * 1000)


def _fill(stage: Stage, members: int, lots_each: int) -> datetime:
    """Give each member lots that expire together in a moment that is soon; returns when.

    How soon goes by the machine: the first members get other lots before, which live on.
    """
    started = time.perf_counter()
    trial = min(_CHUNK, members)
    _issue(stage, 1, trial, lots_each, expires_at=datetime.now(UTC) + timedelta(days=30))
    each = (time.perf_counter() - started) / trial
    expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=10 + 2 * each * members)
    for first in range(1, members + 1, _CHUNK):
        _issue(stage, first, min(first + _CHUNK - 1, members), lots_each, expires_at=expires_at)
    assert datetime.now(UTC) < expires_at, "filling took longer than the points were to live"
    return expires_at


def _issue(stage: Stage, first: int, last: int, lots_each: int, *, expires_at: datetime) -> None:
    with stage.database.unit_of_work() as session:
        session.execute(text("SET LOCAL statement_timeout = '120s'"))
        session.execute(
            _ISSUE,
            {
                "partner": stage.partner_id,
                "agreement": stage.agreement_id,
                "each": lots_each,
                "expires_at": expires_at,
                "first": first,
                "last": last,
            },
        )
