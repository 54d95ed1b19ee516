"""Two records of one person become one, and two again."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import strawberry

from coalition.ids import NETWORK
from coalition.ledger import Posting
from coalition.merging import MergeMembers, merge_members, unmerge_members
from partners.scopes import Scope
from schema.context import Context, Info, Outcome
from schema.cost import WRITES
from schema.inputs import MemberBy
from schema.mutations.points import PointsPayload, check_form
from schema.paths import placed
from schema.viewer import Requires

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@strawberry.input(description="Two records of one person that are to become one.")
class MergeMembersInput:
    """A merge."""

    idempotency_key: strawberry.ID = strawberry.field(
        description="Yours, for this wish. Its scope is the survivor."
    )
    survivor: MemberBy = strawberry.field(description="Who has the points from now on.")
    merged: MemberBy = strawberry.field(description="Who is found through the survivor from now on.")
    reason: str | None = strawberry.field(
        default=None,
        description="Why, in your words, at most 200 characters; the member reads them too. No part of the"
        " request that the key stands for.",
    )


@strawberry.input(description="A merge that is to be undone.")
class UnmergeMembersInput:
    """The way back."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for mergeMembers.")
    survivor: MemberBy = strawberry.field(description="Into whom the other was merged.")
    merged: MemberBy = strawberry.field(description="Who is to be itself again.")
    reason: str | None = strawberry.field(default=None, description="As for mergeMembers.")


def _changed(
    context: Context,
    wish: MergeMembersInput | UnmergeMembersInput,
    post: Callable[["Session", MergeMembers], Posting],
    kind: str,
) -> Outcome[Posting]:
    attempt = context.attempt(kind)

    def work(session: "Session") -> Posting:
        check_form(wish)
        with placed("survivor"):
            attempt.member_id = survivor = wish.survivor.exactly(session, partner_id=NETWORK)
        with placed("merged"):
            merged = wish.merged.exactly(session, partner_id=NETWORK)
        return post(
            session,
            MergeMembers(
                survivor=survivor,
                merged=merged,
                idempotency_key=str(wish.idempotency_key),
                by=context.viewer.name,
                reason=wish.reason,
            ),
        )

    return context.post_saying(wish.reason, work, attempt)


@strawberry.type
class MergeMutations:
    """Merge, un-merge."""

    @strawberry.mutation(
        description="Make one member of two: all that the merged one has and owes goes to the survivor, as a"
        " transaction of each. Nothing is rewritten; its identifiers, keys and history stay its own. Whoever"
        " is merged already, or has points held, is refused, and so is merging one who is blocked into one"
        " who is not: decide of the block first. Answers with the survivor's transaction.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def merge_members(
        self,
        info: Info,
        input: Annotated[
            MergeMembersInput,
            strawberry.argument(
                description="Who stays and who goes into it. The survivor is the scope of the key."
            ),
        ],
    ) -> PointsPayload:
        """Merge."""
        return PointsPayload.of(_changed(info.context, input, merge_members, "merge"))

    @strawberry.mutation(
        description="Take two members apart again: the merged one gets back what is left of the very lots"
        " that it brought along. What the survivor spent of them is spent; what it got since is its own, also"
        " what comes back of a purchase that was paid with them. Not while points of them are set aside.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def unmerge_members(
        self,
        info: Info,
        input: Annotated[
            UnmergeMembersInput,
            strawberry.argument(
                description="The two as they were merged: who stayed, and who is to be itself again."
            ),
        ],
    ) -> PointsPayload:
        """Un-merge."""
        return PointsPayload.of(_changed(info.context, input, unmerge_members, "unmerge"))
