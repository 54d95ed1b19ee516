"""`coalition member identifiers` and what becomes of them: blocked, unblocked, replaced, unlinked.

They stand in this room because it knows partners by their codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

import click

from coalition import identifier_changes
from coalition.cli import console
from coalition.cli.naming import identifier_of, member_named
from coalition.exporting import records_of
from coalition.identifier_changes import Actor, ChangeIdentifier
from coalition.ids import NETWORK, MemberId
from partners.cli.parameters import NETWORK_CODE
from partners.directory import get_partners

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from coalition.identifier_changes import IdentifierHistory

_AnyFunction = TypeVar("_AnyFunction", bound="Callable[..., Any]")
_COLUMNS: Final = {
    "identifier": "Identifier",
    "state": "State",
    "since": "Since",
    "party": "Party",
    "by": "By",
    "reason": "Why",
    "id": "Id",
}


@click.command()
@click.argument("who", metavar="MEMBER")
@console.json_option
def identifiers(who: str, as_json: bool) -> None:
    """List what a member is or was known by, and what became of each: when, by whom, and why.

    A line for each change, the oldest first: the last one of an identifier says how it stands. Those of
    records that were merged into the member are listed with its own. The id at the end names an identifier
    in the commands that change one, also one that has no KIND:VALUE for you, such as a partner's reference.
    """
    with console.open_database() as database, database.reading() as session:
        found = [
            one
            for record in records_of(session, member_named(session, who))
            for one in identifier_changes.identifier_histories(session, record)
        ]
        shown = _shown(session, found)
    _print(shown, as_json=as_json)


def _changes(function: _AnyFunction) -> _AnyFunction:
    """What all commands that change one have."""
    function = console.json_option(function)
    function = console.by_option(function)
    return click.option("--reason", help="Why, in your words; it is kept with the change.")(function)


_which = click.argument("which", metavar="IDENTIFIER")


@click.command(name="block-identifier")
@_which
@_changes
def block_identifier(which: str, reason: str | None, by: str, as_json: bool) -> None:
    """Block a card, or whatever else a member is known by, at once: no posting by it is taken.

    The member itself takes part as before, by anything else; `coalition member block` stops the member.
    IDENTIFIER is KIND:VALUE, or an id as `coalition member identifiers` shows it. Again changes nothing.

    Example: coalition member block-identifier card:4006381333931 --reason "lost on a bus"
    """
    _change(identifier_changes.block, which, reason, by, as_json=as_json)


@click.command(name="unblock-identifier")
@_which
@_changes
def unblock_identifier(which: str, reason: str | None, by: str, as_json: bool) -> None:
    """Lift a block, whoever set it: the operator, a partner, or the member.

    Example: coalition member unblock-identifier card:4006381333931 --reason "found again"
    """
    _change(identifier_changes.unblock, which, reason, by, as_json=as_json)


@click.command(name="replace-card")
@_which
@click.argument("card", metavar="card:NUMBER")
@_changes
def replace_card(which: str, card: str, reason: str | None, by: str, as_json: bool) -> None:
    """Give a member another card in place of one, which is refused from now on and can't be linked again.

    Example: coalition member replace-card card:4006381333931 card:4006381333948 --reason "worn"
    """
    new = identifier_of(card)
    _change(
        lambda session, command: identifier_changes.replace_card(session, command, new),
        which,
        reason,
        by,
        as_json=as_json,
    )


@click.command()
@_which
@_changes
def unlink(which: str, reason: str | None, by: str, as_json: bool) -> None:
    """Have a member known by one thing less; it can be linked anew, to anybody.

    Its history stays. To have a lost card refused by name, block or replace it: an unlinked one is
    as unknown to tills as one that was never linked.

    Example: coalition member unlink phone:+4930901820 --reason "not hers any more"
    """
    _change(identifier_changes.unlink, which, reason, by, as_json=as_json)


def _change(
    change: Callable[[Session, ChangeIdentifier], None],
    which: str,
    reason: str | None,
    by: str,
    *,
    as_json: bool,
) -> None:
    actor = Actor(name=by, party_id=NETWORK)
    with console.open_database() as database, database.unit_of_work() as session:
        member_id, identifier_id = _named(session, which, actor)
        command = ChangeIdentifier(member_id=member_id, identifier_id=identifier_id, by=actor, reason=reason)
        change(session, command)
        own_id = f"{member_id}/{identifier_id}"
        shown = next(
            one
            for one in _shown(session, identifier_changes.identifier_histories(session, member_id))
            if one["id"] == own_id
        )
    if as_json:
        console.print_json(shown)
    else:
        click.echo(f"{shown['identifier']} is {shown['state']}")


def _named(session: Session, which: str, actor: Actor) -> tuple[MemberId, UUID]:
    if ":" in which:
        return identifier_changes.named_for_change(session, identifier_of(which), by=actor)
    member, _, own = which.partition("/")
    try:
        return MemberId(UUID(member)), UUID(own)
    except ValueError:
        raise click.BadParameter(
            "IDENTIFIER is KIND:VALUE, or MEMBER/ID as `coalition member identifiers` shows it"
        ) from None


def _shown(session: Session, found: list[IdentifierHistory]) -> list[dict[str, Any]]:
    """Each identifier with its history, its newest state at the top level."""
    parties = {change.party_id for one in found for change in one.changes if change.party_id is not None}
    owners = {one.identifier.partner_id for one in found if one.identifier is not None}
    codes = {party: partner.code for party, partner in get_partners(session, parties | owners).items()}
    codes |= {NETWORK: NETWORK_CODE}
    own_ids = {one.identifier_id: one for one in found}

    def spelled(one: IdentifierHistory) -> str:
        if one.identifier is None:
            return f"{one.kind.value} (erased)"
        owner = "" if one.identifier.partner_id == NETWORK else f"{codes[one.identifier.partner_id]}/"
        return f"{one.kind.value}:{owner}{one.identifier.value}"

    return [
        {
            "identifier": spelled(one),
            "id": f"{one.member_id}/{one.identifier_id}",
            "state": one.state.value,
            "history": [
                {
                    "state": change.state.value,
                    "since": change.changed_at.isoformat(timespec="seconds"),
                    "party": "member" if change.party_id is None else codes[change.party_id],
                    "by": change.by,
                    "reason": change.reason,
                    "replacedBy": spelled(own_ids[change.replaced_by])
                    if change.replaced_by in own_ids
                    else None,
                }
                for change in one.changes
            ],
        }
        for one in found
    ]


def _print(shown: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        console.print_json(shown)
        return
    rows = [
        change
        | {
            "identifier": one["identifier"] if number == 0 else "",
            "id": one["id"] if number == 0 else "",
            "state": f"{change['state']} by {change['replacedBy']}"
            if change["replacedBy"]
            else change["state"],
        }
        for one in shown
        for number, change in enumerate(one["history"])
    ]
    console.print_table(rows, columns=_COLUMNS)
