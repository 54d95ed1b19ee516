"""Many wishes of a till at once: each line of a batch is the wish that would be posted alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import strawberry

from coalition.errors import BatchStopped, CoalitionError
from coalition.members import Named, find_all_named
from partners import till
from partners.batches import MAX_LINES, Refused, post_batch
from partners.scopes import Scope
from schema.context import Context, Info
from schema.cost import BATCH, OF_LINE, ONE, WRITES, WRITES_LINE
from schema.ids import member_in
from schema.inputs import NOBODY, IssuePointsInput, MemberBy, RedeemPointsInput
from schema.mutations.payloads import Payload
from schema.mutations.points import check_form, confirmation_in
from schema.objects.members import Balance
from schema.objects.transactions import Transaction
from schema.refusals import UserError, as_user_error
from schema.viewer import Requires

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from coalition.identifiers import Identifier
    from coalition.ids import PartnerId
    from coalition.ledger import Posting
    from coalition.receipts import Receipt

Line = TypeVar("Line", IssuePointsInput, RedeemPointsInput)

_HOW: Final = (
    f" At most {MAX_LINES:,} lines, each with an idempotency key of its own and an outcome of its own: a line"
    " is the wish that could be sent alone, and sent again, singly or in any batch, it gets the same answer."
    " A line's refusal stops no other, unless the batch is `atomic`. What one member's lines ask is done in"
    " their order. Of lines with the same receipt line, or with the same key for the same member, all but the"
    " first are DUPLICATE_IN_BATCH. A value that is none of its type, such as 1.5 points, is no line's"
    " refusal: the whole call is a GraphQL error, and nothing of it is posted."
)
_ATOMIC: Final = (
    "Whether a line's refusal stops all of them, so that either every line is granted or nothing is posted."
)


@strawberry.input(description="Issues to be posted together.")
class IssuePointsBatchInput:
    """Its lines have the keys."""

    lines: list[IssuePointsInput] = strawberry.field(description="What is to be issued.")
    atomic: bool = strawberry.field(default=False, description=_ATOMIC)


@strawberry.input(description="Redemptions to be posted together.")
class RedeemPointsBatchInput:
    """Its lines have the keys."""

    lines: list[RedeemPointsInput] = strawberry.field(description="What is to be redeemed.")
    atomic: bool = strawberry.field(default=False, description=_ATOMIC)


@strawberry.type(description="What came of one line of a batch.")
class PointsBatchLine:
    """A posting, or why there is none."""

    line: int = strawberry.field(description="Its index in `lines`, from 0.")
    transaction: Transaction | None = strawberry.field(description="What was posted.", directives=[OF_LINE])
    balance: Balance | None = strawberry.field(
        description="The member's balance after it.", directives=[OF_LINE]
    )
    replayed: bool = strawberry.field(
        description="Whether this wish was granted before, under this key: the answer is the one of then."
    )
    user_errors: list[UserError] = strawberry.field(
        description="Why the network says no to this line; the paths of fields begin with input, lines and"
        " its index. BATCH_STOPPED on the lines of an atomic batch that go with one that was refused.",
        directives=[ONE, OF_LINE],
    )

    @classmethod
    def of(cls, number: int, outcome: Posting | CoalitionError) -> PointsBatchLine:
        """The outcome of the line with that index."""
        if isinstance(outcome, CoalitionError):
            return cls(
                line=number,
                transaction=None,
                balance=None,
                replayed=False,
                user_errors=[_of_line(number, as_user_error(outcome))],
            )
        return cls(
            line=number,
            transaction=Transaction.of_posting(outcome),
            balance=Balance(member_id=outcome.member_id, whole=outcome.balance),
            replayed=outcome.replayed,
            user_errors=[],
        )


@strawberry.type(
    description="What came of a batch. `userErrors` are refusals of the batch as a whole, of which nothing"
    " has moved; `replayed` says whether all of its lines were granted before."
)
class PointsBatchPayload(Payload):
    """The lines' outcomes, in their order."""

    lines: list[PointsBatchLine] = strawberry.field(
        description="What came of each line, in their order; empty where the batch was not looked into.",
        directives=[BATCH],
    )
    stopped_by: int | None = strawberry.field(
        description="The index of the line whose refusal stopped an atomic batch; null where nothing did."
    )


def _of_line(number: int, error: UserError) -> UserError:
    """With the path of the field in the batch."""
    path = error.field or []
    error.field = ["input", "lines", str(number), *path[1:]]
    return error


