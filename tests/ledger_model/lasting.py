"""What keeps points alive, and what ends a member: activities, and erasure."""

from datetime import datetime, time, timedelta

from . import people
from .books import Member, Terms
from .programme import ZONE, Programme, Refusals


def extend(books: Member, now: datetime, activity: str, partner: str) -> None:
    """Lots that live, have points, and lapse by inactivity get the date that this activity gives them.

    But not those of which a pool's others have the points.
    """
    for lot in books.lots:
        if lot.by_pool or lot.terms.activity not in {"any", activity} or lot.expires_at is None:
            continue
        if lot.terms.at_issuer and lot.issuer != partner:
            continue
        until = end_of_life(now, lot.terms)
        has_points = lot.at["pending"] + lot.at["available"] + lot.at["held"]
        if has_points and now < lot.expires_at < until:
            lot.expires_at = until


def end_of_life(start: datetime, terms: Terms) -> datetime:
    """The end of the day so many months on, or of the month's last day."""
    today = start.astimezone(ZONE).date()
    months = today.year * 12 + today.month - 1 + terms.months
    first = today.replace(year=months // 12, month=months % 12 + 1, day=1)
    following = (first + timedelta(days=31)).replace(day=1)
    day = min(first + timedelta(days=today.day - 1), following - timedelta(days=1))
    return datetime.combine(day + timedelta(days=1), time(), tzinfo=ZONE)


def erase(p: Programme, *, member: int) -> None:
    """All records of a person; nothing is taken for it, so there may be nothing left."""
    no = Refusals()
    no("MEMBER_UNKNOWN", when=not p.knows(member))
    no.end()
    books = p.members[member]
    if books.erased:
        return
    no("MEMBER_MERGED", when=books.merged_into is not None)
    no("ALREADY_IN_POOL", when=any(member in pool.members for pool in p.pools))
    books.bring_up_to_date(p.now)
    available, pending, held, deficit = books.balance
    records = {one.number for one in p.members if member in p.line_of(one.number)}
    # What others of a pool hold of its points comes back to it.
    lent = people.lent(p, {(number, lot.number) for number in records for lot in p.members[number].lots})
    no("MEMBER_HAS_HOLDS", when=held + lent > 0, held=held + lent)
    no("MEMBER_HAS_POINTS", when=available + pending + deficit > 0)
    no.end()
    for record in records:
        p.members[record].erased = True
        p.members[record].profile = {}
    for pool in p.pools:
        for place in pool.places:
            if place.member in records and not place.ended_at:
                place.ended_at = p.now
