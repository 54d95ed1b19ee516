"""Post a partner's till export: in batches, by what its tills call, each line with one effect.

A line's key is made of its receipt, so the same file again changes nothing. What the network refuses
costs its own line only. Lanes post side by side, each the lines of its own members, so that what one member's
lines ask is done in the order of the file. A lane that is done with a chunk goes on with the next while the
other still posts.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias, TypeVar

from coalition.db import Database
from coalition.errors import CoalitionError, DatabaseUnavailable
from coalition.identifiers import Identifier
from coalition.ids import PartnerId
from coalition.members import Named, find_all_named
from partners.batches import MAX_LINES
from partners.import_stages import Asked, Done, post_stage, stages
from partners.limits import keep_fresh
from partners.refusals import Attempt, register
from partners.till_files import LineKind, Reject, TillLine, rejected

LANES: Final = 3
"""How many connections post side by side."""
CHUNK: Final = LANES * MAX_LINES
"""Lines that are posted together, as far as they can be."""

_TRIES: Final = 5
_PAUSE: Final = 0.5  # seconds before the second try; twice as long before each further one

T = TypeVar("T")
_Receipts: TypeAlias = dict[tuple[object, ...], list[TillLine]]


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Lines that are to be posted together, and whom they name."""

    lines: int
    unreadable: list[Reject]
    lanes: list[list[Asked]]
    """No member is in two of them, and no receipt."""
    waits: bool
    """Until the chunk before it is posted: it asks something of the same receipt."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """A chunk that the lanes are at."""

    chunk: _Chunk
    lanes: list[Future[Done]]


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
    made = (_in_lanes(db, chunk, partner_id, waits=waits) for chunk, waits in _chunks(lines))
    with ExitStack() as stack:
        lanes = [ThreadPoolExecutor(1) for _ in range(LANES)]
        for lane in lanes:
            stack.callback(lane.shutdown, cancel_futures=True)
        before: _Begun | None = None
        for chunk in _read_ahead(made):
            if before is not None and chunk.waits:
                yield from _ended(db, before, partner_id, counts)
                before = None
            begun = _begin(db, lanes, chunk, partner_id)
            if before is not None:
                yield from _ended(db, before, partner_id, counts)
            before = begun
        if before is not None:
            yield from _ended(db, before, partner_id, counts)


def _chunks(lines: Iterable[TillLine | Reject]) -> Iterator[tuple[list[TillLine | Reject], bool]]:
    """So many lines at a time, or fewer: where a receipt comes again a chunk ends.

    That is, where the same is asked by it again, or anything for another member: who got the receipt, or
    whether it is the same wish again, is a matter of what was posted before. With each, whether it must wait
    for that reason until the one before is posted.
    """
    chunk: list[TillLine | Reject] = []
    here: _Receipts = {}
    before: _Receipts = {}
    waits = False
    for line in lines:
        again = isinstance(line, TillLine) and _asks_again(line, here)
        if again or len(chunk) == CHUNK:
            yield chunk, waits
            chunk, here, before, waits = [], {}, here, again
        chunk.append(line)
        if isinstance(line, TillLine):
            here.setdefault(_receipt_line(line), []).append(line)
            waits = waits or _asks_again(line, before)
    if chunk:
        yield chunk, waits


def _receipt_line(line: TillLine) -> tuple[object, ...]:
    """What its revisions have in common."""
    receipt = line.receipt
    return (receipt.number, receipt.terminal, receipt.store, receipt.line)


def _asks_again(line: TillLine, receipts: _Receipts) -> bool:
    """Whether what a line asks of its receipt must wait until what these ask of it is posted."""
    earlier = receipts.get(_receipt_line(line))
    return earlier is not None and any(
        line.member != one.member or (line.kind, line.receipt) == (one.kind, one.receipt) for one in earlier
    )


def _in_lanes(db: Database, lines: list[TillLine | Reject], partner_id: PartnerId, *, waits: bool) -> _Chunk:
    readable = [one for one in lines if isinstance(one, TillLine)]
    wanted = {line.member for line in readable}
    named = _patiently(db, lambda: _named(db, wanted, partner_id)) if wanted else {}
    # With fewer connections than that the lanes, and who reads ahead, would only wait for each other.
    lanes: list[list[Asked]] = [[] for _ in range(LANES if db.pool_size > LANES else 1)]
    for line in readable:
        whose = named.get(line.member)
        lanes[0 if whose is None else whose.member_id.int % len(lanes)].append((line, whose))
    return _Chunk(
        lines=len(lines),
        unreadable=[one for one in lines if isinstance(one, Reject)],
        lanes=lanes,
        waits=waits,
    )


def _named(db: Database, members: Iterable[Identifier], partner_id: PartnerId) -> dict[Identifier, Named]:
    with db.reading() as session:
        return find_all_named(session, members, asking=partner_id)


def _read_ahead(chunks: Iterator[T]) -> Iterator[T]:
    """The same, each made while the one before is posted: that is mostly waiting for the database."""
    with ThreadPoolExecutor(1) as reader:
        upcoming = reader.submit(next, chunks, None)
        while (chunk := upcoming.result()) is not None:
            upcoming = reader.submit(next, chunks, None)
            yield chunk


def _begin(db: Database, lanes: list[ThreadPoolExecutor], chunk: _Chunk, partner_id: PartnerId) -> _Begun:
    """Give each lane its lines; it comes to them when it is done with those of the chunk before."""
    posting = [
        lane.submit(_post_lane, db, asked, partner_id)
        for lane, asked in zip(lanes, chunk.lanes, strict=False)
        if asked
    ]
    return _Begun(chunk, posting)


def _ended(db: Database, begun: _Begun, partner_id: PartnerId, counts: Counts) -> Iterator[Reject]:
    """Wait until all lanes are done with a chunk; count it, and tell what was refused of it, by line."""
    done = [one for lane in begun.lanes for one in lane.result()]
    _count(counts, done)
    refused = [(line, outcome) for line, outcome in done if isinstance(outcome, CoalitionError)]
    refused.sort(key=lambda one: one[0].number)
    register(db, [(_attempt(line, partner_id), refusal) for line, refusal in refused])
    rejects = begun.chunk.unreadable + [rejected(line.number, refusal) for line, refusal in refused]
    counts.lines += begun.chunk.lines
    counts.rejected += len(rejects)
    yield from sorted(rejects, key=lambda one: one.number)


def _post_lane(db: Database, lane: list[Asked], partner_id: PartnerId) -> Done:
    """A lane's lines, in as many transactions as its reversals need."""
    done: Done = []
    for stage in stages(lane):
        done += _posted(db, stage, partner_id)
    return done


