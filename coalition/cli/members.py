"""`coalition member`: look at members, and block them, as the operator."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

import click

from coalition import members
from coalition.amounts import Points
from coalition.cli import OpenGroup, console
from coalition.erasing import erase_member
from coalition.errors import MemberUnknown
from coalition.exporting import export_member
from coalition.ids import NETWORK, MemberId, PartnerId
from coalition.merging import MergeMembers, merge_members, unmerge_members
from coalition.transferring import TransferPoints, transfer_points

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy.orm import Session

    from coalition.ledger import Posting

_KINDS = [
    kind.value for kind in members.IdentifierKind if kind is not members.IdentifierKind.PARTNER_REFERENCE
]


_EXPORT: Final = timedelta(minutes=10)
"""How long the export of one member may take."""


class _MemberGroup(OpenGroup):
    """What needs partners' terms is added by their room."""

    entry_points = "coalition.commands.member"


@click.group(cls=_MemberGroup)
def member() -> None:
    """Enrol members, look at their points, move them, block members.

    MEMBER is a member's id, or an identifier such as card:4006381333931, phone:+4930901820 or
    email:ada@example.org.
    """


@member.command()
@click.argument("identifiers", nargs=-1, required=True, metavar="KIND:VALUE...")
@console.json_option
def enrol(identifiers: tuple[str, ...], as_json: bool) -> None:
    """Enrol a member known by the identifiers given.

    Example: coalition member enrol card:4006381333931 email:ada@example.org
    """
    command = members.EnrolMember(
        partner_id=PartnerId(NETWORK), identifiers=[_identifier(text) for text in identifiers]
    )
    with console.open_database() as database:
        with database.unit_of_work() as session:
            member_id = members.enrol_member(session, command)
        with database.reading() as session:
            _show(session, member_id, as_json=as_json)


@member.command()
@click.argument("who", metavar="MEMBER")
@console.json_option
def show(who: str, as_json: bool) -> None:
    """Show a member's balance, where each point came from, and when it lapses."""
    with console.open_database() as database, database.reading() as session:
        _show(session, find(session, who), as_json=as_json)


@member.command()
@click.argument("who", metavar="MEMBER")
@click.argument("identifier", metavar="KIND:VALUE")
@console.json_option
def link(who: str, identifier: str, as_json: bool) -> None:
    """Link one more identifier to a member."""
    with console.open_database() as database, database.unit_of_work() as session:
        member_id = find(session, who)
        members.link_identifier(
            session,
            members.LinkIdentifier(
                member_id=member_id, partner_id=PartnerId(NETWORK), identifier=_identifier(identifier)
            ),
        )
        _show(session, member_id, as_json=as_json)


