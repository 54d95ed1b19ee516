"""Replace the key-encryption key: every wrapped key is wrapped again by the current one.

In batches that each commit, so that a run that was killed is simply run again: what is done is not done
twice. Members' own keys stay, so no value is sealed again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

from sqlalchemy import bindparam, func, select, update

from coalition.ids import MemberId
from coalition.vault import tables
from coalition.vault.blinding import bound_to
from coalition.vault.keys import KeyRing, ring
from coalition.vault.values import key_bound_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from coalition.db import Database

_BATCH: Final = 500
_k, _i = tables.data_key, tables.index_key


def wrapped_by(session: Session) -> dict[str, int]:
    """How many keys each key-encryption key wraps, by its id: the members', and the blind index's own."""
    every = select(_k.c.kek).where(_k.c.kek.is_not(None)).union_all(select(_i.c.kek)).subquery()
    rows = session.execute(select(every.c.kek, func.count()).group_by(every.c.kek).order_by(every.c.kek))
    return {row[0]: row[1] for row in rows}


def rotate(database: Database, *, advance: Callable[[int], None] = lambda _: None) -> int:
    """Wrap again by the current key all that another wraps; returns how many that was.

    Raises:
        SettingsError: something is wrapped by a key that the settings do not hold; what was done stays done.
    """
    with database.unit_of_work() as session:
        done = _index_keys(session, ring(session))
    after: UUID | None = UUID(int=0)
    while after is not None:
        with database.unit_of_work() as session:
            count, after = _batch(session, ring(session), after)
        done += count
        advance(count)
    return done


def _index_keys(session: Session, keys: KeyRing) -> int:
    rows = session.execute(select(_i).where(_i.c.kek != keys.current.key_id).with_for_update()).all()
    for row in rows:
        bound = bound_to(row.generation)
        key_id, wrapped = keys.wrap(keys.unwrap(row.kek, row.wrapped, bound_to=bound), bound_to=bound)
        session.execute(
            update(_i).where(_i.c.generation == row.generation).values(kek=key_id, wrapped=wrapped)
        )
    return len(rows)


def _batch(session: Session, keys: KeyRing, after: UUID) -> tuple[int, UUID | None]:
    """So many members' keys after an id; returns how many, and after which to go on: None at the end."""
    rows = session.execute(
        select(_k.c.member_id, _k.c.kek, _k.c.wrapped)
        .where(_k.c.member_id > after, _k.c.kek != keys.current.key_id)
        .order_by(_k.c.member_id)
        .limit(_BATCH)
        .with_for_update()
    ).all()
    if not rows:
        return 0, None
    changed = []
    for row in rows:
        bound = key_bound_to(MemberId(row.member_id))
        key_id, wrapped = keys.wrap(keys.unwrap(row.kek, row.wrapped, bound_to=bound), bound_to=bound)
        changed.append({"who": row.member_id, "by": key_id, "as_wrapped": wrapped})
    session.connection().execute(
        update(_k)
        .where(_k.c.member_id == bindparam("who"))
        .values(kek=bindparam("by"), wrapped=bindparam("as_wrapped")),
        changed,
    )
    return len(rows), rows[-1].member_id
