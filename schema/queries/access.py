"""Clients and funding plans: what the operator looks after."""

from typing import Annotated

import strawberry

from coalition.paging import page_of
from partners import clients, directory, funding
from partners.scopes import Scope
from schema.context import Info
from schema.cost import FEW, PAGE
from schema.objects.clients import Client
from schema.objects.nodes import After, Before, Connection, First, Last, asked_page, connection
from schema.objects.partners import FundingPlan
from schema.viewer import Requires


@strawberry.type
class AccessQueries:
    """Who was let in, and what issues can be funded by."""

    @strawberry.field(
        description="The OAuth clients by id, revoked ones too; of one partner where its code is given.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[PAGE],
    )
    def clients(  # noqa: PLR0917 - Relay's arguments
        self,
        info: Info,
        partner: Annotated[
            str | None,
            strawberry.argument(description="Only those that act in the name of the partner of this code."),
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Client]:
        """A page of clients."""
        context = info.context
        asked = asked_page(first=first, after=after, last=last, before=before)
        of = None if partner is None else directory.get_partner_by_code(context.session, partner).partner_id
        page = page_of(
            asked,
            lambda limit: clients.list_clients(
                context.session,
                limit=limit,
                after=asked.after[0] if asked.after else None,
                before=asked.before[0] if asked.before else None,
                backwards=asked.backwards,
                partner_id=of,
            ),
        )
        context.loaded.partners.want(one.partner_id for one in page.items if one.partner_id)
        made: Connection[Client] = connection(
            page, [(one.client_id,) for one in page.items], [Client.of(one) for one in page.items]
        )
        return made

    @strawberry.field(
        description="The plans by which issues can be funded, by code.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[FEW],
    )
    def funding_plans(self, info: Info) -> list[FundingPlan]:
        """All plans."""
        return [FundingPlan.of(plan) for plan in funding.list_funding_plans(info.context.session)]
