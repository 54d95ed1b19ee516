"""Issues and redemptions taken back, in parts and of members who were merged since."""

from datetime import datetime
from typing import Any

from . import pools
from .books import Legs, Lot, Member, shift
from .people import bring_back, go_on
from .programme import ZONE, Answer, Programme, Refusals


def reverse(
    p: Programme,
    *,
    target: tuple[int, int] | None,
    partner: str,
    points: int | None,
    key: str,
    request: Any,
    amount: int | None = None,
    occurred_at: datetime | None = None,
) -> Answer:
    no = Refusals()
    p.judge_points(no, points, least=1 if amount is None else 0)
    no.end()
    occurred_at = occurred_at or p.now
    if target is not None and (earlier := p.replay(no, target[0], partner, key, request)):
        return earlier
    p.judge_partner(no, partner, "returner", occurred_at)
    if target is None or p.members[target[0]].journal[target[1]].partner != partner:
        no("TRANSACTION_UNKNOWN", when=True)
        no.end()
        raise AssertionError
    member, line = target
    books = p.members[member]
    no.end()  # whose it is not learns nothing of the member
    no("MEMBER_ERASED", when=books.erased or any(p.members[one].erased for one in _givers(p, books, line)))
    done = books.journal[line]
    reversible = done.kind in {"issue", "redeem", "capture"}
    no("NOT_REVERSIBLE", when=not reversible, kind=done.kind)
    before = p.reversals(member, line)
    left = done.points - sum(later.undone or 0 for later in before)
    money_left = (done.amount or 0) - sum(later.amount or 0 for later in before)
    over = p.is_wholly_reversed(member, line) and (points != 0 or money_left <= 0)
    no("ALREADY_REVERSED", when=reversible and over)
    undone = left if points is None else points
    no("REVERSAL_EXCEEDED", when=undone > left or (amount or 0) > money_left, left=left)
    no.end()

    path = p.line_of(member)
    top = p.members[path[-1]]
    top.bring_up_to_date(p.now)
    lot = next((lot for lot in books.lots if lot.line == line), None) if done.kind == "issue" else None
    if lot is not None:
        bring_back(p, path, lot)
    books.bring_up_to_date(p.now)
    if lot is not None:
        forbidden = lot.terms.policy == "pending_only" and undone > lot.at["pending"]
        no("RETURN_POLICY_FORBIDS", when=forbidden, pending=lot.at["pending"], points=undone)
        no.end()

    late = occurred_at < p.window_opened
    more = {
        "partner": partner,
        "occurred_at": occurred_at,
        "late": late,
        "reverses": line,
        "undone": undone,
        "amount": amount,
    }
    if done.kind == "issue":
        moved, made = _take_back(p, books, lot, undone, more)
    else:
        moved, made = undone, _give_back(p, books, line, undone, more)
    answer = p.conclude(member, partner, key, request, line=made, points=moved, late=late)
    go_on(p, path)
    return answer


def _take_back(
    p: Programme, books: Member, lot: Lot | None, undone: int, more: dict[str, Any]
) -> tuple[int, int]:
    """Pending points first, then available ones, then a mark on held ones; the rest may become a claim."""
    legs: Legs = []
    moved = 0
    if lot is not None:
        of_pending = min(undone, lot.at["pending"])
        of_available = min(undone - of_pending, lot.at["available"])
        moved = of_pending + of_available
        legs = shift(lot, "pending", "reversed", of_pending) + shift(
            lot, "available", "reversed", of_available
        )
        of_held = min(undone - moved, lot.at["held"] - lot.recalled)
        lot.recalled += of_held
        today = p.partners[more["partner"]].in_force(p.now.astimezone(ZONE).date())
        legs += books.claim(lot, undone - moved - of_held, today or lot.terms)
    return moved, books.record("reverse_issue", moved, legs, p.now, **more)


def _give_back(p: Programme, books: Member, line: int, undone: int, more: dict[str, Any]) -> int:
    """To the lots that were drawn, the last of them first; an expired one gets its grace period."""
    rest = undone
    legs: Legs = []
    lots = []
    for number, drawn in reversed(_drawn(books, line)):
        lot = books.lots[number]
        returned = -sum(
            later.legs.get((("lot", number), "burned"), 0) for later in p.reversals(books.number, line)
        )
        back = min(rest, drawn - returned)
        if back:
            rest -= back
            legs += shift(lot, "burned", "available", back)
            if lot.expires_at is not None and lot.expires_at <= p.now:
                lot.expires_at = p.now + lot.terms.grace
            lots.append(lot)
    assert rest == 0
    made = books.record("reverse_redemption", undone, legs, p.now, **more)
    kept = undone - pools.give_back(p, books, lots)
    books.pay(lots, kept, p.now)
    books.bring_up_to_date(p.now)
    return made


def _drawn(books: Member, line: int) -> list[tuple[int, int]]:
    """What a redemption or a capture burned, lot by lot, in the order in which it drew."""
    return [
        (number, points)
        for ((_, number), bucket), points in books.journal[line].legs.items()
        if bucket == "burned"
    ]


def _givers(p: Programme, books: Member, line: int) -> list[int]:
    """Who gave points of it, by way of a pool, and whom these were merged into."""
    lots = [books.lots[number] for number, _ in _drawn(books, line)]
    return [one for lot in lots if lot.by_pool and lot.origin for one in p.line_of(lot.origin[0])]
