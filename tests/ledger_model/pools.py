"""Household pools: who is in one, and how what a spender lacks comes from the others and goes back to them."""

import copy
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from coalition.amounts import MAX_POINTS

from .books import NETWORK, NEVER, Hold, Legs, Lot, Member, in_order, shift
from .people import go_on, hand_over
from .programme import Programme, Refusals

INVITED_FOR = timedelta(days=14)


@dataclass(eq=False)
class Place:
    member: int
    invited_at: datetime
    joined_at: datetime | None = None
    ended_at: datetime | None = None

    def good(self, now: datetime) -> bool:
        """Whether it is a member's place, or an invitation that can still be accepted."""
        if self.ended_at is not None:
            return False
        return self.joined_at is not None or self.invited_at > now - INVITED_FOR


@dataclass(eq=False)
class Pool:
    number: int
    head: int
    head_only: bool
    limit: int | None
    own_first: bool
    most: int
    places: list[Place] = field(default_factory=list)
    closed: bool = False

    @property
    def members(self) -> list[int]:
        return sorted(place.member for place in self.places if place.joined_at and not place.ended_at)


# -- who is in one -------------------------------------------------------------------------------


def open_pool(
    p: Programme, *, member: int, head_only: bool, limit: int | None, own_first: bool, most: int
) -> None:
    no = Refusals()
    no("MEMBER_UNKNOWN", when=not p.knows(member))
    no.end()
    p.judge_member(no, member)
    no("ALREADY_IN_POOL", when=pool_of(p, member) is not None)
    no("MEMBER_BLOCKED", when=p.members[member].blocked)
    no.end()
    pool = Pool(len(p.pools), member, head_only, limit, own_first, most)
    pool.places.append(Place(member, p.now, p.now))
    p.pools.append(pool)


def invite(p: Programme, *, member: int, invited: int) -> None:
    no = Refusals()
    no("MEMBER_UNKNOWN", when=not (p.knows(member) and p.knows(invited)))
    no.end()
    stranger = p.members[invited].merged_into is not None or p.members[invited].erased
    no("MEMBER_UNKNOWN", when=stranger)
    p.judge_member(no, member)
    pool = pool_of(p, member)
    no("NOT_IN_POOL", when=pool is None)
    no.end()
    assert pool
    no("POOL_HEAD_ONLY", when=pool.head != member)
    no.end()
    good = [place for place in pool.places if place.good(p.now)]
    if any(place.member == invited for place in good):
        return
    no("POOL_FULL", when=len(good) >= pool.most, most=pool.most)
    no.end()
    for place in pool.places:
        if not place.ended_at and not place.good(p.now):
            place.ended_at = p.now
    pool.places.append(Place(invited, p.now))


def accept(p: Programme, *, member: int, pool: int | None) -> None:
    """A pool that did not invite the member is as one that does not exist."""
    no = Refusals()
    no("MEMBER_UNKNOWN", when=not p.knows(member))
    no.end()
    p.judge_member(no, member)
    joined = None if pool is None else p.pools[pool]
    own = [place for place in joined.places if place.member == member] if joined else []
    no("POOL_UNKNOWN", when=not own)
    no.end()
    assert joined
    if any(place.joined_at and not place.ended_at for place in own):
        return
    no("POOL_CLOSED", when=joined.closed)
    no("POOL_UNKNOWN", when=not joined.closed and not any(place.good(p.now) for place in own))
    no("ALREADY_IN_POOL", when=pool_of(p, member) is not None)
    no("MEMBER_BLOCKED", when=p.members[member].blocked)
    no.end()
    next(place for place in own if place.good(p.now)).joined_at = p.now


def leave(p: Programme, *, member: int) -> None:
    """With all that the member has; where its head leaves, the pool is closed."""
    no = Refusals()
    no("MEMBER_UNKNOWN", when=not p.knows(member))
    no.end()
    p.judge_member(no, member)
    pool = pool_of(p, member)
    no("NOT_IN_POOL", when=pool is None)
    no.end()
    assert pool
    if pool.head == member:
        end(p, pool)
    for place in pool.places:
        if place.member == member and place.joined_at and not place.ended_at:
            place.ended_at = p.now


def close(p: Programme, *, pool: int | None, by: int | None) -> None:
    """Its head does, or (None) the operator."""
    no = Refusals()
    closing = None if pool is None else p.pools[pool]
    was_in = closing and (by is None or any(one.member == by and one.joined_at for one in closing.places))
    no("POOL_UNKNOWN", when=not was_in)
    no.end()
    assert closing
    no("POOL_CLOSED", when=closing.closed)
    no("POOL_HEAD_ONLY", when=by is not None and by != closing.head)
    no.end()
    end(p, closing)


def end(p: Programme, pool: Pool) -> None:
    for place in pool.places:
        place.ended_at = place.ended_at or p.now
    pool.closed = True


def pool_of(p: Programme, member: int) -> Pool | None:
    return next((pool for pool in p.pools if member in pool.members), None)


# -- spending from one ---------------------------------------------------------------------------


def enter(p: Programme, member: int) -> None:
    """Whoever spends from a pool lets all holds in it lapse that are over."""
    pool = pool_of(p, member)
    for one in sorted({member, *(pool.members if pool else [])}):
        lapse_pooled(p, one)


def judge_spender(p: Programme, no: Refusals, member: int) -> None:
    pool = pool_of(p, member)
    no("NOT_IN_POOL", when=pool is None)
    no("POOL_HEAD_ONLY", when=pool is not None and pool.head_only and pool.head != member)


