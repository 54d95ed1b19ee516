"""What a process remembers of its database, so that a posting is one round trip.

Only what cannot change is trusted: a programme's zone and mode, a published plan. An agreement may be
superseded while it is remembered; the kernel compares it with the one in force and says so
(`TermsSuperseded`), and then it is looked up again.
"""

import threading
from datetime import UTC, date, datetime, timedelta
from typing import Final, TypeVar
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

from sqlalchemy import Pool
from sqlalchemy.orm import Session

from coalition import clock
from coalition.errors import FundingPlanUnknown, InvalidInput, OccurredInFuture
from coalition.ids import FundingPlanId, PartnerId
from coalition.programme import get_programme
from partners.agreements import Agreement, agreement_in_force
from partners.funding import find_funding_plan

_TOLERANCE: Final = timedelta(minutes=5)
"""How far a till's clock may run ahead of the programme's."""
_EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
_MOST: Final = 10_000
"""A stream of ever new dates and codes must not fill the memory."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Memory:
    """What is remembered of one database."""

    def __init__(self) -> None:
        self._zone: ZoneInfo | None = None
        self._production = False
        self._not_before = _EARLIEST
        self._agreements: dict[tuple[PartnerId, date], Agreement] = {}
        self._plans: dict[str, FundingPlanId] = {}

    def zone(self, session: Session) -> ZoneInfo:
        """The programme's zone."""
        if self._zone is None:
            programme = get_programme(session)
            self._production = programme.mode == "production"
            self._zone = programme.tz
        return self._zone

    def moment(self, session: Session, occurred_at: datetime | None) -> datetime:
        """When a transaction occurred: as told, or now.

        Raises:
            InvalidInput: the time has no zone, or lies before there were such programmes.
            OccurredInFuture: it lies more than 5 minutes after the programme's time.
        """
        if occurred_at is None:
            return self._now(session)
        check_moment(occurred_at)
        # Clocks only move forward, so one look from earlier often tells enough.
        if occurred_at > self._not_before + _TOLERANCE and occurred_at > self._now(session) + _TOLERANCE:
            raise OccurredInFuture(occurred_at=occurred_at, now=self._not_before)
        return occurred_at.astimezone(UTC)

    def agreement(self, session: Session, *, partner_id: PartnerId, on: date) -> Agreement | None:
        """The terms that hold on a date. That there are none is not remembered."""
        known = self._agreements.get((partner_id, on))
        if known is None:
            known = agreement_in_force(session, partner_id=partner_id, on=on)
            if known is not None:
                _keep(self._agreements, (partner_id, on), known)
        return known

    def funding_plan(self, session: Session, code: str) -> FundingPlanId | None:
        """The plan of that code, if there is one. That there is none is not remembered."""
        known = self._plans.get(code)
        if known is None:
            try:
                known = find_funding_plan(session, code).funding_plan_id
            except FundingPlanUnknown:
                return None
            _keep(self._plans, code, known)
        return known

    def forget(self, partner_id: PartnerId) -> None:
        """Look a partner's agreements up anew: one of them is no longer in force."""
        self._agreements = {key: kept for key, kept in self._agreements.items() if key[0] != partner_id}

    def _now(self, session: Session) -> datetime:
        self.zone(session)
        now = clock.wall() if self._production else clock.now(session)
        self._not_before = max(now, self._not_before)
        return now


def check_moment(occurred_at: datetime) -> None:
    """See that a time is one at which something can have occurred.

    Raises:
        InvalidInput: it has no zone, or lies before there were such programmes.
    """
    if occurred_at.tzinfo is None:
        raise InvalidInput("occurredAt must name its zone", field=("input", "occurredAt"))
    if occurred_at < _EARLIEST:
        raise InvalidInput("occurredAt lies too far back", field=("input", "occurredAt"))


def _keep(kept: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    if len(kept) >= _MOST:
        kept.clear()
    kept[key] = value


_memories: Final[WeakKeyDictionary[Pool, Memory]] = WeakKeyDictionary()
_making = threading.Lock()


def memory_of(session: Session) -> Memory:
    """What this process remembers of the session's database."""
    pool = session.get_bind().engine.pool
    known = _memories.get(pool)
    if known is None:
        with _making:
            known = _memories.setdefault(pool, Memory())
    return known
