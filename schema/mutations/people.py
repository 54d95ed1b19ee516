"""What a member says of itself, and the end of it."""

import datetime as dt
from typing import Annotated, Any, Final
from uuid import UUID

import strawberry
from sqlalchemy.orm import Session

from coalition import clock
from coalition.erasing import erase_member
from coalition.errors import MemberUnknown
from coalition.ids import NETWORK, MemberId
from coalition.profiles import FIELDS, update_profile
from coalition.programme import get_programme
from partners.scopes import Scope
from schema.context import Info
from schema.cost import WRITES
from schema.inputs import MemberBy
from schema.mutations.acting import acting_for
from schema.mutations.members import MemberPayload
from schema.mutations.once import once
from schema.mutations.payloads import Payload
from schema.objects.members import Member
from schema.paths import placed
from schema.viewer import Requires

_STAYS: Final = "Left out: it stays; null: it is removed."


@strawberry.input(description="What of a profile changes. " + _STAYS)
class ProfileInput:
    """Some fields."""

    name: str | None = strawberry.field(default=strawberry.UNSET, description="At most 200 characters.")
    email: str | None = strawberry.field(default=strawberry.UNSET, description="An e-mail address.")
    phone: str | None = strawberry.field(
        default=strawberry.UNSET, description="As IdentifierKind.PHONE says; without an extension."
    )
    birth_date: dt.date | None = strawberry.field(default=strawberry.UNSET, description="A day in the past.")
    address: str | None = strawberry.field(
        default=strawberry.UNSET, description="Lines; at most 500 characters."
    )
    locale: str | None = strawberry.field(
        default=strawberry.UNSET, description="A language tag such as de-AT."
    )

    def changes(self) -> dict[str, str | None]:
        """What the caller named."""
        given = {name: getattr(self, name) for name in FIELDS}
        return {
            name: None if value is None else str(value)
            for name, value in given.items()
            if value is not strawberry.UNSET
        }


@strawberry.input(description="A change of what a member says of itself.")
class UpdateProfileInput:
    """A change."""

    idempotency_key: strawberry.ID = strawberry.field(
        description="Yours, for this wish; its scope is your client, or the member."
    )
    member: MemberBy | None = strawberry.field(
        default=None, description="Whose; for the operator. With a member's token it is the member's own."
    )
    profile: ProfileInput = strawberry.field(description="What changes.")


@strawberry.input(description="The person behind a member is to be erased.")
class EraseMemberInput:
    """The end."""

    idempotency_key: strawberry.ID = strawberry.field(description="Yours, for this wish.")
    member: MemberBy = strawberry.field(description="Who. A merged record's survivor, not the record.")


@strawberry.type(description="What came of an erasure.")
class EraseMemberPayload(Payload):
    """The member that is left."""

    member: Member | None = strawberry.field(description="An id and its transactions, which name nobody.")
    erased_at: dt.datetime | None = strawberry.field(description="Since when.")


@strawberry.type
class PeopleMutations:
    """Profile, erasure."""

    @strawberry.mutation(
        description="Change what a member says of itself: name, e-mail, phone, birth date, address, language."
        " It is stored only encrypted, under a key of the member's own, and partners never see it. By the"
        " member, or by the operator.",
        extensions=[Requires(Scope.MEMBER_SELF, Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def update_profile(
        self,
        info: Info,
        input: Annotated[
            UpdateProfileInput,
            strawberry.argument(description="What changes; what is left out stays, and null takes away."),
        ],
    ) -> MemberPayload:
        """Change a profile."""

        def update(session: Session) -> dict[str, Any]:
            member_id = acting_for(info.context, session, input.member, field="member")
            today = clock.now(session).astimezone(get_programme(session).tz).date()
            with placed("profile", "birthDate", instead_of=("profile", "birth_date")):
                update_profile(session, member_id, input.profile.changes(), today=today)
            return {"member_id": str(member_id)}

        return MemberPayload.of(once(info.context, input, update))

    @strawberry.mutation(
        description="Erase the person behind a member, for good. The key to its personal data is destroyed,"
        " and the data and all identifiers with it, of every record that was merged into it. Its transactions"
        " and all statements stay, and name nobody; whatever is posted to it later is MEMBER_ERASED. A member"
        " in a pool, with open holds, or with points left or owed is refused: that is settled first."
        " Available points are spent, transferred or adjusted away; pending ones mature first, or are taken"
        " back by reversing their issue. Erasing again changes nothing. `GET /members/{id}/export` gives the"
        " person all that is held, before.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def erase_member(
        self,
        info: Info,
        input: Annotated[
            EraseMemberInput,
            strawberry.argument(description="Whom to erase. Check it twice: there is no way back."),
        ],
    ) -> EraseMemberPayload:
        """Erase."""

        def erase(session: Session) -> dict[str, Any]:
            member_id = input.member.find(session, partner_id=NETWORK)
            if member_id is None:
                raise MemberUnknown
            erasure = erase_member(session, member_id)
            return {"member_id": str(member_id), "erased_at": erasure.erased_at.isoformat()}

        outcome = once(info.context, input, erase, forget=True)
        if outcome.value is None:
            return EraseMemberPayload(
                replayed=False, user_errors=outcome.user_errors, member=None, erased_at=None
            )
        result, replayed = outcome.value
        return EraseMemberPayload(
            replayed=replayed,
            user_errors=[],
            member=Member.of(MemberId(UUID(result["member_id"]))),
            erased_at=dt.datetime.fromisoformat(result["erased_at"]),
        )
