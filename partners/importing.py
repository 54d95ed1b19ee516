"""Post a partner's till export: in batches, by what its tills call, each line with one effect.

A line's key is made of its receipt, so the same file again changes nothing. What the network refuses
costs its own line only. Issues and redemptions go in batches; reversals, which name what was posted
before them, one by one between these.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy.orm import Session

from coalition import history
from coalition.db import Database
from coalition.errors import CoalitionError, DatabaseUnavailable, MemberUnknown, TransactionUnknown
from coalition.identifiers import Identifier
from coalition.ids import MemberId, PartnerId
from coalition.ledger import Posting
from coalition.members import Named, find_all_named
from coalition.receipts import Receipt
from partners import till
from partners.batches import MAX_LINES, post_batch
from partners.limits import keep_fresh
from partners.refusals import Attempt, register
from partners.till_files import LineKind, Reject, TillLine, rejected

CHUNK: Final = MAX_LINES
"""Lines that are posted together, as far as they can be."""

_TRIES: Final = 5
_PAUSE: Final = 0.5  # seconds before the second try; twice as long before each further one

_REVERSALS_AT_ONCE: Final = 50
"""In one transaction, of those that are posted one by one."""
_REVERSALS: Final = frozenset({LineKind.REVERSE_ISSUE, LineKind.REVERSE_REDEMPTION})

_NOBODY: Final = Named(member_id=MemberId(UUID(int=0)))
T = TypeVar("T")


@dataclass(slots=True)
class Counts:
    """What became of a file's lines."""

    lines: int = 0
    posted: Counter[LineKind] = field(default_factory=Counter)
    points: Counter[LineKind] = field(default_factory=Counter)
    replayed: int = 0
    """Posted before, under the same receipt: nothing has moved."""
    rejected: int = 0


def post_lines(
    db: Database, lines: Iterable[TillLine | Reject], *, partner_id: PartnerId, counts: Counts
) -> Iterator[Reject]:
    """Post the lines in the partner's name; yields those that were not posted, and counts them all.

    Raises:
        DatabaseUnavailable: the database stayed away. What was posted is kept, and the same file can be
            posted again from its beginning.
    """
    for chunk in _read_ahead(_chunks(lines)):
        rejects = [one for one in chunk if isinstance(one, Reject)]
        readable = [one for one in chunk if isinstance(one, TillLine)]
        rejects += _post_chunk(db, readable, partner_id, counts)
        counts.lines += len(chunk)
        counts.rejected += len(rejects)
        yield from sorted(rejects, key=lambda one: one.number)


def _chunks(lines: Iterable[TillLine | Reject]) -> Iterator[list[TillLine | Reject]]:
    """So many lines at a time, or fewer: where a receipt comes again, a chunk ends.

    Who got the receipt, or whether it is the same wish again, is a matter of what was posted before.
    """
    chunk: list[TillLine | Reject] = []
    receipts: set[tuple[LineKind, Receipt]] = set()
    for line in lines:
        again = isinstance(line, TillLine) and (line.kind, line.receipt) in receipts
        if again or len(chunk) == CHUNK:
            yield chunk
            chunk, receipts = [], set()
        chunk.append(line)
        if isinstance(line, TillLine):
            receipts.add((line.kind, line.receipt))
    if chunk:
        yield chunk


def _read_ahead(chunks: Iterator[T]) -> Iterator[T]:
    """The same, each read while the one before is posted: that is mostly waiting for the database."""
    with ThreadPoolExecutor(1) as reader:
        upcoming = reader.submit(next, chunks, None)
        while (chunk := upcoming.result()) is not None:
            upcoming = reader.submit(next, chunks, None)
            yield chunk


def _post_chunk(db: Database, lines: list[TillLine], partner_id: PartnerId, counts: Counts) -> list[Reject]:
    """One chunk, in as many transactions as its reversals need."""
    named = _patiently(db, lambda: _named(db, lines, partner_id))
    refused: list[tuple[TillLine, CoalitionError]] = []
    for stage in _stages(lines, named):
        done = _patiently(db, partial(_post_stage, db, stage, named, partner_id))
        _count(counts, done)
        refused += [(line, outcome) for line, outcome in done if isinstance(outcome, CoalitionError)]
    register(db, [(_attempt(line, partner_id), refusal) for line, refusal in refused])
    return [rejected(line.number, refusal) for line, refusal in refused]


