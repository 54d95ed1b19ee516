"""What partners' tills do at once: issue and redeem; or set aside, for what `holds` does."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from . import identifiers, limits, pools
from .books import Hold, Legs, Lot, drawing
from .lasting import extend
from .programme import Answer, Programme, Refusals, store_of

A_VOUCHERS_LONGEST = timedelta(hours=1)


def issue(
    p: Programme,
    *,
    member: int,
    partner: str,
    points: int,
    key: str,
    request: Any,
    matures_at: datetime | None,
    expires_at: datetime | None,
    receipt: tuple[int, int] | None = None,
    occurred_at: datetime | None = None,
    amount: int | None = None,
    kind: str = "issue",
    identifier: int | None = None,
    plan: int | None = None,
) -> Answer:
    no = Refusals()
    p.judge_points(no, points, least=1 if amount is None else 0)
    no("MEMBER_UNKNOWN", when=not p.knows(member))
    no.end()
    if earlier := p.replay(no, member, partner, key, request):
        return earlier
    books = p.members[member]
    occurred_at = occurred_at or p.now
    p.judge_member(no, member)
    p.judge_receipt(no, partner, "issue", receipt)
    terms = p.judge_partner(no, partner, "issuer", occurred_at, store=store_of(receipt))
    no("FUNDING_PLAN_UNKNOWN", when=plan is not None and plan >= len(p.plans))
    no("MEMBER_BLOCKED", when=books.blocked)
    identifiers.judge_named(p, no, member, identifier)
    no.end()
    assert terms is not None
    if kind == "issue":
        limits.judge(
            p,
            member=member,
            partner=partner,
            kind=kind,
            points=points,
            key=key,
            request=request,
            card=identifiers.card_of(p, identifier),
            store=store_of(receipt),
            whose=None if identifier is None else p.identifiers[identifier].member,
        )

    books.bring_up_to_date(p.now)
    extend(books, p.now, "issue", partner)
    matured = matures_at is None or matures_at <= p.now
    legs: Legs = []
    lots = []
    if points:
        bucket = "available" if matured else "pending"
        lot = Lot(
            number=len(books.lots),
            issuer=partner,
            terms=terms,
            line=len(books.journal),
            matures_at=matures_at,
            expires_at=expires_at,
            at=Counter({bucket: points}),
            plan=plan,
        )
        books.lots.append(lot)
        lots.append(lot)
        legs = [(("lot", lot.number), "issued", -points), (("lot", lot.number), bucket, points)]
    late = occurred_at < p.window_opened
    line = books.record(
        kind,
        points,
        legs,
        p.now,
        partner=partner,
        occurred_at=occurred_at,
        late=late,
        amount=amount,
        card=identifiers.card_of(p, identifier),
        store=store_of(receipt),
    )
    if matured:
        books.pay({lot: lot.at["available"] for lot in lots}, p.now)
    books.bring_up_to_date(p.now)
    p.claim_receipt(partner, "issue", receipt, member, line)
    return p.conclude(
        member, partner, key, request, line=line, points=points, late=late, identifier=identifier
    )


def redeem(
    p: Programme,
    *,
    member: int,
    partner: str,
    points: int,
    key: str,
    request: Any,
    receipt: tuple[int, int] | None = None,
    occurred_at: datetime | None = None,
    confirmation: int | None = None,
    lasting: Any = None,
    from_pool: bool = False,
    voucher: timedelta | None = None,
    identifier: int | None = None,
    amount: int | None = None,
) -> Answer:
    """Spend points; or, where `lasting` says for how long, set them aside: for a voucher that is good so long."""
    setting_aside = lasting is not None
    no = Refusals()
    p.judge_points(no, points)
    no(
        "HOLD_TIME_INVALID",
        when=setting_aside
        and voucher is None
        and not 1 <= lasting.total_seconds() <= p.limits.longest_hold.total_seconds(),
    )
    no("MEMBER_UNKNOWN", when=not p.knows(member))
    no.end()
    if from_pool:
        pools.enter(p, member)
    if earlier := p.replay(no, member, partner, key, request):
        return earlier
    books = p.members[member]
    occurred_at = occurred_at or p.now
    p.judge_member(no, member)
    p.judge_receipt(no, partner, "redeem", receipt)
    p.judge_partner(no, partner, "redeemer", occurred_at, store=store_of(receipt))
    if from_pool:
        pools.judge_spender(p, no, member)
    no("MEMBER_BLOCKED", when=books.blocked)
    identifiers.judge_named(p, no, member, identifier)
    books.bring_up_to_date(p.now)
    if voucher is None:
        p.judge_consent(no, member, partner, points, confirmation)
    else:
        out = sum(hold.points for hold in books.holds if hold.redeem_by and hold.state == "open")
        room = max(p.limits.vouchers - out, 0)
        no("VOUCHER_LIMIT_EXCEEDED", when=points > room, allowed=room, requested=points)
    said_yes = voucher is not None or confirmation is not None
    pooled = from_pool and pools.draw_on_pool(p, no, member, points)
    available = books.balance[0]
    no("INSUFFICIENT_POINTS", when=available < points, available=available, requested=points)
    no.end()
    kind = "authorize" if setting_aside else "redeem"
    card = identifiers.card_of(p, identifier)
    limits.judge(
        p,
        member=member,
        partner=partner,
        kind=kind,
        points=points,
        key=key,
        request=request,
        card=card,
        store=store_of(receipt),
        whose=None if identifier is None else p.identifiers[identifier].member,
    )

    drawn = books.draw(points, "held" if setting_aside else "burned")
    if not setting_aside:
        extend(books, p.now, "redeem", partner)
    late = occurred_at < p.window_opened
    line = books.record(
        kind,
        points,
        drawing(drawn, "held" if setting_aside else "burned"),
        p.now,
        partner=partner,
        occurred_at=occurred_at,
        late=late,
        amount=amount,
        confirmed=said_yes,
        card=card,
        store=store_of(receipt),
    )
    if setting_aside:
        parts = tuple((lot.number, taken) for lot, taken in drawn)
        books.holds.append(
            Hold(
                line,
                partner,
                points,
                parts,
                p.window,
                p.now + lasting,
                said_yes,
                redeem_by=None if voucher is None else p.now + voucher,
                pooled=pooled,
            )
        )
    if confirmation is not None:
        p.confirmations[confirmation].used = True
    p.claim_receipt(partner, "redeem", receipt, member, line)
    return p.conclude(
        member, partner, key, request, line=line, points=points, late=late, identifier=identifier
    )


def give_voucher(
    p: Programme, *, member: int, partner: str, points: int, key: str, request: Any, good_for: timedelta
) -> Answer:
    """The member's own word for a partner: held while it is good, and for the programme's grace after that."""
    no = Refusals()
    p.judge_points(no, points)
    no("HOLD_TIME_INVALID", when=not 1 <= good_for.total_seconds() <= A_VOUCHERS_LONGEST.total_seconds())
    no.end()
    return redeem(
        p,
        member=member,
        partner=partner,
        points=points,
        key=f"voucher:\u00a0{key}",  # the member's, beside the partner's own
        request=request,
        lasting=good_for + p.limits.voucher_grace,
        voucher=good_for,
    )
