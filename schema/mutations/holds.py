"""Holds: what a partner sets aside in its own name, captures and voids."""

import datetime as dt
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry

from coalition.amounts import Points
from coalition.ids import PartnerId, TransactionId
from coalition.ledger import Posting, TransactionRef
from partners import holds
from partners.scopes import Scope
from schema.context import Context, Info, Outcome
from schema.cost import WRITES
from schema.ids import hold_in
from schema.inputs import NOBODY, MemberBy, ReceiptInput
from schema.mutations.payloads import Payload
from schema.mutations.points import check_form, confirmation_in, noted
from schema.objects.holds import Hold
from schema.objects.members import Balance
from schema.objects.transactions import Transaction
from schema.viewer import Requires

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_NO_HOLD = TransactionRef(
    member_id=NOBODY, business_date=date(2000, 1, 1), transaction_id=TransactionId(UUID(int=0))
)


@strawberry.input(description="Points that a member is about to spend at your business.")
class AuthorizeRedemptionInput:
    """An authorisation."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for issuePoints.")
    member: MemberBy = strawberry.field(description="Whose points.")
    points: Points = strawberry.field(description="How many at the most, 1 to 1,000,000,000.")
    seconds_to_live: int | None = strawberry.field(
        default=None,
        description="How long they are set aside, within the programme's bounds; as long as the programme"
        " says where nothing is said.",
    )
    occurred_at: dt.datetime | None = strawberry.field(default=None, description="As for issuePoints.")
    confirmation: strawberry.ID | None = strawberry.field(
        default=None,
        description="The member's own confirmation (confirmRedemption), needed beyond the limit. No part of"
        " the request that the key stands for: where it ran out while a wish was UNDER_REVIEW, that is sent"
        " again with a new one.",
    )
    from_pool: bool = strawberry.field(
        default=False,
        description="Whether the others of the member's household pool give what the member lacks, by the"
        " pool's rules. Never without being asked for.",
    )


@strawberry.input(description="A hold of yours, of which you take points now.")
class CaptureRedemptionInput:
    """A capture."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for issuePoints.")
    hold_id: strawberry.ID = strawberry.field(description="Which hold.")
    points: Points | None = strawberry.field(
        default=None, description="How many; all where nothing is said. The rest is released."
    )
    amount: Decimal | None = strawberry.field(
        default=None,
        description="The money that the points taken stand for on your receipt. It moves nothing; a return"
        " can then be given as a part of it (reverseTransaction).",
    )
    receipt: ReceiptInput | None = strawberry.field(
        default=None, description="Your receipt line; it has one effect."
    )
    occurred_at: dt.datetime | None = strawberry.field(
        default=None, description="As for issuePoints, but at the prices of the hold."
    )


@strawberry.input(description="A hold of yours, of which you take nothing.")
class VoidRedemptionInput:
    """A void."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for issuePoints.")
    hold_id: strawberry.ID = strawberry.field(description="Which hold.")
    reason: str | None = strawberry.field(
        default=None,
        description="Why, in your words; at most 200 characters. No part of the request that the key stands"
        " for.",
    )
    occurred_at: dt.datetime | None = strawberry.field(
        default=None, description="As for issuePoints; nothing is priced."
    )


@strawberry.type(description="What came of an authorisation, a capture or a void.")
class HoldPayload(Payload):
    """A posting, the hold that it opened or ended, and the balance that it left."""

    hold: Hold | None = strawberry.field(description="The hold.")
    transaction: Transaction | None = strawberry.field(description="What was posted.")
    balance: Balance | None = strawberry.field(description="The member's balance after it.")

    @classmethod
    def of(cls, outcome: Outcome[Posting], hold: TransactionRef | None = None) -> "HoldPayload":
        """The posting, or why there is none. An authorisation is its own hold."""
        posting = outcome.value
        if posting is None:
            return cls(
                replayed=False, user_errors=outcome.user_errors, hold=None, transaction=None, balance=None
            )
        return cls(
            replayed=posting.replayed,
            user_errors=[],
            hold=Hold.of(hold or posting.ref),
            transaction=Transaction.of_posting(posting),
            balance=Balance(member_id=posting.member_id, whole=posting.balance),
        )


def authorize(context: Context, partner_id: PartnerId, wish: AuthorizeRedemptionInput) -> Outcome[Posting]:
    """Authorise, in one call where the member was named by id."""
    attempt = context.attempt("authorize", points=wish.points)

    def post(session: "Session") -> Posting:
        check_form(wish)
        named = noted(session, attempt, partner_id, wish.member, None)
        return holds.authorize(
            session,
            holds.Authorize(
                member_id=named.member_id,
                identifier_id=named.identifier_id,
                partner_id=partner_id,
                points=wish.points,
                idempotency_key=str(wish.idempotency_key),
                seconds_to_live=wish.seconds_to_live,
                occurred_at=wish.occurred_at,
                confirmation_id=confirmation_in(wish.confirmation),
                from_pool=wish.from_pool,
            ),
        )

    return context.post(post, attempt)


def capture(context: Context, partner_id: PartnerId, wish: CaptureRedemptionInput) -> Outcome[Posting]:
    """Capture; what is not the partner's, does not exist or is no id at all is refused alike."""
    attempt = context.attempt("capture", points=wish.points)

    def post(session: "Session") -> Posting:
        check_form(wish)
        hold = hold_in(str(wish.hold_id)) or _NO_HOLD
        noted(session, attempt, partner_id, None, wish.receipt)
        attempt.member_id = hold.member_id
        return holds.capture(
            session,
            holds.Capture(
                hold=hold,
                partner_id=partner_id,
                idempotency_key=str(wish.idempotency_key),
                points=wish.points,
                amount=wish.amount,
                receipt=attempt.receipt,
                occurred_at=wish.occurred_at,
            ),
        )

    return context.post(post, attempt)


