"""Transactions: what moved, for whom, and why, as far as the viewer may see it."""

import datetime as dt
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated

import strawberry

from coalition import history, proving, receipts
from coalition.amounts import Points
from coalition.ids import LotId, PartyId
from coalition.ledger import Posting, TransactionRef
from coalition.programme import get_programme
from schema.context import Info
from schema.cost import FEW_PARTS, PARTS, Cost
from schema.enums import TransactionKind
from schema.explaining import explain
from schema.ids import to_global, transaction_id
from schema.objects.money import Money
from schema.objects.nodes import MOST_PARTS, FirstParts, Node, SkippedParts, part_of
from schema.objects.partners import Partner, partner_of

if TYPE_CHECKING:
    from schema.objects.holds import Hold
    from schema.objects.members import Member


@strawberry.enum(
    description="Where points are. Those of the member: PENDING, AVAILABLE, HELD; the others are outside."
)
class Bucket(Enum):
    """The ledger's buckets."""

    PENDING = strawberry.enum_value("pending", description="Issued, and the return period has not passed.")
    AVAILABLE = strawberry.enum_value("available", description="Spendable.")
    HELD = strawberry.enum_value("held", description="Authorised and not captured.")
    ISSUED = strawberry.enum_value("issued", description="Where points come from.")
    RECEIVED = strawberry.enum_value("received", description="Where points from another member come from.")
    BURNED = strawberry.enum_value("burned", description="Redeemed.")
    EXPIRED = strawberry.enum_value("expired", description="Lapsed.")
    REVERSED = strawberry.enum_value("reversed", description="Taken back.")
    TRANSFERRED = strawberry.enum_value("transferred", description="Given to another member.")


@strawberry.type(
    description="The receipt line that a partner posted: its natural key, unique over all members."
)
class Receipt:
    """One line of one receipt."""

    store: str = strawberry.field(description="The partner's own code of the store.")
    terminal: str = strawberry.field(description="The partner's own code of the terminal.")
    number: str = strawberry.field(description="The receipt's number at that terminal.")
    line: int = strawberry.field(description="The line on the receipt.")
    revision: int = strawberry.field(description="0, and one more after each whole reversal.")

    @classmethod
    def of(cls, receipt: receipts.Receipt) -> "Receipt":
        """As the API shows it."""
        return cls(**receipt.as_request())  # type: ignore[arg-type]


@strawberry.type(description="One signed leg of a transaction. A transaction's legs sum to zero.")
class Entry:
    """A leg of a lot, or of a deficit."""

    bucket: Bucket = strawberry.field(description="Where points left or arrived.")
    points: Points = strawberry.field(description="Signed.")
    lot_id: strawberry.Private[LotId | None]
    issuer_id: strawberry.Private[PartyId | None]
    expires_at: dt.datetime | None = strawberry.field(
        description="When the lot's points lapse, as it stands now: activity and grace move it. Null: never,"
        " or a deficit's leg."
    )

    @strawberry.field(description="The lot whose points moved; null: what a member owes.")
    def lot(self) -> strawberry.ID | None:
        """An id to group legs by.

        Not the lot's own: a proof's private digest stands for what only that keeps from being guessed.
        """
        return None if self.lot_id is None else to_global("Lot", sha256(self.lot_id.bytes).hexdigest()[:32])

    @strawberry.field(description="Who issued the lot; null for a deficit's leg.")
    def issuer(self, info: Info) -> Partner | None:
        """Where each point comes from."""
        return partner_of(info, self.issuer_id)


@strawberry.type(
    description="That a transaction is in its settlement window, to be checked against the window's Merkle"
    " root without trusting the network (RFC 9162, 2.1.3): by verify_proof.py, which this server gives to"
    " anyone at /verify_proof.py and which needs Python alone, or by a program of your own."
)
class InclusionProof:
    """What `verify_proof.py` checks."""

    root: str = strawberry.field(
        description="The root, in hex. Compare it with the one that you kept: settlementWindows has it from"
        " the morning on."
    )
    leaf_index: int = strawberry.field(description="Which of the window's transactions it is, from 0.")
    tree_size: int = strawberry.field(description="How many transactions the window has.")
    document: str = strawberry.field(
        description="The whole proof as JSON: what the network stores of the transaction, as you know it, and"
        " the hashes that lead from there to the root."
    )