def _stages(lines: list[TillLine], named: Mapping[Identifier, Named]) -> Iterator[list[TillLine]]:
    """The lines in parts to be posted one after the other: reversals apart from the rest, a few at a time.

    What one member's lines ask keeps its order, and so does what one receipt's lines ask.
    """
    rest = lines
    while rest:
        batch: list[TillLine] = []
        reversals: list[TillLine] = []
        later: list[TillLine] = []
        undone: set[object] = set()
        waiting: set[object] = set()
        for line in rest:
            whose = named.get(line.member)
            about = {line.receipt, line.member if whose is None else whose.member_id}
            if about & waiting or (line.kind not in _REVERSALS and about & undone):
                later.append(line)
                waiting |= about
            elif line.kind in _REVERSALS:
                reversals.append(line)
                undone |= about
            else:
                batch.append(line)
        if batch:
            yield batch
        # In the order in which all lock members who lock several; within a member the file's order stays.
        reversals.sort(key=lambda line: named.get(line.member, _NOBODY).member_id)
        for first in range(0, len(reversals), _REVERSALS_AT_ONCE):
            yield reversals[first : first + _REVERSALS_AT_ONCE]
        rest = later


def _count(counts: Counts, done: Iterable[tuple[TillLine, Posting | CoalitionError]]) -> None:
    for line, outcome in done:
        if isinstance(outcome, CoalitionError):
            continue
        if outcome.replayed:
            counts.replayed += 1
        else:
            counts.posted[line.kind] += 1
            counts.points[line.kind] += outcome.points


def _patiently(db: Database, act: Callable[[], T]) -> T:
    """What is asked; again, whole, where the database was busy or away. Nothing happens twice."""
    pause = _PAUSE
    for attempt in range(1, _TRIES + 1):
        try:
            keep_fresh(db)
            return act()
        except DatabaseUnavailable:
            if attempt == _TRIES:
                raise
            time.sleep(pause)
            pause *= 2
    raise AssertionError("unreachable")


def _named(db: Database, lines: list[TillLine], partner_id: PartnerId) -> dict[Identifier, Named]:
    with db.reading() as session:
        return find_all_named(session, {line.member for line in lines}, asking=partner_id)


def _post_stage(
    db: Database, lines: list[TillLine], named: Mapping[Identifier, Named], partner_id: PartnerId
) -> list[tuple[TillLine, Posting | CoalitionError]]:
    outcomes: list[Posting | CoalitionError]
    if lines[0].kind in _REVERSALS:
        with db.unit_of_work() as session:
            outcomes = [_reversed(session, line, named.get(line.member), partner_id) for line in lines]
    else:
        wishes = [_wish(line, named.get(line.member), partner_id) for line in lines]
        with db.single_call() as session:
            outcomes = post_batch(session, partner_id, wishes)
    return list(zip(lines, outcomes, strict=True))


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
    """Undo what was posted under the line's receipt, for the same member."""
    done = history.find_by_receipt(
        session,
        partner_id=partner_id,
        kind="issue" if line.kind is LineKind.REVERSE_ISSUE else "redeem",
        receipt=line.receipt,
    )
    if done is None or done.member_id != member_id:
        raise TransactionUnknown
    return till.reverse(
        session,
        till.Reverse(
            reference=done,
            partner_id=partner_id,
            idempotency_key=_key(line),
            occurred_at=line.occurred_at,
        ),
    )


def _attempt(line: TillLine, partner_id: PartnerId) -> Attempt:
    return Attempt(
        posting=line.kind.value,
        partner_id=partner_id,
        client="import",
        points=line.points,
        receipt=line.receipt,
    )


def _key(line: TillLine) -> str:
    """The line's idempotency key: of what the till calls it, so the same in every file that holds it."""
    parts = (
        line.kind.value,
        line.receipt.store,
        line.receipt.terminal,
        line.receipt.number,
        str(line.receipt.line),
        str(line.receipt.revision),
    )
    # Parts have no unprintable characters, so the separator keeps them apart.
    return "import-" + hashlib.sha256("\n".join(parts).encode()).hexdigest()
