"""How commands read whom and what is meant: MEMBER, KIND:VALUE, TRANSACTION and HOLD.

What is typed is not repeated in an error: it may be somebody's address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

import click

from coalition import global_ids, members
from coalition.errors import MemberUnknown
from coalition.identifiers import Identifier, IdentifierKind
from coalition.ids import NETWORK, MemberId
from coalition.ledger import TransactionRef

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_KINDS: Final = [kind.value for kind in IdentifierKind if kind is not IdentifierKind.PARTNER_REFERENCE]
"""A partner's reference names somebody to that partner alone."""


def identifier_of(text: str) -> Identifier:
    """What KIND:VALUE says, normalised.

    Raises:
        click.BadParameter: it names no kind.
        IdentifierInvalid: the value is not one of its kind.
    """
    kind, colon, value = text.partition(":")
    if not colon or kind not in _KINDS:
        raise click.BadParameter(f"MEMBER and KIND:VALUE name a kind, one of {', '.join(_KINDS)}")
    return Identifier.of(IdentifierKind(kind), value, partner_id=NETWORK)


def member_named(session: Session, who: str, *, merged: bool = False) -> MemberId:
    """Whom MEMBER names: an id names that very record, KIND:VALUE the survivor, or with `merged` its holder.

    Raises:
        click.BadParameter: it is neither an id nor KIND:VALUE.
        MemberUnknown: there is no such member.
    """
    found = named(session, who)
    return found.holder_id if merged and found.holder_id is not None else found.member_id


def named(session: Session, who: str) -> members.Named:
    """Whom MEMBER names, and by whose identifier.

    Raises:
        As `member_named`.
    """
    if ":" in who:
        found = members.find_named(session, identifier_of(who))
        if found is None:
            raise MemberUnknown
        return found
    try:
        member_id = MemberId(UUID(who))
    except ValueError:
        raise click.BadParameter("MEMBER is neither a member's id nor KIND:VALUE") from None
    if not members.member_exists(session, member_id):
        raise MemberUnknown
    return members.Named(member_id=member_id)


class Reference(click.ParamType[TransactionRef]):
    """A transaction, or a hold by its authorisation: MEMBER/DATE/ID, or the id that the API gave it."""

    name = "reference"

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def convert(
        self, value: str | TransactionRef, param: click.Parameter | None, ctx: click.Context | None
    ) -> TransactionRef:
        """Read it, or say what is wrong; whether it exists is not asked."""
        if isinstance(value, TransactionRef):
            return value
        found = global_ids.read_reference(value) or global_ids.reference_in(value, self._kind)
        if found is None:
            self.fail(
                f"is no {self._kind.lower()}: MEMBER/DATE/ID, or the id that the API gave it", param, ctx
            )
        return found


TRANSACTION: Final = Reference("Transaction")
HOLD: Final = Reference("Hold")
