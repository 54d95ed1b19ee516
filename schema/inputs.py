"""What callers give: the inputs of mutations, quotes and filters, and how they become commands."""

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import strawberry

from coalition import identifier_changes, identifiers, members, receipts
from coalition.amounts import Points
from coalition.history import find_by_receipt
from coalition.ids import MemberId, PartyId
from schema.enums import IdentifierKind, TransactionKind
from schema.ids import member_in

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from coalition.ledger import TransactionRef

NOBODY = MemberId(UUID(int=0))
"""A member that never exists: what an unknown identifier or a malformed id names. So the refusal comes from
the kernel, in its place in the order, by the same path as for any member that does not exist."""


@strawberry.input(description="Something that a member is known by.")
class IdentifierInput:
    """An identifier as the caller writes it."""

    kind: IdentifierKind = strawberry.field(description="Its kind.")
    value: str = strawberry.field(description="As printed or typed; it is normalised.")

    def identifier(self, *, partner_id: PartyId) -> identifiers.Identifier:
        """Normalised; InvalidInput where it is not one of its kind."""
        return identifiers.Identifier.of(self.kind, self.value, partner_id=partner_id)


@strawberry.input(one_of=True, description="Names a member: by its id, or by something that it is known by.")
class MemberBy:
    """One of the two."""

    id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="The member's global id."
    )
    identifier: IdentifierInput | None = strawberry.field(
        default=strawberry.UNSET, description="A card, a phone, an e-mail address, or your own reference."
    )

    def who(self, session: "Session", *, partner_id: PartyId, in_use: bool = True) -> members.Named | None:
        """The member it names, and by which identifier of whom; whether an id exists is not asked.

        Raises:
            IdentifierBlocked, CardReplaced: with `in_use`, where it names it by such a one.
        """
        found = self._find(session, partner_id)
        if in_use and found is not None:
            identifier_changes.check_in_use(session, found)
        return found

    def find(self, session: "Session", *, partner_id: PartyId, in_use: bool = True) -> MemberId | None:
        """The member it names; raises as `who` does."""
        found = self.who(session, partner_id=partner_id, in_use=in_use)
        return None if found is None else found.member_id

    def exactly(self, session: "Session", *, partner_id: PartyId, in_use: bool = False) -> MemberId:
        """The very member it names, even if that one was merged into another; or nobody.

        Raises as `who` does.
        """
        found = self.who(session, partner_id=partner_id, in_use=in_use)
        return NOBODY if found is None else found.holder_id or found.member_id

    def resolve(self, session: "Session", *, partner_id: PartyId, in_use: bool = True) -> MemberId:
        """The member it names, or nobody; raises as `who` does."""
        return self.find(session, partner_id=partner_id, in_use=in_use) or NOBODY

    def named(self, session: "Session", *, partner_id: PartyId) -> members.Named:
        """The member it names, or nobody, and by which identifier, for a posting, which the ledger judges.

        Also by one that was unlinked, if this partner knew it: what was posted by it finds its answer.
        """
        found = self._find(session, partner_id, asking=partner_id)
        return found or members.Named(member_id=NOBODY)

    def _find(
        self, session: "Session", partner_id: PartyId, *, asking: PartyId | None = None
    ) -> members.Named | None:
        if isinstance(self.identifier, IdentifierInput):
            identifier = self.identifier.identifier(partner_id=partner_id)
            return members.find_named(session, identifier, asking=asking)
        found = member_in(str(self.id))
        return None if found is None else members.Named(member_id=found)


@strawberry.input(description="A receipt line: your natural key for what you post, unique over all members.")
class ReceiptInput:
    """One line of one receipt."""

    store: str = strawberry.field(description="Your code of the store.")
    terminal: str = strawberry.field(description="Your code of the terminal.")
    number: str = strawberry.field(description="The receipt's number at that terminal.")
    line: int = strawberry.field(default=1, description="The line on the receipt.")
    revision: int = strawberry.field(
        default=0, description="One more than before, to post again what was wholly reversed."
    )

    def receipt(self) -> receipts.Receipt:
        """As the ledger knows it; InvalidInput where a part is malformed."""
        return receipts.Receipt(
            store=self.store,
            terminal=self.terminal,
            number=self.number,
            line=self.line,
            revision=self.revision,
        )


@strawberry.input(description="Which transactions are wanted; a part that is left out is left open.")
class TransactionFilter:
    """All parts must hold."""

    since: dt.date | None = strawberry.field(
        default=None, description="The first day on which it occurred, in the programme's zone."
    )
    until: dt.date | None = strawberry.field(default=None, description="The last such day.")
    kinds: list[TransactionKind] | None = strawberry.field(default=None, description="One of these kinds.")
    store: str | None = strawberry.field(default=None, description="At this store.")
    member: MemberBy | None = strawberry.field(default=None, description="Of this member.")
    window: dt.date | None = strawberry.field(
        default=None, description="In the settlement window of this business date."
    )


@strawberry.input(description="The receipt line of an issue or a redemption of yours.")
class TransactionByReceipt:
    """A natural key."""

    receipt: ReceiptInput = strawberry.field(description="The line.")
    kind: TransactionKind = strawberry.field(
        default=TransactionKind.ISSUE,
        description="ISSUE or REDEEM: one receipt can have both. A capture is found as CAPTURE, too.",
    )

    def find(self, session: "Session", *, partner_id: PartyId) -> "TransactionRef | None":
        """What the partner posted for it. Captures claim their receipts as redemptions do."""
        kind = TransactionKind.REDEEM if self.kind is TransactionKind.CAPTURE else self.kind
        return find_by_receipt(
            session, partner_id=partner_id, kind=str(kind.value), receipt=self.receipt.receipt()
        )