@member.command()
@click.argument("giver", metavar="FROM")
@click.argument("receiver", metavar="TO")
@click.argument("points", type=click.IntRange(min=1))
@click.option("--reason", help="Both members read it.")
@click.option("--key", help="The same key again is the same transfer; made up if not given.")
@console.json_option
def transfer(
    giver: str, receiver: str, points: int, reason: str | None, key: str | None, as_json: bool
) -> None:
    """Give POINTS of one member to another, on the giver's behalf.

    Those that expire soonest go first; they keep their issuer and expiry. FROM and TO are written as MEMBER
    is. The programme's transfer limit holds (`coalition programme set --transfer-limit`).

    Example: coalition member transfer card:4006381333931 email:ada@example.org 500
    """
    with console.open_database() as database, database.unit_of_work() as session:
        named = find(session, receiver, merged=True)
        posting = transfer_points(
            session,
            TransferPoints(
                member_id=find(session, giver),
                to=members.survivor_of(session, named),
                named=named,
                points=Points(points),
                idempotency_key=key or str(uuid4()),
                reason=reason,
            ),
        )
    if as_json:
        console.print_json(
            {
                "member": str(posting.member_id),
                "transaction": str(posting.transaction_id),
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
@click.option("--key", help="The same key again is the same merge; made up if not given.")
@console.json_option
def merge(survivor: str, merged: str, reason: str | None, key: str | None, as_json: bool) -> None:
    """Make one member of two: all that MERGED has and owes goes to SURVIVOR.

    MERGED keeps its identifiers and history, and can be taken apart again with `coalition member unmerge`.

    Example: coalition member merge email:ada@example.org card:4006381333931 --reason "two cards"
    """
    _change(merge_members, survivor, merged, reason, key, as_json=as_json)


@member.command()
@click.argument("survivor", metavar="SURVIVOR")
@click.argument("merged", metavar="MERGED")
@click.option("--reason", help="The member reads it too.")
@click.option("--key", help="As for merge.")
@console.json_option
def unmerge(survivor: str, merged: str, reason: str | None, key: str | None, as_json: bool) -> None:
    """Undo a merge: MERGED gets back what is left of the lots that it brought to SURVIVOR."""
    _change(unmerge_members, survivor, merged, reason, key, as_json=as_json)


def _change(
    post: Callable[[Session, MergeMembers], Posting],
    survivor: str,
    merged: str,
    reason: str | None,
    key: str | None,
    *,
    as_json: bool,
) -> None:
    with console.open_database() as database, database.unit_of_work() as session:
        posting = post(
            session,
            MergeMembers(
                survivor=find(session, survivor, merged=True),
                merged=find(session, merged, merged=True),
                idempotency_key=key or str(uuid4()),
                reason=reason,
            ),
        )
    if as_json:
        console.print_json(
            {
                "survivor": str(posting.member_id),
                "transaction": str(posting.transaction_id),
                "points": posting.points,
                "available": posting.balance.available,
                "replayed": posting.replayed,
            }
        )
    else:
        click.echo(
            f"{posting.points:,} points changed hands; {posting.balance.available:,} are with the survivor"
        )


@member.command()
@click.argument("who", metavar="MEMBER")
def block(who: str) -> None:
    """Block a member: nothing is issued to it and nothing redeemed, from now on."""
    _set_blocked(who, blocked=True)


@member.command()
@click.argument("who", metavar="MEMBER")
def unblock(who: str) -> None:
    """Let a blocked member take part again."""
    _set_blocked(who, blocked=False)


@member.command()
@click.argument("who", metavar="MEMBER")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write, for its owner's eyes alone; it must not exist. Standard output if not given.",
)
def export(who: str, output: Path | None) -> None:
    """Write all that is held about a member as JSON, to give to the person.

    One record for the member and one for each that was merged into it: profile, identifiers, and every row of
    the ledger that is the member's. What would tell of other people or of partners' business is left out.

    Example: coalition member export email:ada@example.org --output ada.json
    """
    with console.open_database() as database, database.reading(patience=_EXPORT) as session:
        pieces = export_member(session, find(session, who))
        if output is None:
            for piece in pieces:
                click.echo(piece, nl=False)
            return
        _write_privately(output, pieces)
    click.echo(f"wrote {output}: {output.stat().st_size:,} bytes", err=True)


def _write_privately(file: Path, pieces: Iterable[str]) -> None:
    """Whole or not at all."""
    if file.exists():
        raise click.UsageError(f"{file} exists")
    half_made = file.with_name(f"{file.name}.partial")
    half_made.unlink(missing_ok=True)
    half_made.touch(mode=0o600, exist_ok=False)
    try:
        with half_made.open("w", encoding="utf-8") as stream:
            stream.writelines(pieces)
        half_made.rename(file)
    finally:
        half_made.unlink(missing_ok=True)


@member.command()
@click.argument("who", metavar="MEMBER")
@click.option("--yes", is_flag=True, help="Do not ask.")
@console.json_option
def erase(who: str, yes: bool, as_json: bool) -> None:
    """Erase the person behind a member, for good: nobody can undo it.

    The key to its personal data is destroyed, and the data and identifiers with it, of all records that
    were merged into it. Its transactions stay, with every statement made from them, and name nobody; nothing
    is posted to it any more. Again for the same id changes nothing.

    What is in the way is named: a pool to leave, holds that are open, points that are left or owed. Settle
    these first, for instance with `coalition member transfer` or `coalition member adjust`. What earlier
    backups still hold, the guide to operating tells.

    Example: coalition member erase email:ada@example.org
    """
    with console.open_database() as database:
        with database.reading() as session:
            member_id = find(session, who)
        if not yes:
            click.confirm(f"Erase the person behind member {member_id} for good?", abort=True, err=True)
        with database.unit_of_work() as session:
            erasure = erase_member(session, member_id)
    if as_json:
        console.print_json(
            {
                "member": str(erasure.member_id),
                "records": [str(one) for one in erasure.records],
                "erased_at": erasure.erased_at.isoformat(),
                "replayed": erasure.replayed,
            }
        )
    else:
        was = "was erased before, at" if erasure.replayed else "is erased since"
        click.echo(f"member {member_id} {was} {erasure.erased_at.isoformat()}")


def _set_blocked(who: str, *, blocked: bool) -> None:
    with console.open_database() as database, database.unit_of_work() as session:
        member_id = find(session, who)
        members.set_blocked(session, member_id, blocked=blocked)
    click.echo(f"member {member_id} is {'blocked' if blocked else 'not blocked'}")


def _identifier(text: str) -> members.Identifier:
    kind, colon, value = text.partition(":")
    if not colon or kind not in _KINDS:
        raise click.BadParameter(f"MEMBER and KIND:VALUE name a kind, one of {', '.join(_KINDS)}")
    return members.Identifier.of(members.IdentifierKind(kind), value, partner_id=NETWORK)


def find(session: Session, who: str, *, merged: bool = False) -> MemberId:
    """The member whom MEMBER names; whether an id exists is not asked. `merged`: the very record."""
    if ":" in who:
        found = members.find_member(session, _identifier(who), merged=merged)
        if found is None:
            raise MemberUnknown
        return found
    try:
        return MemberId(UUID(who))
    except ValueError:
        raise click.BadParameter("MEMBER is neither a member's id nor KIND:VALUE") from None


def _show(session: Session, member_id: MemberId, *, as_json: bool) -> None:
    balance = members.get_balance(session, member_id)
    lots = members.lots(session, member_id)
    rows = [
        {
            "issuer": str(lot.issuer_id),
            "issued": lot.issued_at.date().isoformat(),
            "available": lot.available,
            "pending": lot.pending,
            "held": lot.held,
            "matures": lot.matures_at.date().isoformat() if lot.matures_at and lot.pending else None,
            "expires": lot.expires_at.date().isoformat() if lot.expires_at else None,
        }
        for lot in lots
    ]
    known_by = [
        f"{identifier.kind.value}:{identifier.value}"
        for identifier in members.identifiers(session, member_id)
    ]
    if as_json:
        console.print_json(
            {
                "member": str(member_id),
                "identifiers": known_by,
                "available": balance.available,
                "pending": balance.pending,
                "held": balance.held,
                "deficit": balance.deficit,
                "lots": rows,
            }
        )
        return
    click.echo(f"member {member_id}  {'  '.join(known_by)}")
    click.echo(
        f"available {balance.available:,}   pending {balance.pending:,}   "
        f"held {balance.held:,}   deficit {balance.deficit:,}"
    )
    console.print_table(
        rows,
        columns={
            "issuer": "Issuer",
            "issued": "Issued",
            "available": "Available",
            "pending": "Pending",
            "held": "Held",
            "matures": "Matures",
            "expires": "Expires",
        },
        title="Lots, in the order in which they will be spent",
    )
