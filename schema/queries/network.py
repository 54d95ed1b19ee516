"""The programme, its partners and members."""

from typing import Annotated

import strawberry

from coalition.errors import IdentifierRefusal
from coalition.ids import MemberId, PartnerId, PartyId
from coalition.paging import page_of
from coalition.programme import get_programme
from partners import directory
from schema.context import Context, Info
from schema.cost import PAGE
from schema.inputs import NOBODY, MemberBy
from schema.objects.members import Member
from schema.objects.nodes import After, Before, Connection, First, Last, asked_page, connection
from schema.objects.partners import Partner
from schema.objects.programme import Programme, Viewer
from schema.viewer import READS_HISTORY, Requires


def visible_member(context: Context, member_id: MemberId | None) -> Member | None:
    """The member, if there is one whom the viewer may know."""
    viewer = context.viewer
    if member_id is None or not viewer.has(*READS_HISTORY) or not viewer.may_know_member(member_id):
        return None
    # The balance tells whether the member exists, and is what comes next.
    return None if context.loaded.balances.get(member_id) is None else Member.of(member_id)


def visible_partner(context: Context, partner: directory.Partner | None) -> Partner | None:
    """The partner, if the viewer may know it."""
    if partner is None or not context.viewer.may_know_partner(partner.partner_id):
        return None
    return Partner.of(partner)


@strawberry.type
class NetworkQueries:
    """Who is who."""

    @strawberry.field(description="Who asks, and with which rights.")
    def viewer(self, info: Info) -> Viewer:
        """The holder of the token."""
        viewer = info.context.viewer
        return Viewer(client_id=viewer.client_id, scopes=sorted(viewer.scopes))

    @strawberry.field(description="The programme.")
    def programme(self, info: Info) -> Programme:
        """What holds for all."""
        return Programme.of(get_programme(info.context.session))

    @strawberry.field(
        description="A member, by id or by something that the member is known by. Null where there is none,"
        " and to a partner also where that was blocked, replaced or unlinked.",
        extensions=[Requires(*READS_HISTORY)],
    )
    def member(
        self,
        info: Info,
        by: Annotated[
            MemberBy,
            strawberry.argument(
                description="What you know of the member: its id, or something it is known by."
            ),
        ],
    ) -> Member | None:
        """One member."""
        context = info.context
        owner = context.viewer.partner_id or PartnerId(PartyId(NOBODY))
        try:
            found = by.find(context.session, partner_id=owner, in_use=context.viewer.partner_id is not None)
        except IdentifierRefusal:
            return None
        return visible_member(context, found)

    @strawberry.field(
        description="A partner by its code. Null where there is none, or none that you may see."
    )
    def partner(
        self,
        info: Info,
        code: Annotated[
            str, strawberry.argument(description="As it was admitted: small letters, digits and hyphens.")
        ],
    ) -> Partner | None:
        """One partner."""
        if not code.isprintable():
            return None
        return visible_partner(info.context, directory.find_partner(info.context.session, code))

    @strawberry.field(
        description="The partners by code: all of them to the operator, finance and members; itself to a"
        " partner.",
        directives=[PAGE],
    )
    def partners(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[Partner]:
        """A page of partners."""
        context = info.context
        asked = asked_page(first=first, after=after, last=last, before=before)
        own = context.viewer.partner_id

        def fetch(limit: int) -> list[directory.Partner]:
            if own is None:
                return directory.list_partners(
                    context.session,
                    limit=limit,
                    after=asked.after[0] if asked.after else None,
                    before=asked.before[0] if asked.before else None,
                    backwards=asked.backwards,
                )
            only = context.loaded.partners.get(own)
            inside = only is not None and (
                (asked.after is None or only.code > asked.after[0])
                and (asked.before is None or only.code < asked.before[0])
            )
            return [only] if only is not None and inside else []

        page = page_of(asked, fetch)
        context.loaded.terms.want(one.partner_id for one in page.items)
        made: Connection[Partner] = connection(
            page, [(one.code,) for one in page.items], [Partner.of(one) for one in page.items]
        )
        return made
