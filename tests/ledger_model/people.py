"""What happens between members, and what operators do: transfers, merges, un-merges, adjustments."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import Any

from . import limits
from .books import NETWORK, Claim, Legs, Lot, Member, drawing, in_order, owing, shift
from .programme import Adjustment, Answer, Programme, Refusals


def transfer(
    p: Programme,
    *,
    member: int,
    to: int,
    points: int,
    key: str,
    request: Any,
    identifier: int | None = None,
    by: str | None = None,
) -> Answer:
    no = Refusals()
    p.judge_points(no, points)
    no("MEMBER_UNKNOWN", when=not (p.knows(member) and p.knows(to)))
    no.end()
    if earlier := p.replay(no, member, NETWORK, key, request):
        return earlier
    giver, taker = p.members[member], p.members[to]
    no("MEMBER_ERASED", when=giver.erased)
    no.end()
    no("MEMBER_UNKNOWN", when=taker.erased)
    p.judge_member(no, member)
    p.judge_member(no, to)
    no(
        "MEMBER_MERGED",
        when=identifier is not None and member not in p.line_of(p.identifiers[identifier].member),
    )
    no("TRANSFER_TO_ONESELF", when=member == to)
    no("MEMBER_BLOCKED", when=giver.blocked or taker.blocked)
    given = sum(
        line.points
        for books in p.records_of(member)
        for line in books.journal
        if (line.kind, line.window) == ("transfer_out", p.window)
    )
    allowed = max(p.limits.transfer - given, 0)
    no("TRANSFER_LIMIT_EXCEEDED", when=given + points > p.limits.transfer, allowed=allowed, requested=points)
    giver.bring_up_to_date(p.now)
    taker.bring_up_to_date(p.now)
    available = giver.balance[0]
    no("INSUFFICIENT_POINTS", when=available < points, available=available, requested=points)
    no.end()
    limits.judge(
        p, member=member, partner=NETWORK, kind="transfer_out", points=points, key=key, request=request,
        whose=None if identifier is None else p.identifiers[identifier].member,
    )  # fmt: skip

    line, _ = hand_over(p, giver, taker, "transfer", points, by=by)
    return p.conclude(
        member, NETWORK, key, request, line=line, points=points, late=False, identifier=identifier
    )


def merge(p: Programme, *, survivor: int, merged: int, key: str, request: Any, by: str) -> Answer:
    no = Refusals()
    no("MEMBER_UNKNOWN", when=not (p.knows(survivor) and p.knows(merged)))
    no.end()
    if earlier := p.replay(no, survivor, NETWORK, key, request):
        return earlier
    taker, giver = p.members[survivor], p.members[merged]
    p.judge_member(no, survivor)
    p.judge_member(no, merged)
    no("MERGE_WITH_ONESELF", when=survivor == merged)
    no.end()
    taker.bring_up_to_date(p.now)
    giver.bring_up_to_date(p.now)
    held = giver.balance[2]
    no("ALREADY_IN_POOL", when=any(merged in pool.members for pool in p.pools))
    no("MEMBER_BLOCKED", when=giver.blocked and not taker.blocked)
    no("MEMBER_HAS_HOLDS", when=held > 0, held=held)
    no.end()

    _, line = hand_over(p, giver, taker, "merge", None, by=by, pays=False)
    giver.merged_into = survivor
    points = taker.journal[line].points
    return p.conclude(survivor, NETWORK, key, request, line=line, points=points, late=False)


def unmerge(p: Programme, *, survivor: int, merged: int, key: str, request: Any, by: str) -> Answer:
    no = Refusals()
    no("MEMBER_UNKNOWN", when=not (p.knows(survivor) and p.knows(merged)))
    no.end()
    if earlier := p.replay(no, survivor, NETWORK, key, request):
        return earlier
    giver, taker = p.members[survivor], p.members[merged]
    p.judge_member(no, survivor)
    no("NOT_MERGED", when=taker.merged_into != survivor)
    no.end()
    giver.bring_up_to_date(p.now)
    came = {(survivor, lot.number) for lot in brought(giver, taker)}
    held = sum(lot.at["held"] for lot in brought(giver, taker)) + lent(p, came)
    no("MEMBER_HAS_HOLDS", when=held > 0, held=held)
    no.end()

    along = brought(giver, taker)
    line = hand_back(p, giver, taker, along, by=by)
    taker.merged_into = None
    for lot in along:
        lot.by_merge = False  # what a return brings back to it is the survivor's own from now on
    points = giver.journal[line].points
    return p.conclude(survivor, NETWORK, key, request, line=line, points=points, late=False)


def hand_over(
    p: Programme,
    giver: Member,
    taker: Member,
    kind: str,
    points: int | None,
    *,
    by: str | None = None,
    pays: bool = True,
) -> tuple[int, int]:
    """Give available points, those that expire soonest first; or all that there is, with what is owed.

    Each lot becomes a new one of the taker with the issuer, terms, maturity and expiry of the old. Returns
    the two transactions.
    """
    if points is None:
        leaving = in_order(lot for lot in giver.lots if lot.at["available"] or lot.at["pending"])
        given = [(lot, lot.at["pending"], lot.at["available"]) for lot in leaving]
        out = [
            leg for lot, *_ in given for b in ("pending", "available") for leg in shift(lot, b, "transferred")
        ]
    else:
        drawn = giver.draw(points, "transferred")
        given = [(lot, 0, taken) for lot, taken in drawn]
        out = drawing(drawn, "transferred")
    into: Legs = []
    arrived = []
    for lot, pending, available in given:
        fresh = Lot(
            number=len(taker.lots),
            issuer=lot.issuer,
            terms=lot.terms,
            line=len(taker.journal),
            matures_at=lot.matures_at,
            expires_at=lot.expires_at,
            at=Counter(pending=pending, available=available),
            plan=lot.plan,
            origin=(giver.number, lot.number),
            by_merge=kind == "merge",
            by_pool=kind == "pool",
        )
        taker.lots.append(fresh)
        if kind == "merge":
            lot.merged.append(fresh)
        arrived.append(fresh)
        owner = ("lot", fresh.number)
        into += [
            (owner, "received", -pending - available),
            (owner, "pending", pending),
            (owner, "available", available),
        ]
    if points is None:
        owed = [claim for claim in giver.claims if claim.open]
        _owe_instead(
            giver, taker, owed, out, into, brought_by=lambda claim: (*claim.brought_by, giver.number)
        )
    moved = sum(pending + available for _, pending, available in given)
    # Who did it is said by the side that has the key.
    gave, took = (by, None) if kind == "transfer" else (None, by)
    left = giver.record(f"{kind}_out", moved, out, p.now, other=taker.number, by=gave)
    came = taker.record(f"{kind}_in", moved, into, p.now, other=giver.number, by=took)
    if kind != "pool" and pays:  # what comes for a purchase pays nothing else
        taker.pay({lot: lot.at["available"] for lot in arrived}, p.now)
    return left, came


def lent(p: Programme, lots: set[tuple[int, int]]) -> int:
    """What others of a pool hold of these lots."""
    return sum(
        lot.at["held"] for books in p.members for lot in books.lots if lot.by_pool and lot.origin in lots
    )


def brought(survivor: Member, merged: Member) -> list[Lot]:
    """What came along in a merge with that member."""
    return [lot for lot in survivor.lots if lot.by_merge and lot.origin and lot.origin[0] == merged.number]


def hand_back(
    p: Programme,
    giver: Member,
    taker: Member,
    lots: list[Lot],
    *,
    with_claims: bool = True,
    by: str | None = None,
) -> int:
    """Give what is left of those lots back to the very lots they came from."""
    out: Legs = []
    into: Legs = []
    moved = 0
    for lot in in_order(lot for lot in lots if lot.at["available"] or lot.at["pending"]):
        assert lot.origin
        origin = taker.lots[lot.origin[1]]
        for bucket in ("pending", "available"):
            points = lot.at[bucket]
            out += shift(lot, bucket, "transferred")
            into += shift(origin, "transferred", bucket, points)
            moved += points
        origin.expires_at = lot.expires_at
    if with_claims:
        back = [claim for claim in giver.claims if claim.open and claim.brought_by[-1:] == (taker.number,)]
        _owe_instead(giver, taker, back, out, into, brought_by=lambda claim: claim.brought_by[:-1])
    left = giver.record("unmerge_out", moved, out, p.now, other=taker.number, by=by)
    taker.record("unmerge_in", moved, into, p.now, other=giver.number)
    return left


def _owe_instead(
    giver: Member,
    taker: Member,
    claims: list[Claim],
    out: Legs,
    into: Legs,
    *,
    brought_by: Callable[[Claim], tuple[int, ...]],
) -> None:
    for claim in claims:
        fresh = Claim(
            len(taker.claims),
            claim.claimant,
            claim.terms,
            None,
            claim.open,
            claim.open,
            origin=(giver.number, claim.number),
            brought_by=brought_by(claim),
        )
        taker.claims.append(fresh)
        out += owing(claim, -claim.open)
        into += owing(fresh, claim.open)
        claim.open = 0


def bring_back(p: Programme, path: list[int], lot: Lot) -> int:
    """What is left of an issue's points comes back along the line of merges, from the last to the first.

    Returns how many of them are held there, and stay.
    """
    held = 0
    for step in range(len(path) - 1, 0, -1):
        trail = [lot]
        for lower, upper in pairwise(path[: step + 1]):
            sources = {(lower, one.number) for one in trail}
            trail = [one for one in p.members[upper].lots if one.by_merge and one.origin in sources]
        held += sum(one.at["held"] for one in trail)
        if any(one.at["available"] or one.at["pending"] for one in trail):
            hand_back(p, p.members[path[step]], p.members[path[step - 1]], trail, with_claims=False)
    return held


def go_on(p: Programme, path: list[int], *, pays: bool = True) -> None:
    """What members of a line of merges have goes to the survivor again, who may have had it before."""
    for lower, upper in pairwise(path):
        available, pending, _, owed = p.members[lower].balance
        if available or pending or owed:
            hand_over(p, p.members[lower], p.members[upper], "merge", None, pays=pays)


# -- what operators adjust -----------------------------------------------------------------------


def propose(
    p: Programme, *, member: int, points: int, issuer: str | None, by: str, plan: int | None = None
) -> None:
    no = Refusals()
    no("POINTS_INVALID", when=points == 0)
    no("MEMBER_UNKNOWN", when=not p.knows(member))
    no("MEMBER_ERASED", when=p.knows(member) and p.members[member].erased)
    no("PARTNER_UNKNOWN", when=issuer is not None and issuer not in p.partners)
    no.end()
    p.adjustments.append(Adjustment(member, points, issuer, by, plan))


def post_adjustment(p: Programme, *, adjustment: int | None, by: str, expires_at: datetime | None) -> Answer:
    from . import tills  # noqa: PLC0415 - what is given is an issue

    no = Refusals()
    no("ADJUSTMENT_UNKNOWN", when=adjustment is None)
    no.end()
    assert adjustment is not None
    wanted = p.adjustments[adjustment]
    second = None if by == wanted.by else by
    decided = wanted.state == "rejected" or (wanted.state == "posted" and wanted.decided_by != second)
    no("ADJUSTMENT_DECIDED", when=decided, state=wanted.state)
    alone = wanted.state == "proposed" and second is None and abs(wanted.points) > p.limits.adjustment
    no("SECOND_PERSON_NEEDED", when=alone)
    no.end()
    key = f"adjustment {adjustment}"
    if wanted.points > 0:
        assert wanted.issuer
        answer = tills.issue(
            p,
            member=wanted.member,
            partner=wanted.issuer,
            points=wanted.points,
            key=key,
            request=key,
            matures_at=None,
            expires_at=expires_at,
            kind="adjust_in",
            plan=wanted.plan,
        )
    else:
        answer = _take_away(p, wanted, key)
    if not answer.replayed:
        wanted.state, wanted.decided_by = "posted", second
    return answer


def _take_away(p: Programme, wanted: Adjustment, key: str) -> Answer:
    no = Refusals()
    if earlier := p.replay(no, wanted.member, NETWORK, key, key):
        return earlier
    books = p.members[wanted.member]
    p.judge_member(no, wanted.member)
    books.bring_up_to_date(p.now)
    points = -wanted.points
    available = books.balance[0]
    no("INSUFFICIENT_POINTS", when=available < points, available=available, requested=points)
    no.end()
    legs = drawing(books.draw(points, "reversed"), "reversed")
    line = books.record("adjust_out", points, legs, p.now)
    return p.conclude(wanted.member, NETWORK, key, key, line=line, points=points, late=False)


def reject_adjustment(p: Programme, *, adjustment: int | None, by: str) -> None:
    no = Refusals()
    no("ADJUSTMENT_UNKNOWN", when=adjustment is None)
    no.end()
    assert adjustment is not None
    wanted = p.adjustments[adjustment]
    no("ADJUSTMENT_DECIDED", when=wanted.state == "posted", state="posted")
    no.end()
    if wanted.state == "proposed":
        wanted.state, wanted.decided_by = "rejected", by