@strawberry.type(
    description="Something that moved a member's points. Never edited; a correction is another transaction."
)
class Transaction(Node):
    """A transaction, of which a posting just made knows enough not to be read again."""

    ref: strawberry.Private[TransactionRef]
    posting: strawberry.Private[Posting | None] = None

    def _record(self, info: Info) -> history.Transaction:
        found = info.context.loaded.transactions.get(self.ref)
        assert found is not None, "a transaction that was found or posted exists"
        return found

    @strawberry.field(description="What it did.")
    def kind(self, info: Info) -> TransactionKind:
        """Its kind."""
        return TransactionKind(self._record(info).kind)

    @strawberry.field(description="How many points it moved, unsigned.")
    def points(self, info: Info) -> Points:
        """Its size."""
        return self.posting.points if self.posting else self._record(info).points

    @strawberry.field(description="When the network recorded it, by the programme's clock.")
    def recorded_at(self, info: Info) -> dt.datetime:
        """When it counts from."""
        return self.posting.recorded_at if self.posting else self._record(info).recorded_at

    @strawberry.field(description="When it happened, by the partner's clock; its prices are of that day.")
    def occurred_at(self, info: Info) -> dt.datetime:
        """When it happened."""
        return self._record(info).occurred_at

    @strawberry.field(
        description="Whether it happened before the settlement window opened in which it was recorded."
    )
    def late(self, info: Info) -> bool:
        """Whether it came late."""
        return self.posting.late if self.posting else self._record(info).late

    @strawberry.field(description="The settlement window that it belongs to.")
    def business_date(self) -> dt.date:
        """Its window."""
        return self.ref.business_date

    @strawberry.field(description="Who acted; null: the network itself, when points mature or expire.")
    def partner(self, info: Info) -> Partner | None:
        """The acting partner."""
        return partner_of(info, self._record(info).partner_id)

    @strawberry.field(
        description="Whether the network's operator did it: in the partner's name (a reversal, or a void), on"
        " the giver's behalf (a transfer, of both sides), or to two records of one person (a merge, an"
        " un-merge). The reason says why, where one was given.",
        directives=[Cost(weight=1)],
    )
    def by_operator(self, info: Info) -> bool:
        """Who really acted."""
        return info.context.loaded.operators.get(self.ref) is not None

    @strawberry.field(
        description="Which of the operator's clients or people that was (byOperator), to the operator; to"
        " others null.",
        directives=[Cost(weight=1)],
    )
    def operator(self, info: Info) -> str | None:
        """Who it was by name."""
        if not info.context.viewer.is_operator:
            return None
        return info.context.loaded.operators.get(self.ref)

    @strawberry.field(description="Whose points moved.")
    def member(self) -> Annotated["Member", strawberry.lazy("schema.objects.members")]:
        """The member."""
        from schema.objects.members import Member  # noqa: PLC0415 - each of the two types has fields of the other

        return Member.of(self.ref.member_id)

    @strawberry.field(
        description="The money that it was posted with: what was spent, of an issue that was given as money;"
        " what the points of a redemption stood for, where the till said so; what went back, of a reversal"
        " that was given so."
    )
    def amount(self, info: Info) -> Money | None:
        """What was paid at the till."""
        amount: Decimal | None = self._record(info).amount
        if amount is None:
            return None
        return Money(
            amount=amount.normalize() + Decimal(0), currency=get_programme(info.context.session).currency
        )

    @strawberry.field(description="The receipt line it was posted for.")
    def receipt(self, info: Info) -> Receipt | None:
        """Its natural key."""
        receipt = self._record(info).receipt
        return None if receipt is None else Receipt.of(receipt)

    @strawberry.field(description="What it undid, if it is a reversal.")
    def reverses(self, info: Info) -> "Transaction | None":
        """What was undone."""
        ref = self._record(info).reverses
        return None if ref is None else Transaction.of_ref(ref)

    @strawberry.field(
        description="A reversal's: how many points of the other transaction it undoes, as was asked. `points`"
        " is how many came back; they are fewer where some were not there any more (missingPoints)."
    )
    def undone_points(self, info: Info) -> Points | None:
        """A reversal's size, of the other transaction."""
        return self._record(info).undone_points

    @strawberry.field(
        description="A reversal's: how many of undonePoints it did not take back, since the member did not"
        " have them any more; 0 where all came back, as of a redemption all do. It is granted all the same."
        " Points that the member had spent are lost to the issuer where its return policy is AVAILABLE,"
        " and owed to it where that is UNLIMITED. Such as a hold has leave when the hold ends, by a"
        " transaction of their own, if it releases them. Expired ones were gone already."
    )
    def missing_points(self, info: Info) -> Points | None:
        """What a reversal did not find."""
        return self._record(info).missing_points

    @strawberry.field(description="What undid it, or parts of it, in their order.", directives=[FEW_PARTS])
    def reversed_by(
        self, info: Info, first: FirstParts = MOST_PARTS, skip: SkippedParts = 0
    ) -> list["Transaction"]:
        """What undid it."""
        found = part_of(info.context.loaded.reversals.get(self.ref) or [], first=first, skip=skip)
        info.context.loaded.transactions.want(one.ref for one in found)
        return [Transaction.of_ref(one.ref) for one in found]

    @strawberry.field(
        description="How many of its points were not reversed yet; no more than these can be. Of an issue"
        " your agreement's ReturnPolicy may let fewer, or none (RETURN_POLICY_FORBIDS); of a redemption what"
        " a pool's giver gave who was erased since comes back to nobody (REVERSAL_EXCEEDED). Null where"
        " nothing of it ever could."
    )
    def reversible_points(self, info: Info) -> Points | None:
        """What is left of it."""
        return self._record(info).reversible_points(info.context.loaded.reversals.get(self.ref) or [])

    @strawberry.field(description="The hold that it opened or ended.")
    def hold(self, info: Info) -> Annotated["Hold", strawberry.lazy("schema.objects.holds")] | None:
        """Points set aside."""
        from schema.objects.holds import Hold  # noqa: PLC0415 - each of the two types has fields of the other

        record = self._record(info)
        ref = record.ref if record.kind == "authorize" else record.hold
        return None if ref is None else Hold.of(ref)

    @strawberry.field(
        description="The other member of a transfer or a merge, to the operator. To a member it is null: a"
        " transfer tells its reason, and who the other is stays between the two."
    )
    def counterpart(
        self, info: Info
    ) -> Annotated["Member", strawberry.lazy("schema.objects.members")] | None:
        """The other side."""
        from schema.objects.members import Member  # noqa: PLC0415 - each of the two types has fields of the other

        other = self._record(info).other_member_id
        return None if other is None or not info.context.viewer.is_operator else Member.of(other)

    @strawberry.field(
        description="Why: in the partner's words of a reversal or a void (the operator's, where that acted in"
        " the partner's name), the giver's of a transfer, the operator's of a merge; an adjustment's reason."
        " Words are sealed under the member's key: null once it was erased."
    )
    def reason(self, info: Info) -> str | None:
        """In whose words it was."""
        record = self._record(info)
        if record.words is None:
            return record.reason
        return info.context.loaded.words.get((record.ref.member_id, record.words))

    @strawberry.field(
        description="Its legs, entryCount of them. A partner sees those of lots that it issued itself, and no"
        " others.",
        directives=[PARTS],
    )
    def entries(self, info: Info, first: FirstParts = MOST_PARTS, skip: SkippedParts = 0) -> list[Entry]:
        """The legs that the viewer may see."""
        found = part_of(self._legs(info), first=first, skip=skip)
        info.context.loaded.partners.want(entry.issuer_id for entry in found if entry.issuer_id)
        return [
            Entry(
                bucket=Bucket(entry.bucket),
                points=entry.points,
                lot_id=entry.lot_id,
                issuer_id=entry.issuer_id,
                expires_at=entry.expires_at,
            )
            for entry in found
        ]

    @strawberry.field(
        description="How many legs it has, as far as you may see them: of a merge or a day on which points"
        " expire they can be thousands.",
        directives=[Cost(weight=1)],
    )
    def entry_count(self, info: Info) -> int:
        """How many there are to see."""
        return len(self._legs(info))

    def _legs(self, info: Info) -> list[history.Entry]:
        viewer = info.context.viewer
        found = info.context.loaded.entries.get(self.ref) or []
        return [entry for entry in found if viewer.owns(entry.issuer_id)]

    @strawberry.field(
        description="That it is in its window, for anyone to check; null until the window is sealed, in the"
        " night after its day.",
        directives=[Cost(weight=50)],
    )
    def proof(self, info: Info) -> InclusionProof | None:
        """Tamper evidence."""
        proof = proving.prove_inclusion(info.context.session, self.ref)
        if proof is None:
            return None
        return InclusionProof(
            root=proof.root.hex(),
            leaf_index=proof.leaf_index,
            tree_size=proof.tree_size,
            document=proof.document(),
        )

    @strawberry.field(
        description="In plain words: which rule gave what, when it expires, and who funded it. A partner"
        " reads of what it issued itself, and of other partners that fund it not who they are; the member and"
        " the operator read all.",
        directives=[Cost(weight=2)],
    )
    def explanation(self, info: Info) -> str:
        """Why."""
        context = info.context
        programme = get_programme(context.session)
        return explain(
            self._record(info), context.loaded, context.viewer, zone=programme.tz, currency=programme.currency
        )

    @classmethod
    def of_ref(cls, ref: TransactionRef) -> "Transaction":
        """A transaction that is known to exist and to be the viewer's."""
        return cls(id=transaction_id(ref), ref=ref)

    @classmethod
    def of_posting(cls, posting: Posting) -> "Transaction":
        """One that was just posted."""
        return cls(id=transaction_id(posting.ref), ref=posting.ref, posting=posting)
