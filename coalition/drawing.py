"""What a redemption would draw from a household pool, told beforehand; nothing moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coalition.amounts import Points
from coalition.errors import NotInPool, PoolHeadOnly
from coalition.members import get_balances
from coalition.pooling import (
    PoolSpenders,
    allowed_of_others,
    find_pool,
    givers_of,
    pools_of,
    soonest_first,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from coalition.ids import MemberId
    from coalition.pooling import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What spending so many points from a pool would take of whom."""

    total: Points
    """What the member and the others have, whatever the rules let it take of them."""
    of_others: Points
    """How many would come from the others, by the pool's order."""
    asked_of_others: Points
    """How many the others would be asked for: these, and those that nobody has."""
    allowed: Points | None
    """How many the member may still take of the others in the open window; None: all they have."""


def pool_to_spend_from(session: Session, member_id: MemberId) -> Pool:
    """The pool that the member can spend from.

    Raises:
        NotInPool: the member is in none.
        PoolHeadOnly: by the pool's rules its head alone spends.
    """
    pool_id = pools_of(session, [member_id]).get(member_id)
    pool = None if pool_id is None else find_pool(session, pool_id)
    if pool is None:
        raise NotInPool
    if pool.spenders is PoolSpenders.HEAD and pool.head_id != member_id:
        raise PoolHeadOnly
    return pool


def draw_of(session: Session, member_id: MemberId, points: Points) -> Draw:
    """What the kernel would draw if the member spent so many points with its pool now.

    Raises as `pool_to_spend_from` does.
    """
    pool = pool_to_spend_from(session, member_id)
    others = givers_of(session, member_id, pool)
    balances = get_balances(session, [member_id, *others])
    own = balances[member_id].available
    total = Points(own + sum(balances[one].available for one in others))
    if pool.own_first:
        of_others = max(min(points, total) - own, 0)
    else:
        of_others = _drawn_of_others(session, member_id, others, points)
    return Draw(
        total=total,
        of_others=Points(of_others),
        asked_of_others=Points(of_others + max(points - total, 0)),
        allowed=allowed_of_others(session, member_id, pool),
    )


def _drawn_of_others(session: Session, member_id: MemberId, others: list[MemberId], points: Points) -> int:
    rest, drawn = int(points), 0
    for from_other, available in soonest_first(session, member_id, others):
        share = min(rest, available)
        rest -= share
        drawn += share if from_other else 0
    return drawn
