"""Household pools: members who let each other spend what they have, by rules that all of them accepted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sqlalchemy import select, text

from coalition import clock
from coalition.amounts import Points
from coalition.clock import wall
from coalition.errors import InvalidInput
from coalition.ids import MemberId
from coalition.ledger import tables
from coalition.ledger.posting import call, call_again
from coalition.members import get_balances, lots
from coalition.reasons import seal, stand_for, words_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

INVITATION_LIFETIME: Final = timedelta(days=14)
FEWEST_MEMBERS: Final = 2
MOST_MEMBERS: Final = 20
_MAX_LIMIT: Final = 1_000_000_000_000
_LONGEST_NAME: Final = 100
_NEVER: Final = datetime.max.replace(tzinfo=UTC)

_p: Final = tables.pool.c
_m: Final = tables.pool_member.c
_h: Final = tables.member_head.c


class PoolSpenders(StrEnum):
    """Who may spend what the others have."""

    ALL = "all"
    HEAD = "head"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPool:
    """A member's wish to open a pool, whose head it will be."""

    member_id: MemberId
    pool_id: UUID
    name: str
    spenders: PoolSpenders = PoolSpenders.ALL
    spender_limit_points: Points | None = None
    """What one member may take of the others in one window; None: all that they have."""
    own_first: bool = True
    """What the spender has goes before what others have; else whatever expires first."""
    most_members: int = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMember:
    """A place in a pool."""

    member_id: MemberId
    joined_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A pool as it stands."""

    pool_id: UUID
    words: str
    """Stands for its name, which `names_of` reads."""
    head_id: MemberId
    spenders: PoolSpenders
    spender_limit_points: Points | None
    own_first: bool
    most_members: int
    opened_at: datetime
    closed_at: datetime | None
    members: tuple[PoolMember, ...]
    """By when they joined."""
    invited: int
    """Invitations that are still good."""


def open_pool(session: Session, command: OpenPool) -> None:
    """Open a pool with one member in it.

    Raises:
        InvalidInput, MemberUnknown, MemberMerged, AlreadyInPool, MemberBlocked: no pool was opened.
    """
    name = command.name.strip()
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        raise InvalidInput(f"name must be 1 to {_LONGEST_NAME} printable characters", field=("input", "name"))
    if not FEWEST_MEMBERS <= command.most_members <= MOST_MEMBERS:
        raise InvalidInput(
            f"a pool has {FEWEST_MEMBERS} to {MOST_MEMBERS} members", field=("input", "mostMembers")
        )
    limit = command.spender_limit_points
    if limit is not None and not 1 <= limit <= _MAX_LIMIT:
        raise InvalidInput(
            f"spenderLimitPoints must be from 1 to {_MAX_LIMIT:,}", field=("input", "spenderLimitPoints")
        )
    words = stand_for(session, name)
    call(
        session,
        "SELECT ledger.open_pool(%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            command.member_id,
            command.pool_id,
            words.digest,
            command.spenders.value,
            limit,
            command.own_first,
            command.most_members,
            wall(),
        ),
    )
    seal(session, command.member_id, words)


def invite_to_pool(session: Session, member_id: MemberId, *, invited: MemberId) -> UUID:
    """Invite somebody into the pool that the member is head of; again changes nothing. Returns the pool.

    Whether the invited is in a pool already is not told: it learns that itself when it accepts.

    Raises:
        MemberUnknown, MemberMerged, NotInPool, PoolHeadOnly, PoolFull: nobody was invited.
    """
    return UUID(str(_ask(session, "SELECT ledger.invite_to_pool(%s, %s, %s)", (member_id, invited, wall()))))


def accept_invitation(session: Session, member_id: MemberId, pool_id: UUID) -> None:
    """Join a pool: the others may spend what the member has from now on. Again changes nothing.

    Raises:
        MemberUnknown, MemberMerged, PoolUnknown, PoolClosed, AlreadyInPool, MemberBlocked: nobody joined.
    """
    _ask(session, "SELECT ledger.accept_pool_invitation(%s, %s, %s)", (member_id, pool_id, wall()))


def leave_pool(session: Session, member_id: MemberId) -> UUID:
    """Leave the pool with all that the member has; a pool whose head leaves is closed. Returns the pool.

    What of the member's is held for a redemption of another's comes back to it when that is released.

    Raises:
        MemberUnknown, MemberMerged, NotInPool: nothing has changed.
    """
    return UUID(str(_ask(session, "SELECT ledger.leave_pool(%s, %s)", (member_id, wall()))))


def close_pool(session: Session, pool_id: UUID, *, by: MemberId | None) -> None:
    """Close a pool: all leave it, with what they have. None is the operator.

    Raises:
        PoolUnknown, PoolClosed, PoolHeadOnly: nothing has changed.
    """
    _ask(session, "SELECT ledger.close_pool(%s, %s, %s)", (pool_id, by, wall()))


def find_pool(session: Session, pool_id: UUID) -> Pool | None:
    """The pool, if there is such a one."""
    return get_pools(session, [pool_id]).get(pool_id)


def get_pools(session: Session, pool_ids: Collection[UUID]) -> dict[UUID, Pool]:
    """Several pools, with who is in them."""
    now = clock.now(session)
    places: dict[UUID, list[PoolMember]] = {}
    invited: dict[UUID, int] = {}
    for row in session.execute(
        select(_m.pool_id, _m.member_id, _m.invited_at, _m.joined_at)
        .where(_m.pool_id.in_(pool_ids), _m.ended_at.is_(None))
        .order_by(_m.joined_at, _m.member_id)
    ):
        if row.joined_at is not None:
            places.setdefault(row.pool_id, []).append(
                PoolMember(member_id=MemberId(row.member_id), joined_at=row.joined_at)
            )
        elif row.invited_at > now - INVITATION_LIFETIME:
            invited[row.pool_id] = invited.get(row.pool_id, 0) + 1
    rows = session.execute(select(tables.pool).where(_p.pool_id.in_(pool_ids)))
    return {
        row.pool_id: _pool(row, tuple(places.get(row.pool_id, ())), invited.get(row.pool_id, 0))
        for row in rows
    }


def names_of(session: Session, pools: Collection[Pool]) -> dict[UUID, str]:
    """What their heads called them; empty where the head was erased."""
    words = words_of(session, [(one.head_id, one.words) for one in pools])
    return {one.pool_id: words.get((one.head_id, one.words), "") for one in pools}


def pools_of(session: Session, member_ids: Collection[MemberId]) -> dict[MemberId, UUID]:
    """The pools that members are in; those who are in none are left out."""
    query = select(_h.member_id, _h.pool_id).where(_h.member_id.in_(member_ids), _h.pool_id.is_not(None))
    return {MemberId(row.member_id): row.pool_id for row in session.execute(query)}


def invitations_of(session: Session, member_id: MemberId) -> list[UUID]:
    """The pools that a member was invited to and may still join, the oldest invitation first."""
    rows = session.execute(
        select(_m.pool_id)
        .where(
            _m.member_id == member_id,
            _m.ended_at.is_(None),
            _m.joined_at.is_(None),
            _m.invited_at > clock.now(session) - INVITATION_LIFETIME,
        )
        .order_by(_m.invited_at, _m.pool_id)
    )
    return [row.pool_id for row in rows]


def list_pools(session: Session, *, limit: int, after: UUID | None = None) -> list[UUID]:
    """Pools that are open, by id."""
    query = select(_p.pool_id).where(_p.closed_at.is_(None)).order_by(_p.pool_id).limit(limit)
    if after is not None:
        query = query.where(_p.pool_id > after)
    return list(session.execute(query).scalars())


def spendable(session: Session, member_id: MemberId, pool: Pool) -> Points | None:
    """What the member can spend from the pool now, its own and the others'.

    As the kernel will reckon: blocked members give nothing, and the others no more than the spender's limit
    leaves in the open window. Where their points go before some of its own, these are out of its reach then.

    Returns:
        None: by the pool's rules nothing, or it is blocked.
    """
    unblocked = _unblocked(session, pool)
    if member_id not in unblocked or (pool.spenders is PoolSpenders.HEAD and pool.head_id != member_id):
        return None
    others = [one for one in unblocked if one != member_id]
    allowed = allowed_of_others(session, member_id, pool)
    if allowed is None or pool.own_first:
        balances = get_balances(session, unblocked)
        given: int = sum(balances[one].available for one in others)
        return Points(balances[member_id].available + (given if allowed is None else min(given, allowed)))
    total = 0
    left: int = allowed
    for from_other, available in soonest_first(session, member_id, others):
        if from_other and available > left:
            return Points(total + left)
        total += available
        left -= available if from_other else 0
    return Points(total)


def givers_of(session: Session, member_id: MemberId, pool: Pool) -> list[MemberId]:
    """The others of the pool, less those who are blocked."""
    return [one for one in _unblocked(session, pool) if one != member_id]


def soonest_first(
    session: Session, member_id: MemberId, others: Collection[MemberId]
) -> list[tuple[bool, Points]]:
    """Points that can be spent, in the order of a pool in which a spender's own do not go first.

    Whatever expires first, whoever has it; of those that expire at once the member's own.

    Returns:
        Of each lot whether it is one of the others', and what it has.
    """
    queue = sorted(
        (lot.expires_at is None, lot.expires_at or _NEVER, one != member_id, one, nth, lot.available)
        for one in (member_id, *others)
        for nth, lot in enumerate(lots(session, one))
        if lot.available > 0
    )
    return [(from_other, available) for _, _, from_other, _, _, available in queue]


def allowed_of_others(session: Session, member_id: MemberId, pool: Pool) -> Points | None:
    """How many the member may still take of the others in the open window; None: all they have."""
    if pool.spender_limit_points is None:
        return None
    used = session.execute(_USED, {"member": member_id}).scalar_one()
    return Points(max(pool.spender_limit_points - int(used), 0))


_USED: Final = text("""
    SELECT ledger.taken_of_others(:member, business_date) FROM ledger.settlement_window WHERE state = 'open'
""")


def _unblocked(session: Session, pool: Pool) -> list[MemberId]:
    members = [one.member_id for one in pool.members]
    rows = session.execute(select(_h.member_id).where(_h.member_id.in_(members), _h.blocked.is_(False)))
    return [MemberId(row.member_id) for row in rows]


def _pool(row: Any, members: tuple[PoolMember, ...], invited: int) -> Pool:
    return Pool(
        pool_id=row.pool_id,
        words=row.name,
        head_id=MemberId(row.head_id),
        spenders=PoolSpenders(row.spenders),
        spender_limit_points=row.spender_limit_points,
        own_first=row.own_first,
        most_members=row.most_members,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        members=members,
        invited=invited,
    )


def _ask(session: Session, statement: str, arguments: tuple[object, ...]) -> object:
    [(answer,)] = call_again(session, statement, arguments)
    return answer
