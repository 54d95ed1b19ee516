"""Household pools: open, invite, join, leave, close; a member for itself, the operator on its behalf."""

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID, uuid4

import strawberry
from sqlalchemy.orm import Session

from coalition import members, pooling
from coalition.amounts import Points
from coalition.errors import MemberUnknown, PoolUnknown
from coalition.ids import NETWORK, MemberId
from partners.scopes import Scope
from schema.context import Info
from schema.cost import WRITES
from schema.enums import PoolSpenders
from schema.ids import uuid_in
from schema.inputs import MemberBy
from schema.mutations.acting import acting_for, unknown_to_members
from schema.mutations.once import once
from schema.mutations.payloads import Payload
from schema.objects.pools import Pool
from schema.paths import placed
from schema.viewer import Requires

_WHO = "Whose wish it is: the operator names the member, a member leaves it out."
_MEMBERS = Requires(Scope.MEMBER_SELF, Scope.PROGRAMME_ADMIN)


@strawberry.input(description="A pool that you open, and whose head you are.")
class CreatePoolInput:
    """A new pool and its rules."""

    idempotency_key: strawberry.ID = strawberry.field(
        description="Yours, for this wish; its scope is the member, or the operator's client."
    )
    member: MemberBy | None = strawberry.field(default=None, description=_WHO)
    name: str = strawberry.field(description="What those whom you invite read: 1 to 100 characters.")
    spenders: PoolSpenders = strawberry.field(
        default=PoolSpenders.ALL, description="Who may spend what the others have."
    )
    spender_limit_points: Points | None = strawberry.field(
        default=None,
        description="What one member may take of the others in one settlement window; null: all they have.",
    )
    own_first: bool = strawberry.field(
        default=True,
        description="Whether what the spender has goes before what others have; else whatever expires first.",
    )
    most_members: int = strawberry.field(default=6, description="How many it has places for, 2 to 20.")


@strawberry.input(description="Somebody whom you invite into the pool that you are head of.")
class InviteToPoolInput:
    """An invitation."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for createPool.")
    member: MemberBy | None = strawberry.field(default=None, description=_WHO)
    invited: MemberBy = strawberry.field(description="Whom; the invitation is good for 14 days.")


@strawberry.input(description="An invitation that you accept.")
class AcceptPoolInvitationInput:
    """A yes."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for createPool.")
    member: MemberBy | None = strawberry.field(default=None, description=_WHO)
    pool: strawberry.ID = strawberry.field(description="Which pool; Member.poolInvitations lists them.")


@strawberry.input(description="Leave the pool that you are in.")
class LeavePoolInput:
    """A farewell."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for createPool.")
    member: MemberBy | None = strawberry.field(default=None, description=_WHO)


@strawberry.input(description="A pool that is to be closed.")
class ClosePoolInput:
    """The end."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for createPool.")
    pool: strawberry.ID = strawberry.field(description="Which.")


@strawberry.type(description="What came of it.")
class PoolPayload(Payload):
    """The pool."""

    pool: Pool | None = strawberry.field(description="As it stands now.")


def _done(
    info: Info,
    wish: Any,
    work: Callable[[Session, MemberId], UUID],
) -> PoolPayload:
    def stored(session: Session) -> dict[str, Any]:
        member_id = acting_for(info.context, session, wish.member, field="member")
        return {"pool_id": str(work(session, member_id)), "member_id": str(member_id)}

    return _payload(info, wish, stored)


def _payload(info: Info, wish: Any, stored: Callable[[Session], dict[str, Any]]) -> PoolPayload:
    outcome = once(info.context, wish, stored)
    if outcome.value is None:
        return PoolPayload(replayed=False, user_errors=outcome.user_errors, pool=None)
    result, replayed = outcome.value
    found = pooling.find_pool(info.context.session, UUID(result["pool_id"]))
    assert found is not None, "a pool that was opened is there"
    viewer = info.context.viewer
    return PoolPayload(replayed=replayed, user_errors=[], pool=Pool.of(found, viewer.member_id))


