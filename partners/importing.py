"""Post a partner's till export: in chunks, through what its tills call, each line with one effect.

A line's key is made of its receipt, so the same file again changes nothing. What the network refuses
costs its own line only.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final
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
from partners.limits import keep_fresh
from partners.refusals import Attempt, register
from partners.till_files import LineKind, Reject, TillLine, rejected

CHUNK: Final = 200
"""Lines in one transaction. The window's closer waits for it as for any posting, so it stays short."""

_TRIES: Final = 5
_PAUSE: Final = 0.5  # seconds before the second try; twice as long before each further one


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
    for chunk in _chunks(lines):
        rejects = [one for one in chunk if isinstance(one, Reject)]
        readable = [one for one in chunk if isinstance(one, TillLine)]
        rejects += _post_patiently(db, readable, partner_id, counts)
        counts.lines += len(chunk)
        counts.rejected += len(rejects)
        yield from sorted(rejects, key=lambda one: one.number)


def _chunks(lines: Iterable[TillLine | Reject]) -> Iterator[list[TillLine | Reject]]:
    """So many lines at a time, or fewer: where a receipt comes again for someone else, a chunk ends.

    Within a chunk members are posted in the order of their ids, and who got the receipt is a matter of
    the file's.
    """
    chunk: list[TillLine | Reject] = []
    holders: dict[Receipt, Identifier] = {}
    for line in lines:
        taken = isinstance(line, TillLine) and holders.get(line.receipt, line.member) != line.member
        if taken or len(chunk) == CHUNK:
            yield chunk
            chunk, holders = [], {}
        chunk.append(line)
        if isinstance(line, TillLine):
            holders[line.receipt] = line.member
    if chunk:
        yield chunk


def _post_patiently(
    db: Database, lines: list[TillLine], partner_id: PartnerId, counts: Counts
) -> list[Reject]:
    """One chunk; again, whole, where the database was busy or away. Nothing happens twice."""
    pause = _PAUSE
    for attempt in range(1, _TRIES + 1):
        try:
            keep_fresh(db)
            with db.unit_of_work() as session:
                done = _post(session, lines, partner_id)
        except DatabaseUnavailable:
            if attempt == _TRIES:
                raise
            time.sleep(pause)
            pause *= 2
        else:
            _count(counts, done)
            refused = [(line, outcome) for line, outcome in done if isinstance(outcome, CoalitionError)]
            register(db, [(_attempt(line, partner_id), refusal) for line, refusal in refused])
            return [rejected(line.number, refusal) for line, refusal in refused]
    raise AssertionError("unreachable")


def _count(counts: Counts, done: Iterable[tuple[TillLine, Posting | CoalitionError]]) -> None:
    for line, outcome in done:
        if isinstance(outcome, CoalitionError):
            continue
        if outcome.replayed:
            counts.replayed += 1
        else:
            counts.posted[line.kind] += 1
            counts.points[line.kind] += outcome.points


def _post(
    session: Session, lines: list[TillLine], partner_id: PartnerId
) -> list[tuple[TillLine, Posting | CoalitionError]]:
    named = find_all_named(session, {line.member for line in lines}, asking=partner_id)
    done: list[tuple[TillLine, Posting | CoalitionError]] = []
    # By member's id: the order in which all who lock several members lock them. Within a member the
    # file's order stays.
    for line in sorted(lines, key=lambda line: named.get(line.member, _NOBODY).member_id):
        try:
            done.append((line, _post_line(session, line, partner_id, named.get(line.member))))
        except DatabaseUnavailable:
            raise
        except CoalitionError as refusal:
            done.append((line, refusal))
    return done


_NOBODY: Final = Named(member_id=MemberId(UUID(int=0)))


def _post_line(session: Session, line: TillLine, partner_id: PartnerId, named: Named | None) -> Posting:
    if named is None:
        raise MemberUnknown
    match line.kind:
        case LineKind.ISSUE:
            return till.issue(
                session,
                till.Issue(
                    member_id=named.member_id,
                    identifier_id=named.identifier_id,
                    partner_id=partner_id,
                    idempotency_key=_key(line),
                    points=line.points,
                    amount=line.amount,
                    receipt=line.receipt,
                    occurred_at=line.occurred_at,
                ),
            )
        case LineKind.REDEEM:
            assert line.points is not None, "the reader sees to it"
            return till.redeem(
                session,
                till.Redeem(
                    member_id=named.member_id,
                    identifier_id=named.identifier_id,
                    partner_id=partner_id,
                    points=line.points,
                    idempotency_key=_key(line),
                    receipt=line.receipt,
                    occurred_at=line.occurred_at,
                ),
            )
        case LineKind.REVERSE_ISSUE | LineKind.REVERSE_REDEMPTION:
            return _reverse(session, line, partner_id, named.member_id)


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