def _post(
    context: Context,
    lines: Sequence[Line],
    wish_of: Callable[[Line, Named, Receipt | None], till.Issue | till.Redeem],
    *,
    kind: str,
    atomic: bool,
) -> PointsBatchPayload:
    """Post the lines in one call of the kernel, and note each refusal in the register."""
    partner_id = context.viewer.acting_partner()
    attempts = [context.attempt(kind, points=line.points) for line in lines]

    def post(session: Session) -> list[Posting | CoalitionError] | BatchStopped:
        named = _named(session, lines[: MAX_LINES + 1], partner_id)
        wishes: list[till.Issue | till.Redeem | Refused] = []
        for line, member, attempt in zip(lines, named, attempts, strict=False):
            refused = member if isinstance(member, CoalitionError) else None
            who = Named(member_id=NOBODY) if isinstance(member, CoalitionError) else member
            if refused is None:
                attempt.member_id = who.member_id
            try:
                # The receipt first: it is kept from the lines after this one, whatever else is wrong.
                attempt.receipt = line.receipt.receipt() if line.receipt else None
                check_form(line)
            except CoalitionError as refusal:
                refused = refusal
            wish = wish_of(line, who, attempt.receipt)
            wishes.append(wish if refused is None else Refused(wish, refused))
        try:
            return post_batch(session, partner_id, wishes, atomic=atomic)
        except BatchStopped as stopped:
            return stopped

    outcome = context.post(post, context.attempt(f"{kind}_batch"))
    done = outcome.value
    if done is None:
        return PointsBatchPayload(replayed=False, user_errors=outcome.user_errors, lines=[], stopped_by=None)
    if isinstance(done, BatchStopped):
        context.note_refusals([(attempts[done.line], done.refusal)])
        return PointsBatchPayload(
            replayed=False,
            user_errors=[_of_line(done.line, as_user_error(done))],
            lines=[
                PointsBatchLine.of(number, done.refusal if number == done.line else done)
                for number in range(len(lines))
            ],
            stopped_by=done.line,
        )
    context.note_refusals(
        [
            (attempt, one)
            for attempt, one in zip(attempts, done, strict=True)
            if isinstance(one, CoalitionError)
        ]
    )
    # Whatever is asked of them is read of all together.
    refs = [one.ref for one in done if not isinstance(one, CoalitionError)]
    context.loaded.transactions.want(refs)
    context.loaded.entries.want(refs)
    context.loaded.reversals.want(refs)
    answered = [PointsBatchLine.of(number, one) for number, one in enumerate(done)]
    return PointsBatchPayload(
        replayed=all(one.replayed for one in answered), user_errors=[], lines=answered, stopped_by=None
    )


def _named(session: Session, lines: Sequence[Line], partner_id: PartnerId) -> list[Named | CoalitionError]:
    """Whom the lines name, all with one query."""
    meant = [_meant(line.member, partner_id) for line in lines]
    wanted = {one for one in meant if not isinstance(one, Named | CoalitionError)}
    found = find_all_named(session, wanted, asking=partner_id) if wanted else {}
    return [
        one if isinstance(one, Named | CoalitionError) else found.get(one, Named(member_id=NOBODY))
        for one in meant
    ]


def _meant(by: MemberBy, partner_id: PartnerId) -> Named | Identifier | CoalitionError:
    if not by.identifier:
        return Named(member_id=member_in(str(by.id)) or NOBODY)
    try:
        return by.identifier.identifier(partner_id=partner_id)
    except CoalitionError as refusal:
        return refusal


@strawberry.type
class BatchMutations:
    """Issue and redeem, many at once."""

    @strawberry.mutation(
        description="Give points to many members in one call." + _HOW,
        extensions=[Requires(Scope.POINTS_ISSUE)],
        directives=[WRITES, WRITES_LINE],
    )
    def issue_points_batch(
        self,
        info: Info,
        input: Annotated[
            IssuePointsBatchInput,
            strawberry.argument(
                description="The lines, each a wish as issuePoints takes it with a key of its own, and"
                " whether one refused line stops all."
            ),
        ],
    ) -> PointsBatchPayload:
        """Issue points."""
        partner_id = info.context.viewer.acting_partner()

        def wish_of(line: IssuePointsInput, member: Named, receipt: Receipt | None) -> till.Issue:
            return till.Issue(
                member_id=member.member_id,
                identifier_id=member.identifier_id,
                partner_id=partner_id,
                idempotency_key=str(line.idempotency_key),
                points=line.points,
                amount=line.amount,
                funding_plan=line.funding_plan,
                receipt=receipt,
                occurred_at=line.occurred_at,
            )

        return _post(info.context, input.lines, wish_of, kind="issue", atomic=input.atomic)

    @strawberry.mutation(
        description="Spend points of many members at your business in one call." + _HOW,
        extensions=[Requires(Scope.POINTS_REDEEM)],
        directives=[WRITES, WRITES_LINE],
    )
    def redeem_points_batch(
        self,
        info: Info,
        input: Annotated[
            RedeemPointsBatchInput,
            strawberry.argument(
                description="The lines, each a wish as redeemPoints takes it with a key of its own, and"
                " whether one refused line stops all."
            ),
        ],
    ) -> PointsBatchPayload:
        """Redeem points."""
        partner_id = info.context.viewer.acting_partner()

        def wish_of(line: RedeemPointsInput, member: Named, receipt: Receipt | None) -> till.Redeem:
            return till.Redeem(
                member_id=member.member_id,
                identifier_id=member.identifier_id,
                partner_id=partner_id,
                idempotency_key=str(line.idempotency_key),
                points=line.points,
                amount=line.amount,
                receipt=receipt,
                occurred_at=line.occurred_at,
                confirmation_id=confirmation_in(line.confirmation),
                from_pool=line.from_pool,
            )

        return _post(info.context, input.lines, wish_of, kind="redeem", atomic=input.atomic)
