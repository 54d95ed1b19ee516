"""`coalition partner plan`: publish funding plans, and look at them."""

import getpass

import click
from sqlalchemy.orm import Session

from coalition.cli import console
from coalition.ids import NETWORK, PartnerId, PartyId
from partners.cli.parameters import NETWORK_CODE, party_id
from partners.directory import get_partners
from partners.funding import FundingPlan, PublishFundingPlan, list_funding_plans, publish_funding_plan

_COLUMNS = {"code": "Code", "name": "Name", "shown": "Who pays, in parts per million"}


@click.group()
def plan() -> None:
    """Publish funding plans: who pays for the points of an issue that names the plan.

    An issue that names none is paid for by its issuer alone.
    """


@plan.command()
@click.argument("code")
@click.argument("parts", nargs=-1, required=True, metavar="PARTY=PPM...")
@click.option("--name", help="What people call it; the code if not given.")
@console.json_option
def publish(code: str, parts: tuple[str, ...], name: str | None, as_json: bool) -> None:
    """Publish the funding plan CODE. The parts are per million, and sum to 1000000.

    Half of a bonus paid by a partner, half by the network:

    \b
      coalition partner plan publish spring-bonus grocer=500000 network=500000
    """  # noqa: D301 - click's mark of lines to keep
    with console.open_database() as database, database.unit_of_work() as session:
        command = PublishFundingPlan(
            code=code,
            name=name or code,
            parts=_parts(session, parts),
            published_by=f"operator {getpass.getuser()}",
        )
        row = _rows(session, [publish_funding_plan(session, command)])[0]
    if as_json:
        console.print_json(row)
    else:
        console.print_table([row], columns=_COLUMNS)


@plan.command(name="list")
@console.json_option
def list_(as_json: bool) -> None:
    """List all funding plans by code."""
    with console.open_database() as database, database.reading() as session:
        rows = _rows(session, list_funding_plans(session))
    console.print_result(rows, columns=_COLUMNS, as_json=as_json)


def _parts(session: Session, typed: tuple[str, ...]) -> dict[PartyId, int]:
    parts: dict[PartyId, int] = {}
    for text in typed:
        code, _, ppm = text.partition("=")
        if not ppm.isascii() or not ppm.isdecimal():
            raise click.BadParameter(f"{text!r} is not PARTY=PPM, such as grocer=500000")
        party = party_id(session, code)
        if party in parts:
            raise click.BadParameter(f"{code} stands there twice")
        parts[party] = int(ppm)
    return parts


def _rows(session: Session, plans: list[FundingPlan]) -> list[dict[str, object]]:
    partners = get_partners(session, {party for plan in plans for party in plan.parts})

    def code(party: PartyId) -> str:
        return NETWORK_CODE if party == NETWORK else partners[PartnerId(party)].code

    rows: list[dict[str, object]] = []
    for each in plans:
        parts = {code(party): ppm for party, ppm in each.parts.items()}
        rows.append(
            {
                "fundingPlanId": str(each.funding_plan_id),
                "code": each.code,
                "name": each.name,
                "parts": parts,
                "shown": ", ".join(f"{party} {ppm:,}" for party, ppm in parts.items()),
            }
        )
    return rows
