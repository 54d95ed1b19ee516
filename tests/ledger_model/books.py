"""One member's books: lots, claims, holds and a journal, and what moves points between them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

NETWORK = "network"
NEVER = datetime.max.replace(tzinfo=UTC)

Owner = tuple[str, int]
"""A lot or a claim of the member, by its number."""
Legs = list[tuple[Owner, str, int]]


@dataclass(frozen=True)
class Terms:
    """An agreement of an issuer."""

    number: int
    valid_from: Any
    policy: str
    grace: timedelta
    activity: str | None = None
    """What keeps points alive that lapse by inactivity: "issue", "redeem" or "any"."""
    at_issuer: bool = False

    @property
    def months(self) -> int:
        """How long points live: after their issue, or after the last activity."""
        return 12 if self.activity is None else 1


@dataclass(eq=False)
class Lot:
    number: int
    issuer: str
    terms: Terms
    line: int
    """The transaction of this member that made it."""
    matures_at: datetime | None
    expires_at: datetime | None
    at: Counter[str]
    plan: int | None = None
    """Who pays for it; None: its issuer alone."""
    origin: tuple[int, int] | None = None
    """The member and lot that its points came from."""
    by_merge: bool = False
    by_pool: bool = False
    recalled: int = 0
    merged: list["Lot"] = field(default_factory=list)
    """What merges made of it, at those who had it then."""

    def gone_since_merged(self) -> int:
        """What nobody has had of it: it expired, or was taken, where a merge had brought it."""
        return sum(lot.at["expired"] + lot.at["reversed"] + lot.gone_since_merged() for lot in self.merged)


@dataclass(eq=False)
class Claim:
    number: int
    claimant: str
    terms: Terms
    lot: int | None
    """The lot whose issue was reversed; None where the claim came along in a merge."""
    points: int
    open: int
    origin: tuple[int, int] | None = None
    brought_by: tuple[int, ...] = ()
    """Through whose merges it came, one into the other; an un-merge takes the last away."""


@dataclass(eq=False)
class Hold:
    line: int
    partner: str
    points: int
    parts: tuple[tuple[int, int], ...]
    """Lot and points, in the order in which they were set aside."""
    window: Any
    lapses_at: datetime
    confirmed: bool
    state: str = "open"
    captured: int = 0
    redeem_by: datetime | None = None
    """Until when it was good, of a voucher."""
    pooled: bool = False
    """Some of its points are others'."""

    def is_open(self, now: datetime) -> bool:
        """Whether it can still be captured."""
        return self.state == "open" and self.lapses_at > now


@dataclass(frozen=True)
class Line:
    """A transaction of the journal."""

    kind: str
    partner: str
    points: int
    legs: Mapping[tuple[Owner, str], int]
    balance: tuple[int, int, int, int]
    window: Any
    recorded_at: datetime
    occurred_at: datetime
    late: bool = False
    amount: int | None = None
    reverses: int | None = None
    undone: int | None = None
    hold: int | None = None
    other: int | None = None
    """The member on the other side."""
    confirmed: bool = False
    card: int | None = None
    store: int | None = None
    by: str | None = None
    """Who of the operator's did it."""

    def __deepcopy__(self, _: Any) -> "Line":
        return self  # written once


