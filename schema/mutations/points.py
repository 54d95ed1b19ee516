"""Points that move: what a partner does in its own name, with its own token."""

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry

from coalition.errors import InvalidInput
from coalition.ids import PartnerId, TransactionId
from coalition.keys import check_key
from coalition.ledger import Posting, TransactionRef
from coalition.members import Named, get_balance, survivor_of
from coalition.reasons import check_reason
from partners import till
from partners.memory import check_moment
from partners.refusals import Attempt
from partners.scopes import Scope
from partners.terms import check_amount
from schema.context import Context, Info, Outcome
from schema.cost import WRITES
from schema.ids import transaction_in, uuid_in
from schema.inputs import (
    NOBODY,
    IssuePointsInput,
    MemberBy,
    ReceiptInput,
    RedeemPointsInput,
    ReverseTransactionInput,
)
from schema.mutations.payloads import Payload
from schema.objects.members import Balance
from schema.objects.transactions import Transaction
from schema.paths import placed
from schema.viewer import Requires

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_NOTHING = UUID(int=0)
_NO_TRANSACTION = TransactionRef(
    member_id=NOBODY, business_date=date(2000, 1, 1), transaction_id=TransactionId(_NOTHING)
)


@strawberry.type(description="What came of an issue, a redemption or a reversal.")
class PointsPayload(Payload):
    """A posting and the balance that it left."""

    transaction: Transaction | None = strawberry.field(
        description="What was posted. A reversal may have taken fewer points than were asked: missingPoints."
    )
    balance: Balance | None = strawberry.field(
        description="The member's balance after it. Of what was posted to a record that was merged since: the"
        " survivor's, as it is now."
    )

    @classmethod
    def of(cls, outcome: Outcome[Posting]) -> "PointsPayload":
        """The posting, or why there is none."""
        posting = outcome.value
        if posting is None:
            return cls(replayed=False, user_errors=outcome.user_errors, transaction=None, balance=None)
        return cls(
            replayed=posting.replayed,
            user_errors=[],
            transaction=Transaction.of_posting(posting),
            balance=Balance(member_id=posting.member_id, whole=posting.balance),
        )


def confirmation_in(given: strawberry.ID | None) -> UUID | None:
    """The confirmation that was named; what is none at all is refused as one that does not exist."""
    return None if given is None else uuid_in(str(given), "Confirmation") or _NOTHING


def check_form(wish: Any) -> None:
    """See that what any posting asks has the form that it must have, whoever it is about.

    What INVALID_INPUT is said of comes first in the published order; the rest is looked at later.
    """
    check_key(str(wish.idempotency_key))
    if (amount := getattr(wish, "amount", None)) is not None:
        check_amount(amount)
    if (occurred_at := getattr(wish, "occurred_at", None)) is not None:
        check_moment(occurred_at)
    if not (getattr(wish, "funding_plan", None) or "").isprintable():
        raise InvalidInput("a code has printable characters", field=("input", "fundingPlan"))
    check_reason(getattr(wish, "reason", None))


def noted(
    session: "Session",
    attempt: Attempt,
    partner_id: PartnerId,
    member: MemberBy | None,
    receipt: ReceiptInput | None,
) -> Named:
    """Understand a wish's receipt and whom it names, and note both in the attempt."""
    attempt.receipt = receipt.receipt() if receipt else None
    named = Named(member_id=NOBODY) if member is None else member.named(session, partner_id=partner_id)
    attempt.member_id = named.member_id
    return named


def issue(context: Context, partner_id: PartnerId, wish: IssuePointsInput) -> Outcome[Posting]:
    """Issue, in one call where the member was named by id."""
    attempt = context.attempt("issue", points=wish.points)

    def post(session: "Session") -> Posting:
        check_form(wish)
        named = noted(session, attempt, partner_id, wish.member, wish.receipt)
        return till.issue(
            session,
            till.Issue(
                member_id=named.member_id,
                identifier_id=named.identifier_id,
                partner_id=partner_id,
                idempotency_key=str(wish.idempotency_key),
                points=wish.points,
                amount=wish.amount,
                funding_plan=wish.funding_plan,
                receipt=attempt.receipt,
                occurred_at=wish.occurred_at,
            ),
        )

    return context.post(post, attempt)


