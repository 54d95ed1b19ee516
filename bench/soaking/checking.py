"""The check of the acknowledgements: all that was granted is there, once; nothing else is."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from schema.ids import to_global

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy.orm import Session

    from soaking.load import Acknowledged, Log

_OF_A_VOUCHER = "voucher:\u00a0"
"""Keys that members gave stand apart from the partner's own."""
# Their transaction has a key of its own, or they make none.
_KEYED_ELSEWHERE = frozenset({"adjustPoints"})
_POOLS = frozenset({"createPool", "inviteToPool", "acceptPoolInvitation", "leavePool", "closePool"})
_CARDS = frozenset({"blockIdentifier", "unblockIdentifier", "replaceCard"})
_PEOPLE = frozenset({"enrollMember", "eraseMember", "blockMember", "unblockMember"})
_PHONES = {"linkIdentifier": "linked", "unlinkIdentifier": "unlinked"}
_REVIEWS = {"releaseReview": "released", "rejectReview": "rejected"}
_NO_POSTING = _POOLS | _CARDS | _PEOPLE | _PHONES.keys() | _REVIEWS.keys() | {"confirmRedemption"}


def findings_of(session: Session, log: Log) -> Iterator[str]:
    """What was acknowledged and is not there, is there twice, or is there and was refused."""
    rows = session.execute(
        text("""
            SELECT t.member_id, t.business_date, t.transaction_id, t.kind, t.points, t.idempotency_key,
                   i.available, EXISTS (SELECT FROM ledger.transaction m
                                         WHERE m.member_id = t.member_id AND m.kind = 'merge_out') AS was_merged
              FROM ledger.transaction t
              LEFT JOIN ledger.idempotency i ON i.member_id = t.member_id AND i.partner_id = t.partner_id
                                            AND i.key = t.idempotency_key
             WHERE t.idempotency_key IS NOT NULL
        """)
    ).all()
    stored: dict[str, list[Any]] = {}
    by_id: Counter[str] = Counter()
    for row in rows:
        stored.setdefault(row.idempotency_key.removeprefix(_OF_A_VOUCHER), []).append(row)
        by_id[_id(row)] += 1
    for key, found in stored.items():
        if len(found) > 1:
            yield f"{key} has {len(found)} effects"
        if key in log.refused:
            yield f"{key} was refused ({log.refused[key]}) and is stored"
        elif key not in log.acknowledged and not key.startswith("adjustment "):
            yield f"{key} is stored, and nobody was told so"
    for key, one in log.acknowledged.items():
        if one.wish.mutation in _KEYED_ELSEWHERE:
            if one.transaction is not None and by_id[one.transaction["id"]] != 1:
                yield f"{key} was acknowledged, and its transaction is not there"
        elif one.wish.mutation not in _NO_POSTING:
            yield from _compared(one, stored.get(key, []))
    yield from _adjustments(log, stored)
    yield from _pools(session, log)
    yield from _erasures(session, log)
    yield from _reviews(session, log)
    yield from _phones(session, log)
    yield from _confirmations(session, log)


def _compared(one: Acknowledged, found: list[Any]) -> Iterator[str]:
    """A posting as it was told, beside the stored one."""
    if not found:
        yield f"{one.key} was acknowledged and is not there: {one.asked}"
        return
    row = found[0]
    told = one.transaction
    if told is not None and (told["id"], told["kind"], told["points"]) != (
        _id(row),
        row.kind.upper(),
        str(row.points),
    ):
        yield f"{one.key} was told as {told}, and is stored as {row.kind} of {row.points}, {_id(row)}"
    if row.available is None:
        yield f"{one.key} is stored, and a replay would not find it"
    elif row.was_merged and one.wish.mutation == "reverseTransaction":
        return  # it is told what the survivor has, as it is at that moment
    elif one.answer["balance"]["available"] != str(row.available):
        yield f"{one.key} was told {one.answer['balance']}, and a replay would be told {row.available}"


def _adjustments(log: Log, stored: dict[str, list[Any]]) -> Iterator[str]:
    told = sum(
        one.transaction is not None
        for one in log.acknowledged.values()
        if one.wish.mutation in _KEYED_ELSEWHERE
    )
    there = sum(key.startswith("adjustment ") for key in stored)
    if told != there:
        yield f"{told} adjustments were acknowledged and {there} are there"


def _pools(session: Session, log: Log) -> Iterator[str]:
    """A pool was opened for each acknowledgement, and places were taken and left as often as was told."""
    told = Counter(one.wish.mutation for one in log.acknowledged.values())
    pools = set(session.execute(text("SELECT pool_id FROM ledger.pool")).scalars())
    if len(pools) != told["createPool"]:
        yield f"{told['createPool']} pools were acknowledged and {len(pools)} are there"
    yield from _closed(session, log)
    yield from _places(session, log)


