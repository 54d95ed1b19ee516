"""How this room's commands read what is typed: decimals, partners."""

from collections.abc import Callable, Collection
from decimal import Decimal
from typing import Any, Final

import click
from sqlalchemy.orm import Session

from coalition.amounts import decimal_in
from coalition.ids import NETWORK, PartyId
from partners.directory import get_partner_by_code, get_partners

NETWORK_CODE: Final = "network"


class ExactDecimal(click.ParamType[Decimal]):
    """A decimal as it is written, never by way of a float."""

    name = "decimal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """Read it, or say what is wrong."""
        if isinstance(value, Decimal):
            return value
        number = decimal_in(value)
        if number is None:
            self.fail(f"{value!r} is no decimal number, such as 0.0095", param, ctx)
        return number


DECIMAL: Final = ExactDecimal()


def price_option(name: str, help_: str, **more: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option for a price per point."""
    return click.option(name, type=DECIMAL, metavar="DECIMAL", help=help_, **more)


def party_id(session: Session, code: str) -> PartyId:
    """The party of a code: a partner, or the network itself."""
    return NETWORK if code == NETWORK_CODE else get_partner_by_code(session, code).partner_id


def codes_of(session: Session, ids: Collection[PartyId]) -> dict[PartyId, str]:
    """What parties are called by at the command line."""
    found = {party: partner.code for party, partner in get_partners(session, ids).items()}
    return found | {NETWORK: NETWORK_CODE}


def operator(by: str) -> str:
    """Who decides, where clients decide too."""
    return f"operator {by}"
