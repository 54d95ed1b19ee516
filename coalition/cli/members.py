"""`coalition member`: move members' points, and block members, as the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from coalition import blocking, members
from coalition.amounts import MAX_POINTS, Points
from coalition.cli import OpenGroup, console
from coalition.cli.naming import member_named, named
from coalition.cli.people import export
from coalition.global_ids import spell_reference
from coalition.merging import MergeMembers, merge_members, unmerge_members
from coalition.transferring import TransferPoints, transfer_points

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from coalition.ids import MemberId
    from coalition.ledger import Posting


class _MemberGroup(OpenGroup):
    """What needs partners, their room adds."""

    entry_points = "coalition.commands.member"


@click.group(cls=_MemberGroup)
def member() -> None:
    """Enrol members, look at their points, move them; block members, and what they are known by.

    MEMBER is a member's id, or an identifier such as card:4006381333931, phone:+4930901820 or
    email:ada@example.org. IDENTIFIER is such an identifier, or an id as `coalition member identifiers`
    shows it.
    """


member.add_command(export)


@member.command()
@click.argument("giver", metavar="FROM")
@click.argument("receiver", metavar="TO")
@click.argument("points", type=click.IntRange(1, MAX_POINTS))
@click.option("--reason", help="Both members read it.")
@console.by_option
@click.option("--key", help="The same key again is the same transfer; made up if not given.")
@console.json_option
def transfer(
    giver: str, receiver: str, points: int, reason: str | None, by: str, key: str | None, as_json: bool
) -> None:
    """Give POINTS of one member to another, on the giver's behalf.

    Those that expire soonest go first; they keep their issuer and expiry. FROM and TO are written as MEMBER
    is. The programme's transfer limit holds (`coalition programme set --transfer-limit`).

    Example: coalition member transfer card:4006381333931 email:ada@example.org 500
    """
    with console.open_database() as database, database.unit_of_work() as session:
        to = member_named(session, receiver, merged=True)
        gives = named(session, giver)
        posting = transfer_points(
            session,
            TransferPoints(
                member_id=gives.member_id,
                holder=gives.holder_id,
                to=members.survivor_of(session, to),
                named=to,
                points=Points(points),
                idempotency_key=key or str(uuid4()),
                reason=reason,
                by=by,
            ),
        )
    if as_json:
        console.print_json(
            {
                "member": str(posting.member_id),
                "transaction": spell_reference(posting.ref),
                "points": posting.points,
                "available": posting.balance.available,
                "replayed": posting.replayed,
            }
        )
    else:
        click.echo(f"{posting.points:,} points were given; {posting.balance.available:,} are left")


@member.command()
@click.argument("survivor", metavar="SURVIVOR")
@click.argument("merged", metavar="MERGED")
@click.option("--reason", help="The member reads it too.")
@console.by_option
@click.option("--key", help="The same key again is the same merge; made up if not given.")
@console.json_option
def merge(survivor: str, merged: str, reason: str | None, by: str, key: str | None, as_json: bool) -> None:
    """Make one member of two: all that MERGED has and owes goes to SURVIVOR.

    MERGED keeps its identifiers and history, and can be taken apart again with `coalition member unmerge`.
    Who is blocked is merged only into one who is blocked, too: decide of the block first.

    Example: coalition member merge email:ada@example.org card:4006381333931 --reason "two cards"
    """
    _change(merge_members, survivor, merged, reason, by, key, as_json=as_json)


@member.command()
@click.argument("survivor", metavar="SURVIVOR")
@click.argument("merged", metavar="MERGED")
@click.option("--reason", help="The member reads it too.")
@console.by_option
@click.option("--key", help="As for merge.")
@console.json_option
def unmerge(survivor: str, merged: str, reason: str | None, by: str, key: str | None, as_json: bool) -> None:
    """Undo a merge: MERGED gets back what is left of the lots that it brought to SURVIVOR."""
    _change(unmerge_members, survivor, merged, reason, by, key, as_json=as_json)


def _change(
    post: Callable[[Session, MergeMembers], Posting],
    survivor: str,
    merged: str,
    reason: str | None,
    by: str,
    key: str | None,
    *,
    as_json: bool,
) -> None:
    with console.open_database() as database, database.unit_of_work() as session:
        posting = post(
            session,
            MergeMembers(
                survivor=member_named(session, survivor, merged=True),
                merged=member_named(session, merged, merged=True),
                idempotency_key=key or str(uuid4()),
                by=by,
                reason=reason,
            ),
        )
    if as_json:
        console.print_json(
            {
                "survivor": str(posting.member_id),
                "transaction": spell_reference(posting.ref),
                "points": posting.points,
                "available": posting.balance.available,
                "replayed": posting.replayed,
            }
        )
    else:
        click.echo(
            f"{posting.points:,} points changed hands; {posting.balance.available:,} are with the survivor"
        )


_reason_option = click.option("--reason", help="Why, in your words; it is kept with the change.")


@member.command()
@click.argument("who", metavar="MEMBER")
@_reason_option
@console.by_option
@console.json_option
def block(who: str, reason: str | None, by: str, as_json: bool) -> None:
    """Block a member: nothing is issued to it and nothing redeemed, from now on.

    What is held can still be captured. A lost card is blocked with `coalition member block-identifier`.
    Who it was and why, `coalition member show` tells. Again changes nothing.

    Example: coalition member block card:4006381333931 --reason "reported stolen"
    """
    _set_blocked(who, blocked=True, by=by, reason=reason, as_json=as_json)


@member.command()
@click.argument("who", metavar="MEMBER")
@_reason_option
@console.by_option
@console.json_option
def unblock(who: str, reason: str | None, by: str, as_json: bool) -> None:
    """Let a blocked member take part again."""
    _set_blocked(who, blocked=False, by=by, reason=reason, as_json=as_json)


def _set_blocked(who: str, *, blocked: bool, by: str, reason: str | None, as_json: bool) -> None:
    with console.open_database() as database, database.unit_of_work() as session:
        member_id = member_named(session, who)
        blocking.set_blocked(session, member_id, blocked=blocked, by=by, reason=reason)
        history = blocks_of(session, member_id)
    if as_json:
        console.print_json({"member": str(member_id), "blocked": blocked, "blocks": history})
    else:
        click.echo(f"member {member_id} is {'blocked' if blocked else 'not blocked'}")


def blocks_of(session: Session, member_id: MemberId) -> list[dict[str, Any]]:
    """When the member was blocked and let take part again, the oldest first."""
    return [
        {
            "blocked": one.blocked,
            "since": one.changed_at.isoformat(timespec="seconds"),
            "by": one.by,
            "reason": one.reason,
        }
        for one in blocking.blocks_of(session, member_id)
    ]
