"""`coalition hold`: points that partners have set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args
from uuid import uuid4

import click

from coalition import history, holding
from coalition.cli import console
from coalition.cli.naming import HOLD, member_named
from coalition.errors import HoldUnknown
from coalition.global_ids import spell_reference
from coalition.holding import HoldState
from coalition.paging import PageRequest
from partners import on_behalf
from partners.cli import journal
from partners.directory import get_partner_by_code, get_partners

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from coalition.holding import Hold
    from coalition.ledger import TransactionRef

_COLUMNS: Final = {
    "authorizedAt": "Set aside",
    "points": "Points",
    "partner": "Partner",
    "state": "State",
    "captured": "Captured",
    "lapsesAt": "Lapses",
    "voucher": "Voucher",
    "hold": "Hold",
}
_ALL: Final = "all"


@click.group()
def hold() -> None:
    """List points that partners have set aside, and let a hold go.

    HOLD is MEMBER/DATE/ID, as the list prints it; or the id that the API gave a partner. A hold that nobody
    captures lapses by itself.
    """


@hold.command(name="list")
@click.option("--member", "who", help="Only this member's: an id or KIND:VALUE.")
@click.option("--partner", help="Only what the partner of this code has set aside.")
@click.option(
    "--state",
    type=click.Choice([*get_args(HoldState), _ALL]),
    default="open",
    show_default=True,
    help="How they stand.",
)
@console.most_option()
@click.option("--after", type=HOLD, metavar="HOLD", help="Those that come after it.")
@console.json_option
def list_(
    who: str | None, partner: str | None, state: str, most: int, after: TransactionRef | None, as_json: bool
) -> None:
    """List holds, the newest first; those that are open, where nothing else is asked for.

    \b
    Examples:
      coalition hold list --member card:4006381333931 --state all
      coalition hold list --partner fuel --json
    """  # noqa: D301 - click's mark of lines to keep
    with console.open_database() as database, database.reading() as session:
        page = holding.list_holds(
            session,
            None if who is None else member_named(session, who),
            PageRequest(size=most, after=None if after is None else holding.key_of(_found(session, after))),
            partner_id=None if partner is None else get_partner_by_code(session, partner).partner_id,
            state=_state(state),
        )
        rows = _rows(session, page.items)
    console.print_page(rows, key="hold", more=page.has_next, columns=_COLUMNS, as_json=as_json)


@hold.command()
@click.argument("which", metavar="HOLD", type=HOLD)
@click.option("--reason", required=True, help="Why, in your words. The partner and the member read it.")
@click.option("--key", help="The same key again is the same wish; made up if not given.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@console.by_option
@console.json_option
def void(which: TransactionRef, reason: str, key: str | None, yes: bool, by: str, as_json: bool) -> None:
    """Let all points of a hold go, in the name of the partner that set them aside.

    The member can spend them at once; the partner cannot capture them any more (HOLD_VOIDED), though its till
    may have let the customer go. Of a voucher, nobody is paid for it any more. `coalition transaction show`
    tells who did it, and why.

    Example: coalition hold void 5daf46cc-…/2026-03-02/6dffad72-… --reason "the till broke down"
    """
    with console.open_database() as database:
        with database.reading() as session:
            [before] = _rows(session, [_found(session, which)])
        if not yes:
            told = (
                f"{before['points']:,} points, set aside by {before['partner']} at {before['authorizedAt']}"
            )
            click.confirm(f"{told}, are {before['state']}. Let them go?", abort=True, err=True)
        with database.unit_of_work() as session:
            wish = on_behalf.Void(hold=which, key=key or str(uuid4()), by=by, reason=reason)
            done = on_behalf.void(session, wish)
            [row] = _rows(session, [_found(session, which)])
            posted = history.find_transaction(session, done.ref)
            assert posted is not None, "it was just posted, or under this key before"
            shown = row | {"closedBy": journal.whole(session, posted), "replayed": done.replayed}
    if as_json:
        console.print_json(shown)
    else:
        click.echo(f"{row['points']:,} points are the member's again: {spell_reference(done.ref)}")


def _state(named: str) -> HoldState | None:
    return next((state for state in get_args(HoldState) if state == named), None)


def _found(session: Session, ref: TransactionRef) -> Hold:
    found = holding.get_holds(session, [ref]).get(ref)
    if found is None:
        raise HoldUnknown
    return found


def _rows(session: Session, found: Sequence[Hold]) -> list[dict[str, Any]]:
    partners = get_partners(session, {one.partner_id for one in found})
    return [
        {
            "hold": spell_reference(one.ref),
            "member": str(one.ref.member_id),
            "partner": partners[one.partner_id].code,
            "points": one.points,
            "state": one.state,
            "captured": one.captured,
            "authorizedAt": one.authorized_at.isoformat(timespec="seconds"),
            "lapsesAt": one.lapses_at.isoformat(timespec="seconds"),
            "voucher": one.redeem_by is not None,
            "closedBy": None if one.closed_by is None else spell_reference(one.closed_by),
        }
        for one in found
    ]
