"""A partner's stores. Once it has published any, its receipts must name one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from coalition import clock
from coalition.errors import InvalidInput
from coalition.ids import PartnerId
from coalition.receipts import MAX_TEXT
from partners import tables
from partners.checks import check_text

_table = tables.store

MOST_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A place where a partner sells. Its code is what receipts name."""

    code: str
    name: str
    since: date | None = None
    """Its first day, in the programme's zone; None: it has always been there."""
    closed: date | None = None
    """Its last day; None: it is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishStores:
    """The wish that these stores of a partner are known as they are given here; others stay as they are."""

    partner_id: PartnerId
    stores: Sequence[Store]
    published_by: str


def publish_stores(session: Session, command: PublishStores) -> list[Store]:
    """Add stores to a partner's, or change what is known of them. Returns them by code.

    From the first one on, a receipt of this partner that names another store is refused (STORE_UNKNOWN).

    Raises:
        InvalidInput: there are none or too many, one stands there twice, or a field is malformed.
    """
    if not 1 <= len(command.stores) <= MOST_AT_ONCE:
        raise InvalidInput(f"give 1 to {MOST_AT_ONCE:,} stores", field=("input", "stores"))
    checked = [_checked(store, f"stores.{number}") for number, store in enumerate(command.stores)]
    if len({store.code for store in checked}) < len(checked):
        raise InvalidInput("a store stands there twice", field=("input", "stores"))
    now = clock.now(session)
    adding = insert(_table).values(
        [
            {
                "partner_id": command.partner_id,
                "code": store.code,
                "name": store.name,
                "since": store.since,
                "closed": store.closed,
                "published_at": now,
                "published_by": check_text(command.published_by, field="publishedBy"),
            }
            # In one order for all, so that two at once wait and do not deadlock.
            for store in sorted(checked, key=lambda store: store.code)
        ]
    )
    given = adding.excluded
    session.execute(
        adding.on_conflict_do_update(
            index_elements=[_table.c.partner_id, _table.c.code],
            set_={"name": given.name, "since": given.since, "closed": given.closed},
        )
    )
    return sorted(checked, key=lambda store: store.code)


def list_stores(
    session: Session,
    partner_id: PartnerId,
    *,
    limit: int,
    after: str | None = None,
    before: str | None = None,
    backwards: bool = False,
) -> list[Store]:
    """A page of a partner's stores by code, those that are closed included."""
    page = select(_table).where(_table.c.partner_id == partner_id)
    if after is not None:
        page = page.where(_table.c.code > after)
    if before is not None:
        page = page.where(_table.c.code < before)
    order = _table.c.code.desc() if backwards else _table.c.code
    found = [_store(row) for row in session.execute(page.order_by(order).limit(limit))]
    return found[::-1] if backwards else found


def _checked(store: Store, place: str) -> Store:
    if store.since is not None and store.closed is not None and store.closed < store.since:
        raise InvalidInput("a store closes after it opened", field=("input", *place.split("."), "closed"))
    return Store(
        code=check_text(store.code, field=f"{place}.code", longest=MAX_TEXT),
        name=check_text(store.name, field=f"{place}.name"),
        since=store.since,
        closed=store.closed,
    )


def _store(row: Any) -> Store:
    return Store(code=row.code, name=row.name, since=row.since, closed=row.closed)
