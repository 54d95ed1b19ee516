"""Many wishes of a till at once: what was collected while it was offline, or a day's file.

A line of a batch is the same wish as the one that is posted alone: it has the same key, receipt and
fingerprint, passes the same guards and gets the same answer, whichever way it comes and however often.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

from sqlalchemy.orm import Session

from coalition import batching
from coalition.errors import BatchStopped, BatchTooLarge, CoalitionError, DuplicateInBatch, InvalidInput
from coalition.ids import MemberId, PartnerId
from coalition.issuing import IssuePoints
from coalition.keys import check_key
from coalition.ledger import Posting
from coalition.receipts import Receipt
from coalition.redeeming import RedeemPoints
from partners.memory import Memory
from partners.till import Issue, Redeem, at_terms_in_force, issue_command, redeem_command

MAX_LINES: Final = 1_000
"""So many are posted in one transaction, for which the window's closer waits, and the members' tills."""

_NOBODY: Final = MemberId(UUID(int=0))


@dataclass(frozen=True, slots=True)
class Refused:
    """A wish that was refused before it could be asked."""

    wish: Issue | Redeem
    refusal: CoalitionError


Line: TypeAlias = Issue | Redeem | Refused | CoalitionError


def post_batch(
    session: Session,
    partner_id: PartnerId,
    lines: Sequence[Line],
    *,
    atomic: bool = False,
) -> list[Posting | CoalitionError]:
    """Post the lines in the partner's name: what became of each, in their order.

    A line may be the refusal that became of it before, so that it keeps its place; with the wish, where
    there is one, which keeps its receipt and its key from the lines after it. What a refused line
    asked has not moved, and stops no other line. Two lines with one receipt line, or one key for one
    member, are one too many: the first counts, whatever becomes of it.

    Raises:
        BatchTooLarge, InvalidInput: there are too many lines, or none.
        BatchStopped: a line was refused and the batch is atomic; nothing has moved.
    """
    if not lines:
        raise InvalidInput("a batch has at least one line", field=("input", "lines"))
    if len(lines) > MAX_LINES:
        raise BatchTooLarge(lines=len(lines), most=MAX_LINES)
    return at_terms_in_force(
        session, partner_id, lambda memory: _post(session, partner_id, lines, atomic, memory)
    )


def _post(
    session: Session,
    partner_id: PartnerId,
    lines: Sequence[Line],
    atomic: bool,
    memory: Memory,
) -> list[Posting | CoalitionError]:
    judged = [
        twice or _judged(session, line, partner_id, memory)
        for line, twice in zip(lines, _duplicates(lines), strict=True)
    ]
    outcomes: list[Posting | CoalitionError | None] = [
        one if isinstance(one, CoalitionError) else None for one in judged
    ]
    if atomic:
        for number, refusal in enumerate(outcomes):
            if isinstance(refusal, CoalitionError):
                raise BatchStopped(line=number, code=refusal.code, refusal=refusal)
    commands = [one for one in judged if not isinstance(one, CoalitionError)]
    posted = iter(batching.post_batch(session, partner_id, commands, atomic=atomic) if commands else ())
    return [outcome or next(posted) for outcome in outcomes]


def _judged(
    session: Session, line: Line, partner_id: PartnerId, memory: Memory
) -> IssuePoints | RedeemPoints | CoalitionError:
    """The line as the ledger takes it, or why it is nothing that could be posted."""
    if isinstance(line, CoalitionError):
        return line
    if isinstance(line, Refused):
        return line.refusal
    assert line.partner_id == partner_id, "a batch is one partner's"
    try:
        check_key(line.idempotency_key)
        if isinstance(line, Issue):
            if line.funding_plan is not None and not line.funding_plan.isprintable():
                raise InvalidInput("a code has printable characters", field=("input", "fundingPlan"))
            return issue_command(session, line, memory)
        return redeem_command(session, line, memory)
    except CoalitionError as refusal:
        return refusal


def _duplicates(lines: Sequence[Line]) -> list[DuplicateInBatch | None]:
    """Of each line, whether an earlier one has its receipt line or its key, whatever becomes of that one."""
    keys: dict[tuple[int, str], int] = {}
    receipts: dict[tuple[type, Receipt], int] = {}
    found: list[DuplicateInBatch | None] = []
    for number, line in enumerate(lines):
        twice = None
        wish = line.wish if isinstance(line, Refused) else line
        if not isinstance(wish, CoalitionError):
            # Whom nobody knows has no keys; the ledger says that it does not know them.
            if wish.member_id != _NOBODY:
                first = keys.setdefault((wish.member_id.int, wish.idempotency_key), number)
                if first != number:
                    twice = DuplicateInBatch(line=first, what="key", field=("input", "idempotencyKey"))
            if wish.receipt is not None:
                first = receipts.setdefault((type(wish), wish.receipt), number)
                if first != number:
                    twice = DuplicateInBatch(line=first, what="receipt line", field=("input", "receipt"))
        found.append(twice)
    return found
