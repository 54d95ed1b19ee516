"""Members: their balance over the whole network, and what they are known by."""

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import strawberry

from coalition import blocking, holding, identifier_changes, members, pooling, profiles
from coalition.amounts import Points
from coalition.errors import InvalidInput
from coalition.ids import MemberId, PartnerId
from coalition.ledger import Balance as LedgerBalance
from schema.context import Info
from schema.cost import FEW, PAGE, Cost
from schema.ids import to_global
from schema.inputs import NOBODY, TransactionFilter
from schema.objects.identifiers import Identifier
from schema.objects.nodes import After, Before, Connection, First, Last, Node, asked_page
from schema.objects.partners import Partner, partner_of
from schema.objects.transaction_pages import transactions_page
from schema.objects.transactions import Transaction
from schema.viewer import READS_HISTORY, READS_IDENTIFIERS

if TYPE_CHECKING:
    from schema.objects.holds import Hold
    from schema.objects.pools import Pool

_MAX_DAYS = 36_500


@strawberry.type(description="How many of a member's points one issuer issued.")
class IssuerBalance:
    """Part of a balance."""

    issuer_id: strawberry.Private[PartnerId]
    available: Points = strawberry.field(description="Spendable now.")
    pending: Points = strawberry.field(description="Not matured.")
    held: Points = strawberry.field(description="Authorised and not captured.")

    @strawberry.field(description="Who issued them.")
    def issuer(self, info: Info) -> Partner | None:
        """The issuer."""
        return partner_of(info, self.issuer_id)


@strawberry.type(description="Points that lapse on one day unless they are spent before.")
class ExpiringPoints:
    """Part of a balance, by day and issuer."""

    issuer_id: strawberry.Private[PartnerId]
    points: Points = strawberry.field(description="How many.")
    on: dt.date = strawberry.field(
        description="When they lapse: as this day begins, in the programme's zone; in the course of it where"
        " they came back to a lot that had expired (Agreement.graceDays)."
    )

    @strawberry.field(description="Who issued them.")
    def issuer(self, info: Info) -> Partner | None:
        """The issuer."""
        return partner_of(info, self.issuer_id)


@strawberry.type(
    description="A member's points in the whole network. To a partner all is null but the available total,"
    " and, if it redeems, what can be spent with the member's pool."
)
class Balance:
    """A balance at a moment."""

    member_id: strawberry.Private[MemberId]
    whole: strawberry.Private[LedgerBalance]

    @strawberry.field(description="Spendable now, at any partner that redeems.")
    def available(self) -> Points:
        """The total."""
        return self.whole.available

    @strawberry.field(description="Issued, and the return period has not passed.")
    def pending(self, info: Info) -> Points | None:
        """Not yet spendable."""
        return self.whole.pending if info.context.viewer.sees_whole_members() else None

    @strawberry.field(description="Authorised for a redemption and not captured.")
    def held(self, info: Info) -> Points | None:
        """Spoken for."""
        return self.whole.held if info.context.viewer.sees_whole_members() else None

    @strawberry.field(description="Owed, because an issue was reversed after its points were spent.")
    def deficit(self, info: Info) -> Points | None:
        """Owed."""
        return self.whole.deficit if info.context.viewer.sees_whole_members() else None

    @strawberry.field(
        description="What can be spent with `fromPool`, the most at once: the member's own and what the"
        " others of its household pool may give, by the pool's order and limit. Null where it is in none, or"
        " may not spend from it, also as it is blocked; and to a partner whose token may not redeem.",
        directives=[Cost(weight=5)],
    )
    def pooled(self, info: Info) -> Points | None:
        """With the pool."""
        if not info.context.viewer.sees_pooled():
            return None
        loaded = info.context.loaded
        pool_id = loaded.pools_of.get(self.member_id)
        pool = None if pool_id is None else loaded.pools.get(pool_id)
        return None if pool is None else pooling.spendable(info.context.session, self.member_id, pool)

    @strawberry.field(description="The moment of which this is the balance.")
    def as_of(self) -> dt.datetime:
        """When."""
        return self.whole.as_of

    @strawberry.field(
        description="What lapses soon, soonest first. A partner sees what it issued itself.",
        directives=[FEW],
    )
    def expiring(
        self,
        info: Info,
        within: Annotated[int, strawberry.argument(description="Days from now.")] = 90,
    ) -> list[ExpiringPoints]:
        """Spend these first."""
        if not 0 <= within <= _MAX_DAYS:
            raise InvalidInput(f"within must be from 0 to {_MAX_DAYS} days", field=("within",))
        found = members.expiring(info.context.session, self.member_id, within=dt.timedelta(days=within))
        mine = [part for part in found if info.context.viewer.owns(part.issuer_id)]
        info.context.loaded.partners.want(part.issuer_id for part in mine)
        return [ExpiringPoints(issuer_id=part.issuer_id, points=part.points, on=part.on) for part in mine]

    @strawberry.field(
        description="By who issued them, the largest first. A partner sees what it issued itself.",
        directives=[FEW],
    )
    def by_issuer(self, info: Info) -> list[IssuerBalance]:
        """Where the points come from."""
        found = members.balance_by_issuer(info.context.session, self.member_id)
        mine = [part for part in found if info.context.viewer.owns(part.issuer_id)]
        info.context.loaded.partners.want(part.issuer_id for part in mine)
        return [
            IssuerBalance(
                issuer_id=part.issuer_id, available=part.available, pending=part.pending, held=part.held
            )
            for part in mine
        ]


