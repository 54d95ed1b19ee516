"""What a member says of itself: stored only sealed, and read with the member's own key."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import date
from typing import TYPE_CHECKING, Final

from coalition import vault
from coalition.errors import IdentifierInvalid, InvalidInput, MemberErased, MemberMerged, MemberUnknown
from coalition.identifiers import Identifier, IdentifierKind, expected
from coalition.ids import NETWORK
from coalition.members import erased_at, member_exists, merged_into

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from coalition.ids import MemberId

_MAX_NAME: Final = 200
_MAX_ADDRESS: Final = 500
_OLDEST: Final = date(1890, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Profile:
    """A member's profile; None: it has not said. These are for writing to the person, and find nobody."""

    name: str | None = None
    email: str | None = None
    phone: str | None = None
    birth_date: date | None = None
    address: str | None = None
    locale: str | None = None


FIELDS: Final = tuple(field.name for field in fields(Profile))


def get_profile(session: Session, member_id: MemberId) -> Profile:
    """A member's profile; empty for one who said nothing, or was erased."""
    stored = {field: value for field, value in vault.read(session, member_id).items() if field in FIELDS}
    born = stored.pop("birth_date", None)
    return Profile(birth_date=None if born is None else date.fromisoformat(born), **stored)


def update_profile(
    session: Session, member_id: MemberId, changes: Mapping[str, str | None], *, today: date
) -> None:
    """Replace some fields of a profile; None removes one, what is not named stays.

    Raises:
        InvalidInput: a value is not one of its field, which the error names and the value it does not.
        MemberUnknown, MemberErased, MemberMerged: nothing is stored.
    """
    kept = {
        field: _checked(field, value, today=today) for field, value in changes.items() if value is not None
    }
    if not member_exists(session, member_id):
        raise MemberUnknown
    if erased_at(session, member_id) is not None:
        raise MemberErased
    survivor = merged_into(session, member_id)
    if survivor is not None:
        raise MemberMerged(survivor=survivor)
    vault.put(session, member_id, kept)
    vault.forget(session, member_id, changes.keys() - kept.keys())


def _checked(field: str, value: str, *, today: date) -> str:
    found = _NORMALISE[field](value.strip())
    born = field == "birth_date" and found is not None
    if found is None or (born and not _OLDEST <= date.fromisoformat(found) <= today):
        raise InvalidInput(f"{field} is not valid: {_expected(field)}", field=("input", "profile", field))
    return found


def _name(value: str) -> str | None:
    return value if 1 <= len(value) <= _MAX_NAME and value.isprintable() else None


def _address(value: str) -> str | None:
    lines = [line.strip() for line in value.splitlines()]
    return "\n".join(lines) if 1 <= len(value) <= _MAX_ADDRESS and all(map(str.isprintable, lines)) else None


def _as(kind: IdentifierKind) -> Callable[[str], str | None]:
    def normalise(value: str) -> str | None:
        try:
            return Identifier.of(kind, value, partner_id=NETWORK).value
        except IdentifierInvalid:
            return None

    return normalise


def _date(value: str) -> str | None:
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        return None


def _locale(value: str) -> str | None:
    # Of BCP 47 what programs use: a language, perhaps a script, perhaps a region.
    return value if re.fullmatch(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?", value) else None


_KINDS: Final = {"email": IdentifierKind.EMAIL, "phone": IdentifierKind.PHONE}
"""Fields that are written, and stored, as identifiers of a kind are."""
_NORMALISE: Final[dict[str, Callable[[str], str | None]]] = {
    "name": _name,
    "birth_date": _date,
    "address": _address,
    "locale": _locale,
} | {field: _as(kind) for field, kind in _KINDS.items()}
_EXPECTED: Final = {
    "name": f"1 to {_MAX_NAME} printable characters",
    "birth_date": "a day in the past, such as 1990-12-31",
    "address": f"lines of printable characters, {_MAX_ADDRESS} at most",
    "locale": "a language tag such as de-AT",
}


def _expected(field: str) -> str:
    return expected(_KINDS[field]) if field in _KINDS else _EXPECTED[field]
