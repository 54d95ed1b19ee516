"""The blind index: how a phone number is found without being stored.

HMAC-SHA-256 of kind, owner and normal form, under a key that is random, made once, and wrapped by the
settings' keys as members' keys are. It is not derived from them, or replacing them would change every index.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from coalition.identifiers import Identifier, IdentifierKind
from coalition.vault import tables
from coalition.vault.keys import KEY_BYTES, KeyRing, ring

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy.orm import Session

READABLE: Final = frozenset({IdentifierKind.CARD})
"""Kinds that stand in the ledger as they are: a card's number is a pseudonym that the programme gave."""
IDENTIFIER_FIELD: Final = "identifier:"
"""How the vault's fields for identifiers begin."""
BOUND_TO: Final = b"index key"

_t = tables.index_key


def stored_forms(session: Session, identifiers: Iterable[Identifier], *, make: bool) -> dict[Identifier, str]:
    """How the ledger spells each identifier: a card's number, or a blind index of 64 hexadecimal digits.

    `make`: there is to be an index key. Without one nothing can have been linked, and such are left out.
    """
    wanted = dict.fromkeys(identifiers)
    found = {one: one.value for one in wanted if one.kind in READABLE}
    blind = [one for one in wanted if one.kind not in READABLE]
    if blind and (key := _index_key(session, make=make)) is not None:
        found |= {
            one: _digest(key, "identifier", one.kind.value, str(one.partner_id), one.value) for one in blind
        }
    return found


def field_of(stored: str) -> str:
    """Under which field the vault keeps what the ledger spells so."""
    return f"{IDENTIFIER_FIELD}{stored}"


def readable(kind: str, stored: str, sealed: Mapping[str, str]) -> str:
    """The normal form of what the ledger spells so, given what is sealed of its member."""
    return stored if kind in READABLE else sealed[field_of(stored)]


def blind_request(session: Session, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What stands for a request with personal data where its fingerprint is kept for good.

    A plain digest of a phone number is as good as the number: there are few enough to try.
    """
    key = _index_key(session, make=True)
    assert key is not None
    spelled = orjson.dumps(asked, default=str, option=orjson.OPT_SORT_KEYS).decode()
    return {"blind": _digest(key, "request", spelled)}


def _digest(key: bytes, *parts: str) -> str:
    return hmac.digest(key, "\0".join(parts).encode(), hashlib.sha256).hex()


def _index_key(session: Session, *, make: bool) -> bytes | None:
    query = select(_t.c.kek, _t.c.wrapped)
    row = session.execute(query).one_or_none()
    if row is None:
        if not make:
            return None
        key_id, wrapped = ring(session).wrap(secrets.token_bytes(KEY_BYTES), bound_to=BOUND_TO)
        session.execute(insert(_t).values(only=True, kek=key_id, wrapped=wrapped).on_conflict_do_nothing())
        # Whoever came first: it waited for that one's commit, and a later statement sees it.
        row = session.execute(query).one()
    return _unwrapped(ring(session), row.kek, row.wrapped)


@lru_cache(maxsize=8)
def _unwrapped(keys: KeyRing, key_id: str, wrapped: bytes) -> bytes:
    return keys.unwrap(key_id, wrapped, bound_to=BOUND_TO)