@strawberry.type
class PoolMutations:
    """Share, and stop sharing."""

    @strawberry.mutation(
        description="Open a household pool. You are its head and its first member; whom you invite can join.",
        extensions=[_MEMBERS],
        directives=[WRITES],
    )
    def create_pool(
        self,
        info: Info,
        input: Annotated[
            CreatePoolInput,
            strawberry.argument(
                description="The pool's name and rules, which never change: who spends, how much in a window,"
                " whose points first."
            ),
        ],
    ) -> PoolPayload:
        """Open a pool."""

        def work(session: Session, member_id: MemberId) -> UUID:
            pool_id = uuid4()
            pooling.open_pool(
                session,
                pooling.OpenPool(
                    member_id=member_id,
                    pool_id=pool_id,
                    name=input.name,
                    spenders=input.spenders,
                    spender_limit_points=input.spender_limit_points,
                    own_first=input.own_first,
                    most_members=input.most_members,
                ),
            )
            return pool_id

        return _done(info, input, work)

    @strawberry.mutation(
        description="Invite somebody into your pool. Whether they are in another one you are not told.",
        extensions=[_MEMBERS],
        directives=[WRITES],
    )
    def invite_to_pool(
        self,
        info: Info,
        input: Annotated[
            InviteToPoolInput,
            strawberry.argument(
                description="Who is invited; the invitation is good for 14 days. Your pool is the one whose"
                " head you are."
            ),
        ],
    ) -> PoolPayload:
        """Invite."""

        def work(session: Session, member_id: MemberId) -> UUID:
            with placed("invited"), unknown_to_members(info.context, "invited"):
                named = input.invited.resolve(session, partner_id=NETWORK)
            invited = members.survivor_of(session, named)
            try:
                return pooling.invite_to_pool(session, member_id, invited=invited)
            except MemberUnknown as refusal:
                if not refusal.facts.get("receiver"):
                    raise
                raise MemberUnknown(field=("input", "invited")) from None

        return _done(info, input, work)

    @strawberry.mutation(
        description="Join a pool that you were invited to: from now on the others may spend what you have,"
        " and you what they have, by its rules.",
        extensions=[_MEMBERS],
        directives=[WRITES],
    )
    def accept_pool_invitation(
        self,
        info: Info,
        input: Annotated[
            AcceptPoolInvitationInput,
            strawberry.argument(
                description="The pool that you join, as an invitation of the last 14 days names it."
            ),
        ],
    ) -> PoolPayload:
        """Join."""

        def work(session: Session, member_id: MemberId) -> UUID:
            pool_id = uuid_in(str(input.pool), "Pool")
            if pool_id is None:
                raise PoolUnknown
            pooling.accept_invitation(session, member_id, pool_id)
            return pool_id

        return _done(info, input, work)

    @strawberry.mutation(
        description="Leave your pool, with all that you have. A pool whose head leaves is closed.",
        extensions=[_MEMBERS],
        directives=[WRITES],
    )
    def leave_pool(
        self,
        info: Info,
        input: Annotated[
            LeavePoolInput, strawberry.argument(description="Who leaves: you; the operator names a member.")
        ],
    ) -> PoolPayload:
        """Leave."""
        return _done(info, input, pooling.leave_pool)

    @strawberry.mutation(
        description="Close a pool: its head does, or the operator. All keep what they have.",
        extensions=[_MEMBERS],
        directives=[WRITES],
    )
    def close_pool(
        self,
        info: Info,
        input: Annotated[
            ClosePoolInput, strawberry.argument(description="The pool that is over, for all who are in it.")
        ],
    ) -> PoolPayload:
        """Close."""
        viewer = info.context.viewer
        by = None if viewer.is_operator else viewer.acting_member()

        def work(session: Session) -> dict[str, Any]:
            pool_id = uuid_in(str(input.pool), "Pool")
            if pool_id is None:
                raise PoolUnknown
            pooling.close_pool(session, pool_id, by=by)
            return {"pool_id": str(pool_id)}

        return _payload(info, input, work)
