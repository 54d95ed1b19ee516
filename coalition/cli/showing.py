"""A member as the operator looks at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from coalition import blocking, members, pooling
from coalition.cli import console

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


def show_member(session: Session, member_id: MemberId, *, as_json: bool) -> None:
    """Print a member."""
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
    blocks = blocks_of(session, member_id)
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
