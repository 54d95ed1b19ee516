"""Issues and redemptions taken back, in parts and of members who were merged since."""

from collections import Counter
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
    if target is not None:
        # Of a record that was merged: the key may be the survivor's by now, or that of another record of it.
        p.replay(no, p.line_of(target[0])[-1], partner, key, request)
    p.judge_partner(no, partner, "returner", occurred_at)
    if target is None or p.members[target[0]].journal[target[1]].partner != partner:
        no("TRANSACTION_UNKNOWN", when=True)
        no.end()
        raise AssertionError
    member, line = target
    books = p.members[member]
    no.end()  # whose it is not learns nothing of the member
    no("MEMBER_ERASED", when=books.erased)
    done = books.journal[line]
    reversible = done.kind in {"issue", "redeem", "capture"}
    no("NOT_REVERSIBLE", when=not reversible, kind=done.kind)
    before = p.reversals(member, line)
    nowhere = sum(left for _, left in _open(p, books, line)) - sum(
        left for _, left in _open(p, books, line, reached=True)
    )
    left = done.points - sum(later.undone or 0 for later in before) - nowhere
    money_left = (done.amount or 0) - sum(later.amount or 0 for later in before)
    over = p.is_wholly_reversed(member, line) and (points != 0 or money_left <= 0)
    no("ALREADY_REVERSED", when=reversible and over)
    undone = left if points is None else points
    nothing = points is None and left == 0 and nowhere > 0
    no("REVERSAL_EXCEEDED", when=undone > left or (amount or 0) > money_left or nothing, left=left)
    no.end()

    path = p.line_of(member)
    top = p.members[path[-1]]
    top.bring_up_to_date(p.now)
    lot = next((lot for lot in books.lots if lot.line == line), None) if done.kind == "issue" else None
    held = bring_back(p, path, lot) if lot is not None else 0
    books.bring_up_to_date(p.now)
    if lot is not None:
        forbidden = lot.terms.policy == "pending_only" and undone > lot.at["pending"]
        no("RETURN_POLICY_FORBIDS", when=forbidden, pending=lot.at["pending"], points=undone)
        asks_held = held > 0 and undone > lot.at["pending"] + lot.at["available"]
        no("MEMBER_HAS_HOLDS", when=asks_held, held=held)
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
    go_on(p, path, pays=lot is None)  # what came back of an issue the survivor had before
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
    lots: Counter[Lot] = Counter()
    for lot, left in reversed(_open(p, books, line, reached=True)):
        back = min(rest, left)
        if back:
            rest -= back
            legs += shift(lot, "burned", "available", back)
            if lot.expires_at is not None and lot.expires_at <= p.now:
                lot.expires_at = p.now + lot.terms.grace
            lots[lot] = back
    assert rest == 0
    made = books.record("reverse_redemption", undone, legs, p.now, **more)
    pools.give_back(p, books, list(lots))
    books.pay({lot: back for lot, back in lots.items() if not lot.by_pool}, p.now)
    books.bring_up_to_date(p.now)
    return made


def _drawn(books: Member, line: int) -> list[tuple[int, int]]:
    """What a redemption or a capture burned, lot by lot, in the order in which it drew."""
    return [
        (number, points)
        for ((_, number), bucket), points in books.journal[line].legs.items()
        if bucket == "burned"
    ]


def _open(p: Programme, books: Member, line: int, *, reached: bool = False) -> list[tuple[Lot, int]]:
    """What of each lot was not given back yet; or only what can be: not to who was erased since."""
    return [
        (
            books.lots[number],
            drawn
            + sum(
                later.legs.get((("lot", number), "burned"), 0) for later in p.reversals(books.number, line)
            ),
        )
        for number, drawn in _drawn(books, line)
        if not (reached and _is_lost(p, books.lots[number]))
    ]


def _is_lost(p: Programme, lot: Lot) -> bool:
    """Whether it came by a pool from somebody who was erased since, or whose survivor was."""
    giver = lot.origin[0] if lot.by_pool and lot.origin else None
    return giver is not None and any(p.members[one].erased for one in p.line_of(giver))
