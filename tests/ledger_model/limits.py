"""Limits, and wishes that wait for an operator.

Those of a member and of a card are counted from the member's own journal. Those of a store and of a partner act on
a figure, which is what everybody's journals said when it was derived last.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .books import Line, Member
from .programme import Programme, Refusals, Refused

MOST_WAITING = 20
STALE = timedelta(seconds=30)
"""Who posts and finds figures as old as that derives them."""


@dataclass(frozen=True)
class Limit:
    number: int
    scope: str
    """member, card, store or partner"""
    posting: str
    by_points: bool
    period: timedelta | None
    """None: the open window."""
    most: int
    review: bool
    partner: str | None

    def counts(self, kind: str) -> bool:
        """Whether it is about such a line of a journal."""
        return (
            kind
            in {
                "issue": {"issue"},
                "redeem": {"redeem", "authorize"},
                "both": {"issue", "redeem", "authorize"},
                "transfer": {"transfer_out"},
            }[self.posting]
        )

    @property
    def of_figures(self) -> bool:
        return self.scope in {"store", "partner"}

    def tallies(self, kind: str) -> bool:
        """Whether its figure counts such a line: an authorisation has no store, so there it counts when captured."""
        spent = {"store": {"redeem", "capture"}, "partner": {"redeem", "authorize"}}[self.scope]
        return kind in {"issue": {"issue"}, "redeem": spent, "both": {"issue", *spent}}[self.posting]

    def since(self, now: datetime) -> datetime | None:
        """From when on its figure counts, in whole minutes, and in whole hours where the period has more than two."""
        if self.period is None:
            return None
        hours = {"minute": 0} if self.period > timedelta(hours=2) else {}
        return (now - self.period).replace(second=0, microsecond=0, **hours)


@dataclass(frozen=True)
class Figures:
    """What stores and partners had used of the limits, when that was derived last."""

    as_of: datetime
    window: Any
    published: int
    """So many limits had been published or ended."""
    used: dict[tuple[int, str, int | None], int]
    """By limit, partner and store."""


@dataclass(eq=False)
class Review:
    member: int
    partner: str
    key: str
    request: Any
    state: str = "waiting"


def judge(
    p: Programme,
    *,
    member: int,
    partner: str,
    kind: str,
    points: int,
    key: str,
    request: Any,
    card: int | None = None,
    store: int | None = None,
    whose: int | None = None,
) -> None:
    """The last guard: by the codes of the rules; one that holds for review counts only where none refuses."""
    held = None
    for limit in sorted(p.rules.values(), key=lambda one: one.number):
        concerned = limit.counts(kind) and limit.partner in {None, partner}
        if not concerned or {"card": card, "store": store}.get(limit.scope, 0) is None:
            continue
        if limit.of_figures:
            used = p.figures.used.get((limit.number, partner, store if limit.scope == "store" else None), 0)
        else:
            # A card's in whatever books: its member may have been part of others.
            used = sum(
                uses if limit.by_points else 1
                for books in (p.members if limit.scope == "card" else p.records_of(member))
                for uses in _uses(p, books, limit, card)
            )
        asked = points if limit.by_points else 1
        if used + asked <= limit.most:
            continue
        facts = {"used": used, "asked": asked, "most": limit.most}
        if not limit.review:
            raise Refused("LIMIT_EXCEEDED", facts)
        held = held or facts
    # A wish is that of whose card named the member.
    wish = Review(member if whose is None else whose, partner, key, request)
    if held is not None:
        _look(p, held, wish)
    elif (known := find(p, wish)) and known.request == request:
        if known.state == "rejected":
            raise Refused("REVIEW_REJECTED", {})
        known.state = "posted"  # there is room for it by now


def _uses(p: Programme, books: Member, limit: Limit, card: int | None) -> Iterator[int]:
    """Of a hold what it took or still may; what was reversed all the same."""
    holds = {hold.line: hold for hold in books.holds}
    for number, line in enumerate(books.journal):
        if not limit.counts(line.kind) or limit.partner not in {None, line.partner}:
            continue
        if limit.scope == "card" and line.card != card:
            continue
        if line.window != p.window if limit.period is None else line.recorded_at <= p.now - limit.period:
            continue
        hold = holds.get(number)
        if hold is None:
            yield line.points
        elif hold.state == "captured" or hold.is_open(p.now):
            yield hold.captured or hold.points


def publish(p: Programme, limit: Limit) -> None:
    p.rules[limit.number] = limit
    p.published += 1
    for figure in [figure for figure in p.peaks if figure[0] == limit.number]:
        del p.peaks[figure]
    if limit.of_figures:
        derive(p)


def end(p: Programme, number: int) -> None:
    if p.rules.pop(number, None) is None:
        raise Refused("LIMIT_UNKNOWN", {})
    p.published += 1


def enter(p: Programme) -> None:
    """Whoever posts derives the figures, where nobody has done so lately."""
    known = p.figures
    stale = known is None or (
        p.now - known.as_of > STALE or (known.window, known.published) != (p.window, p.published)
    )
    if stale and any(limit.of_figures for limit in p.rules.values()):
        derive(p)


def derive(p: Programme) -> None:
    """Count anew what is posted by now."""
    used: Counter[tuple[int, str, int | None]] = Counter()
    for limit in p.rules.values():
        if limit.of_figures:
            for line in _tallied(p, limit):
                store = line.store if limit.scope == "store" else None
                used[limit.number, line.partner, store] += line.points if limit.by_points else 1
    p.figures = Figures(p.now, p.window, p.published, dict(used))
    for figure, points in used.items():
        p.peaks[figure] = max(p.peaks.get(figure, 0), points)


def _tallied(p: Programme, limit: Limit) -> Iterator[Line]:
    since = limit.since(p.now)
    for books in p.members:
        for line in books.journal:
            if (
                limit.tallies(line.kind)
                and limit.partner in {None, line.partner}
                and (limit.scope == "partner" or line.store is not None)
                and (line.window == p.window if since is None else line.recorded_at >= since)
            ):
                yield line


def _look(p: Programme, facts: dict[str, int], wish: Review) -> None:
    known = find(p, wish)
    if known is not None and known.request != wish.request:
        raise Refused("IDEMPOTENCY_CONFLICT", {})
    if known is not None and known.state == "rejected":
        raise Refused("REVIEW_REJECTED", {})
    if known is None or known.state != "released":
        raise Refused("UNDER_REVIEW", facts, held=wish)
    known.state = "posted"


def find(p: Programme, wish: Review) -> Review | None:
    same = (wish.member, wish.partner, wish.key)
    return next((one for one in p.reviews if (one.member, one.partner, one.key) == same), None)


def remember(p: Programme, wish: Review) -> None:
    """What was held is written down by who was refused, once."""
    waiting = sum(one.member == wish.member and one.state == "waiting" for one in p.reviews)
    if find(p, wish) is None and waiting < MOST_WAITING:
        p.reviews.append(wish)


def decide(p: Programme, *, review: int | None, to: str) -> None:
    no = Refusals()
    no("REVIEW_UNKNOWN", when=review is None)
    no.end()
    assert review is not None
    known = p.reviews[review]
    if known.state == to or (known.state == "posted" and to == "released"):
        return
    open_ = known.state == "waiting" or (known.state == "released" and to == "rejected")
    no("REVIEW_DECIDED", when=not open_, state=known.state)
    no.end()
    known.state = to
