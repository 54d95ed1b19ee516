"""The blind index: how a phone number is found without being stored.

HMAC-SHA-256 of kind, owner and normal form, under a key that is random, made once, and wrapped by the
settings' keys as members' keys are. It is not derived from them, or replacing them would change every index.
While it is itself replaced (`coalition.vault.respelling`) there are two, and what is looked up may be
spelt by either.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert

from coalition.identifiers import Identifier, IdentifierKind
from coalition.vault import tables
from coalition.vault.keys import KEY_BYTES, KeyRing, ring

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    from sqlalchemy.orm import Session

READABLE: Final = frozenset({IdentifierKind.CARD})
"""Kinds that stand in the ledger as they are: a card's number is a pseudonym that the programme gave."""
IDENTIFIER_FIELD: Final = "identifier:"
"""How the vault's fields for identifiers begin."""

_t = tables.index_key
_LOCK: Final = 7305137150463215


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """How the ledger spells an identifier."""

    value: str
    """A card's number, or a blind index of 64 hexadecimal digits."""
    former: str | None = None
    """While the index key is replaced: how it is spelt where it was not reached yet."""
    indexed_by: int | None = None
    """Which index key spells it; None: it is readable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexKey:
    """A key of the blind index."""

    generation: int
    key: bytes = field(repr=False)

    def digest(self, *parts: str) -> str:
        """What stands for the parts."""
        return hmac.digest(self.key, "\0".join(parts).encode(), hashlib.sha256).hex()

    def spell(self, identifier: Identifier) -> str:
        """The identifier's blind index."""
        return self.digest("identifier", identifier.kind.value, str(identifier.partner_id), identifier.value)


def spellings(
    session: Session, identifiers: Iterable[Identifier], *, make: bool
) -> dict[Identifier, Spelling]:
    """How the ledger spells each identifier.

    `make`: it is to be linked, so there is to be an index key, and none is replaced before this transaction
    ends. Without a key nothing can have been linked, and such identifiers are left out.
    """
    wanted = dict.fromkeys(identifiers)
    found = {one: Spelling(value=one.value) for one in wanted if one.kind in READABLE}
    blind = [one for one in wanted if one.kind not in READABLE]
    if blind and (keys := index_keys(session, make=make)):
        current, *former = keys
        found |= {
            one: Spelling(
                value=current.spell(one),
                former=former[0].spell(one) if former else None,
                indexed_by=current.generation,
            )
            for one in blind
        }
    return found


def identifier_field(identifier_id: UUID) -> str:
    """Under which field the vault keeps an identifier that is spelt blindly."""
    return f"{IDENTIFIER_FIELD}{identifier_id}"


def readable(kind: str, stored: str, identifier_id: UUID, sealed: Mapping[str, str]) -> str:
    """The normal form of an identifier that the ledger has so, given what is sealed of its member."""
    return stored if kind in READABLE else sealed[identifier_field(identifier_id)]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindRequest:
    """What stands for a request with personal data."""

    requests: tuple[dict[str, Any], ...]
    """By the index key in force; then by the one that is being replaced, if one is."""
    blinded_by: int


def blind_request(session: Session, asked: Mapping[str, Any]) -> BlindRequest:
    """What stands for a request with personal data where its fingerprint is kept.

    A plain digest of a phone number is as good as the number: there are few enough to try.
    """
    keys = index_keys(session, make=True)
    spelled = orjson.dumps(asked, default=str, option=orjson.OPT_SORT_KEYS).decode()
    return BlindRequest(
        requests=tuple({"blind": one.digest("request", spelled)} for one in keys),
        blinded_by=keys[0].generation,
    )


def hold_index(session: Session, *, alone: bool = False) -> None:
    """Hold the index's lock until the transaction ends: shared by who links, alone by who replaces a key."""
    name = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
    session.execute(text(f"SELECT {name}({_LOCK})"))


def index_keys(session: Session, *, make: bool) -> tuple[IndexKey, ...]:
    """The index's key; the one in force first, where one is being replaced.

    `make`: see that there is one, and that none is replaced before this transaction ends.
    """
    if make:
        # A statement of its own: one that waited would still see the keys of before.
        hold_index(session)
    found = _read(session)
    if make and not found:
        # Whoever came first: it waits for that one's commit, and a later statement sees it.
        add_index_key(session, generation=1)
        found = _read(session)
    return found


def add_index_key(session: Session, *, generation: int) -> None:
    """Make the key of a generation, unless there is one."""
    key_id, wrapped = ring(session).wrap(secrets.token_bytes(KEY_BYTES), bound_to=bound_to(generation))
    session.execute(
        insert(_t).values(generation=generation, kek=key_id, wrapped=wrapped).on_conflict_do_nothing()
    )


def bound_to(generation: int) -> bytes:
    """What a wrapped index key is bound to: it is no other one's, and no member's."""
    return b"index key %d" % generation


def _read(session: Session) -> tuple[IndexKey, ...]:
    rows = session.execute(
        select(_t.c.generation, _t.c.kek, _t.c.wrapped).order_by(_t.c.generation.desc())
    ).all()
    return tuple(_unwrapped(ring(session), row.generation, row.kek, row.wrapped) for row in rows)


@lru_cache(maxsize=8)
def _unwrapped(keys: KeyRing, generation: int, key_id: str, wrapped: bytes) -> IndexKey:
    return IndexKey(generation=generation, key=keys.unwrap(key_id, wrapped, bound_to=bound_to(generation)))
