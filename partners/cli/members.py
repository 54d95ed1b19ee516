"""`coalition member enrol`, `show` and `link`: a member as the operator looks at it.

They stand in this room because it knows partners by their codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from coalition import members, pooling
from coalition.cli import console
from coalition.cli.members import blocks_of
from coalition.cli.naming import identifier_of, member_named
from coalition.ids import NETWORK, PartnerId
from coalition.merging import merges_of
from coalition.programme import get_programme
from partners.directory import get_partners
from partners.terms import last_date, local_date

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from coalition.ids import MemberId

_TOLD: Final = {
    "mergedInto": "merged into",
    "mergedFrom": "merged into it:",
    "pool": "in the pool",
    "poolInvitations": "invited to the pools",
    "erasedAt": "erased at",
}


@click.command()
@click.argument("identifiers", nargs=-1, required=True, metavar="KIND:VALUE...")
@console.json_option
def enrol(identifiers: tuple[str, ...], as_json: bool) -> None:
    """Enrol a member known by the identifiers given.

    Example: coalition member enrol card:4006381333931 email:ada@example.org
    """
    command = members.EnrolMember(
        partner_id=PartnerId(NETWORK), identifiers=[identifier_of(text) for text in identifiers]
    )
    with console.open_database() as database:
        with database.unit_of_work() as session:
            member_id = members.enrol_member(session, command)
        with database.reading() as session:
            show_member(session, member_id, as_json=as_json)


@click.command()
@click.argument("who", metavar="MEMBER")
@console.json_option
def show(who: str, as_json: bool) -> None:
    """Show a member: balance, where each point came from, when it lapses; blocks, merges, its pool."""
    with console.open_database() as database, database.reading() as session:
        show_member(session, member_named(session, who), as_json=as_json)


@click.command()
@click.argument("who", metavar="MEMBER")
@click.argument("identifier", metavar="KIND:VALUE")
@console.json_option
def link(who: str, identifier: str, as_json: bool) -> None:
    """Link one more identifier to a member."""
    with console.open_database() as database, database.unit_of_work() as session:
        member_id = member_named(session, who)
        members.link_identifier(
            session,
            members.LinkIdentifier(
                member_id=member_id, partner_id=PartnerId(NETWORK), identifier=identifier_of(identifier)
            ),
        )
        show_member(session, member_id, as_json=as_json)


def show_member(session: Session, member_id: MemberId, *, as_json: bool) -> None:
    """Print a member. Days are of the programme's zone; of expiry the last on which points are good."""
    zone = get_programme(session).tz
    balance = members.get_balance(session, member_id)
    lots = members.lots(session, member_id)
    issuers = get_partners(session, {lot.issuer_id for lot in lots})
    rows = [
        {
            "issuer": issuers[lot.issuer_id].code,
            "issued": local_date(lot.issued_at, zone).isoformat(),
            "available": lot.available,
            "pending": lot.pending,
            "held": lot.held,
            "matures": None
            if lot.matures_at is None or not lot.pending
            else local_date(lot.matures_at, zone).isoformat(),
            "expires": None if lot.expires_at is None else last_date(lot.expires_at, zone).isoformat(),
        }
        for lot in lots
    ]
    known_by = [
        f"{identifier.kind.value}:{identifier.value}"
        for identifier in members.identifiers(session, member_id)
    ]
    blocks = blocks_of(session, member_id)
    merges = [
        {
            "what": one.kind,
            "with": str(one.other),
            "at": one.at.isoformat(timespec="seconds"),
            "by": one.by,
        }
        for one in merges_of(session, member_id)
    ]
    standing = _standing(session, member_id)
    if as_json:
        console.print_json(
            {
                "member": str(member_id),
                "identifiers": known_by,
                "available": balance.available,
                "pending": balance.pending,
                "held": balance.held,
                "deficit": balance.deficit,
                "blocked": bool(blocks) and blocks[-1]["blocked"],
                "blocks": blocks,
                "merges": merges,
                "lots": rows,
            }
            | standing
        )
        return
    click.echo(f"member {member_id}  {'  '.join(known_by)}")
    click.echo(
        f"available {balance.available:,}   pending {balance.pending:,}   "
        f"held {balance.held:,}   deficit {balance.deficit:,}"
    )
    for name, fact in standing.items():
        if fact:
            click.echo(f"{_TOLD[name]} {'  '.join(fact) if isinstance(fact, list) else fact}")
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
    if blocks:
        console.print_table(
            blocks,
            columns={"blocked": "Blocked", "since": "Since", "by": "By", "reason": "Why"},
            title="Blocks: the last line is how the member stands",
        )
    if merges:
        console.print_table(
            merges,
            columns={"what": "What", "with": "With", "at": "At", "by": "By"},
            title="Merges and their undoing",
        )


def _standing(session: Session, member_id: MemberId) -> dict[str, str | list[str] | None]:
    into = members.merged_into(session, member_id)
    pool_id = pooling.pools_of(session, [member_id]).get(member_id)
    erased_at = members.erased_at(session, member_id)
    return {
        "mergedInto": None if into is None else str(into),
        "mergedFrom": [str(one) for one in members.merged_from(session, member_id)],
        "pool": None if pool_id is None else str(pool_id),
        "poolInvitations": [str(one) for one in pooling.invitations_of(session, member_id)],
        "erasedAt": None if erased_at is None else erased_at.isoformat(timespec="seconds"),
    }
