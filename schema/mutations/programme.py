"""The operator sets what holds for all: the programme's limits."""

import dataclasses
from typing import Annotated, Any

import strawberry
from sqlalchemy.orm import Session

from coalition.amounts import Points
from coalition.programme import SetLimits, get_programme, set_limits
from partners.scopes import Scope
from schema.context import Info
from schema.cost import WRITES
from schema.mutations.once import once
from schema.mutations.payloads import Payload
from schema.objects.programme import Programme
from schema.viewer import Requires


@strawberry.input(
    description="Limits of the programme that are to be others from now on; what is null stays as it is. Open"
    " holds and vouchers that were given keep their times, and what was posted stays posted."
)
class SetProgrammeLimitsInput:
    """Those of `SetLimits`, and the key."""

    idempotency_key: strawberry.ID = strawberry.field(
        description="Yours, for this wish; its scope is your client."
    )
    consent_limit_points: Points | None = strawberry.field(
        default=None,
        description="What a partner may take from a member in one window without the member's confirmation.",
    )
    hold_seconds: int | None = strawberry.field(
        default=None, description="How long a hold lasts where the partner names no time; at least 1."
    )
    longest_hold_seconds: int | None = strawberry.field(
        default=None,
        description="How long a partner may ask for at the most: no less than holdSeconds, a year at most.",
    )
    late_days: int | None = strawberry.field(
        default=None,
        description="For how many days after it occurred a transaction is still taken.",
    )
    transfer_limit_points: Points | None = strawberry.field(
        default=None, description="What a member may give to other members in one window; 0: nothing."
    )
    adjustment_limit_points: Points | None = strawberry.field(
        default=None, description="What one operator may adjust without a second person."
    )
    voucher_limit_points: Points | None = strawberry.field(
        default=None, description="What a member may have in vouchers at a time; 0: there are none."
    )
    voucher_seconds: int | None = strawberry.field(
        default=None,
        description="For how long a voucher is good where the member names no time: 1 to 3,600.",
    )
    voucher_grace_seconds: int | None = strawberry.field(
        default=None,
        description="How long after that a till that was offline can still present it; 30 days at most.",
    )


@strawberry.type(description="What came of setting limits.")
class ProgrammePayload(Payload):
    """The programme."""

    programme: Programme | None = strawberry.field(
        description="As it is now; null where the wish was refused."
    )


@strawberry.type
class ProgrammeMutations:
    """What holds for all."""

    @strawberry.mutation(
        description="Set limits of the programme; they hold from now on.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def set_programme_limits(
        self,
        info: Info,
        input: Annotated[
            SetProgrammeLimitsInput,
            strawberry.argument(
                description="Which limits are to be what: at least one, all or none are set."
            ),
        ],
    ) -> ProgrammePayload:
        """Set limits."""
        command = SetLimits(**{one.name: getattr(input, one.name) for one in dataclasses.fields(SetLimits)})

        def work(session: Session) -> dict[str, Any]:
            set_limits(session, command)
            return {}

        outcome = once(info.context, input, work)
        if outcome.value is None:
            return ProgrammePayload(replayed=False, user_errors=outcome.user_errors, programme=None)
        return ProgrammePayload(
            replayed=outcome.value[1],
            user_errors=[],
            programme=Programme.of(get_programme(info.context.session)),
        )