def _posted(db: Database, stage: Sequence[Asked], partner_id: PartnerId) -> Done:
    """What became of a stage; of its halves, one by one, where the whole takes longer than a call may.

    So it is where thousands of its lines are one member's.
    """
    try:
        return _patiently(
            db, partial(post_stage, db, stage, partner_id), tries_if_busy=_TRIES if len(stage) == 1 else 2
        )
    except DatabaseUnavailable as error:
        if len(stage) == 1 or error.reason is not None:
            raise
    middle = len(stage) // 2
    return _posted(db, stage[:middle], partner_id) + _posted(db, stage[middle:], partner_id)


def _count(counts: Counts, done: Done) -> None:
    for line, outcome in done:
        if isinstance(outcome, CoalitionError):
            continue
        if outcome.replayed:
            counts.replayed += 1
        else:
            counts.posted[line.kind] += 1
            counts.points[line.kind] += outcome.points


def _patiently(db: Database, act: Callable[[], T], *, tries_if_busy: int = _TRIES) -> T:
    """What is asked; again, whole, where the database was busy or away. Nothing happens twice."""
    pause = _PAUSE
    for attempt in range(1, _TRIES + 1):
        try:
            keep_fresh(db)
            return act()
        except DatabaseUnavailable as error:
            if attempt >= (tries_if_busy if error.reason is None else _TRIES):
                raise
            time.sleep(pause)
            pause *= 2
    raise AssertionError("unreachable")


def _attempt(line: TillLine, partner_id: PartnerId) -> Attempt:
    return Attempt(
        posting=line.kind.value,
        partner_id=partner_id,
        client="import",
        points=line.points,
        receipt=line.receipt,
    )
