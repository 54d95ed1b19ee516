"""Limits of a member and of a card, counted from the member's own journal; and wishes that wait for an operator.

Those of stores and partners act on figures that are derived now and then, by the wall's clock: not modelled.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .books import Member
from .programme import Programme, Refusals, Refused

MOST_WAITING = 20


@dataclass(frozen=True)
class Limit:
    number: int
    of_card: bool
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
    whose: int | None = None,
) -> None:
    """The last guard: by the codes of the rules; one that holds for review counts only where none refuses."""
    held = None
    for limit in sorted(p.rules.values(), key=lambda one: one.number):
        concerned = limit.counts(kind) and limit.partner in {None, partner}
        if not concerned or (limit.of_card and card is None):
            continue
        used = sum(
            uses if limit.by_points else 1
            for books in p.records_of(member)
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
    elif (known := find(p, wish)) and (known.state, known.request) == ("rejected", request):
        raise Refused("REVIEW_REJECTED", {})


def _uses(p: Programme, books: Member, limit: Limit, card: int | None) -> Iterator[int]:
    """Of a hold what it took or still may; what was reversed all the same."""
    holds = {hold.line: hold for hold in books.holds}
    for number, line in enumerate(books.journal):
        if not limit.counts(line.kind) or limit.partner not in {None, line.partner}:
            continue
        if limit.of_card and line.card != card:
            continue
        if line.window != p.window if limit.period is None else line.recorded_at <= p.now - limit.period:
            continue
        hold = holds.get(number)
        if hold is None:
            yield line.points
        elif hold.state in {"open", "captured"}:
            yield hold.points if hold.state == "open" else hold.captured


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
