"""Postings that an operator looks at first, because a limit holds them for review.

Nothing of them has moved. A wish that was released is posted when it is sent again under its key; one that
was rejected is refused from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson
from sqlalchemy import cast, or_, select, tuple_

from coalition.amounts import Points
from coalition.clock import wall
from coalition.errors import InvalidInput, UnderReview
from coalition.ids import MemberId, PartnerId, TransactionId
from coalition.ledger import tables
from coalition.ledger.posting import TransactionRef, call
from coalition.paging import Key, Page, PageRequest, page_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_r: Final = tables.review.c
_i: Final = tables.idempotency.c
_ORDER: Final = (_r.asked_at, _r.review_id)

KEY_LENGTH: Final = 2
"""Columns of a cursor's key."""


class ReviewState(StrEnum):
    """Where a wish stands that was held for review."""

    WAITING = "waiting"
    RELEASED = "released"
    REJECTED = "rejected"
    POSTED = "posted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A wish that was held for review."""

    member_id: MemberId
    """Whose identifier named the member: the member itself, or a record that was merged into it."""
    review_id: UUID
    partner_id: PartnerId
    idempotency_key: str
    kind: str
    """What it would post: issue, redeem, authorize or transfer."""
    points: Points
    store: str | None
    terminal: str | None
    receipt_number: str | None
    limit: str
    """The code of the rule that held it."""
    facts: dict[str, Any]
    """What that rule had counted."""
    asked_at: datetime
    state: ReviewState
    decided_by: str | None
    decided_at: datetime | None
    posted: TransactionRef | None
    """What it became."""


def queue_review(session: Session, refusal: UnderReview) -> bool:
    """Remember a wish that was refused for review; again changes nothing.

    At most 20 of one member wait at a time; further ones are remembered when they are sent again.

    Returns:
        Whether it waits now.
    """
    facts = refusal.facts
    [(waits,)] = call(
        session,
        "SELECT ledger.queue_review(%s, %s::jsonb, %s)",
        (facts["wish"]["member"], orjson.dumps(facts, default=str).decode(), wall()),
    )
    return bool(waits)


def release(session: Session, member_id: MemberId, review_id: UUID, *, by: str) -> None:
    """Let a wish pass when it is sent again. Again changes nothing.

    Raises:
        ReviewUnknown, ReviewDecided: nothing has changed.
    """
    _decide(session, member_id, review_id, ReviewState.RELEASED, by)


def reject(session: Session, member_id: MemberId, review_id: UUID, *, by: str) -> None:
    """Do not let a wish pass, also one that was released and was not sent again since. Again changes nothing.

    Raises:
        ReviewUnknown, ReviewDecided: nothing has changed.
    """
    _decide(session, member_id, review_id, ReviewState.REJECTED, by)


def find_review(session: Session, member_id: MemberId, review_id: UUID) -> Review | None:
    """One of them, if there is such a one."""
    query = select(tables.review).where(_r.member_id == member_id, _r.review_id == review_id)
    row = session.execute(query).one_or_none()
    return None if row is None else _review(row)


def list_reviews(
    session: Session,
    page: PageRequest,
    *,
    state: ReviewState | None = None,
    partner_id: PartnerId | None = None,
    member_id: MemberId | None = None,
) -> Page[Review]:
    """A page of wishes that were held, the oldest first: who waits longest is looked at first.

    Raises:
        InvalidInput: a cursor's key is none of this list's.
    """
    query = select(tables.review)
    for column, value in ((_r.state, state), (_r.partner_id, partner_id), (_r.member_id, member_id)):
        if value is not None:
            query = query.where(column == value)
    for name, key in (("after", page.after), ("before", page.before)):
        if key is not None:
            values = zip(_checked(key, name), _ORDER, strict=True)
            bound = tuple_(*(cast(value, column.type) for value, column in values))
            query = query.where(tuple_(*_ORDER) > bound if name == "after" else tuple_(*_ORDER) < bound)
    if state in {ReviewState.WAITING, ReviewState.RELEASED}:
        # Not what can be posted no more, as its key is another wish's by now.
        query = query.where(
            ~select(_i.key)
            .where(
                or_(_i.member_id == _r.member_id, _i.named_id == _r.member_id),
                _i.partner_id == _r.partner_id,
                _i.key == _r.key,
            )
            .exists()
        )
    query = query.order_by(*(column.desc() if page.backwards else column for column in _ORDER))

    def fetch(limit: int) -> Sequence[Review]:
        found = [_review(row) for row in session.execute(query.limit(limit))]
        return found[::-1] if page.backwards else found

    return page_of(page, fetch)


def key_of(review: Review) -> Key:
    """Where it stands in that list."""
    return review.asked_at.isoformat(), str(review.review_id)


def _decide(session: Session, member_id: MemberId, review_id: UUID, decision: ReviewState, by: str) -> None:
    call(
        session,
        "SELECT ledger.decide_review(%s, %s, %s, %s, %s)",
        (member_id, review_id, decision.value, by, wall()),
    )


def _checked(key: Key, name: str) -> tuple[datetime, UUID]:
    try:
        return datetime.fromisoformat(key[0]), UUID(key[1])
    except ValueError as error:
        raise InvalidInput(f"{name} is not a cursor of this list", field=(name,)) from error


def _review(row: Any) -> Review:
    return Review(
        member_id=row.member_id,
        review_id=row.review_id,
        partner_id=row.partner_id,
        idempotency_key=row.key,
        kind=row.kind,
        points=row.points,
        store=row.store,
        terminal=row.terminal,
        receipt_number=row.receipt_number,
        limit=row.limit_code,
        facts=row.facts,
        asked_at=row.asked_at,
        state=ReviewState(row.state),
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        posted=None
        if row.transaction_id is None
        else TransactionRef(
            member_id=row.posted_with or row.member_id,
            business_date=row.business_date,
            transaction_id=TransactionId(row.transaction_id),
        ),
    )
