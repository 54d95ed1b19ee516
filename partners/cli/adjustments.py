"""`coalition member adjust` and `coalition adjustment`: points by hand, and the second person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import click

from coalition import adjusting
from coalition.adjusting import Adjustment, AdjustmentReason, AdjustmentState
from coalition.amounts import MAX_POINTS
from coalition.cli import console
from coalition.cli.naming import member_named
from coalition.errors import AdjustmentUnknown
from coalition.global_ids import spell_reference
from coalition.ids import MemberId
from coalition.paging import Key, PageRequest
from partners import adjustments
from partners.cli.once import once_blindly
from partners.directory import get_partners

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_COLUMNS: Final = {
    "adjustment": "Adjustment",
    "proposedAt": "Proposed",
    "proposedBy": "By",
    "points": "Points",
    "reason": "Reason",
    "issuer": "Issuer",
    "note": "Note",
    "state": "State",
    "decidedBy": "Decided by",
}


@click.command()
@click.argument("who", metavar="MEMBER")
@click.argument("points", type=click.IntRange(-MAX_POINTS, MAX_POINTS))
@click.option(
    "--reason", type=click.Choice([one.value for one in AdjustmentReason]), required=True, help="Why."
)
@click.option("--note", help="In your words.")
@click.option("--issuer", help="The code of the partner that issues, and pays for, what is given.")
@click.option("--plan", help="The code of a funding plan that pays in the issuer's place.")
@click.option("--key", help="The same key again is the same adjustment; made up if not given.")
@console.by_option
@console.json_option
def adjust(
    who: str,
    points: int,
    reason: str,
    note: str | None,
    issuer: str | None,
    plan: str | None,
    key: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Give POINTS to a member; or take some, with -- before a number below zero.

    MEMBER is an id, or an identifier such as card:4006381333931. Within the programme's adjustment limit it
    is posted at once; above it, somebody else posts it with `coalition adjustment approve`.

    \b
    Examples:
      coalition member adjust card:4006381333931 500 --reason goodwill --issuer grocer
      coalition member adjust --reason fraud card:4006381333931 -- -2000
    """  # noqa: D301 - click's mark of lines to keep
    asked = {"member": who, "points": points, "reason": reason, "note": note, "issuer": issuer, "plan": plan}
    with console.open_database() as database, database.unit_of_work() as session:

        def work() -> dict[str, Any]:
            made = adjustments.adjust(
                session,
                adjustments.Adjust(
                    member_id=member_named(session, who),
                    points=points,
                    reason=AdjustmentReason(reason),
                    by=by,
                    note=note,
                    issuer=issuer,
                    funding_plan=plan,
                ),
            )
            return {"member_id": str(made.member_id), "adjustment_id": str(made.adjustment_id)}

        result, _ = once_blindly(session, "adjust", asked, key=key, by=by, work=work)
        row = _shown(session, MemberId(UUID(result["member_id"])), UUID(result["adjustment_id"]))
    if as_json:
        console.print_json(row)
    elif row["state"] == AdjustmentState.PROPOSED.value:
        click.echo(f"proposed; somebody else posts it: coalition adjustment approve {row['adjustment']}")
    else:
        click.echo(f"{row['points']:+,} points are posted")


@click.group()
def adjustment() -> None:
    """List adjustments, and say yes or no to those that wait for a second person.

    They are made with `coalition member adjust`.
    """


@adjustment.command(name="list")
@click.option(
    "--state", type=click.Choice([one.value for one in AdjustmentState]), help="Only those that stand so."
)
@click.option("--member", "who", help="Only this member's: an id or KIND:VALUE.")
@console.most_option()
@click.option("--after", metavar="ADJUSTMENT", help="Those that come after it.")
@console.json_option
def list_(state: str | None, who: str | None, most: int, after: str | None, as_json: bool) -> None:
    """List adjustments, the newest first."""
    with console.open_database() as database, database.reading() as session:
        page = adjusting.list_adjustments(
            session,
            PageRequest(size=most, after=None if after is None else _key_of(session, after)),
            state=None if state is None else AdjustmentState(state),
            member_id=None if who is None else member_named(session, who),
        )
        rows = _rows(session, list(page.items))
    console.print_page(rows, key="adjustment", more=page.has_next, columns=_COLUMNS, as_json=as_json)


@adjustment.command()
@click.argument("which", metavar="ADJUSTMENT")
@console.by_option
@console.json_option
def approve(which: str, by: str, as_json: bool) -> None:
    """Post an adjustment that somebody else proposed. ADJUSTMENT is as `coalition adjustment list` shows it.

    What is given is priced by its issuer's terms of now. Approving it again changes nothing.
    """
    member, own = _named(which)
    with console.open_database() as database, database.unit_of_work() as session:
        adjustments.approve(session, member, own, by=by)
        row = _shown(session, member, own)
    _tell(row, "is posted", as_json=as_json)


@adjustment.command()
@click.argument("which", metavar="ADJUSTMENT")
@console.by_option
@console.json_option
def reject(which: str, by: str, as_json: bool) -> None:
    """Decide against an adjustment; who proposed it may take it back."""
    member, own = _named(which)
    with console.open_database() as database, database.unit_of_work() as session:
        adjusting.reject_adjustment(session, member, own, by=by)
        row = _shown(session, member, own)
    _tell(row, "is rejected", as_json=as_json)


def _tell(row: dict[str, Any], done: str, *, as_json: bool) -> None:
    if as_json:
        console.print_json(row)
    else:
        click.echo(f"the adjustment of {row['points']:+,} points {done}")


def _named(which: str) -> tuple[MemberId, UUID]:
    member, _, own = which.partition("/")
    try:
        return MemberId(UUID(member)), UUID(own)
    except ValueError:
        raise click.BadParameter(f"{which!r} is no adjustment as the list shows it: MEMBER/ID") from None


def _shown(session: Session, member: MemberId, own: UUID) -> dict[str, Any]:
    [row] = _rows(session, [_found(session, member, own)])
    return row


def _key_of(session: Session, which: str) -> Key:
    return adjusting.key_of(_found(session, *_named(which)))


def _found(session: Session, member: MemberId, own: UUID) -> Adjustment:
    found = adjusting.find_adjustment(session, member, own)
    if found is None:
        raise AdjustmentUnknown
    return found


def _rows(session: Session, found: list[Adjustment]) -> list[dict[str, Any]]:
    issuers = get_partners(session, {one.issuer_id for one in found if one.issuer_id is not None})
    return [
        {
            "adjustment": f"{one.member_id}/{one.adjustment_id}",
            "points": one.points,
            "reason": one.reason.value,
            "note": one.note,
            "issuer": issuers[one.issuer_id].code if one.issuer_id else None,
            "state": one.state.value,
            "proposedBy": one.proposed_by,
            "proposedAt": one.proposed_at.isoformat(timespec="seconds"),
            "decidedBy": one.decided_by,
            "decidedAt": one.decided_at.isoformat(timespec="seconds") if one.decided_at else None,
            "transaction": spell_reference(one.posted) if one.posted else None,
        }
        for one in found
    ]