@dataclass(eq=False)
class Member:
    number: int
    window: Any = None
    """The window that is open; the programme tells."""
    lots: list[Lot] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    journal: list[Line] = field(default_factory=list)
    blocked: bool = False
    erased: bool = False
    merged_into: int | None = None
    profile: dict[str, str] = field(default_factory=dict)
    """What it says of itself."""

    def total(self, bucket: str) -> int:
        return sum(lot.at[bucket] for lot in self.lots)

    @property
    def balance(self) -> tuple[int, int, int, int]:
        """Available, pending, held, and what is owed."""
        owed = sum(claim.open for claim in self.claims)
        return self.total("available"), self.total("pending"), self.total("held"), owed

    def spendable(self) -> list[Lot]:
        """Soonest expiry first, then the lot that the member got first."""
        return in_order(lot for lot in self.lots if lot.at["available"])

    def record(
        self, kind: str, points: int, legs: Legs, now: datetime, *, partner: str = NETWORK, **more: Any
    ) -> int:
        """Write a transaction down; returns its place in the journal."""
        sums: Counter[tuple[Owner, str]] = Counter()
        for owner, bucket, moved in legs:
            sums[owner, bucket] += moved
        assert sum(sums.values()) == 0, "points were made or lost"
        more.setdefault("occurred_at", now)
        self.journal.append(
            Line(
                kind=kind,
                partner=partner,
                points=points,
                legs={where: moved for where, moved in sums.items() if moved},
                balance=self.balance,
                window=self.window,
                recorded_at=now,
                **more,
            )
        )
        return len(self.journal) - 1

    def draw(self, points: int, bucket: str, most: Mapping[Lot, int] | None = None) -> list[tuple[Lot, int]]:
        """Move available points to a bucket, in the order in which points are spent; of each so many."""
        drawn = []
        for lot in self.spendable():
            take = min(points, lot.at["available"] if most is None else most.get(lot, 0))
            if take:
                shift(lot, "available", bucket, take)
                drawn.append((lot, take))
                points -= take
        assert points == 0, "drawn more than there was"
        return drawn

    def claim(self, lot: Lot, missing: int, terms: Terms) -> Legs:
        """What a reversal could not get back is owed to the issuer, under the policy that says so."""
        claimed_before = sum(claim.points for claim in self.claims if claim.lot == lot.number)
        spent = lot.at["burned"] + lot.at["transferred"] - lot.gone_since_merged()
        points = min(missing, spent - claimed_before)
        if lot.terms.policy != "unlimited" or points <= 0:
            return []
        self.claims.append(Claim(len(self.claims), lot.issuer, terms, lot.number, points, points))
        return owing(self.claims[-1], points)

    def pay(self, fresh: Mapping[Lot, int], now: datetime) -> None:
        """Points that became available pay what is owed: the oldest claim first, each a redemption there."""
        left = Counter(fresh)
        for claim in self.claims:
            paid = min(claim.open, left.total())
            if paid:
                drawn = self.draw(paid, "burned", left)
                left -= Counter(dict(drawn))
                claim.open -= paid
                legs = drawing(drawn, "burned") + owing(claim, -paid)
                self.record("recovery", paid, legs, now, partner=claim.claimant)

    def bring_up_to_date(self, now: datetime) -> int:
        """Post what has matured, lapsed or expired by now. Returns how many transactions that made."""
        before = len(self.journal)
        due = [lot for lot in self.lots if lot.at["pending"] and (lot.matures_at or NEVER) <= now]
        if due:
            legs = [leg for lot in due for leg in shift(lot, "pending", "available")]
            fresh = sum(moved for _, bucket, moved in legs if bucket == "available")
            self.record("mature", fresh, legs, now)
            self.pay({lot: lot.at["available"] for lot in due}, now)
        # One with points of others lapses where those are at hand, too.
        dying = [
            hold for hold in self.holds if hold.state == "open" and hold.lapses_at <= now and not hold.pooled
        ]
        for hold in sorted(dying, key=lambda hold: (hold.lapses_at, hold.line)):
            self.end_hold(hold, "lapse", 0, now)
        gone = [lot for lot in self.lots if lot.at["available"] and (lot.expires_at or NEVER) <= now]
        if gone:
            legs = [leg for lot in gone for leg in shift(lot, "available", "expired")]
            self.record("expire", sum(p for _, b, p in legs if b == "expired"), legs, now)
        return len(self.journal) - before

    def end_hold(
        self,
        hold: Hold,
        kind: str,
        captured: int,
        now: datetime,
        *,
        back: Callable[[], None] | None = None,
        **more: Any,
    ) -> int:
        """Burn so many of the points that were set aside first, and let the others go to their lots.

        `back` says what becomes of those that were not the member's.
        """
        rest = captured
        legs: Legs = []
        recalls = []
        for number, points in hold.parts:
            lot = self.lots[number]
            burnt = min(rest, points)
            rest -= burnt
            legs += shift(lot, "held", "burned", burnt) + shift(lot, "held", "available", points - burnt)
            recalls.append((lot, lot.recalled, min(lot.recalled, points - burnt)))
            lot.recalled = min(lot.recalled - recalls[-1][2], lot.at["held"])
        hold.state = {"capture": "captured", "void": "voided", "lapse": "lapsed"}[kind]
        hold.captured = captured
        line = self.record(
            kind,
            captured or hold.points,
            legs,
            now,
            partner=NETWORK if kind == "lapse" else hold.partner,
            hold=hold.line,
            **more,
        )
        if back is not None:
            back()
        for lot, wanted, released in recalls:
            # What was released of it leaves now; what was captured and nobody holds any more is missing.
            missing = wanted - released - lot.recalled
            legs = shift(lot, "available", "reversed", released)
            legs += self.claim(lot, missing, lot.terms)
            if released or missing:
                self.record(
                    "reverse_issue", released, legs, now, partner=lot.issuer, reverses=lot.line, undone=0
                )
        return line


def in_order(lots: Iterable[Lot]) -> list[Lot]:
    return sorted(lots, key=lambda lot: (lot.expires_at or NEVER, lot.number))


def shift(lot: Lot, source: str, target: str, points: int | None = None) -> Legs:
    """Move points of a lot, all that are there where none are named, and say so in two legs."""
    points = lot.at[source] if points is None else points
    lot.at[source] -= points
    lot.at[target] += points
    assert lot.at[source] >= 0, "a bucket below zero"
    return [(("lot", lot.number), source, -points), (("lot", lot.number), target, points)]


def drawing(drawn: Iterable[tuple[Lot, int]], bucket: str) -> Legs:
    return [
        leg
        for lot, points in drawn
        for leg in ((("lot", lot.number), "available", -points), (("lot", lot.number), bucket, points))
    ]


def owing(claim: Claim, points: int) -> Legs:
    """The legs of a claim that grew by so many points."""
    owner = ("claim", claim.number)
    return [(owner, "available", -points), (owner, "reversed", points)]
