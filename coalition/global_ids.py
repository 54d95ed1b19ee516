"""What the API's opaque ids say: a type's name, and what finds the object again.

They stand here and not with the API, so that the command line reads the id that a partner quotes.
"""

from __future__ import annotations

import base64
import binascii
from datetime import date
from typing import Final
from uuid import UUID

from coalition.ids import MemberId, TransactionId
from coalition.ledger.posting import TransactionRef

_LONGEST: Final = 256


def spell(kind: str, *parts: object) -> str:
    """The global id of an object of that type."""
    plain = ":".join([kind, *map(str, parts)])
    return base64.urlsafe_b64encode(plain.encode()).rstrip(b"=").decode()


def read(given: str) -> tuple[str, str] | None:
    """The type's name and the rest; None if it is nothing that we ever gave out."""
    if len(given) > _LONGEST:
        return None
    try:
        plain = base64.urlsafe_b64decode(given.encode() + b"=" * (-len(given) % 4)).decode()
    except (binascii.Error, UnicodeError):
        return None
    kind, colon, rest = plain.partition(":")
    return (kind, rest) if colon else None


def reference_in(given: str, kind: str) -> TransactionRef | None:
    """The transaction that the global id of an object of that type names; None if it is not one."""
    match read(given):
        case (found, rest) if found == kind:
            return reference_of(rest.split(":"))
    return None


def reference_of(parts: list[str]) -> TransactionRef | None:
    """Member, date and id as a reference; None where they are not these three."""
    if len(parts) != len(("member", "date", "id")):
        return None
    try:
        return TransactionRef(
            member_id=MemberId(UUID(parts[0])),
            business_date=date.fromisoformat(parts[1]),
            transaction_id=TransactionId(UUID(parts[2])),
        )
    except ValueError:
        return None


def spell_reference(ref: TransactionRef) -> str:
    """A transaction as people are told it: MEMBER/DATE/ID."""
    return f"{ref.member_id}/{ref.business_date}/{ref.transaction_id}"


def read_reference(text: str) -> TransactionRef | None:
    """What `spell_reference` said; None where it says nothing of the kind."""
    return reference_of(text.split("/"))
