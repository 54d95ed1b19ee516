"""What the operator adjusts by hand, and the second person who says yes or no."""

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import strawberry
from sqlalchemy.orm import Session

from coalition.adjusting import find_adjustment, reject_adjustment
from coalition.amounts import Points
from coalition.errors import AdjustmentUnknown
from coalition.ids import NETWORK, MemberId
from partners import adjustments
from partners.scopes import Scope
from schema.context import Info
from schema.cost import WRITES
from schema.enums import AdjustmentReason
from schema.ids import adjustment_in
from schema.inputs import MemberBy
from schema.mutations.once import once
from schema.mutations.payloads import Payload
from schema.objects.adjustments import Adjustment
from schema.objects.members import Balance
from schema.objects.transactions import Transaction
from schema.paths import placed
from schema.viewer import Requires


@strawberry.input(description="Points that you give a member, or take from one.")
class AdjustPointsInput:
    """An adjustment."""

    idempotency_key: strawberry.ID = strawberry.field(
        description="Yours, for this wish; its scope is your client."
    )
    member: MemberBy = strawberry.field(description="Whose points.")
    points: Points = strawberry.field(description="Signed: more than 0 are given, less are taken.")
    reason: AdjustmentReason = strawberry.field(description="Why.")
    note: str | None = strawberry.field(default=None, description="In your words, at most 500 characters.")
    issuer: str | None = strawberry.field(
        default=None,
        description="The code of the partner that issues, and pays for, what is given; null: points are"
        " taken.",
    )
    funding_plan: str | None = strawberry.field(
        default=None, description="The code of a plan that pays in the issuer's place."
    )


@strawberry.input(description="An adjustment of somebody else's that is to be posted.")
class ApproveAdjustmentInput:
    """A yes."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for adjustPoints.")
    adjustment: strawberry.ID = strawberry.field(description="Which.")


@strawberry.input(description="An adjustment that is not to be posted.")
class RejectAdjustmentInput:
    """A no."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for adjustPoints.")
    adjustment: strawberry.ID = strawberry.field(description="Which.")


@strawberry.type(description="What came of an adjustment.")
class AdjustmentPayload(Payload):
    """The adjustment, and what posted it."""

    adjustment: Adjustment | None = strawberry.field(description="As it stands now.")
    transaction: Transaction | None = strawberry.field(
        description="What posted it; null: it waits for a second person, or was rejected."
    )
    balance: Balance | None = strawberry.field(
        description="The member's balance now; null where nothing was posted."
    )


def _done(info: Info, wish: Any, work: Callable[[Session], tuple[MemberId, UUID]]) -> AdjustmentPayload:
    def stored(session: Session) -> dict[str, Any]:
        member_id, adjustment_id = work(session)
        return {"member_id": str(member_id), "adjustment_id": str(adjustment_id)}

    outcome = once(info.context, wish, stored)
    if outcome.value is None:
        return AdjustmentPayload(
            replayed=False, user_errors=outcome.user_errors, adjustment=None, transaction=None, balance=None
        )
    result, replayed = outcome.value
    context = info.context
    found = find_adjustment(
        context.session, MemberId(UUID(result["member_id"])), UUID(result["adjustment_id"])
    )
    assert found is not None, "an adjustment that was written down is there"
    balance = context.loaded.balances.get(found.member_id) if found.posted else None
    return AdjustmentPayload(
        replayed=replayed,
        user_errors=[],
        adjustment=Adjustment.of(found),
        transaction=None if found.posted is None else Transaction.of_ref(found.posted),
        balance=None if balance is None else Balance(member_id=found.member_id, whole=balance),
    )


def _decided(info: Info, wish: Any, decide: Callable[..., object]) -> AdjustmentPayload:
    by = info.context.viewer.name
    named = adjustment_in(str(wish.adjustment))

    def work(session: Session) -> tuple[MemberId, UUID]:
        if named is None:
            raise AdjustmentUnknown
        decide(session, *named, by=by)
        return named

    return _done(info, wish, work)


@strawberry.type
class AdjustmentMutations:
    """Propose, approve, reject."""

    @strawberry.mutation(
        description="Give a member points or take some, with a reason from the list. Within the programme's"
        " limit it is posted at once; above it, once a second person approves. What is given is an issue at"
        " its issuer's terms, but can be spent at once; what is taken leaves the lots that expire soonest,"
        " and their funders get the issue charge back.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def adjust_points(
        self,
        info: Info,
        input: Annotated[
            AdjustPointsInput,
            strawberry.argument(
                description="Whose points, how many (signed), and why. The key's scope is your client: sent"
                " again it is answered as before, also where it was only proposed."
            ),
        ],
    ) -> AdjustmentPayload:
        """Propose, and post where one person may."""
        by = info.context.viewer.name

        def work(session: Session) -> tuple[MemberId, UUID]:
            command = adjustments.Adjust(
                member_id=input.member.resolve(session, partner_id=NETWORK),
                points=input.points,
                reason=input.reason,
                by=by,
                note=input.note,
                issuer=input.issuer,
                funding_plan=input.funding_plan,
            )
            with placed("issuer", instead_of=("partner",)):
                made = adjustments.adjust(session, command)
            return made.member_id, made.adjustment_id

        return _done(info, input, work)

    @strawberry.mutation(
        description="Post an adjustment that another client proposed.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def approve_adjustment(
        self,
        info: Info,
        input: Annotated[
            ApproveAdjustmentInput,
            strawberry.argument(
                description="Which adjustment. Your client must be another than the one that proposed it; and"
                " not one that it made, or whose secret it rotated, over the API, nor the other way round,"
                " however many clients stand between them."
            ),
        ],
    ) -> AdjustmentPayload:
        """Say yes."""
        return _decided(info, input, adjustments.approve)

    @strawberry.mutation(
        description="Decide against an adjustment that was proposed; who proposed it may take it back.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def reject_adjustment(
        self,
        info: Info,
        input: Annotated[
            RejectAdjustmentInput,
            strawberry.argument(description="Which adjustment; also one that you proposed yourself."),
        ],
    ) -> AdjustmentPayload:
        """Say no."""
        return _decided(info, input, reject_adjustment)
