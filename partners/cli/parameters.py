"""How this room's commands read what is typed: decimals, partners, members."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID

import click
from sqlalchemy.orm import Session

from coalition import members
from coalition.errors import MemberUnknown
from coalition.ids import NETWORK, MemberId, PartyId
from partners.directory import get_partner_by_code

NETWORK_CODE: Final = "network"


class ExactDecimal(click.ParamType[Decimal]):
    """A decimal as it is written, never by way of a float."""

    name = "decimal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """Read it, or say what is wrong."""
        if isinstance(value, Decimal):
            return value
        try:
            return Decimal(value)
        except InvalidOperation:
            self.fail(f"{value!r} is no decimal number, such as 0.0095", param, ctx)


DECIMAL: Final = ExactDecimal()


def price_option(name: str, help_: str, **more: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option for a price per point."""
    return click.option(name, type=DECIMAL, metavar="DECIMAL", help=help_, **more)


def party_id(session: Session, code: str) -> PartyId:
    """The party of a code: a partner, or the network itself."""
    return NETWORK if code == NETWORK_CODE else get_partner_by_code(session, code).partner_id


def member_id(session: Session, who: str) -> MemberId:
    """The member of an id, or of KIND:VALUE such as card:4006381333931."""
    kind, colon, value = who.partition(":")
    try:
        if not colon:
            found: MemberId | None = MemberId(UUID(who))
            known = found is not None and members.member_exists(session, found)
        else:
            identifier = members.Identifier.of(members.IdentifierKind(kind), value, partner_id=NETWORK)
            found = members.find_member(session, identifier)
            known = found is not None
    except ValueError:
        raise click.BadParameter("MEMBER is neither a member's id nor KIND:VALUE") from None
    if found is None or not known:
        raise MemberUnknown
    return found