def redeem(context: Context, partner_id: PartnerId, wish: RedeemPointsInput) -> Outcome[Posting]:
    """Redeem, in one call where the member was named by id."""
    attempt = context.attempt("redeem", points=wish.points)

    def post(session: "Session") -> Posting:
        check_form(wish)
        named = noted(session, attempt, partner_id, wish.member, wish.receipt)
        return till.redeem(
            session,
            till.Redeem(
                member_id=named.member_id,
                identifier_id=named.identifier_id,
                partner_id=partner_id,
                idempotency_key=str(wish.idempotency_key),
                points=wish.points,
                amount=wish.amount,
                receipt=attempt.receipt,
                occurred_at=wish.occurred_at,
                confirmation_id=confirmation_in(wish.confirmation),
                from_pool=wish.from_pool,
            ),
        )

    return context.post(post, attempt)


def reverse(context: Context, partner_id: PartnerId, wish: ReverseTransactionInput) -> Outcome[Posting]:
    """Reverse; what is not the partner's, does not exist or is no id at all is refused alike."""
    attempt = context.attempt("reverse", points=wish.points)

    def post(session: "Session") -> Posting:
        check_form(wish)
        reference = _reversed(session, wish, partner_id) or _NO_TRANSACTION
        attempt.member_id = reference.member_id
        command = till.Reverse(
            reference=reference,
            partner_id=partner_id,
            idempotency_key=str(wish.idempotency_key),
            points=wish.points,
            amount=wish.amount,
            occurred_at=wish.occurred_at,
            reason=wish.reason,
        )
        named_by = "transactionId" if wish.receipt is None else "receipt"
        # The member was not named: it is the transaction's.
        with placed(named_by, instead_of=("transactionId",)), placed(named_by):
            return till.reverse(session, command)

    return context.post_saying(wish.reason, post, attempt)


def _reversed(
    session: "Session", wish: ReverseTransactionInput, partner_id: PartnerId
) -> TransactionRef | None:
    if (wish.transaction_id is None) == (wish.receipt is None):
        raise InvalidInput(
            "name the transaction by its id or by its receipt line", field=("input", "receipt")
        )
    if wish.receipt is not None:
        with placed("receipt", "receipt", instead_of=("receipt",)):
            return wish.receipt.find(session, partner_id=partner_id)
    return transaction_in(str(wish.transaction_id))


@strawberry.type
class PointsMutations:
    """Issue, redeem, reverse."""

    @strawberry.mutation(
        description="Give a member points: a number of them, or what an amount of money earns by your"
        " agreement.",
        extensions=[Requires(Scope.POINTS_ISSUE)],
        directives=[WRITES],
    )
    def issue_points(
        self,
        info: Info,
        input: Annotated[
            IssuePointsInput,
            strawberry.argument(
                description="Who gets points and for what, under a key of yours. Sent again under that key,"
                " it is answered as before and moves nothing."
            ),
        ],
    ) -> PointsPayload:
        """Issue points."""
        return PointsPayload.of(issue(info.context, info.context.viewer.acting_partner(), input))

    @strawberry.mutation(
        description="Spend a member's points at your business: those that expire soonest first, whoever"
        " issued them.",
        extensions=[Requires(Scope.POINTS_REDEEM)],
        directives=[WRITES],
    )
    def redeem_points(
        self,
        info: Info,
        input: Annotated[
            RedeemPointsInput,
            strawberry.argument(
                description="Who spends how many points, under a key of yours. Sent again under that key, it"
                " is answered as before and moves nothing."
            ),
        ],
    ) -> PointsPayload:
        """Redeem points."""
        return PointsPayload.of(redeem(info.context, info.context.viewer.acting_partner(), input))

    @strawberry.mutation(
        description="Undo one of your issues, redemptions or captures by a new transaction: a part of it,"
        " given as points or as money, as often as something is left; or all that is left. Of an issue whose"
        " points the member has spent, a reversal can be granted and yet take back fewer than were asked:"
        " `transaction { undonePoints points missingPoints }` says how many were asked, taken and missing,"
        " and your agreement's ReturnPolicy what becomes of those.",
        extensions=[Requires(Scope.POINTS_REVERSE)],
        directives=[WRITES],
    )
    def reverse_transaction(
        self,
        info: Info,
        input: Annotated[
            ReverseTransactionInput,
            strawberry.argument(
                description="Which transaction, by its id or its receipt line, and how much of it: points,"
                " money, or neither for all that is left."
            ),
        ],
    ) -> PointsPayload:
        """Undo a transaction."""
        outcome = reverse(info.context, info.context.viewer.acting_partner(), input)
        payload = PointsPayload.of(outcome)
        if outcome.value is not None:
            member_id = outcome.value.member_id
            if (survivor := survivor_of(info.context.session, member_id)) != member_id:
                payload.balance = Balance(
                    member_id=survivor, whole=get_balance(info.context.session, survivor)
                )
        return payload
