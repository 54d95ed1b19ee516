"""What members share: partners and their terms, the clock, the window, keys, receipts; and who may do what."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from coalition.amounts import MAX_POINTS
from coalition.errors import REFUSALS

from .books import Member, Terms

ZONE = ZoneInfo("Europe/Berlin")
PRECEDENCE = [refusal.code for refusal in REFUSALS]
# A till is told so first (partners.memory); the ledger by itself asks for both at once.
PRECEDENCE.remove("OCCURRED_IN_FUTURE")
PRECEDENCE.insert(PRECEDENCE.index("OCCURRED_TOO_LONG_AGO"), "OCCURRED_IN_FUTURE")

A_TILLS_CLOCK = timedelta(minutes=5)
"""May be so far behind, or ahead."""


class Refused(Exception):
    def __init__(self, code: str, facts: Mapping[str, Any], *, held: Any = None) -> None:
        super().__init__(code)
        self.held = held
        """What waits for an operator from now on."""
        self.code = code
        self.facts = facts


def store_of(receipt: tuple[int, int] | None) -> int | None:
    """Which of two stores wrote it."""
    return None if receipt is None else receipt[0] % 2


class Refusals:
    """All that stands against a wish; `end` says what comes first in the order of precedence."""

    def __init__(self) -> None:
        self.found: list[tuple[str, Mapping[str, Any]]] = []

    def __call__(self, code: str, *, when: bool, **facts: Any) -> None:
        if when:
            self.found.append((code, facts))

    def end(self) -> None:
        if self.found:
            raise Refused(*min(self.found, key=lambda found: PRECEDENCE.index(found[0])))


@dataclass
class Partner:
    name: str
    state: str = "active"
    may_issue: bool = True
    may_redeem: bool = True
    agreements: list[Terms] = field(default_factory=list)
    stores: dict[int, tuple[date | None, date | None]] = field(default_factory=dict)
    """Those that it has published, with their first and last day; none: it posts from anywhere."""

    def sells_in(self, store: int, day: date) -> bool:
        if not self.stores:
            return True
        since, closed = self.stores.get(store, (date.max, None))
        return (since or date.min) <= day <= (closed or date.max)

    def in_force(self, day: date) -> Terms | None:
        begun = [terms for terms in self.agreements if terms.valid_from <= day]
        return max(begun, key=lambda terms: (terms.valid_from, terms.number), default=None)


@dataclass(frozen=True)
class Answer:
    """What a wish that was granted gets; the same again when it is repeated."""

    member: int
    line: int
    points: int
    balance: tuple[int, int, int, int]
    late: bool
    window: date
    recorded_at: datetime
    replayed: bool = False


@dataclass
class Adjustment:
    member: int
    points: int
    issuer: str | None
    by: str
    plan: int | None = None
    state: str = "proposed"
    decided_by: str | None = None


@dataclass
class Confirmation:
    member: int
    partner: str
    points: int
    expires_at: datetime
    used: bool = False


@dataclass
class Limits:
    consent: int = 10**9
    transfer: int = 10_000
    adjustment: int = 1_000
    late_days: int = 370
    vouchers: int = 10**9
    voucher: timedelta = timedelta(minutes=10)
    voucher_grace: timedelta = timedelta(days=1)
    hold: timedelta = timedelta(minutes=10)
    longest_hold: timedelta = timedelta(days=7)
    confirmation: timedelta = timedelta(minutes=10)


@dataclass
class Programme:
    now: datetime
    window: date
    window_opened: datetime
    limits: Limits
    members: list[Member]
    partners: dict[str, Partner]
    receipts: dict[tuple[str, str, int, int], tuple[int, int]] = field(default_factory=dict)
    answers: dict[tuple[int, str, str], tuple[Any, Answer]] = field(default_factory=dict)
    named: dict[tuple[int, str, str], int] = field(default_factory=dict)
    """By whose identifier it was asked, partner and key: with whom that one was merged, where the answer is."""
    adjustments: list[Adjustment] = field(default_factory=list)
    confirmations: list[Confirmation] = field(default_factory=list)
    rules: dict[int, Any] = field(default_factory=dict)
    """Limits that hold."""
    published: int = 0
    """How many limits were published or ended."""
    figures: Any = None
    """What stores and partners had used of them when that was derived last."""
    peaks: dict[tuple[int, str, int | None], int] = field(default_factory=dict)
    """The most of it that was ever derived."""
    reviews: list[Any] = field(default_factory=list)
    identifiers: list[Any] = field(default_factory=list)
    pools: list[Any] = field(default_factory=list)
    plans: list[dict[str, int]] = field(default_factory=list)
    """Who pays what part of a million of a lot's points."""

    def begin(self, *numbers: int) -> None:
        """Whoever is touched posts into the window that is open now."""
        for number in numbers:
            self.members[number].window = self.window

    def close_window(self) -> None:
        self.window = max(self.now.astimezone(ZONE).date(), self.window + timedelta(days=1))
        self.window_opened = self.now

    def as_of_now(self, member: int) -> Member:
        """The member as the next posting will find it."""
        books = copy.deepcopy(self.members[member])
        books.window = self.window
        books.bring_up_to_date(self.now)
        return books

    def knows(self, member: int) -> bool:
        return member < len(self.members)

    def line_of(self, member: int) -> list[int]:
        """The member, whom it was merged into, and so on."""
        line = [member]
        while (survivor := self.members[line[-1]].merged_into) is not None:
            line.append(survivor)
        return line

    def records_of(self, member: int) -> list[Member]:
        """The member's own books, and those of the records that are merged into it."""
        return [books for books in self.members if member in self.line_of(books.number)]

    # -- keys and receipts -----------------------------------------------------------------------

    def replay(self, refusals: Refusals, member: int, partner: str, key: str, request: Any) -> Answer | None:
        """The answer that this request got under this key, of the member or of one merged into it."""
        known = [
            self.answers[owner.number, partner, key]
            for owner in self.records_of(member)
            if (owner.number, partner, key) in self.answers
        ]
        # And what was asked by what they are known by while they were part of another.
        known += [
            self.answers[self.named[owner.number, partner, key], partner, key]
            for owner in self.records_of(member)
            if (owner.number, partner, key) in self.named
        ]
        for asked, answer in known:
            if asked == request:
                return answer
        refusals("IDEMPOTENCY_CONFLICT", when=bool(known))
        return None

    def conclude(
        self,
        member: int,
        partner: str,
        key: str,
        request: Any,
        *,
        identifier: int | None = None,
        **answer: Any,
    ) -> Answer:
        made = Answer(
            member=member,
            balance=self.members[member].balance,
            window=self.window,
            recorded_at=self.now,
            **answer,
        )
        remembered = Answer(**{**vars(made), "replayed": True})
        self.answers[member, partner, key] = (request, remembered)
        if identifier is not None and (holder := self.identifiers[identifier].member) != member:
            self.named[holder, partner, key] = member
        return made

    def judge_receipt(
        self, refusals: Refusals, partner: str, kind: str, receipt: tuple[int, int] | None
    ) -> None:
        """A receipt line is posted once; its next revision when all of it was taken back."""
        if receipt is None:
            return
        number, revision = receipt
        taken = (partner, kind, number, revision) in self.receipts
        refusals("RECEIPT_DUPLICATE", when=taken)
        if not taken and revision:
            before = self.receipts.get((partner, kind, number, revision - 1))
            refusals("RECEIPT_REVISION", when=before is None or not self.is_wholly_reversed(*before))

    def claim_receipt(
        self, partner: str, kind: str, receipt: tuple[int, int] | None, member: int, line: int
    ) -> None:
        if receipt is not None:
            self.receipts[partner, kind, *receipt] = (member, line)

    def reversals(self, member: int, line: int) -> list[Any]:
        return [later for later in self.members[member].journal if later.reverses == line]

    def is_wholly_reversed(self, member: int, line: int) -> bool:
        undone = self.reversals(member, line)
        return (
            bool(undone)
            and sum(later.undone for later in undone) >= self.members[member].journal[line].points
        )

    # -- who may do what -------------------------------------------------------------------------

    def judge_points(self, refusals: Refusals, points: int | None, *, least: int = 1) -> None:
        refusals("POINTS_INVALID", when=points is not None and not least <= points <= MAX_POINTS)

    def judge_member(self, refusals: Refusals, member: int) -> None:
        survivor = self.members[member].merged_into
        refusals("MEMBER_ERASED", when=self.members[member].erased)
        refusals("MEMBER_MERGED", when=survivor is not None)

    def judge_future(self, refusals: Refusals, occurred_at: datetime) -> None:
        refusals("OCCURRED_IN_FUTURE", when=occurred_at > self.now + A_TILLS_CLOCK)

    def judge_partner(
        self, refusals: Refusals, name: str, role: str, occurred_at: datetime, *, store: int | None = None
    ) -> Terms | None:
        """Whether the partner may act so, there; returns the terms that held when it occurred."""
        self.judge_future(refusals, occurred_at)
        refusals("OCCURRED_TOO_LONG_AGO", when=self.now - occurred_at > timedelta(days=self.limits.late_days))
        partner = self.partners.get(name)
        if partner is None:
            refusals("PARTNER_UNKNOWN", when=True)
            return None
        acts = partner.state == "active" or (partner.state == "leaving" and role != "issuer")
        refusals("PARTNER_NOT_ACTIVE", when=not acts, state=partner.state)
        able = {"issuer": partner.may_issue, "redeemer": partner.may_redeem, "returner": True}[role]
        refusals("PARTNER_ROLE_MISSING", when=not able)
        day = occurred_at.astimezone(ZONE).date()
        strange = store is not None and not partner.sells_in(store, day)
        refusals("STORE_UNKNOWN", when=strange, date=str(day))
        terms = partner.in_force(day)
        refusals("AGREEMENT_MISSING", when=terms is None and role != "returner")
        return terms

    def judge_consent(
        self, refusals: Refusals, member: int, partner: str, points: int, confirmation: int | None
    ) -> None:
        """What a partner may take of a member in one window, unless the member said yes to this."""
        if confirmation is not None:
            consent = self.confirmations[confirmation] if confirmation < len(self.confirmations) else None
            refusals(
                "CONFIRMATION_INVALID",
                when=consent is None
                or consent.used
                or (consent.member, consent.partner) != (member, partner)
                or consent.points < points
                or consent.expires_at <= self.now,
            )
            return
        allowed = self.allowed_unasked(member, partner)
        refusals("CONSENT_REQUIRED", when=points > allowed, allowed=allowed)

    def allowed_unasked(self, member: int, partner: str) -> int:
        """What the partner may still take of the member in the open window without the member's word."""
        taken = sum(
            line.points
            for books in self.records_of(member)
            for line in books.journal
            if (line.kind, line.partner, line.window) == ("redeem", partner, self.window)
            and not line.confirmed
        ) + sum(
            hold.points if hold.is_open(self.now) else hold.captured
            for books in self.records_of(member)
            for hold in books.holds
            if (hold.partner, hold.window) == (partner, self.window) and not hold.confirmed
        )
        return max(self.limits.consent - taken, 0)
