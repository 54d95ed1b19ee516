"""The register of refusals: what was asked, by whom, and what was in the way.

A refusal undoes its transaction, so the register is written afterwards, in a transaction of its own, by who
got the refusal. Where that fails the caller's answer is the same, and the log says so. It cannot fill a disk:
a process writes at most 100 a second for long, and the table keeps the newest 500,000 of 90 days.
"""

import json
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

import psycopg
from sqlalchemy import Pool, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from coalition.clock import wall
from coalition.db import Database
from coalition.errors import (
    CoalitionError,
    HoldUnknown,
    InvalidInput,
    TransactionUnknown,
    UnderReview,
    VoucherInvalid,
)
from coalition.ids import MemberId, PartnerId
from coalition.ledger.posting import call
from coalition.paging import Key, Page, PageRequest, page_of
from coalition.receipts import Receipt
from coalition.reviewing import queue_review
from partners import tables

_t: Final = tables.refusal.c
_log = logging.getLogger(__name__)

A_SECOND: Final = 100
"""How many refusals a process writes in a second, for long."""
AT_ONCE: Final = 1_000
"""How many it writes at once after a quiet time."""
_LARGEST: Final = 2**63 - 1
_NOBODY: Final = UUID(int=0)


@dataclass(slots=True, kw_only=True)
class Attempt:
    """What is being asked, filled in as far as it is understood: what the register will say of it."""

    posting: str
    partner_id: PartnerId | None = None
    client: str | None = None
    request_id: str | None = None
    member_id: MemberId | None = None
    points: int | None = None
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One entry of the register."""

    refusal_id: int
    refused_at: datetime
    """By the programme's clock."""
    code: str
    facts: dict[str, Any]
    """The operator's to see: they may tell of other partners' business."""
    posting: str
    partner_id: PartnerId | None
    """Who asked; None: the operator, finance, or a member."""
    client: str | None
    member_id: MemberId | None
    points: int | None
    store: str | None
    terminal: str | None
    receipt_number: str | None
    request_id: str | None
    unwritten: int
    """Refusals of the same process just before this that were too many to be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedFilter:
    """Which are wanted; what is None is left open."""

    code: str | None = None
    partner_id: PartnerId | None = None
    member_id: MemberId | None = None
    since: datetime | None = None
    until: datetime | None = None


class _Throttle:
    """A bucket that holds so many, and is filled again by so many a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._room = float(AT_ONCE)
        self._filled_at = time.monotonic()
        self._unwritten = 0

    def admit(self, count: int) -> tuple[int, int]:
        """How many of so many may be written, and how many were not since the last one was."""
        with self._lock:
            now = time.monotonic()
            self._room = min(float(AT_ONCE), self._room + (now - self._filled_at) * A_SECOND)
            self._filled_at = now
            admitted = min(count, int(self._room))
            self._room -= admitted
            missed = self._unwritten if admitted else 0
            self._unwritten += count - admitted - missed
            return admitted, missed


_throttles: Final[WeakKeyDictionary[Pool, _Throttle]] = WeakKeyDictionary()
_making = threading.Lock()


def register(db: Database, refused: Sequence[tuple[Attempt, CoalitionError]]) -> None:
    """Write refusals down, and remember those that wait for review; what fails is logged, not raised.

    Called after the refused transaction is over, with nothing open.
    """
    if not refused:
        return
    try:
        for _, refusal in refused:
            if isinstance(refusal, UnderReview):
                with db.single_call() as session:
                    queue_review(session, refusal)
        admitted, missed = _throttle_of(db).admit(len(refused))
        rows = [_row(attempt, refusal) for attempt, refusal in refused[:admitted]]
        if not rows:
            return
        rows[0]["unwritten"] = missed
        with db.single_call() as session:
            call(
                session,
                "SELECT ledger.record_refusals(%s::jsonb, %s)",
                (json.dumps(rows, default=str), wall()),
            )
    except (CoalitionError, DBAPIError, psycopg.Error):
        _log.warning("%s refusals could not be written into the register", len(refused), exc_info=True)


def list_refusals(session: Session, wanted: RefusedFilter, page: PageRequest) -> Page[Refused]:
    """A page of the register, the newest first.

    Raises:
        InvalidInput: a cursor's key is none of this list's.
    """
    query = select(tables.refusal)
    for column, value in (
        (_t.code, wanted.code),
        (_t.partner_id, wanted.partner_id),
        (_t.member_id, wanted.member_id),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.since is not None:
        query = query.where(_t.refused_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(_t.refused_at < wanted.until)
    if page.after is not None:
        query = query.where(_t.refusal_id < _checked(page.after, "after"))
    if page.before is not None:
        query = query.where(_t.refusal_id > _checked(page.before, "before"))
    query = query.order_by(_t.refusal_id if page.backwards else _t.refusal_id.desc())

    def fetch(limit: int) -> Sequence[Refused]:
        found = [Refused(**row) for row in session.execute(query.limit(limit)).mappings()]
        return found[::-1] if page.backwards else found

    return page_of(page, fetch)


def key_of(refused: Refused) -> Key:
    """Where it stands in that list."""
    return (str(refused.refusal_id),)


def trim(session: Session) -> None:
    """Forget what is too old or too much; the night sees to it, and so does every thousandth refusal."""
    call(session, "SELECT ledger.trim_refusals(%s)", (wall(),))


def _row(attempt: Attempt, refusal: CoalitionError) -> dict[str, Any]:
    # The wish that waits is in the queue of reviews; its key is nobody else's business.
    facts = {name: value for name, value in refusal.facts.items() if name != "wish"}
    if refusal.path:
        facts["field"] = ".".join(refusal.path)
    receipt = attempt.receipt
    # Who names what is not its own is not told by way of the register whose it is.
    stranger = isinstance(refusal, TransactionUnknown | HoldUnknown | VoucherInvalid)
    known = attempt.member_id not in {None, _NOBODY} and not stranger
    countable = attempt.points is not None and abs(attempt.points) <= _LARGEST
    return {
        "code": refusal.code,
        "facts": facts,
        "posting": attempt.posting,
        "partner_id": attempt.partner_id,
        "client": attempt.client,
        "member_id": attempt.member_id if known else None,
        "points": attempt.points if countable else None,
        "store": receipt and receipt.store,
        "terminal": receipt and receipt.terminal,
        "receipt_number": receipt and receipt.number,
        "request_id": attempt.request_id,
    }


def _throttle_of(db: Database) -> _Throttle:
    with _making:
        return _throttles.setdefault(db.engine.pool, _Throttle())


def _checked(key: Key, name: str) -> int:
    if not (key[0].isascii() and key[0].isdigit()) or int(key[0]) > _LARGEST:
        raise InvalidInput(f"{name} is not a cursor of this list", field=(name,))
    return int(key[0])
