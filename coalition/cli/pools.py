"""`coalition pool`: household pools, on their members' behalf."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import click

from coalition import members, pooling
from coalition.amounts import Points
from coalition.cli import console
from coalition.cli.naming import member_named
from coalition.errors import PoolUnknown

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_COLUMNS: Final = {
    "pool": "Pool",
    "name": "Name",
    "members": "Members",
    "invited": "Invited",
    "spenders": "Spend",
    "spenderLimitPoints": "Limit a day",
    "ownFirst": "Own first",
    "head": "Head",
    "closedAt": "Closed",
}


@click.group()
def pool() -> None:
    """Household pools: members who let each other spend what they have.

    Members do this themselves over the API; here it is done on their behalf. MEMBER is a member's id, or an
    identifier such as card:4006381333931. A till spends from a pool by saying `fromPool`.
    """


@pool.command(name="open")
@click.argument("who", metavar="MEMBER")
@click.argument("name")
@click.option(
    "--spenders",
    type=click.Choice([one.value for one in pooling.PoolSpenders]),
    default=pooling.PoolSpenders.ALL.value,
    show_default=True,
    help="Who may spend what the others have.",
)
@click.option("--limit", type=click.IntRange(min=1), help="What one may take of the others a day.")
@click.option("--soonest-first", is_flag=True, help="Spend whatever expires first, not the spender's first.")
@click.option("--most", type=click.IntRange(2, 20), default=6, show_default=True, help="How many members.")
@console.json_option
def open_(
    who: str, name: str, spenders: str, limit: int | None, soonest_first: bool, most: int, as_json: bool
) -> None:
    """Open a pool whose head is MEMBER.

    Example: coalition pool open card:4006381333931 "The Millers" --limit 5000
    """
    pool_id = uuid4()
    with console.open_database() as database, database.unit_of_work() as session:
        pooling.open_pool(
            session,
            pooling.OpenPool(
                member_id=member_named(session, who),
                pool_id=pool_id,
                name=name,
                spenders=pooling.PoolSpenders(spenders),
                spender_limit_points=None if limit is None else Points(limit),
                own_first=not soonest_first,
                most_members=most,
            ),
        )
        _show(session, pool_id, as_json=as_json)


@pool.command()
@click.argument("head", metavar="HEAD")
@click.argument("invited", metavar="MEMBER")
@console.json_option
def invite(head: str, invited: str, as_json: bool) -> None:
    """Invite MEMBER into the pool of which HEAD is the head; good for 14 days."""
    with console.open_database() as database, database.unit_of_work() as session:
        named = members.survivor_of(session, member_named(session, invited))
        pool_id = pooling.invite_to_pool(session, member_named(session, head), invited=named)
        _show(session, pool_id, as_json=as_json)


@pool.command()
@click.argument("who", metavar="MEMBER")
@click.argument("pool_id", metavar="POOL", type=click.UUID)
@console.json_option
def accept(who: str, pool_id: UUID, as_json: bool) -> None:
    """Accept an invitation for MEMBER, who has agreed that the others of POOL spend what it has."""
    with console.open_database() as database, database.unit_of_work() as session:
        pooling.accept_invitation(session, member_named(session, who), pool_id)
        _show(session, pool_id, as_json=as_json)


@pool.command()
@click.argument("who", metavar="MEMBER")
@console.json_option
def leave(who: str, as_json: bool) -> None:
    """Let MEMBER leave its pool; a pool whose head leaves is closed."""
    with console.open_database() as database, database.unit_of_work() as session:
        _show(session, pooling.leave_pool(session, member_named(session, who)), as_json=as_json)


@pool.command()
@click.argument("pool_id", metavar="POOL", type=click.UUID)
@console.json_option
def close(pool_id: UUID, as_json: bool) -> None:
    """Close POOL: all leave it, with what they have."""
    with console.open_database() as database, database.unit_of_work() as session:
        pooling.close_pool(session, pool_id, by=None)
        _show(session, pool_id, as_json=as_json)


@pool.command()
@click.argument("pool_id", metavar="POOL", type=click.UUID)
@console.json_option
def show(pool_id: UUID, as_json: bool) -> None:
    """Show POOL, with who is in it and what each can spend with it."""
    with console.open_database() as database, database.reading() as session:
        _show(session, pool_id, as_json=as_json)


@pool.command(name="list")
@click.option("--after", type=click.UUID, help="Those that come after this pool.")
@console.most_option(100, largest=1_000)
@console.json_option
def list_(after: UUID | None, most: int, as_json: bool) -> None:
    """List open pools, by id."""
    with console.open_database() as database, database.reading() as session:
        found = pooling.list_pools(session, limit=most, after=after)
        pools = pooling.get_pools(session, found)
        names = pooling.names_of(session, pools.values())
        rows = [_row(pools[one], names[one]) | {"members": len(pools[one].members)} for one in found]
    console.print_result(rows, columns=_COLUMNS, as_json=as_json)


def _row(shown: pooling.Pool, name: str) -> dict[str, Any]:
    return {
        "pool": str(shown.pool_id),
        "name": name,
        "head": str(shown.head_id),
        "spenders": shown.spenders.value,
        "spenderLimitPoints": shown.spender_limit_points,
        "ownFirst": shown.own_first,
        "mostMembers": shown.most_members,
        "invited": shown.invited,
        "closedAt": shown.closed_at.isoformat(timespec="seconds") if shown.closed_at else None,
    }


def _show(session: Session, pool_id: UUID, *, as_json: bool) -> None:
    shown = pooling.find_pool(session, pool_id)
    if shown is None:
        raise PoolUnknown
    places = [
        {
            "member": str(one.member_id),
            "joinedAt": one.joined_at.isoformat(timespec="seconds"),
            "spendable": pooling.spendable(session, one.member_id, shown),
        }
        for one in shown.members
    ]
    row = _row(shown, pooling.names_of(session, [shown])[pool_id])
    if as_json:
        console.print_json(row | {"members": places})
        return
    console.print_table([row | {"members": len(places)}], columns=_COLUMNS)
    console.print_table(
        places, columns={"member": "Member", "joinedAt": "Joined", "spendable": "Can spend with it"}
    )