@strawberry.input(description="The idempotency key that you posted under, which counts for one member.")
class TransactionByKey:
    """An idempotency key."""

    member: MemberBy = strawberry.field(description="The member it was posted for.")
    idempotency_key: strawberry.ID = strawberry.field(description="The key.")


@strawberry.input(one_of=True, description="Names a transaction, for a till that lost its answer.")
class TransactionBy:
    """One of the three."""

    id: strawberry.ID | None = strawberry.field(default=strawberry.UNSET, description="Its global id.")
    receipt: TransactionByReceipt | None = strawberry.field(
        default=strawberry.UNSET, description="Its receipt line."
    )
    key: TransactionByKey | None = strawberry.field(
        default=strawberry.UNSET, description="Its idempotency key."
    )


@strawberry.input(
    description="Points for a member: a number of points, or an amount of money; one of the two."
)
class IssuePointsInput:
    """An issue."""

    idempotency_key: strawberry.ID = strawberry.field(
        description="Yours, for this wish. Its scope is you and the member: the same key and request get the"
        " same answer again, another request under it is refused."
    )
    member: MemberBy = strawberry.field(description="Who gets them.")
    points: Points | None = strawberry.field(default=None, description="How many, 1 to 1,000,000,000.")
    amount: Decimal | None = strawberry.field(
        default=None,
        description="Money spent, in the programme's currency; your agreement says what it earns.",
    )
    funding_plan: str | None = strawberry.field(
        default=None, description="The code of the plan that pays; you alone where nothing is said."
    )
    receipt: ReceiptInput | None = strawberry.field(
        default=None, description="Your receipt line; it has one effect."
    )
    occurred_at: dt.datetime | None = strawberry.field(
        default=None,
        description="When the purchase happened, by your clock; now where nothing is said. At most 5 minutes"
        " from now (OCCURRED_IN_FUTURE), and no longer ago than Programme.lateDays (OCCURRED_TOO_LONG_AGO)."
        " It is priced by your agreement of that day, in the programme's zone.",
    )


@strawberry.input(description="Points that a member spends at your business.")
class RedeemPointsInput:
    """A redemption."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for issuePoints.")
    member: MemberBy = strawberry.field(description="Who spends them.")
    points: Points = strawberry.field(description="How many, 1 to 1,000,000,000.")
    amount: Decimal | None = strawberry.field(
        default=None,
        description="The money that the points stand for on your receipt. It moves nothing; a return can then"
        " be given as a part of it (reverseTransaction).",
    )
    receipt: ReceiptInput | None = strawberry.field(
        default=None, description="Your receipt line; it has one effect."
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


@strawberry.input(
    description="An issue, a redemption or a capture of yours that is to be undone: so many points of it, so"
    " much money, or, where neither is given, all that is left."
)
class ReverseTransactionInput:
    """A reversal."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for issuePoints.")
    transaction_id: strawberry.ID | None = strawberry.field(
        default=None, description="Which; or name it by its receipt."
    )
    receipt: TransactionByReceipt | None = strawberry.field(
        default=None, description="The receipt line that it was posted for."
    )
    points: Points | None = strawberry.field(
        default=None,
        description="How many of its points to undo. Where the member has spent some of an issue's, fewer can"
        " come back; Transaction.missingPoints tells.",
    )
    amount: Decimal | None = strawberry.field(
        default=None,
        description="Or the money that goes back, of what was posted with an amount: what it had earned of an"
        " issue, or its share of a redemption's points. The parts of one add up, however each is rounded.",
    )
    reason: str | None = strawberry.field(
        default=None,
        description="Why, in your words; at most 200 characters. No part of the request that the key stands"
        " for.",
    )
    occurred_at: dt.datetime | None = strawberry.field(
        default=None,
        description="When it was taken back: as for issuePoints, but at the prices of what is undone.",
    )


@strawberry.input(description="What would a member get for points, or for money spent?")
class QuoteIssueInput:
    """A question; nothing moves."""

    member: MemberBy | None = strawberry.field(
        default=None, description="For this member; any, where nothing is said."
    )
    points: Points | None = strawberry.field(default=None, description="How many.")
    amount: Decimal | None = strawberry.field(default=None, description="Or the money spent.")
    funding_plan: str | None = strawberry.field(default=None, description="The plan that would pay.")
    occurred_at: dt.datetime | None = strawberry.field(
        default=None, description="When; now where nothing is said. As for issuePoints."
    )


@strawberry.input(description="Could a member spend so many points here, now?")
class QuoteRedemptionInput:
    """A question; nothing moves."""

    member: MemberBy = strawberry.field(description="Who would spend.")
    points: Points = strawberry.field(description="How many.")
    occurred_at: dt.datetime | None = strawberry.field(
        default=None, description="When; now where nothing is said. As for issuePoints."
    )
    from_pool: bool = strawberry.field(
        default=False,
        description="Whether the others of the member's household pool would give what the member lacks, by"
        " the pool's rules. Never without being asked for.",
    )


__all__ = [
    "NOBODY",
    "IdentifierInput",
    "IssuePointsInput",
    "MemberBy",
    "QuoteIssueInput",
    "QuoteRedemptionInput",
    "ReceiptInput",
    "RedeemPointsInput",
    "ReverseTransactionInput",
    "TransactionBy",
    "TransactionByKey",
    "TransactionByReceipt",
    "TransactionFilter",
]
