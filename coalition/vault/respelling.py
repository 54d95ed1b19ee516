"""Replace the key of the blind index: every identifier is spelt by the next one.

While it runs there are two keys. What is linked is spelt by the new one, and refused where the old spelling
is taken; what is looked up is looked up by both. So tills go on. In batches that each commit: a run that was
killed is simply run again. At the end all that the old key blinded is spelt anew or forgotten, and the key
is destroyed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

from sqlalchemy import delete, func, select, tuple_

from coalition.identifiers import Identifier, IdentifierKind
from coalition.ids import MemberId
from coalition.ledger import tables as ledger
from coalition.ledger.posting import call
from coalition.vault import tables
from coalition.vault.blinding import add_index_key, hold_index, identifier_field, index_keys
from coalition.vault.keys import SealBroken
from coalition.vault.values import read_some

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from coalition.db import Database

_BATCH: Final = 200
_PATIENCE: Final = timedelta(seconds=30)
_i = ledger.identifier


def being_replaced(session: Session) -> bool:
    """Whether a replacement is under way, or was killed."""
    return len(index_keys(session, make=False)) > 1


def waiting(session: Session) -> int:
    """How many identifiers a replacement has to spell, or has still to spell."""
    keys = index_keys(session, make=False)
    if len(keys) == 1:
        return _left(session, keys[0].generation + 1)
    return _left(session, keys[0].generation) if keys else 0


def replace_index_key(
    database: Database,
    *,
    forget: Callable[[Session, int], int],
    advance: Callable[[int], None] = lambda _: None,
) -> int:
    """Replace the key, or go on replacing it; returns how many identifiers were spelt anew.

    `forget` removes some of what else was blinded by keys before the given generation, and says how much
    that was; it is asked until it is nothing.

    Raises:
        SettingsError: a member's key is wrapped by one that the settings do not hold; what was done stays.
        SealBroken: an identifier can't be read, so it can't be spelt; both keys stay.
    """
    with database.unit_of_work(patience=_PATIENCE) as session:
        # Who links by the one key that it knows has ended; who comes later knows both.
        hold_index(session, alone=True)
        keys = index_keys(session, make=False)
        if not keys:
            return 0
        generation = keys[0].generation + (len(keys) == 1)
        add_index_key(session, generation=generation)
    done = 0
    after: tuple[UUID, UUID] | None = (UUID(int=0), UUID(int=0))
    while after is not None:
        with database.unit_of_work() as session:
            count, after = _batch(session, generation, after)
        done += count
        advance(count)
    forgotten = 1
    while forgotten:
        with database.unit_of_work() as session:
            forgotten = forget(session, generation)
    with database.unit_of_work() as session:
        if _left(session, generation):
            raise SealBroken("an identifier can't be read, so it can't be spelt: `coalition audit` names it")
        session.execute(delete(tables.index_key).where(tables.index_key.c.generation < generation))
    return done


def _left(session: Session, generation: int) -> int:
    count = select(func.count()).where(_i.c.indexed_by < generation)
    return int(session.execute(count).scalar_one())


def _batch(
    session: Session, generation: int, after: tuple[UUID, UUID]
) -> tuple[int, tuple[UUID, UUID] | None]:
    """So many identifiers after one; returns how many, and after which to go on: None at the end."""
    current = next((one for one in index_keys(session, make=False) if one.generation == generation), None)
    if current is None:
        # Another run ended this replacement, and yet another destroyed its key: nothing is left to do.
        return 0, None
    place = tuple_(_i.c.member_id, _i.c.identifier_id)
    rows = session.execute(
        select(_i.c.member_id, _i.c.identifier_id, _i.c.kind, _i.c.partner_id)
        .where(_i.c.indexed_by < generation, place > after)
        .order_by(_i.c.member_id, _i.c.identifier_id)
        .limit(_BATCH)
    ).all()
    if not rows:
        return 0, None
    sealed = read_some(
        session, [(MemberId(row.member_id), identifier_field(row.identifier_id)) for row in rows]
    )
    spelt = []
    for row in rows:
        value = sealed.get((row.member_id, identifier_field(row.identifier_id)))
        # One that is not there any more was erased meanwhile; or it is damage, which is found at the end.
        if value is not None:
            one = Identifier(kind=IdentifierKind(row.kind), value=value, partner_id=row.partner_id)
            spelt.append((row.member_id, row.identifier_id, current.spell(one)))
    [(count,)] = call(
        session,
        "SELECT ledger.respell_identifiers(%s::uuid[], %s::uuid[], %s::text[], %s)",
        (*([line[part] for line in spelt] for part in range(3)), generation),
    )
    return int(count), (rows[-1].member_id, rows[-1].identifier_id)
