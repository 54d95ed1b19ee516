"""Vouchers: a member makes one, and the partner for whom it is takes it, perhaps while it is offline."""

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import strawberry

from coalition.amounts import Points
from coalition.holding import get_holds
from coalition.ids import MemberId, PartnerId
from coalition.ledger import Posting, TransactionRef
from partners import directory, vouchers
from partners.scopes import Scope
from schema.context import Context, Info, Outcome
from schema.cost import WRITES
from schema.inputs import ReceiptInput
from schema.mutations.holds import HoldPayload
from schema.mutations.members import NO_PARTNER
from schema.mutations.payloads import Payload
from schema.mutations.points import check_form, noted
from schema.objects.holds import Hold
from schema.objects.members import Balance
from schema.viewer import Requires

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@strawberry.input(description="Points that you are about to spend where the till may be offline.")
class IssueVoucherInput:
    """A voucher."""

    idempotency_key: strawberry.ID = strawberry.field(
        description="Yours, for this wish. Its scope is you and the partner; sent again it gives the same"
        " voucher."
    )
    partner: str = strawberry.field(description="The partner's code: nobody else can take it.")
    points: Points = strawberry.field(description="How many at the most, within the programme's limit.")
    seconds_to_live: int | None = strawberry.field(
        default=None,
        description="For how long a purchase may be paid with it, an hour at most; as long as the programme"
        " says where nothing is said.",
    )


@strawberry.input(description="A voucher that your till took.")
class RedeemVoucherInput:
    """A voucher, presented."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for issuePoints.")
    voucher: str = strawberry.field(description="As the member showed it.")
    points: Points | None = strawberry.field(
        default=None,
        description="How many you take; all that it is good for where nothing is said. The rest is released.",
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
        default=None,
        description="When the purchase was made, by your till's clock; it must lie in the time in which the"
        " voucher was good. Now, where nothing is said. As for issuePoints, but at the prices of the hold.",
    )


@strawberry.type(description="A member's word that a partner may take points, which a till checks offline.")
class Voucher:
    """What the member shows."""

    token: str = strawberry.field(
        description="To be shown at the till, as a QR code say: a JSON Web Token of less than 600 characters,"
        " signed with the keys that are published at /oauth/jwks.json."
    )
    redeem_by: dt.datetime = strawberry.field(description="Until when a purchase may be paid with it.")
    present_by: dt.datetime = strawberry.field(
        description="Until when the partner can present it. Its points are held so long; then they are yours"
        " again."
    )
    hold: Hold = strawberry.field(description="Its points, set aside.")


@strawberry.type(description="What came of the wish for a voucher.")
class IssueVoucherPayload(Payload):
    """The voucher and the balance that it left."""

    voucher: Voucher | None = strawberry.field(description="The voucher.")
    balance: Balance | None = strawberry.field(description="Your balance after it.")


def issue(context: Context, member_id: MemberId, wish: IssueVoucherInput) -> Outcome[tuple[Posting, Voucher]]:
    """Set the points aside and sign the voucher, or neither."""
    attempt = context.attempt("voucher", points=wish.points)
    attempt.member_id = member_id

    def post(session: "Session") -> tuple[Posting, Voucher]:
        check_form(wish)
        partner = directory.find_partner(session, wish.partner)
        posting = vouchers.issue(
            session,
            vouchers.Issue(
                member_id=member_id,
                partner_id=partner.partner_id if partner else NO_PARTNER,
                points=wish.points,
                idempotency_key=str(wish.idempotency_key),
                seconds_to_live=wish.seconds_to_live,
            ),
        )
        assert partner is not None, "a posting has its partner"
        hold = get_holds(session, [posting.ref])[posting.ref]
        assert hold.redeem_by is not None, "the hold of a voucher says until when that is good"
        token = vouchers.sign(
            hold, keys=context.tokens.keys, issuer=context.tokens.issuer, partner_code=partner.code
        )
        return posting, Voucher(
            token=token, redeem_by=hold.redeem_by, present_by=hold.lapses_at, hold=Hold.of(posting.ref)
        )

    return context.execute(post, attempt)


def redeem(
    context: Context, partner_id: PartnerId, wish: RedeemVoucherInput, hold: TransactionRef
) -> Outcome[Posting]:
    """Redeem; what is forged, and what is not the partner's, is refused alike."""
    attempt = context.attempt("voucher", points=wish.points)

    def post(session: "Session") -> Posting:
        check_form(wish)
        noted(session, attempt, partner_id, None, wish.receipt)
        attempt.member_id = hold.member_id
        return vouchers.redeem(
            session,
            vouchers.Redeem(
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


@strawberry.type
class VoucherMutations:
    """Make a voucher, take one."""

    @strawberry.mutation(
        description="Set points of yours aside for one partner, and get a signed voucher for them, which its"
        " till can check while it is offline. It can be redeemed once, and cannot be taken back: a till may"
        " have taken it already. What is not redeemed by presentBy is yours again.",
        extensions=[Requires(Scope.MEMBER_SELF)],
        directives=[WRITES],
    )
    def issue_voucher(
        self,
        info: Info,
        input: Annotated[
            IssueVoucherInput,
            strawberry.argument(
                description="For which partner and for how many points; these are held from now on."
            ),
        ],
    ) -> IssueVoucherPayload:
        """Make a voucher."""
        outcome = issue(info.context, info.context.viewer.acting_member(), input)
        if outcome.value is None:
            return IssueVoucherPayload(
                replayed=False, user_errors=outcome.user_errors, voucher=None, balance=None
            )
        posting, voucher = outcome.value
        return IssueVoucherPayload(
            replayed=posting.replayed,
            user_errors=[],
            voucher=voucher,
            balance=Balance(member_id=posting.member_id, whole=posting.balance),
        )

    @strawberry.mutation(
        description="Be given the points of a voucher that your till took, once. The points were held for it"
        " since it was made, so nobody loses by one that was taken while it was good (redeemBy) and is"
        " presented in time (presentBy). Whoever takes one that is forged, out of date or taken before, at"
        " another till of yours, or presents it too late, bears the loss. While you are suspended you are"
        " refused (PARTNER_NOT_ACTIVE), and may present it when you are active again, if it is still in"
        " time. It is the member's own word.",
        extensions=[Requires(Scope.POINTS_REDEEM)],
        directives=[WRITES],
    )
    def redeem_voucher(
        self,
        info: Info,
        input: Annotated[
            RedeemVoucherInput,
            strawberry.argument(
                description="The voucher as the till took it, how much of it, and the receipt line and moment"
                " of the purchase."
            ),
        ],
    ) -> HoldPayload:
        """Take a voucher's points."""
        partner_id = info.context.viewer.acting_partner()
        hold = vouchers.reference_in(input.voucher, info.context.tokens.keys) or vouchers.NO_HOLD
        return HoldPayload.of(redeem(info.context, partner_id, input, hold), hold)
