"""How what was set aside ends: captured, voided, or taken by a voucher."""

from datetime import datetime
from typing import Any

from . import pools
from .books import Hold
from .lasting import extend
from .programme import A_TILLS_CLOCK, Answer, Programme, Refusals, store_of


def end_hold(
    p: Programme,
    *,
    target: tuple[int, int] | None,
    partner: str,
    points: int | None,
    key: str,
    request: Any,
    receipt: tuple[int, int] | None = None,
    occurred_at: datetime | None = None,
    void: bool = False,
    amount: int | None = None,
) -> Answer:
    """Capture points of a hold (None: all), or void it."""
    no = Refusals()
    p.judge_points(no, points)
    no.end()
    occurred_at = occurred_at or p.now
    if target is not None and (earlier := p.replay(no, target[0], partner, key, request)):
        return earlier
    p.judge_receipt(no, partner, "redeem", receipt)
    p.judge_partner(no, partner, "returner", occurred_at, store=store_of(receipt))
    if target is None:
        no("HOLD_UNKNOWN", when=True)
        no.end()
        raise AssertionError
    member, _ = target
    books = p.members[member]
    books.bring_up_to_date(p.now)
    hold = hold_at(p, target)
    # A voucher's points are taken by who was shown the voucher.
    if hold is None or hold.partner != partner or (hold.redeem_by is not None and not void):
        no("HOLD_UNKNOWN", when=True)
        no.end()
        raise AssertionError
    no("HOLD_CAPTURED", when=hold.state == "captured", captured=hold.captured)
    no("HOLD_VOIDED", when=hold.state == "voided")
    no("HOLD_LAPSED", when=hold.state == "lapsed" or (hold.state == "open" and hold.lapses_at <= p.now))
    captured = 0 if void else hold.points if points is None else points
    no("HOLD_EXCEEDED", when=captured > hold.points, held=hold.points, requested=captured)
    no.end()

    late = occurred_at < p.window_opened
    kind = "void" if void else "capture"
    done = pools.end_hold(
        p,
        member,
        hold,
        kind,
        captured,
        occurred_at=occurred_at,
        late=late,
        store=store_of(receipt),
        amount=amount,
    )
    if captured:
        extend(books, p.now, "redeem", partner)
    books.bring_up_to_date(p.now)
    p.claim_receipt(partner, "redeem", receipt, member, done)
    return p.conclude(member, partner, key, request, line=done, points=captured or hold.points, late=late)


def redeem_voucher(
    p: Programme,
    *,
    target: tuple[int, int] | None,
    partner: str,
    points: int | None,
    key: str,
    request: Any,
    occurred_at: datetime,
    receipt: tuple[int, int] | None = None,
    amount: int | None = None,
) -> Answer:
    """Take the points of a voucher, or some of them, once; the rest is released."""
    no = Refusals()
    p.judge_points(no, points)
    no.end()
    if target is not None and (earlier := p.replay(no, target[0], partner, key, request)):
        return earlier
    p.judge_receipt(no, partner, "redeem", receipt)
    p.judge_partner(no, partner, "returner", occurred_at, store=store_of(receipt))
    voucher = None
    if target is not None:
        p.members[target[0]].bring_up_to_date(p.now)
        voucher = hold_at(p, target)
    if target is None or voucher is None or voucher.redeem_by is None or voucher.partner != partner:
        no("VOUCHER_INVALID", when=True)
        no.end()
        raise AssertionError
    books = p.members[target[0]]
    in_time = books.journal[voucher.line].recorded_at - A_TILLS_CLOCK <= occurred_at < voucher.redeem_by
    no("VOUCHER_USED", when=voucher.state in {"captured", "voided"})
    no("VOUCHER_EXPIRED", when=voucher.state == "lapsed" or not in_time)
    taken = voucher.points if points is None else points
    no("VOUCHER_EXCEEDED", when=taken > voucher.points, good_for=voucher.points, requested=taken)
    no.end()

    late = occurred_at < p.window_opened
    done = books.end_hold(
        voucher,
        "capture",
        taken,
        p.now,
        occurred_at=occurred_at,
        late=late,
        store=store_of(receipt),
        amount=amount,
    )
    extend(books, p.now, "redeem", partner)
    books.bring_up_to_date(p.now)
    p.claim_receipt(partner, "redeem", receipt, target[0], done)
    return p.conclude(target[0], partner, key, request, line=done, points=taken, late=late)


def hold_at(p: Programme, target: tuple[int, int]) -> Hold | None:
    return next((hold for hold in p.members[target[0]].holds if hold.line == target[1]), None)
