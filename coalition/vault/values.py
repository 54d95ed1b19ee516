"""What is sealed of a member: each value under the member's own key, bound to the member and the field."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, select, true, tuple_
from sqlalchemy.dialects.postgresql import insert

from coalition import clock
from coalition.errors import MemberErased
from coalition.vault import tables
from coalition.vault.keys import KEY_BYTES, ring, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from coalition.ids import MemberId

REASON_FIELD: Final = "reason:"
"""How the fields begin that hold somebody's words about a member; what stands for them follows."""
_k, _s = tables.data_key, tables.sealed


def key_bound_to(member_id: MemberId) -> bytes:
    """What a member's wrapped key is bound to: it is no other member's."""
    return b"data key " + member_id.bytes


def value_bound_to(member_id: MemberId, field: str) -> bytes:
    """What a sealed value is bound to: it is no other member's, and no other field."""
    return b"value " + member_id.bytes + field.encode()


def put(session: Session, member_id: MemberId, values: Mapping[str, str]) -> None:
    """Seal values of a member, in place of what the same fields had. Who calls knows that the member exists.

    Raises:
        MemberErased: the member's key was destroyed; nothing is stored.
    """
    if not values:
        return
    key = _key_to_write(session, member_id)
    statement = insert(_s).values(
        [
            {
                "member_id": member_id,
                "field": field,
                "ciphertext": seal(key, value.encode(), bound_to=value_bound_to(member_id, field)),
            }
            for field, value in values.items()
        ]
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[_s.c.member_id, _s.c.field], set_={"ciphertext": statement.excluded.ciphertext}
        )
    )


def forget(session: Session, member_id: MemberId, fields: Collection[str]) -> None:
    """Remove some of a member's values; what is not there is no error."""
    session.execute(delete(_s).where(_s.c.member_id == member_id, _s.c.field.in_(fields)))


def read(session: Session, member_id: MemberId, *, reasons: bool = False) -> dict[str, str]:
    """What is sealed of a member, by field; nothing of one who was erased.

    What was said in words, of which there may be many, with `reasons` only.

    Raises:
        SealBroken: a value is not what was sealed there.
    """
    wanted = true() if reasons else _s.c.field.not_like(f"{REASON_FIELD}%")
    found = _opened(session, (_s.c.member_id == member_id) & wanted)
    return {field: value for (_, field), value in found.items()}


def read_some(session: Session, named: Collection[tuple[MemberId, str]]) -> dict[tuple[MemberId, str], str]:
    """Some values of several members, in one statement; those that are not there are left out.

    Raises:
        SealBroken: a value is not what was sealed there.
    """
    return _opened(session, tuple_(_s.c.member_id, _s.c.field).in_(named)) if named else {}


def check_keys(session: Session, member_ids: Collection[MemberId]) -> None:
    """Make sure that what is sealed of these members can be read by this server.

    Raises:
        SettingsError: a member's key is wrapped by one that the settings do not hold.
        SealBroken: a key is not what was wrapped.
    """
    query = select(_k).where(_k.c.member_id.in_(member_ids), _k.c.wrapped.is_not(None))
    for row in session.execute(query):
        _key_of(session, row.member_id, row.kek, row.wrapped)


def _opened(session: Session, condition: ColumnElement[bool]) -> dict[tuple[MemberId, str], str]:
    rows = session.execute(
        select(_s.c.member_id, _s.c.field, _s.c.ciphertext, _k.c.kek, _k.c.wrapped)
        .join(_k, _k.c.member_id == _s.c.member_id)
        .where(condition, _k.c.wrapped.is_not(None))
        .order_by(_s.c.member_id, _s.c.field)
    ).all()
    keys: dict[MemberId, bytes] = {}
    for row in rows:
        if row.member_id not in keys:
            keys[row.member_id] = _key_of(session, row.member_id, row.kek, row.wrapped)
    return {
        (row.member_id, row.field): unseal(
            keys[row.member_id], row.ciphertext, bound_to=value_bound_to(row.member_id, row.field)
        ).decode()
        for row in rows
    }


def _key_of(session: Session, member_id: MemberId, kek: str, wrapped: bytes) -> bytes:
    return ring(session).unwrap(kek, wrapped, bound_to=key_bound_to(member_id))


def destroy(session: Session, member_ids: Collection[MemberId], *, at: datetime) -> None:
    """Destroy members' keys and all that is sealed under them; the keys' rows stay, and say when.

    The keys first: who is sealing a value holds the key's row, and what it sealed is then seen and removed.
    """
    gone = {"kek": None, "wrapped": None, "erased_at": at}
    session.execute(
        insert(_k)
        .values([{"member_id": one, "made_at": at, **gone} for one in sorted(member_ids)])
        .on_conflict_do_update(index_elements=[_k.c.member_id], set_=gone)
    )
    session.execute(delete(_s).where(_s.c.member_id.in_(member_ids)))


def _key_to_write(session: Session, member_id: MemberId) -> bytes:
    """The member's key, made if there is none; its row stays locked: no erasure overtakes the write."""
    keys = ring(session)
    query = select(_k.c.kek, _k.c.wrapped).where(_k.c.member_id == member_id).with_for_update()
    row = session.execute(query).one_or_none()
    if row is None:
        key_id, wrapped = keys.wrap(secrets.token_bytes(KEY_BYTES), bound_to=key_bound_to(member_id))
        session.execute(
            insert(_k)
            .values(member_id=member_id, kek=key_id, wrapped=wrapped, made_at=clock.now(session))
            .on_conflict_do_nothing()
        )
        row = session.execute(query).one()
    if row.wrapped is None:
        raise MemberErased
    return keys.unwrap(row.kek, row.wrapped, bound_to=key_bound_to(member_id))
