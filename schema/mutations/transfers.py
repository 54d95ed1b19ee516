"""Points that one member gives to another."""

from typing import TYPE_CHECKING, Annotated

import strawberry

from coalition import identifier_changes, members
from coalition.amounts import Points
from coalition.errors import CoalitionError, MemberUnknown
from coalition.history import find_by_key
from coalition.ids import NETWORK, MemberId
from coalition.ledger import Posting
from coalition.members import Named
from coalition.transferring import TransferPoints, transfer_points
from partners.scopes import Scope
from partners.terms import check_points
from schema.context import Context, Info, Outcome
from schema.cost import WRITES
from schema.inputs import MemberBy
from schema.mutations.acting import acting_as, unknown_to_members
from schema.mutations.points import PointsPayload, check_form
from schema.paths import placed
from schema.viewer import Requires

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_TO = ("input", "to")


@strawberry.input(description="Points that a member gives to another.")
class TransferPointsInput:
    """A gift."""

    idempotency_key: strawberry.ID = strawberry.field(
        description="Yours, for this wish. Its scope is the member who gives."
    )
    from_member: MemberBy | None = strawberry.field(
        name="from",
        default=None,
        description="Who gives; a member gives its own, the operator names on whose behalf it acts.",
    )
    to: MemberBy = strawberry.field(description="Who receives: by id, or by a card, a phone or an address.")
    points: Points = strawberry.field(
        description="How many, 1 to 1,000,000,000, within the programme's limit."
    )
    reason: str | None = strawberry.field(
        default=None,
        description="In the giver's words, at most 200 characters; the receiver reads them too. No part of"
        " the request that the key stands for.",
    )


def transfer(context: Context, wish: TransferPointsInput) -> Outcome[Posting]:
    """Transfer, in one call where both were named by id."""
    attempt = context.attempt("transfer", points=wish.points)

    def post(session: "Session") -> Posting:
        check_form(wish)
        giver = acting_as(context, session, wish.from_member, field="from", in_use=False)
        attempt.member_id = giver.member_id
        check_points(wish.points)
        with placed("from"):
            named = _receiver(context, session, wish, giver)
        command = TransferPoints(
            member_id=giver.member_id,
            holder=giver.holder_id,
            # Whoever was merged is found through who has the points now; the giver does not notice.
            to=members.survivor_of(session, named),
            named=named,
            points=wish.points,
            idempotency_key=str(wish.idempotency_key),
            reason=wish.reason,
            by=context.viewer.name if context.viewer.is_operator else None,
        )
        try:
            with placed("from"):
                return transfer_points(session, command)
        except CoalitionError as refusal:
            if not refusal.facts.get("receiver"):
                raise
            if context.viewer.is_operator:
                raise type(refusal)(field=_TO) from None
            # That a receiver is blocked is no more the giver's to know than that there is none.
            raise MemberUnknown(field=_TO) from None

    return context.post_saying(wish.reason, post, attempt)


def _receiver(context: Context, session: "Session", wish: TransferPointsInput, giver: Named) -> MemberId:
    """Whom the giver names; neither of the two by what is out of use, unless it was asked before.

    As of a till's posting, what became of an identifier since does not come between a wish and its answer.
    """
    key = str(wish.idempotency_key)
    by_identifier = bool(wish.to.identifier) or giver.identifier_id is not None
    if by_identifier and find_by_key(session, member_id=giver.member_id, partner_id=NETWORK, key=key):
        with placed("to"):
            found = wish.to.named(session, partner_id=NETWORK)
        return found.holder_id or found.member_id
    identifier_changes.check_in_use(session, giver)
    with placed("to"), unknown_to_members(context, "to"):
        return wish.to.exactly(session, partner_id=NETWORK, in_use=True)


@strawberry.type
class TransferMutations:
    """Give."""

    @strawberry.mutation(
        description="Give points to another member: those that expire soonest first, which keep their issuer"
        " and expiry. A receiver who is not enrolled, or cannot receive, is MEMBER_UNKNOWN; of one who can"
        " the giver learns nothing more.",
        extensions=[Requires(Scope.MEMBER_SELF, Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def transfer_points(
        self,
        info: Info,
        input: Annotated[
            TransferPointsInput,
            strawberry.argument(
                description="Who gives how many points to whom. The giver is the scope of the key."
            ),
        ],
    ) -> PointsPayload:
        """Give points."""
        return PointsPayload.of(transfer(info.context, input))