def _told_of(log: Log, mutation: str, *path: str) -> list[str]:
    """What the answers of one mutation name there."""
    found = []
    for one in log.acknowledged.values():
        if one.wish.mutation == mutation:
            inner: Any = one.answer
            for step in path:
                inner = inner[step]
            found.append(str(inner))
    return found


def _differing(what: str, told: Collection[str], there: Collection[str]) -> Iterator[str]:
    for one in sorted(set(told) - set(there)):
        yield f"{one} was acknowledged as {what}, and is not"
    for one in sorted(set(there) - set(told)):
        yield f"{one} is {what}, and nobody was told so"


def _closed(session: Session, log: Log) -> Iterator[str]:
    """A pool is closed as was told, or because its head was told that it left."""
    heads_left = {
        (one.answer["pool"]["id"], one.who)
        for one in log.acknowledged.values()
        if one.wish.mutation == "leavePool"
    }
    rows = session.execute(text("SELECT pool_id, head_id FROM ledger.pool WHERE closed_at IS NOT NULL"))
    places = [(str(to_global("Pool", pool)), str(to_global("Member", head))) for pool, head in rows]
    told = set(_told_of(log, "closePool", "pool", "id"))
    there = {pool for pool, head in places if pool in told or (pool, head) not in heads_left}
    yield from _differing("closed", told, there)


def _erasures(session: Session, log: Log) -> Iterator[str]:
    erased = session.execute(
        text("SELECT member_id FROM ledger.member_head WHERE erased_at IS NOT NULL")
    ).scalars()
    there = [str(to_global("Member", member)) for member in erased]
    yield from _differing("erased", _told_of(log, "eraseMember", "member", "id"), there)


def _reviews(session: Session, log: Log) -> Iterator[str]:
    """A wish is decided as was told last; what was rejected stays so, and is not posted."""
    # Where there was room by then, a wish was posted that nobody had decided of.
    rows = session.execute(
        text("SELECT member_id, review_id, state FROM ledger.review WHERE decided_by IS NOT NULL")
    )
    states = {str(to_global("Review", member, review)): state for member, review, state in rows}
    released, rejected = (set(_told_of(log, mutation, "review", "id")) for mutation in _REVIEWS)
    yield from _differing("decided", released | rejected, states)
    for review in sorted(rejected):
        if states.get(review) != "rejected":
            yield f"{review} was rejected, and is {states.get(review)}"


def _phones(session: Session, log: Log) -> Iterator[str]:
    """Nobody joins by a phone, so each is one that was linked."""
    there = session.execute(
        text("""
            SELECT count(*) FILTER (WHERE number = 1) AS linked, count(*) FILTER (WHERE state = 'unlinked') AS unlinked
              FROM ledger.identifier_change WHERE kind = 'phone'
        """)
    ).one()
    for mutation, what in _PHONES.items():
        told = log.granted()[mutation]
        if told != getattr(there, what):
            yield f"{told} phones were acknowledged as {what}, and {getattr(there, what)} are"


def _confirmations(session: Session, log: Log) -> Iterator[str]:
    """Those that were told, and those that a voucher stands for."""
    rows = session.execute(
        text("""
            SELECT confirmation_id FROM ledger.confirmation c
             WHERE NOT EXISTS (SELECT FROM ledger.hold h WHERE h.member_id = c.member_id
                                  AND h.transaction_id = c.used_by AND h.redeem_by IS NOT NULL)
        """)
    ).scalars()
    there = [str(to_global("Confirmation", one)) for one in rows]
    yield from _differing("confirmed", _told_of(log, "confirmRedemption", "confirmation", "id"), there)


def _places(session: Session, log: Log) -> Iterator[str]:
    """Who left a pool may join it again: a member has a place for each time."""
    joined: Counter[tuple[str, str]] = Counter()
    ended: Counter[tuple[str, str]] = Counter()
    for row in session.execute(
        text("SELECT pool_id, member_id, ended_at FROM ledger.pool_member WHERE joined_at IS NOT NULL")
    ):
        place = (to_global("Pool", row.pool_id), to_global("Member", row.member_id))
        joined[place] += 1
        ended[place] += row.ended_at is not None
    taken: Counter[tuple[str, str]] = Counter()
    left: Counter[tuple[str, str]] = Counter()
    for one in log.acknowledged.values():
        if one.wish.mutation in _POOLS - {"inviteToPool", "closePool"}:
            place = (one.answer["pool"]["id"], one.who)
            (left if one.wish.mutation == "leavePool" else taken)[place] += 1
    for place in sorted(joined.keys() | taken.keys() | left.keys()):
        # Who accepts once more while in the pool is told that it is in.
        if not bool(taken[place]) <= joined[place] <= taken[place]:
            yield f"{place} was told {taken[place]} times that it joined, and did {joined[place]} times"
        if ended[place] < left[place]:
            yield f"{place} was told {left[place]} times that it left, and did {ended[place]} times"


def _id(row: Any) -> str:
    return str(to_global("Transaction", row.member_id, row.business_date, row.transaction_id))
