"""Guard rails: the limits that hold, what waits for review, and what was refused."""

import datetime as dt
from typing import Annotated

import strawberry

from coalition import reviewing
from coalition.ids import NETWORK, PartnerId
from partners import directory, limits, refusals
from partners.scopes import Scope
from schema.context import Context, Info
from schema.cost import FEW, PAGE
from schema.enums import ReviewState
from schema.inputs import MemberBy
from schema.objects.guards import Limit, RegisteredRefusal, Review
from schema.objects.nodes import After, Before, Connection, First, Last, asked_page, connection
from schema.refusals import UserErrorCode
from schema.viewer import Requires


@strawberry.input(description="Which refusals are wanted; a part that is left out is left open.")
class RefusalFilter:
    """All parts must hold."""

    code: UserErrorCode | None = strawberry.field(default=None, description="This refusal.")
    partner: str | None = strawberry.field(
        default=None, description="Of this partner, by its code; a partner sees its own in any case."
    )
    member: MemberBy | None = strawberry.field(default=None, description="That named this member.")
    since: dt.datetime | None = strawberry.field(default=None, description="From this moment on.")
    until: dt.datetime | None = strawberry.field(default=None, description="Before this moment.")


def _partner(context: Context, code: str) -> PartnerId:
    return directory.get_partner_by_code(context.session, code).partner_id


def _wanted(context: Context, asked: RefusalFilter) -> refusals.RefusedFilter:
    partner_id = context.viewer.partner_id
    if partner_id is None and asked.partner is not None:
        partner_id = _partner(context, asked.partner)
    return refusals.RefusedFilter(
        code=None if asked.code is None else str(asked.code.name),
        partner_id=partner_id,
        member_id=None
        if asked.member is None
        else asked.member.resolve(context.session, partner_id=partner_id or NETWORK, in_use=False),
        since=asked.since,
        until=asked.until,
    )


@strawberry.type
class GuardQueries:
    """Limits, reviews, refusals."""

    @strawberry.field(
        description="The limits that hold, by code.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[FEW],
    )
    def limits(
        self,
        info: Info,
        ended: Annotated[bool, strawberry.argument(description="Also those that were ended.")] = False,
    ) -> list[Limit]:
        """The rules; with those that were ended, if they are wanted."""
        found = limits.list_limits(info.context.session, ended=ended)
        info.context.loaded.partners.want(one.partner_id for one in found if one.partner_id)
        return [Limit.of(one) for one in found]

    @strawberry.field(
        description="Wishes that a limit holds for review, the oldest first; those that wait where no state"
        " is named.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[PAGE],
    )
    def reviews(  # noqa: PLR0917 - Relay's arguments
        self,
        info: Info,
        state: Annotated[
            ReviewState, strawberry.argument(description="Only those that stand so.")
        ] = ReviewState.WAITING,
        partner: Annotated[
            str | None, strawberry.argument(description="Only this partner's, by its code.")
        ] = None,
        member: Annotated[MemberBy | None, strawberry.argument(description="Only of this member.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Review]:
        """A page of reviews."""
        context = info.context
        asked = asked_page(
            first=first, after=after, last=last, before=before, key_length=reviewing.KEY_LENGTH
        )
        of = None if partner is None else _partner(context, partner)
        page = reviewing.list_reviews(
            context.session,
            asked,
            state=state,
            partner_id=of,
            member_id=None
            if member is None
            else member.resolve(context.session, partner_id=of or NETWORK, in_use=False),
        )
        context.loaded.partners.want(one.partner_id for one in page.items)
        context.loaded.balances.want(one.member_id for one in page.items)
        made: Connection[Review] = connection(
            page, [reviewing.key_of(one) for one in page.items], [Review.of(one) for one in page.items]
        )
        return made

    @strawberry.field(
        description="The register of refusals, the newest first: to the operator all, to a partner its own."
        " It keeps 90 days, and 500,000 at the most.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN, Scope.MEMBERS_READ)],
        directives=[PAGE],
    )
    def refusals(  # noqa: PLR0917 - Relay's arguments
        self,
        info: Info,
        filter: Annotated[
            RefusalFilter | None,
            strawberry.argument(description="Which are wanted; all that you may see, where nothing is said."),
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[RegisteredRefusal]:
        """A page of the register."""
        context = info.context
        viewer = context.viewer
        if not viewer.is_operator:
            viewer.acting_partner()
        asked = asked_page(first=first, after=after, last=last, before=before)
        page = refusals.list_refusals(context.session, _wanted(context, filter or RefusalFilter()), asked)
        context.loaded.partners.want(PartnerId(one.partner_id) for one in page.items if one.partner_id)
        made: Connection[RegisteredRefusal] = connection(
            page,
            [refusals.key_of(one) for one in page.items],
            [RegisteredRefusal.of(one, whole=viewer.is_operator) for one in page.items],
        )
        return made
