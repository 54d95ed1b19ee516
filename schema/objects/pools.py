"""Household pools: who is in one, by which rules, and what it can spend."""

import datetime as dt

import strawberry

from coalition import pooling
from coalition.amounts import Points
from coalition.ids import MemberId
from schema.context import Context, Info
from schema.cost import FEW
from schema.enums import PoolSpenders
from schema.ids import to_global, uuid_in


@strawberry.type(
    description="A member's place in a pool. The others of it see that it is there, and no more."
)
class PoolMember:
    """Who."""

    id: strawberry.ID = strawberry.field(description="The member's global id.")
    head: bool = strawberry.field(description="Whether it is the pool's head, who invites and closes.")
    joined_at: dt.datetime = strawberry.field(description="When it accepted.")


@strawberry.type(
    description="Members who keep their own wallets and let each other spend from them. Its rules are fixed"
    " when it is opened; who accepts an invitation accepts them."
)
class Pool:
    """A pool, as one of its members, one who was invited, or the operator sees it."""

    record: strawberry.Private[pooling.Pool]
    seen_by: strawberry.Private[MemberId | None]
    id: strawberry.ID = strawberry.field(description="What acceptPoolInvitation and closePool name it by.")

    @strawberry.field(description="Its name.")
    def name(self, info: Info) -> str:
        """As its head called it; of one whose head was erased there is none."""
        return info.context.loaded.words.get((self.record.head_id, self.record.words)) or ""

    @strawberry.field(description="Who may spend what the others have.")
    def spenders(self) -> PoolSpenders:
        """A rule."""
        return self.record.spenders

    @strawberry.field(
        description="What one member may take of the others in one settlement window; null: all they have."
    )
    def spender_limit_points(self) -> Points | None:
        """A rule."""
        return self.record.spender_limit_points

    @strawberry.field(
        description="Whether what the spender has goes before what others have; else whatever expires first."
    )
    def own_first(self) -> bool:
        """A rule."""
        return self.record.own_first

    @strawberry.field(description="How many members it has places for.")
    def most_members(self) -> int:
        """A rule."""
        return self.record.most_members

    @strawberry.field(description="When it was opened.")
    def opened_at(self) -> dt.datetime:
        """When."""
        return self.record.opened_at

    @strawberry.field(description="When it was closed; null: it is open.")
    def closed_at(self) -> dt.datetime | None:
        """When."""
        return self.record.closed_at

    @strawberry.field(description="Invitations that were not accepted yet; null to who is not in it.")
    def invited(self) -> int | None:
        """How many."""
        return self.record.invited if self._inside() else None

    @strawberry.field(
        description="Who is in it, by when they joined; of those not in it only its head is told.",
        directives=[FEW],
    )
    def members(self) -> list[PoolMember]:
        """Who shares."""
        return [
            PoolMember(
                id=to_global("Member", one.member_id),
                head=one.member_id == self.record.head_id,
                joined_at=one.joined_at,
            )
            for one in self.record.members
            if self._inside() or one.member_id == self.record.head_id
        ]

    @strawberry.field(
        description="What the member through whom the pool was found can spend with it now, at once, its own"
        " and others', by the pool's order and limit; null where it may not spend from it, also as it is"
        " blocked, or is not in it."
    )
    def available(self, info: Info) -> Points | None:
        """What it is good for."""
        if self.seen_by is None or not self._inside():
            return None
        return pooling.spendable(info.context.session, self.seen_by, self.record)

    def _inside(self) -> bool:
        return self.seen_by is None or any(one.member_id == self.seen_by for one in self.record.members)

    @classmethod
    def of(cls, record: pooling.Pool, seen_by: MemberId | None) -> "Pool":
        """As the API shows it; seen by nobody in particular is the operator."""
        return cls(record=record, seen_by=seen_by, id=to_global("Pool", record.pool_id))


def visible_pool(context: Context, given: str) -> Pool | None:
    """The pool of that id, if the viewer is in it, was invited to it, or is the operator."""
    viewer = context.viewer
    pool_id = uuid_in(given, "Pool")
    if pool_id is None or not viewer.sees_whole_members():
        return None
    record = context.loaded.pools.get(pool_id)
    if record is None or viewer.is_operator:
        return None if record is None else Pool.of(record, None)
    own = viewer.member_id
    assert own is not None, "who sees whole members and is no operator is one"
    if any(one.member_id == own for one in record.members):
        return Pool.of(record, own)
    return Pool.of(record, own) if pool_id in pooling.invitations_of(context.session, own) else None