def void(context: Context, partner_id: PartnerId, wish: VoidRedemptionInput) -> Outcome[Posting]:
    """Void; as for a capture."""
    attempt = context.attempt("void")

    def post(session: "Session") -> Posting:
        check_form(wish)
        hold = hold_in(str(wish.hold_id)) or _NO_HOLD
        attempt.member_id = hold.member_id
        return holds.void(
            session,
            holds.Void(
                hold=hold,
                partner_id=partner_id,
                idempotency_key=str(wish.idempotency_key),
                occurred_at=wish.occurred_at,
                reason=wish.reason,
            ),
        )

    return context.post_saying(wish.reason, post, attempt)


@strawberry.type
class HoldMutations:
    """Authorise, capture, void."""

    @strawberry.mutation(
        description="Set a member's points aside, those that expire soonest first. They stay set aside until"
        " you capture or void the hold, or it lapses by itself.",
        extensions=[Requires(Scope.POINTS_REDEEM)],
        directives=[WRITES],
    )
    def authorize_redemption(
        self,
        info: Info,
        input: Annotated[
            AuthorizeRedemptionInput,
            strawberry.argument(
                description="Whose points, how many at the most, and for how long they stay set aside."
            ),
        ],
    ) -> HoldPayload:
        """Set points aside."""
        return HoldPayload.of(authorize(info.context, info.context.viewer.acting_partner(), input))

    @strawberry.mutation(
        description="Spend points that you set aside, once: the very lots of the hold, even such as have"
        " expired since. What you do not take is released. While you are suspended you are refused"
        " (PARTNER_NOT_ACTIVE), and may capture it when you are active again, if the hold is still open.",
        extensions=[Requires(Scope.POINTS_REDEEM)],
        directives=[WRITES],
    )
    def capture_redemption(
        self,
        info: Info,
        input: Annotated[
            CaptureRedemptionInput,
            strawberry.argument(
                description="Which hold, how much of it you take, and the receipt line that it pays."
            ),
        ],
    ) -> HoldPayload:
        """Take what was set aside."""
        outcome = capture(info.context, info.context.viewer.acting_partner(), input)
        return HoldPayload.of(outcome, hold_in(str(input.hold_id)))

    @strawberry.mutation(
        description="Let points go that you set aside, or that a member did in a voucher for you, which is"
        " over with it.",
        extensions=[Requires(Scope.POINTS_REDEEM)],
        directives=[WRITES],
    )
    def void_redemption(
        self,
        info: Info,
        input: Annotated[
            VoidRedemptionInput,
            strawberry.argument(
                description="Which hold you give up, as a whole. To take a part of one, capture that part."
            ),
        ],
    ) -> HoldPayload:
        """Let them go."""
        outcome = void(info.context, info.context.viewer.acting_partner(), input)
        return HoldPayload.of(outcome, hold_in(str(input.hold_id)))