def draw_on_pool(p: Programme, no: Refusals, member: int, points: int) -> bool:
    """Bring what the spender lacks, or what expires before its own, from the others. Says whether it did."""
    pool = pool_of(p, member)
    if pool is None:
        return False
    spender = p.members[member]
    for other in others_of(p, pool, member):
        other.bring_up_to_date(p.now)
    shares = drawn_from(p, pool, member, points)
    rest = points - sum(shares.values())
    own = shares.pop(member, 0)
    given = taken_of_others(p, member)
    if pool.limit is not None:
        allowed = max(pool.limit - given, 0)
        no(
            "POOL_LIMIT_EXCEEDED",
            when=given + points - own > pool.limit,
            allowed=allowed,
            requested=points - own,
        )
    no("INSUFFICIENT_POINTS", when=rest > 0, available=points - rest, requested=points)
    no.end()
    for giver in sorted(shares):
        hand_over(p, p.members[giver], spender, "pool", shares[giver])
    return bool(shares)


def others_of(p: Programme, pool: Pool, member: int) -> list[Member]:
    return [p.members[one] for one in pool.members if one != member and not p.members[one].blocked]


def taken_of_others(p: Programme, member: int) -> int:
    """What it had of them in the open window, with what the records had that are merged into it."""
    journals = [line for books in p.records_of(member) for line in books.journal]
    return sum(line.points for line in journals if (line.kind, line.window) == ("pool_in", p.window))


def drawn_from(p: Programme, pool: Pool, member: int, points: int) -> dict[int, int]:
    """Of whom how many of the points would be, as far as they go, once all are up to date."""
    spender = p.members[member]
    queue = sorted(
        (
            (owner, lot)
            for owner in (spender, *others_of(p, pool, member))
            for lot in owner.lots
            if lot.at["available"]
        ),
        key=lambda one: (
            pool.own_first and one[0] is not spender,
            one[1].expires_at or NEVER,
            one[0] is not spender,
            one[0].number,
            one[1].number,
        ),
    )
    shares: dict[int, int] = {}
    rest = points
    for owner, lot in queue:
        taken = min(rest, lot.at["available"])
        rest -= taken
        if taken:
            shares[owner.number] = shares.get(owner.number, 0) + taken
    return shares


def spendable(p: Programme, member: int) -> int | None:
    """What a member can spend from its pool, as it is read; None: nothing, or it is in none."""
    pool = pool_of(p, member)
    if pool is None or (pool.head_only and pool.head != member) or p.members[member].blocked:
        return None
    members = [p.as_of_now(number) for number in range(len(p.members))]
    p = copy.copy(p)
    p.members = members
    total = sum(drawn_from(p, pool, member, MAX_POINTS).values())
    if pool.limit is None:
        return total
    allowed = max(pool.limit - taken_of_others(p, member), 0)

    def of_others(points: int) -> int:
        return points - drawn_from(p, pool, member, points).get(member, 0)

    # The most of which the others' part is allowed.
    return bisect_right(range(total + 1), allowed, key=of_others) - 1


# -- what goes back to who gave it ---------------------------------------------------------------


def who_waits(p: Programme) -> list[int]:
    """Members with holds that are over and have points of others, whose is over longest first."""
    waits = {
        books.number: min(hold.lapses_at for hold in over)
        for books in p.members
        if (
            over := [
                hold
                for hold in books.holds
                if hold.pooled and hold.state == "open" and hold.lapses_at <= p.now
            ]
        )
    }
    return sorted(waits, key=lambda number: (waits[number], number))


def lapse_pooled(p: Programme, member: int) -> None:
    """Holds with points of others lapse where those are at hand."""
    books = p.members[member]
    dying = [hold for hold in books.holds if hold.state == "open" and hold.pooled and hold.lapses_at <= p.now]
    for hold in sorted(dying, key=lambda hold: (hold.lapses_at, hold.line)):
        end_hold(p, member, hold, "lapse", 0)
    if dying:
        books.bring_up_to_date(p.now)


def end_hold(p: Programme, member: int, hold: Hold, kind: str, captured: int, **more: object) -> int:
    """As `Member.end_hold`; and what is released of others' points goes back to them."""
    books = p.members[member]
    lots = [books.lots[number] for number, _ in hold.parts]

    def back() -> None:
        give_back(p, books, lots)

    return books.end_hold(hold, kind, captured, p.now, back=back, **more)


def give_back(p: Programme, books: Member, lots: list[Lot]) -> None:
    """What is available in lots that a pool gave goes to the lots it came from.

    Where their owner was merged into another since, it goes on to that one, but not beyond who has them back.
    """
    returning = in_order(lot for lot in lots if lot.by_pool and lot.at["available"])
    for number in sorted({lot.origin[0] for lot in returning if lot.origin}):
        giver = p.members[number]
        giver.bring_up_to_date(p.now)
        out: Legs = []
        into: Legs = []
        reached: Counter[Lot] = Counter()
        moved = 0
        for lot in returning:
            if lot.origin is None or lot.origin[0] != number:
                continue
            origin = giver.lots[lot.origin[1]]
            points = lot.at["available"]
            out += shift(lot, "available", "transferred")
            into += shift(origin, "transferred", "available", points)
            if lot.expires_at and origin.expires_at and origin.expires_at <= p.now:
                origin.expires_at = max(origin.expires_at, lot.expires_at)  # a grace period
            reached[origin] += points
            moved += points
        books.record("unpool_out", moved, out, p.now, partner=NETWORK, other=number)
        giver.record("unpool_in", moved, into, p.now, partner=NETWORK, other=books.number)
        giver.pay(reached, p.now)
        giver.bring_up_to_date(p.now)
        path = p.line_of(number)
        go_on(p, path[: path.index(books.number) + 1] if books.number in path else path)
