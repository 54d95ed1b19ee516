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

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from coalition.config import get_settings
from coalition.errors import IdentifierInvalid
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

    def __hash__(self) -> int:
        # Of what tells them apart, since a UUID works its own out in Python, each time.
        return hash(self.value)

    @classmethod
    def of(
        cls,
        kind: IdentifierKind,
        value: str,
        *,
        partner_id: PartyId,
        field: tuple[str, ...] = IdentifierInvalid.field,
    ) -> Identifier:
        """Normalise what a caller wrote. `partner_id` counts for the partner's own references only.

        Raises:
            IdentifierInvalid: the value is not one of its kind; says what is expected.
        """
        owner = partner_id if kind is IdentifierKind.PARTNER_REFERENCE else NETWORK
        # Before anything looks at it: one of a megabyte would keep the normaliser busy for seconds.
        normalised = None
        if len(value) <= _LONGEST:
            # What is ASCII is in its normal form. A partner's reference is its own affair: of two that look
            # alike each names its own member.
            as_it_is = value.isascii() or kind is IdentifierKind.PARTNER_REFERENCE
            plain = value if as_it_is else unicodedata.normalize("NFKC", value)
            normalised = _NORMALISE[kind](plain.strip())
        if normalised is None:
            raise IdentifierInvalid(field=field, kind=kind.value, expected=expected(kind))
        return cls(kind=kind, value=normalised, partner_id=owner)


def expected(kind: IdentifierKind) -> str:
    """How a value of the kind is written, for whoever wrote it otherwise."""
    region = get_settings().phone_region
    if kind is IdentifierKind.PHONE and region is not None:
        return f"write it as it is dialled in {region}, or with the country's code, and without an extension"
    return _EXPECTED[kind]


def _card(value: str) -> str | None:
    # Capitals last: those of a letter such as ß are others, and the card another's.
    digits = value.replace(" ", "").replace("-", "")
    return digits.upper() if _CARD.fullmatch(digits) else None


def _phone(value: str) -> str | None:
    # E.164. Without a country's code, in the programme's region; where none is set it could be anyone's. What
    # is possible is taken and not what the library's tables know as given out: these change from version to
    # version, and a number that was linked must be found by the next one.
    # Letters would be read as the digits of their keys, and words beside a number as more of it.
    if any(letter.isalpha() for letter in value.removeprefix("tel:")):
        return None
    try:
        number = phonenumbers.parse(value, get_settings().phone_region)
    except phonenumbers.NumberParseException:
        return None
    # Not what is dialled within a town, without its code: that is somebody in each of them.
    possible = phonenumbers.is_possible_number_with_reason(number)
    if number.extension is not None or possible != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _email(value: str) -> str | None:
    # RFC 5321 and 6531, without asking the DNS. The local part is case-sensitive by RFC 5321, section 2.3.11,
    # and nowhere in practice.
    try:
        address = validate_email(value, check_deliverability=False)
    except EmailNotValidError:
        return None
    return address.normalized.lower()


def _reference(value: str) -> str | None:
    return value if 1 <= len(value) <= _MAX_REFERENCE and value.isprintable() else None


_CARD: Final = re.compile(r"[0-9A-Za-z]{4,32}")
_MAX_REFERENCE: Final = 128
_LONGEST: Final = 1_024
"""Characters, as they are written; no normal form has more than 320, however it is composed."""
_NORMALISE: Final[dict[IdentifierKind, Callable[[str], str | None]]] = {
    IdentifierKind.CARD: _card,
    IdentifierKind.PHONE: _phone,
    IdentifierKind.EMAIL: _email,
    IdentifierKind.PARTNER_REFERENCE: _reference,
}
_EXPECTED: Final = {
    IdentifierKind.CARD: "4 to 32 letters or digits",
    IdentifierKind.PHONE: "write it with the country's code, such as +49 30 901820, and without an extension",
    IdentifierKind.EMAIL: "an address such as name@example.org",
    IdentifierKind.PARTNER_REFERENCE: "1 to 128 printable characters",
}
