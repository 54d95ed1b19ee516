"""Members join, are known by more, and confirm what partners may take."""

import datetime as dt
from typing import Annotated, Any, Final
from uuid import UUID

import strawberry
from sqlalchemy.orm import Session

from coalition import members
from coalition.amounts import Points
from coalition.errors import InvalidInput, MemberUnknown
from coalition.ids import MemberId, PartnerId, PartyId
from partners import directory
from partners.scopes import Scope
from schema.context import Info, Outcome
from schema.cost import WRITES
from schema.ids import to_global
from schema.inputs import IdentifierInput, MemberBy
from schema.mutations.once import once
from schema.mutations.payloads import Payload
from schema.objects.members import Member
from schema.paths import placed
from schema.viewer import Requires

_MOST_IDENTIFIERS: Final = 10
NO_PARTNER: Final = PartnerId(PartyId(UUID(int=1)))
"""A partner that never exists: the kernel refuses it in its place in the order."""


@strawberry.input(description="Someone who joins the programme at your business.")
class EnrollMemberInput:
    """An enrolment."""

    idempotency_key: strawberry.ID = strawberry.field(
        description="Yours, for this wish; its scope is your client."
    )
    identifiers: list[IdentifierInput] = strawberry.field(
        description="What the member is to be known by: 1 to 10."
    )


@strawberry.input(description="One more thing that a member is known by.")
class LinkIdentifierInput:
    """A link."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for enrollMember.")
    member: MemberBy = strawberry.field(description="Who.")
    identifier: IdentifierInput = strawberry.field(description="Known by what.")


@strawberry.input(
    description="Your consent: this partner may take at most so many of your points, once, soon."
)
class ConfirmRedemptionInput:
    """A member's own consent."""

    idempotency_key: strawberry.ID = strawberry.field(description="Yours, for this wish.")
    partner: str = strawberry.field(description="The partner's code.")
    points: Points = strawberry.field(description="At most so many.")


@strawberry.type(description="What came of an enrolment or a link.")
class MemberPayload(Payload):
    """The member."""

    member: Member | None = strawberry.field(description="The member.")

    @classmethod
    def of(cls, outcome: Outcome[tuple[dict[str, Any], bool]]) -> "MemberPayload":
        """The member whose id was stored, or why there is none."""
        if outcome.value is None:
            return cls(replayed=False, user_errors=outcome.user_errors, member=None)
        result, replayed = outcome.value
        return cls(replayed=replayed, user_errors=[], member=Member.of(MemberId(UUID(result["member_id"]))))


@strawberry.type(description="A member's consent to one redemption.")
class Confirmation:
    """What the till is shown."""

    id: strawberry.ID = strawberry.field(description="What redeemPoints takes as its confirmation.")
    expires_at: dt.datetime = strawberry.field(description="Until when it can be used.")


@strawberry.type(description="What came of a confirmation.")
class ConfirmRedemptionPayload(Payload):
    """The confirmation."""

    confirmation: Confirmation | None = strawberry.field(description="To be shown at the till.")


@strawberry.type
class MemberMutations:
    """Enrol, link, confirm."""

    @strawberry.mutation(
        description="Have someone join the programme.",
        extensions=[Requires(Scope.MEMBERS_WRITE)],
        directives=[WRITES],
    )
    def enroll_member(
        self,
        info: Info,
        input: Annotated[
            EnrollMemberInput,
            strawberry.argument(
                description="What the new member is known by: a bare card number is enough, the rest can be"
                " linked later."
            ),
        ],
    ) -> MemberPayload:
        """Enrol a member."""
        partner_id = info.context.viewer.acting_partner()

        def enrol(session: Session) -> dict[str, Any]:
            if not 1 <= len(input.identifiers) <= _MOST_IDENTIFIERS:
                raise InvalidInput(
                    f"give 1 to {_MOST_IDENTIFIERS} identifiers", field=("input", "identifiers")
                )
            found = []
            for number, one in enumerate(input.identifiers):
                with placed("identifiers", str(number), instead_of=("member", "identifier")):
                    found.append(one.identifier(partner_id=partner_id))
            with placed("identifiers", instead_of=("identifier",)):
                member_id = members.enrol_member(
                    session,
                    members.EnrolMember(partner_id=partner_id, identifiers=list(dict.fromkeys(found))),
                )
            return {"member_id": str(member_id)}

        return MemberPayload.of(once(info.context, input, enrol))

    @strawberry.mutation(
        description="Have a member known by one more thing.",
        extensions=[Requires(Scope.MEMBERS_WRITE)],
        directives=[WRITES],
    )
    def link_identifier(
        self,
        info: Info,
        input: Annotated[
            LinkIdentifierInput,
            strawberry.argument(
                description="Whom to know by one thing more. What somebody else is known by is"
                " IDENTIFIER_TAKEN."
            ),
        ],
    ) -> MemberPayload:
        """Link an identifier."""
        partner_id = info.context.viewer.acting_partner()

        def link(session: Session) -> dict[str, Any]:
            with placed("identifier", instead_of=("member", "identifier")):
                identifier = input.identifier.identifier(partner_id=partner_id)
            member_id = input.member.find(session, partner_id=partner_id)
            if member_id is None:
                raise MemberUnknown
            command = members.LinkIdentifier(
                member_id=member_id, partner_id=partner_id, identifier=identifier
            )
            with placed("identifier", instead_of=("member", "identifier")):
                members.link_identifier(session, command)
            return {"member_id": str(member_id)}

        return MemberPayload.of(once(info.context, input, link))

    @strawberry.mutation(
        description="Consent, as a member, to a redemption beyond the programme's limit.",
        extensions=[Requires(Scope.MEMBER_SELF)],
        directives=[WRITES],
    )
    def confirm_redemption(
        self,
        info: Info,
        input: Annotated[
            ConfirmRedemptionInput,
            strawberry.argument(
                description="Which partner may take how many of your points, once, within the minutes that"
                " the confirmation lasts."
            ),
        ],
    ) -> ConfirmRedemptionPayload:
        """Confirm a redemption."""
        member_id = info.context.viewer.acting_member()

        def confirm(session: Session) -> dict[str, Any]:
            partner = directory.find_partner(session, input.partner)
            confirmed = members.confirm_redemption(
                session,
                members.ConfirmRedemption(
                    member_id=member_id,
                    partner_id=partner.partner_id if partner else NO_PARTNER,
                    points=input.points,
                ),
            )
            return {
                "confirmation_id": str(confirmed.confirmation_id),
                "expires_at": confirmed.expires_at.isoformat(),
            }

        outcome = once(info.context, input, confirm)
        if outcome.value is None:
            return ConfirmRedemptionPayload(
                replayed=False, user_errors=outcome.user_errors, confirmation=None
            )
        result, replayed = outcome.value
        confirmation = Confirmation(
            id=to_global("Confirmation", result["confirmation_id"]),
            expires_at=dt.datetime.fromisoformat(result["expires_at"]),
        )
        return ConfirmRedemptionPayload(replayed=replayed, user_errors=[], confirmation=confirmation)
