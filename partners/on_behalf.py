"""What the operator does in a partner's name: undo a transaction of its, or let a hold of its go.

By the very functions that the partner's own till comes through: at its terms, with its refusals, posted as
its own doing. Who did it is kept with the answer in `partners.operation`, for good; the transaction's key
leads there. The scope of the operator's keys is the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from coalition import history
from coalition.errors import HoldUnknown, IdempotencyConflict, NotReversible, TransactionUnknown
from coalition.global_ids import read_reference, spell_reference
from coalition.holding import get_holds
from coalition.ids import NETWORK, PartnerId
from coalition.keys import MAX_KEY, check_key
from partners import holds, operations, till

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sqlalchemy.orm import Session

    from coalition.ledger import Posting, TransactionRef

COMMAND_LINE: Final = "command line"
"""Whose keys they are."""
_PREFIX: Final = "operator:"
"""What the operator's keys begin with in the journal, so that none is a partner's by chance."""
_LONGEST_KEY: Final = MAX_KEY - len(_PREFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverse:
    """Undo an issue, a redemption or a capture in its partner's name: a part of it, or all that is left."""

    reference: TransactionRef
    key: str
    by: str
    """Who does it, for the record."""
    points: int | None = None
    """How many of its points."""
    amount: Decimal | None = None
    """Or the money that the customer gets back."""
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Void:
    """Let all points of a hold go in its partner's name."""

    hold: TransactionRef
    key: str
    by: str
    """Who does it, for the record."""
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was posted."""

    ref: TransactionRef
    replayed: bool


def reverse(session: Session, wish: Reverse) -> Done:
    """Undo a transaction, or a part of it, as its partner could.

    Raises:
        InvalidInput, PointsInvalid, PartnerNotActive, TransactionUnknown, MemberErased, NotReversible,
        AlreadyReversed, ReversalExceeded, ReturnPolicyForbids, MemberHasHolds: nothing has moved.
        IdempotencyConflict: the key was used for something else.
    """
    found = history.find_transaction(session, wish.reference)
    if found is None:
        raise TransactionUnknown
    if found.partner_id == NETWORK:
        raise NotReversible(kind=found.kind)  # nor is there a partner in whose name it could be undone
    amount = None if wish.amount is None else f"{wish.amount.normalize():f}"
    return _once(
        session,
        key=wish.key,
        by=wish.by,
        name="reverse",
        request={"reverse": spell_reference(wish.reference), "points": wish.points, "amount": amount},
        post=lambda own_key: till.reverse(
            session,
            till.Reverse(
                reference=wish.reference,
                partner_id=PartnerId(found.partner_id),
                idempotency_key=own_key,
                points=wish.points,
                amount=wish.amount,
                reason=wish.reason,
            ),
        ),
    )


def void(session: Session, wish: Void) -> Done:
    """Release all points of a hold, as its partner could.

    Raises:
        InvalidInput, PartnerNotActive, HoldUnknown, HoldCaptured, HoldVoided, HoldLapsed: nothing has moved.
        IdempotencyConflict: the key was used for something else.
    """
    found = get_holds(session, [wish.hold]).get(wish.hold)
    if found is None:
        raise HoldUnknown
    return _once(
        session,
        key=wish.key,
        by=wish.by,
        name="void",
        request={"void": spell_reference(wish.hold)},
        post=lambda own_key: holds.void(
            session,
            holds.Void(
                hold=wish.hold, partner_id=found.partner_id, idempotency_key=own_key, reason=wish.reason
            ),
        ),
    )


def who_did(session: Session, transactions: Iterable[history.Transaction]) -> dict[TransactionRef, str]:
    """Which of the operator's people posted each, in the partner's name or between members.

    Of transactions that none of them posted nothing is said. Who adjusted is said by the adjustment.
    """
    own: dict[str, list[TransactionRef]] = {}
    between: list[history.Transaction] = []
    for one in transactions:
        key = one.idempotency_key
        if one.partner_id == NETWORK:
            between.append(one)
        elif key is not None and key.startswith(_PREFIX):
            own.setdefault(key.removeprefix(_PREFIX), []).append(one.ref)
    found = history.operators_of(session, between)
    if own:
        for key, result in operations.find_results(session, caller=COMMAND_LINE, keys=own).items():
            # A partner may call its own keys so, too.
            found.update(
                (ref, str(result["by"]))
                for ref in own[key]
                if result.get("transaction") == spell_reference(ref)
            )
    return found


def _once(
    session: Session,
    *,
    key: str,
    by: str,
    name: str,
    request: Mapping[str, object],
    post: Callable[[str], Posting],
) -> Done:
    check_key(key, longest=_LONGEST_KEY)

    def work() -> dict[str, Any]:
        posting = post(f"{_PREFIX}{key}")
        if posting.replayed:
            raise IdempotencyConflict  # the partner has used that very key
        return {"transaction": spell_reference(posting.ref), "by": by}

    result, replayed = operations.once(
        session, caller=COMMAND_LINE, key=key, name=name, request=request, work=work
    )
    ref = read_reference(result["transaction"])
    assert ref is not None, "it was spelt here"
    return Done(ref=ref, replayed=replayed)