@strawberry.type(
    description="What a member says of itself; stored only encrypted. Null: it has not said. It is for"
    " writing to the member: nobody is looked up by it."
)
class Profile:
    """A profile."""

    name: str | None = strawberry.field(description="As the member writes it.")
    email: str | None = strawberry.field(description="Where it reads letters.")
    phone: str | None = strawberry.field(description="By E.164, such as +4930901820.")
    birth_date: dt.date | None = strawberry.field(description="When it was born.")
    address: str | None = strawberry.field(description="Where it lives, in lines.")
    locale: str | None = strawberry.field(description="The language to write in, such as de-AT.")

    @classmethod
    def of(cls, profile: profiles.Profile) -> "Profile":
        """As the API shows it."""
        return cls(**{name: getattr(profile, name) for name in profiles.FIELDS})


@strawberry.type(description="That the operator blocked a member, or let it take part again.")
class MemberBlock:
    """A line of the history."""

    blocked: bool = strawberry.field(description="How the member stands from then on.")
    at: dt.datetime = strawberry.field(description="When, by the programme's clock.")
    by: str | None = strawberry.field(description="Which client or person it was; to a member null.")
    reason: str | None = strawberry.field(description="Why, in their words.")


@strawberry.type(description="A person who collects points at all partners and spends them at all partners.")
class Member(Node):
    """A member, as far as the viewer may see it."""

    member_id: strawberry.Private[MemberId]

    @strawberry.field(description="The balance over the whole network, as of now.")
    def balance(self, info: Info) -> Balance:
        """One balance for the whole network."""
        found = info.context.loaded.balances.get(self.member_id)
        assert found is not None, "a member that was found has a balance"
        return Balance(member_id=self.member_id, whole=found)

    @strawberry.field(
        description="What the member is known by. A partner sees its own references and no others, by a token"
        " that may read or write members.",
        directives=[FEW],
    )
    def identifiers(self, info: Info) -> list[Identifier]:
        """What the viewer may know of them."""
        viewer = info.context.viewer
        if not viewer.has(*READS_IDENTIFIERS):
            return []
        return [
            Identifier.of(one, one.identifier)
            for one in identifier_changes.linked_identifiers(info.context.session, self.member_id)
            if one.identifier is not None
            and (viewer.sees_whole_members() or one.identifier.partner_id == viewer.partner_id)
        ]

    @strawberry.field(
        description="The member's transactions, the newest first. A partner sees its own, by a token that may"
        " read members.",
        directives=[PAGE, Cost(weight=2)],
    )
    def transactions(  # noqa: PLR0917 - Relay's arguments
        self,
        info: Info,
        filter: Annotated[
            TransactionFilter | None,
            strawberry.argument(
                description="Which of the member's are wanted; all that you may see, where nothing is said."
            ),
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Transaction]:
        """History."""
        return transactions_page(
            info, filter, member_id=self.member_id, first=first, after=after, last=last, before=before
        )

    @strawberry.field(
        description="Points of the member that were set aside, the newest first. A partner sees its own, by a"
        " token that may read members.",
        directives=[PAGE],
    )
    def holds(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[Annotated["Hold", strawberry.lazy("schema.objects.holds")]]:
        """Holds, open and ended."""
        from schema.objects.holds import holds_page  # noqa: PLC0415 - each of the two types has fields of the other

        context = info.context
        asked = asked_page(first=first, after=after, last=last, before=before, key_length=holding.KEY_LENGTH)
        whose = self.member_id if context.viewer.has(*READS_HISTORY) else NOBODY
        page = holding.list_holds(context.session, whose, asked, partner_id=context.viewer.partner_id)
        return holds_page(context, page)

    @strawberry.field(description="The household pool that the member is in; to the member and the operator.")
    def pool(self, info: Info) -> Annotated["Pool", strawberry.lazy("schema.objects.pools")] | None:
        """The pool."""
        from schema.objects.pools import Pool  # noqa: PLC0415 - a pool's members are no fields of this type

        if not info.context.viewer.sees_whole_members():
            return None
        pool_id = info.context.loaded.pools_of.get(self.member_id)
        pool = None if pool_id is None else info.context.loaded.pools.get(pool_id)
        return None if pool is None else Pool.of(pool, self.member_id)

    @strawberry.field(
        description="Household pools that the member was invited to in the last 14 days and can join; to the"
        " member and the operator.",
        directives=[FEW],
    )
    def pool_invitations(
        self, info: Info
    ) -> list[Annotated["Pool", strawberry.lazy("schema.objects.pools")]]:
        """Invitations."""
        from schema.objects.pools import Pool  # noqa: PLC0415 - as above

        if not info.context.viewer.sees_whole_members():
            return []
        found = pooling.invitations_of(info.context.session, self.member_id)
        info.context.loaded.pools.want(found)
        pools = [info.context.loaded.pools.get(pool_id) for pool_id in found]
        info.context.loaded.words.want((one.head_id, one.words) for one in pools if one is not None)
        return [Pool.of(pool, self.member_id) for pool in pools if pool is not None]

    @strawberry.field(
        description="Whether the operator has blocked the member: nothing is issued to it and nothing"
        " redeemed. To the member and the operator; to a partner null."
    )
    def blocked(self, info: Info) -> bool | None:
        """Whether it is blocked."""
        if not info.context.viewer.sees_whole_members():
            return None
        history = blocking.blocks_of(info.context.session, self.member_id)
        return bool(history) and history[-1].blocked

    @strawberry.field(
        description="When the member was blocked and let take part again, the oldest first; to the member and"
        " the operator. To a partner empty.",
        directives=[FEW],
    )
    def blocks(self, info: Info) -> list[MemberBlock]:
        """The history of blocks."""
        viewer = info.context.viewer
        if not viewer.sees_whole_members():
            return []
        return [
            MemberBlock(
                blocked=one.blocked,
                at=one.changed_at,
                by=one.by if viewer.is_operator else None,
                reason=one.reason,
            )
            for one in blocking.blocks_of(info.context.session, self.member_id)
        ]

    @strawberry.field(
        description="Into whom this member was merged; null: into nobody. To a partner always null."
    )
    def merged_into(self, info: Info) -> "Member | None":
        """Who has its points now."""
        if not info.context.viewer.sees_whole_members():
            return None
        found = members.merged_into(info.context.session, self.member_id)
        return None if found is None else Member.of(found)

    @strawberry.field(
        description="Who was merged into this member and not taken apart since. To a partner always empty.",
        directives=[FEW],
    )
    def merged_from(self, info: Info) -> list["Member"]:
        """Whose points it has."""
        if not info.context.viewer.sees_whole_members():
            return []
        return [Member.of(one) for one in members.merged_from(info.context.session, self.member_id)]

    @strawberry.field(
        description="What the member says of itself; to the member and the operator. To a partner null."
    )
    def profile(self, info: Info) -> Profile | None:
        """The profile."""
        if not info.context.viewer.sees_whole_members():
            return None
        return Profile.of(profiles.get_profile(info.context.session, self.member_id))

    @strawberry.field(
        description="Where all that is held about the member can be fetched as one JSON file: `GET` this path"
        " on this server with the same token. It has one record for the member and one for each that was"
        " merged into it: profile, identifiers with their history, and every row of the ledger that is the"
        " member's; what would tell of other people is left out. Null to a partner, and of a merged record,"
        " which is in its survivor's."
    )
    def export_path(self, info: Info) -> str | None:
        """The way to the file."""
        if not info.context.viewer.sees_whole_members():
            return None
        if members.merged_into(info.context.session, self.member_id) is not None:
            return None
        return f"/members/{self.id}/export"

    @strawberry.field(
        description="When the person was erased; null: it was not. Only the transactions are left, and"
        " nothing is posted any more. To a partner always null."
    )
    def erased_at(self, info: Info) -> dt.datetime | None:
        """When it was."""
        if not info.context.viewer.sees_whole_members():
            return None
        return members.erased_at(info.context.session, self.member_id)

    @classmethod
    def of(cls, member_id: MemberId) -> "Member":
        """A member that is known to exist."""
        return cls(id=to_global("Member", member_id), member_id=member_id)
