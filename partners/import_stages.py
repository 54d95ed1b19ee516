"""What one lane of an import posts: issues and redemptions in batches, reversals one by one between these.

A reversal names what was posted before it, and has no place in a batch.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias
from uuid import UUID

from sqlalchemy.orm import Session

from coalition import history
from coalition.db import Database
from coalition.errors import CoalitionError, DatabaseUnavailable, MemberUnknown, TransactionUnknown
from coalition.ids import MemberId, PartnerId
from coalition.ledger import Posting, TransactionRef
from coalition.members import Named
from partners import till
from partners.batches import MAX_LINES, post_batch
from partners.till_files import REVERSALS, LineKind, TillLine

Asked: TypeAlias = tuple[TillLine, Named | None]
"""A line, and whom it names; None: nobody."""
Done: TypeAlias = list[tuple[TillLine, Posting | CoalitionError]]
"""Lines, and what became of each."""

_REVERSALS_AT_ONCE: Final = 50
"""In one transaction, of those that are posted one by one."""

_NOBODY: Final = UUID(int=0)


def stages(lines: Sequence[Asked]) -> Iterator[Sequence[Asked]]:
    """The lines in parts to be posted one after the other: reversals apart from the rest, a few at a time.

    What one member's lines ask keeps its order, and so does what one receipt's lines ask, since all of
    these are one member's.
    """
    rest = lines
    while rest:
        batch: list[Asked] = []
        reversals: list[Asked] = []
        later: list[Asked] = []
        undone: set[object] = set()
        waiting: set[object] = set()
        for asked in rest:
            line, named = asked
            whose = line.member if named is None else named.member_id
            if whose in waiting or (line.kind not in REVERSALS and whose in undone):
                later.append(asked)
                waiting.add(whose)
            elif line.kind in REVERSALS:
                reversals.append(asked)
                undone.add(whose)
            else:
                batch.append(asked)
        for first in range(0, len(batch), MAX_LINES):
            yield batch[first : first + MAX_LINES]
        # In the order in which all lock members who lock several; within a member the file's order stays.
        reversals.sort(key=lambda asked: _NOBODY if asked[1] is None else asked[1].member_id)
        for first in range(0, len(reversals), _REVERSALS_AT_ONCE):
            yield reversals[first : first + _REVERSALS_AT_ONCE]
        rest = later


def post_stage(db: Database, stage: Sequence[Asked], partner_id: PartnerId) -> Done:
    """Post lines of a stage, in one transaction."""
    outcomes: list[Posting | CoalitionError]
    if stage[0][0].kind in REVERSALS:
        with db.unit_of_work() as session:
            outcomes = [_reversed(session, line, named, partner_id) for line, named in stage]
    else:
        wishes = [_wish(line, named, partner_id) for line, named in stage]
        with db.single_call() as session:
            outcomes = post_batch(session, partner_id, wishes)
    return [(line, outcome) for (line, _), outcome in zip(stage, outcomes, strict=True)]


def _wish(
    line: TillLine, named: Named | None, partner_id: PartnerId
) -> till.Issue | till.Redeem | CoalitionError:
    if named is None:
        return MemberUnknown()
    if line.kind is LineKind.ISSUE:
        return till.Issue(
            member_id=named.member_id,
            identifier_id=named.identifier_id,
            partner_id=partner_id,
            idempotency_key=_key(line),
            points=line.points,
            amount=line.amount,
            receipt=line.receipt,
            occurred_at=line.occurred_at,
        )
    assert line.points is not None, "the reader sees to it"
    return till.Redeem(
        member_id=named.member_id,
        identifier_id=named.identifier_id,
        partner_id=partner_id,
        points=line.points,
        amount=line.amount,
        idempotency_key=_key(line),
        receipt=line.receipt,
        occurred_at=line.occurred_at,
    )


def _reversed(
    session: Session, line: TillLine, named: Named | None, partner_id: PartnerId
) -> Posting | CoalitionError:
    try:
        if named is None:
            raise MemberUnknown
        return _reverse(session, line, partner_id, named.member_id)
    except DatabaseUnavailable:
        raise
    except CoalitionError as refusal:
        return refusal


def _reverse(session: Session, line: TillLine, partner_id: PartnerId, member_id: MemberId) -> Posting:
    """Undo what was posted under the line's receipt for the same member, also while that was merged."""
    done = history.find_by_receipt(
        session,
        partner_id=partner_id,
        kind="issue" if line.kind is LineKind.REVERSE_ISSUE else "redeem",
        receipt=line.receipt,
    )
    if done is None or not _is_of(session, done, partner_id, member_id):
        raise TransactionUnknown
    return till.reverse(
        session,
        till.Reverse(
            reference=done,
            partner_id=partner_id,
            idempotency_key=_key(line),
            points=line.points,
            amount=line.amount,
            occurred_at=line.occurred_at,
        ),
    )


def _is_of(session: Session, done: TransactionRef, partner_id: PartnerId, member_id: MemberId) -> bool:
    """Whether it was posted for the member: by its key, which is remembered over merges and un-merges."""
    if done.member_id == member_id:
        return True
    posted = history.find_transaction(session, done, partner_id=partner_id)
    assert posted is not None, "a receipt has its transaction"
    assert posted.idempotency_key is not None, "what has a receipt has a key"
    key = posted.idempotency_key
    return history.find_by_key(session, member_id=member_id, partner_id=partner_id, key=key) == done


def _key(line: TillLine) -> str:
    """The line's idempotency key: of what the till calls it, so the same in every file that holds it.

    Several parts of one receipt line can be given back, and only their value and their time tell these apart.
    All that is left is given back once.
    """
    parts = [
        line.kind.value,
        line.receipt.store,
        line.receipt.terminal,
        line.receipt.number,
        str(line.receipt.line),
        str(line.receipt.revision),
    ]
    if line.kind in REVERSALS and (line.points, line.amount) != (None, None):
        parts += [
            str(line.points),
            str(till.spelled(line.amount)),
            str(till.asked_moment(line.occurred_at)),
        ]
    # Parts have no unprintable characters, so the separator keeps them apart.
    return "import-" + hashlib.sha256("\n".join(parts).encode()).hexdigest()
