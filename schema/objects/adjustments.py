"""Adjustments: points that the operator gives or takes by hand."""

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import strawberry

from coalition import adjusting
from coalition.amounts import Points
from schema.context import Info
from schema.enums import AdjustmentReason, AdjustmentState
from schema.ids import adjustment_id
from schema.objects.partners import FundingPlan, Partner, partner_of

if TYPE_CHECKING:
    from schema.objects.members import Member
    from schema.objects.transactions import Transaction


@strawberry.type(
    description="Points that an operator gives a member or takes from one, with a reason; above the"
    " programme's limit with a second person."
)
class Adjustment:
    """An adjustment and what came of it."""

    record: strawberry.Private[adjusting.Adjustment]
    id: strawberry.ID = strawberry.field(
        description="What approveAdjustment and rejectAdjustment name it by."
    )

    @strawberry.field(description="Where it stands.")
    def state(self) -> AdjustmentState:
        """Its state."""
        return self.record.state

    @strawberry.field(description="Signed: given to the member, or taken.")
    def points(self) -> Points:
        """Its size."""
        return self.record.points

    @strawberry.field(description="Why.")
    def reason(self) -> AdjustmentReason:
        """From the list."""
        return self.record.reason

    @strawberry.field(description="In the operator's words; the operator alone reads it.")
    def note(self) -> str | None:
        """The operator's words."""
        return self.record.note

    @strawberry.field(description="Whose points.")
    def member(self) -> Annotated["Member", strawberry.lazy("schema.objects.members")]:
        """The member."""
        from schema.objects.members import Member  # noqa: PLC0415 - not needed to build the other types

        return Member.of(self.record.member_id)

    @strawberry.field(description="Who issues, and pays for, what is given; null: points are taken.")
    def issuer(self, info: Info) -> Partner | None:
        """The issuer."""
        return partner_of(info, self.record.issuer_id)

    @strawberry.field(description="The plan that pays in the issuer's place.")
    def funding_plan(self, info: Info) -> FundingPlan | None:
        """The plan."""
        plan_id = self.record.funding_plan_id
        plan = None if plan_id is None else info.context.loaded.plans.get(plan_id)
        return None if plan is None else FundingPlan.of(plan)

    @strawberry.field(description="The client, or the operator at the command line, that proposed it.")
    def proposed_by(self) -> str:
        """Who."""
        return self.record.proposed_by

    @strawberry.field(description="When.")
    def proposed_at(self) -> dt.datetime:
        """When."""
        return self.record.proposed_at

    @strawberry.field(description="Who approved or rejected it; null: nobody yet, or it needed nobody else.")
    def decided_by(self) -> str | None:
        """The second person."""
        return self.record.decided_by

    @strawberry.field(description="When it was posted or rejected.")
    def decided_at(self) -> dt.datetime | None:
        """When."""
        return self.record.decided_at

    @strawberry.field(description="What posted it.")
    def transaction(self) -> Annotated["Transaction", strawberry.lazy("schema.objects.transactions")] | None:
        """The posting."""
        from schema.objects.transactions import Transaction  # noqa: PLC0415 - as above

        return None if self.record.posted is None else Transaction.of_ref(self.record.posted)

    @classmethod
    def of(cls, record: adjusting.Adjustment) -> "Adjustment":
        """As the API shows it."""
        return cls(record=record, id=adjustment_id(record.member_id, record.adjustment_id))
