"""Guard rails: the operator's rules on how much a member, a card, a store or a partner may move.

A rule is published, a version at a time, and never edited; the last version of its code holds, from the
moment that it is published. Limits of a member or a card are exact. Those of a store or a partner act on
figures that are at most some seconds old, so that no posting waits for another member's.
"""

import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Pool, func, insert, select, text
from sqlalchemy.orm import Session, aliased

from coalition import clock
from coalition.db import Database
from coalition.db.engine import wait_longer
from coalition.errors import CoalitionError, InvalidInput, LimitUnknown
from coalition.ids import PartnerId
from coalition.ledger.posting import call
from partners import tables
from partners.checks import check_code, check_text

_table = tables.limit_rule
_figure = tables.limit_figure

FIGURES_EVERY: Final = timedelta(seconds=2)
"""How often a process sees to it that the figures of stores and partners are derived. None is older than
half as long again when a posting reads it, unless nobody posts."""
_SHORTEST_OF_FIGURES: Final = timedelta(minutes=1)
_DERIVING: Final = timedelta(minutes=5)
"""How long deriving may take: the first time it counts all postings of the rule's period."""
_LONGEST: Final = timedelta(days=366)
_MOST: Final = 10**15


class LimitScope(StrEnum):
    """Whose postings a limit counts together."""

    MEMBER = "member"
    CARD = "card"
    STORE = "store"
    PARTNER = "partner"


class LimitPosting(StrEnum):
    """Which postings a limit is about."""

    ISSUE = "issue"
    REDEEM = "redeem"
    BOTH = "both"
    TRANSFER = "transfer"


class LimitMeasure(StrEnum):
    """What a limit counts."""

    COUNT = "count"
    POINTS = "points"


class LimitAction(StrEnum):
    """What becomes of a posting that a limit leaves no room for."""

    REFUSE = "refuse"
    REVIEW = "review"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One version of a rule."""

    code: str
    version: int
    scope: LimitScope
    posting: LimitPosting
    measure: LimitMeasure
    period: timedelta | None
    """The last so long; None: the open window."""
    most: int | None
    """So many are allowed in the period; None: this version ended the rule."""
    action: LimitAction
    partner_id: PartnerId | None
    """Only this partner's postings are counted, and limited; None: all partners'."""
    published_at: datetime
    published_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishLimit:
    """The operator's wish to have a rule, or to supersede the one of that code."""

    code: str
    scope: LimitScope
    posting: LimitPosting
    measure: LimitMeasure
    period: timedelta | None
    most: int
    action: LimitAction
    published_by: str
    partner_id: PartnerId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What a store or a partner has used of a limit, as it was derived last."""

    partner_id: PartnerId
    store: str | None
    """None: the partner as a whole."""
    used: int
    peak: int
    """The most that was used at any time since this version was published."""
    peak_at: datetime
    most: int

    @property
    def overshot(self) -> int:
        """By how much the limit was overshot at the peak."""
        return max(self.peak - self.most, 0)


def publish_limit(session: Session, command: PublishLimit) -> Limit:
    """Publish a rule; it holds from now on, in place of the one that had the code.

    Raises:
        InvalidInput: a field is malformed, or contradicts another.
    """
    code = check_code(command.code)
    if not 0 <= command.most <= _MOST:
        raise InvalidInput(f"most must be from 0 to {_MOST:,}", field=("input", "most"))
    figures = command.scope in (LimitScope.STORE, LimitScope.PARTNER)
    shortest = _SHORTEST_OF_FIGURES if figures else timedelta(seconds=1)
    if command.period is not None and not shortest <= command.period <= _LONGEST:
        raise InvalidInput(
            f"the period of a {command.scope}'s limit must be from {int(shortest.total_seconds())} seconds to"
            f" {_LONGEST.days} days",
            field=("input", "periodSeconds"),
        )
    if command.posting is LimitPosting.TRANSFER and (
        command.scope is not LimitScope.MEMBER or command.partner_id is not None
    ):
        raise InvalidInput("transfers are limited per member, and are no partner's", field=("input", "scope"))
    made = _publish(
        session,
        code,
        {
            "scope": command.scope.value,
            "posting": command.posting.value,
            "measure": command.measure.value,
            "period_seconds": None if command.period is None else int(command.period.total_seconds()),
            "most": command.most,
            "action": command.action.value,
            "partner_id": command.partner_id,
            "published_by": check_text(command.published_by, field="publishedBy"),
        },
    )
    if figures:
        # Now, so that no posting has to: it counts what was posted in the period.
        wait_longer(session, _DERIVING)
        refresh_figures(session, older_than=timedelta(0))
    return made


def end_limit(session: Session, *, code: str, published_by: str) -> Limit:
    """End a rule, by a version that allows everything.

    Raises:
        LimitUnknown: no rule that holds has the code.
    """
    _alone(session, code)
    row = session.execute(_versions().where(_table.c.code == code)).mappings().one_or_none()
    if row is None or row["most"] is None:
        raise LimitUnknown(limit=code)
    same = ("scope", "posting", "measure", "period_seconds", "action", "partner_id")
    kept = {name: row[name] for name in same}
    by = check_text(published_by, field="publishedBy")
    return _publish(session, code, {**kept, "most": None, "published_by": by})


def list_limits(session: Session, *, ended: bool = False) -> list[Limit]:
    """The rules that hold, by code; with those that were ended, if they are wanted."""
    query = _versions().order_by(_table.c.code)
    if not ended:
        query = query.where(_table.c.most.is_not(None))
    return [_limit(row) for row in session.execute(query).mappings()]


def find_limit(session: Session, *, code: str, version: int) -> Limit | None:
    """One version of a rule, if there is such a one."""
    query = select(_table).where(_table.c.code == code, _table.c.version == version)
    row = session.execute(query).mappings().one_or_none()
    return None if row is None else _limit(row)


def figures_of(session: Session, limit: Limit, *, most: int = 100) -> list[Figure]:
    """What stores or partners have used of a limit, those that used most first. Empty for other scopes."""
    if limit.most is None:
        return []
    rows = session.execute(
        select(_figure)
        .where(_figure.c.code == limit.code, _figure.c.version == limit.version)
        .order_by(_figure.c.used.desc(), _figure.c.peak.desc(), _figure.c.partner_id, _figure.c.store)
        .limit(most)
    )
    return [
        Figure(
            partner_id=row.partner_id,
            store=row.store or None,
            used=int(row.used),
            peak=int(row.peak),
            peak_at=row.peak_at,
            most=limit.most,
        )
        for row in rows
    ]


def figures_as_of(session: Session) -> datetime | None:
    """When the figures were derived last, by the programme's clock; None: never."""
    found: datetime | None = session.execute(select(tables.limit_state.c.as_of)).scalar_one_or_none()
    return found


