"""Global ids: opaque to callers, and to us a type's name and what finds the object again."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from coalition import global_ids
from coalition.ids import MemberId
from coalition.ledger import TransactionRef

if TYPE_CHECKING:
    from strawberry import ID


def to_global(kind: str, *parts: object) -> ID:
    """The global id of an object of that type."""
    return global_ids.spell(kind, *parts)  # type: ignore[return-value]


def uuid_in(given: str, kind: str) -> UUID | None:
    """The UUID in the global id of an object of that type; None if it is not one."""
    match global_ids.read(given):
        case (found, rest) if found == kind:
            return _uuid(rest)
    return None


def member_in(given: str) -> MemberId | None:
    """The member that the global id names; whether it exists is not asked."""
    found = uuid_in(given, "Member")
    return None if found is None else MemberId(found)


def transaction_id(ref: TransactionRef) -> ID:
    """A transaction's global id: member, date and id, by which a sharded database finds it in one step."""
    return to_global("Transaction", ref.member_id, ref.business_date, ref.transaction_id)


def transaction_in(given: str) -> TransactionRef | None:
    """The transaction that the global id names; whether it exists is not asked."""
    return global_ids.reference_in(given, "Transaction")


def hold_id(ref: TransactionRef) -> ID:
    """A hold's global id: that of its authorisation, under another name."""
    return to_global("Hold", ref.member_id, ref.business_date, ref.transaction_id)


def hold_in(given: str) -> TransactionRef | None:
    """The hold that the global id names; whether it exists is not asked."""
    return global_ids.reference_in(given, "Hold")


def review_id(member: MemberId, review: UUID) -> ID:
    """A review's id, with its member, by which a sharded database finds it in one step."""
    return to_global("Review", member, review)


def review_in(given: str) -> tuple[MemberId, UUID] | None:
    """The review that the id names; whether it exists is not asked."""
    return _of_member_in(given, "Review")


def identifier_id(member: MemberId, identifier: UUID) -> ID:
    """An identifier's id, with its member, as a review's."""
    return to_global("Identifier", member, identifier)


def identifier_in(given: str) -> tuple[MemberId, UUID] | None:
    """The identifier that the id names; whether it exists is not asked."""
    return _of_member_in(given, "Identifier")


def adjustment_id(member: MemberId, adjustment: UUID) -> ID:
    """An adjustment's id, with its member, as a review's."""
    return to_global("Adjustment", member, adjustment)


def adjustment_in(given: str) -> tuple[MemberId, UUID] | None:
    """The adjustment that the id names; whether it exists is not asked."""
    return _of_member_in(given, "Adjustment")


def _of_member_in(given: str, kind: str) -> tuple[MemberId, UUID] | None:
    match global_ids.read(given):
        case (found, rest) if found == kind:
            member, _, own = rest.partition(":")
            named = _uuid(member), _uuid(own)
            if named[0] is not None and named[1] is not None:
                return MemberId(named[0]), named[1]
    return None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
