"""What a member is known by: a card, a phone, an e-mail address, a partner's own reference.

Each kind has one normal form, so that the same card is found whatever the till's printer made of it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from coalition.errors import InvalidInput
from coalition.ids import NETWORK, PartyId


class IdentifierKind(StrEnum):
    """The kinds of identifier; each value is unique within its kind."""

    CARD = "card"
    PHONE = "phone"
    EMAIL = "email"
    PARTNER_REFERENCE = "partner_reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifier:
    """One normalised identifier. A partner's reference is unique within that partner."""

    kind: IdentifierKind
    value: str = field(repr=False)
    partner_id: PartyId = NETWORK

    @classmethod
    def of(cls, kind: IdentifierKind, value: str, *, partner_id: PartyId) -> Identifier:
        """Normalise what a caller wrote. `partner_id` counts for the partner's own references only.

        Raises:
            InvalidInput: the value is not one of its kind.
        """
        owner = partner_id if kind is IdentifierKind.PARTNER_REFERENCE else NETWORK
        normalised = _NORMALISE[kind](unicodedata.normalize("NFKC", value).strip())
        if normalised is None:
            raise InvalidInput(
                f"{kind.value} is not valid: {_EXPECTED[kind]}", field=("input", "identifier", "value")
            )
        return cls(kind=kind, value=normalised, partner_id=owner)


def _card(value: str) -> str | None:
    digits = re.sub(r"[ \-]", "", value).upper()
    return digits if re.fullmatch(r"[0-9A-Z]{4,32}", digits) else None


def _phone(value: str) -> str | None:
    # E.164: a plus and at most fifteen digits. Without a country code it could be anyone's.
    digits = re.sub(r"[ \-./()]", "", value)
    return digits if re.fullmatch(r"\+[1-9][0-9]{6,14}", digits) else None


def _email(value: str) -> str | None:
    # The local part is case-sensitive by RFC 5321, section 2.3.11, and nowhere in practice.
    lowered = value.lower()
    if len(lowered) > _MAX_EMAIL or not lowered.isprintable():
        return None
    return lowered if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", lowered) else None


def _reference(value: str) -> str | None:
    return value if 1 <= len(value) <= _MAX_REFERENCE and value.isprintable() else None


_MAX_EMAIL: Final = 254  # RFC 5321, section 4.5.3.1.3
_MAX_REFERENCE: Final = 128
_NORMALISE: Final[dict[IdentifierKind, Callable[[str], str | None]]] = {
    IdentifierKind.CARD: _card,
    IdentifierKind.PHONE: _phone,
    IdentifierKind.EMAIL: _email,
    IdentifierKind.PARTNER_REFERENCE: _reference,
}
_EXPECTED: Final = {
    IdentifierKind.CARD: "4 to 32 letters or digits",
    IdentifierKind.PHONE: "international form, such as +49 30 901820",
    IdentifierKind.EMAIL: "an address such as name@example.org",
    IdentifierKind.PARTNER_REFERENCE: "1 to 128 printable characters",
}