def refresh_figures(session: Session, *, older_than: timedelta) -> bool:
    """Derive the figures of stores and partners from the journal, unless they are younger than that.

    Nobody waits: where another is at it, this does nothing. Returns whether it did.
    """
    [(done,)] = call(session, "SELECT ledger.refresh_figures(%s, %s)", (older_than, clock.wall()))
    return bool(done)


def keep_fresh(db: Database) -> None:
    """Called before a posting: see to the figures every other second, in a transaction of its own.

    Where it fails, the posting goes on: the kernel does it itself once the figures are half a minute old.
    """
    pool = db.engine.pool
    now = time.monotonic()
    with _looking:
        if _looked.get(pool, 0.0) > now - FIGURES_EVERY.total_seconds():
            return
        _looked[pool] = now
    try:
        with db.unit_of_work(patience=_DERIVING) as session:
            refresh_figures(session, older_than=FIGURES_EVERY / 2)
    except CoalitionError:  # no programme yet, or no database: the posting will say so
        return


_looked: Final[WeakKeyDictionary[Pool, float]] = WeakKeyDictionary()
_looking = threading.Lock()


def _versions() -> Any:
    """The last version of each code."""
    later = aliased(_table)
    return select(_table).where(
        ~select(later.c.code)
        .where(later.c.code == _table.c.code, later.c.version > _table.c.version)
        .exists()
    )


def _alone(session: Session, code: str) -> None:
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:code, 4712))"), {"code": code})


def _publish(session: Session, code: str, values: dict[str, Any]) -> Limit:
    _alone(session, code)
    last = session.execute(
        select(func.coalesce(func.max(_table.c.version), 0)).where(_table.c.code == code)
    ).scalar_one()
    made = insert(_table).values(code=code, version=last + 1, published_at=clock.now(session), **values)
    return _limit(session.execute(made.returning(*_table.c)).mappings().one())


def _limit(row: Any) -> Limit:
    seconds = row["period_seconds"]
    return Limit(
        code=row["code"],
        version=row["version"],
        scope=LimitScope(row["scope"]),
        posting=LimitPosting(row["posting"]),
        measure=LimitMeasure(row["measure"]),
        period=None if seconds is None else timedelta(seconds=seconds),
        most=row["most"],
        action=LimitAction(row["action"]),
        partner_id=row["partner_id"],
        published_at=row["published_at"],
        published_by=row["published_by"],
    )
