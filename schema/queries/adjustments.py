"""Adjustments that operators proposed, posted and rejected."""

from typing import Annotated

import strawberry

from coalition import adjusting
from coalition.ids import NETWORK
from partners.scopes import Scope
from schema.context import Info
from schema.cost import PAGE
from schema.enums import AdjustmentState
from schema.inputs import MemberBy
from schema.objects.adjustments import Adjustment
from schema.objects.nodes import After, Before, Connection, First, Last, asked_page, connection
from schema.viewer import Requires


@strawberry.type
class AdjustmentQueries:
    """The list."""

    @strawberry.field(
        description="Adjustments, the newest first: of one state, of one member, or all.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[PAGE],
    )
    def adjustments(  # noqa: PLR0917 - Relay's arguments
        self,
        info: Info,
        state: Annotated[
            AdjustmentState | None, strawberry.argument(description="Only those that stand so.")
        ] = None,
        member: Annotated[MemberBy | None, strawberry.argument(description="Only this member's.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Adjustment]:
        """A page of adjustments."""
        context = info.context
        asked = asked_page(
            first=first, after=after, last=last, before=before, key_length=adjusting.KEY_LENGTH
        )
        page = adjusting.list_adjustments(
            context.session,
            asked,
            state=state,
            member_id=None
            if member is None
            else member.resolve(context.session, partner_id=NETWORK, in_use=False),
        )
        context.loaded.partners.want(one.issuer_id for one in page.items if one.issuer_id)
        context.loaded.plans.want(one.funding_plan_id for one in page.items if one.funding_plan_id)
        context.loaded.balances.want(one.member_id for one in page.items)
        context.loaded.transactions.want(one.posted for one in page.items if one.posted)
        made: Connection[Adjustment] = connection(
            page, [adjusting.key_of(one) for one in page.items], [Adjustment.of(one) for one in page.items]
        )
        return made
