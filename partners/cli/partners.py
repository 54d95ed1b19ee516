"""`coalition partner`: admit partners, and see to their state, terms and funding plans."""

import click

from coalition.cli import console
from partners.cli.agreements import agreement
from partners.cli.plans import plan
from partners.cli.stores import store
from partners.directory import (
    CreatePartner,
    Partner,
    PartnerState,
    create_partner,
    get_partner_by_code,
    list_partners,
    set_partner_state,
)

_PAGE = 500
_COLUMNS = {
    "code": "Code",
    "name": "Name",
    "state": "State",
    "mayIssue": "Issues",
    "mayRedeem": "Redeems",
    "partnerId": "Id",
}


@click.group()
def partner() -> None:
    """Admit partners, and see to their state, terms and funding plans.

    A partner is named by its CODE: small letters, digits and hyphens.

    \b
    A new partner, from nothing to its first point:
      coalition partner create grocer --name "Green Grocer"
      coalition partner agreement publish grocer --reimbursement 0.0095 --service-fee 0.0025
      coalition client create "Grocer's tills" --partner grocer
    """  # noqa: D301 - click's mark of lines to keep


@partner.command()
@click.argument("code")
@click.option("--name", help="What people call it; the code if not given.")
@click.option("--issues/--no-issues", default=True, show_default=True, help="May it issue points?")
@click.option("--redeems/--no-redeems", default=True, show_default=True, help="May it redeem points?")
@click.option("--onboarding", is_flag=True, help="Let it begin later, with `activate`.")
@console.json_option
def create(code: str, name: str | None, issues: bool, redeems: bool, onboarding: bool, as_json: bool) -> None:
    """Admit the partner CODE.

    Example: coalition partner create fuel --name "Fast Fuel" --no-redeems
    """
    state = PartnerState.ONBOARDING if onboarding else PartnerState.ACTIVE
    command = CreatePartner(code=code, name=name or code, may_issue=issues, may_redeem=redeems, state=state)
    with console.open_database() as database, database.unit_of_work() as session:
        made = create_partner(session, command)
    _show(made, as_json=as_json)


@partner.command(name="list")
@console.json_option
def list_(as_json: bool) -> None:
    """List all partners by code."""
    found: list[Partner] = []
    with console.open_database() as database, database.reading() as session:
        while page := list_partners(session, limit=_PAGE, after=found[-1].code if found else None):
            found += page
    console.print_result(map(_row, found), columns=_COLUMNS, as_json=as_json)


@partner.command()
@click.argument("code")
@console.json_option
def show(code: str, as_json: bool) -> None:
    """Show the partner CODE."""
    with console.open_database() as database, database.reading() as session:
        found = get_partner_by_code(session, code)
    _show(found, as_json=as_json)


@partner.command()
@click.argument("code")
@console.json_option
def suspend(code: str, as_json: bool) -> None:
    """Stop the partner CODE from moving points, from now on. `activate` lets it go on."""
    _move(code, PartnerState.SUSPENDED, as_json=as_json)


@partner.command()
@click.argument("code")
@console.json_option
def activate(code: str, as_json: bool) -> None:
    """Let the partner CODE move points: one that is onboarding, or was suspended."""
    _move(code, PartnerState.ACTIVE, as_json=as_json)


@partner.command()
@click.argument("code")
@click.option("--finally", "finally_", is_flag=True, help="It has left: it takes no points any more either.")
@console.json_option
def leave(code: str, finally_: bool, as_json: bool) -> None:
    """Let the partner CODE go: it issues no more, and still redeems what members hold.

    There is no way back from leaving.
    """
    _move(code, PartnerState.LEFT if finally_ else PartnerState.LEAVING, as_json=as_json)


partner.add_command(agreement)
partner.add_command(plan)
partner.add_command(store)


def _move(code: str, state: PartnerState, *, as_json: bool) -> None:
    with console.open_database() as database, database.unit_of_work() as session:
        found = get_partner_by_code(session, code)
        moved = set_partner_state(session, partner_id=found.partner_id, state=state)
    _show(moved, as_json=as_json)


def _show(shown: Partner, *, as_json: bool) -> None:
    if as_json:
        console.print_json(_row(shown))
    else:
        console.print_table([_row(shown)], columns=_COLUMNS)


def _row(shown: Partner) -> dict[str, object]:
    return {
        "partnerId": str(shown.partner_id),
        "code": shown.code,
        "name": shown.name,
        "state": shown.state.value,
        "mayIssue": shown.may_issue,
        "mayRedeem": shown.may_redeem,
        "createdAt": shown.created_at.isoformat(),
    }
