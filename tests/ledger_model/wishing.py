"""Each operation as a value: what the model expects of it, how the ledger is asked for it, how one is made up.

A wish that names an earlier transaction, hold, adjustment or confirmation names it by `nth`, counted from the
last; `settle` finds it, so that the same wish can be asked again later.
"""

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from hypothesis import strategies as st

from coalition.errors import CoalitionError
from coalition.ledger import Posting

from .ledger import PARTNERS, Ledger
from .programme import ZONE, Answer, Programme, Refused

Ref = tuple[int, int]


@dataclass(frozen=True)
class Told:
    """What a question is answered with, in the model's words."""

    what: Any


Expected = Answer | list[Answer | Refused] | Told | None
Got = Posting | list[Posting | CoalitionError] | Told | None


def rarely(usual: Any, odd: Any, *, odds: int = 20) -> Any:
    return st.integers(1, odds).flatmap(lambda roll: odd if roll == odds else usual)


amounts = st.integers(1, 200)
whom = rarely(st.integers(0, 3), st.just(4), odds=8)  # who begins with nothing
names = st.sampled_from(sorted(PARTNERS))
nths = st.integers(0, 8)
days = st.none() | st.integers(1, 12)
receipts = rarely(st.none(), st.tuples(st.integers(1, 4), st.sampled_from([0, 0, 1, 2])), odds=4)
money = st.none() | st.integers(1, 50)  # that points stand for
ago = rarely(st.none(), st.integers(0, 7), odds=5)
ahead = rarely(st.none(), st.integers(1, 8))  # minutes; a till's clock may be five ahead


shares = st.integers(1, 10) | st.none() | st.just(11)  # tenths of what there is, or more than that
NOBODY = 99
NO_PLAN = 99
somebody = rarely(whom, st.just(NOBODY))
some = rarely(amounts, st.sampled_from([0, -5, 10**9 + 1, 100_000]))
someone = rarely(names, st.just("nobody"))


@dataclass(frozen=True, kw_only=True)
class Wish:
    strategy: ClassVar[Any]
    weight: ClassVar[int] = 1
    """How often it is asked, against the others."""
    enters: ClassVar[bool] = False
    """Whether it enters the window, as all that may post something does."""

    names: ClassVar[tuple[str, ...]]
    """What of it is to be reached."""

    def __init_subclass__(cls) -> None:
        if "names" not in cls.__dict__:
            cls.names = (cls.__name__, *cls.__dict__.get("variants", ()))

    @classmethod
    def sensible(cls, p: Programme) -> bool:  # noqa: ARG003
        """Whether there is something to ask it for."""
        return True

    def settle(self, p: Programme) -> Self:  # noqa: ARG002
        return self

    def name(self, p: Programme) -> str:  # noqa: ARG002
        """What of it was reached, where it was granted."""
        return type(self).__name__

    def touches(self, p: Programme) -> list[int]:
        """The members whose books it may change."""
        raise NotImplementedError

    def expect(self, p: Programme, key: str) -> Expected:
        raise NotImplementedError

    def ask(self, ledger: Ledger, p: Programme, key: str) -> Got:
        """`p` is the model before the wish: it tells the time and the terms that the caller prices by."""
        raise NotImplementedError

    @property
    def request(self) -> dict[str, object]:
        """What the key stands for. Not the member: one who was merged is named by another id; nor its word."""
        return {name: value for name, value in asdict(self).items() if name not in {"member", "confirmation"}}


@dataclass(frozen=True, kw_only=True)
class ByPartner(Wish):
    """Of one member, by a partner, perhaps late."""

    enters = True
    member: int
    partner: str
    points: int
    receipt: tuple[int, int] | None = None
    days_ago: int | None = None
    ahead: int | None = None
    """Minutes that the till's clock runs ahead."""
    share: int | None = None
    """Tenths of what the member can spend, in place of points."""
    nth_identifier: int | None = None
    identifier: int | None = None

    def settle(self, p: Programme) -> Self:
        wish = self
        if (known := nth_of(self.nth_identifier, len(p.identifiers))) is not None:
            member = p.line_of(p.identifiers[known].member)[-1]
            wish = replace(self, nth_identifier=None, identifier=known, member=member)
        if wish.share is None or not p.knows(wish.member):
            return replace(wish, nth_identifier=None, share=None)
        points = part_of(wish.share, p.as_of_now(wish.member).balance[0])
        return replace(wish, nth_identifier=None, share=None, points=points)

    def touches(self, p: Programme) -> list[int]:
        return [self.member] if p.knows(self.member) else []

    def occurred_at(self, p: Programme) -> datetime:
        return p.now + timedelta(days=-(self.days_ago or 0), minutes=self.ahead or 0)

    def asked(self, ledger: Ledger, p: Programme, key: str) -> dict[str, Any]:
        partner = p.partners.get(self.partner)
        terms = partner and partner.in_force(self.occurred_at(p).astimezone(ZONE).date())
        return {
            "by": ledger.partner(self.partner),
            "key": key,
            "request": self.request,
            "agreement_id": ledger.agreement(terms),
            "occurred_at": self.occurred_at(p) if self.days_ago or self.ahead else None,
            "identifier_id": None if self.identifier is None else ledger.identifiers[self.identifier],
        }

    def expected(self, p: Programme, key: str) -> dict[str, Any]:
        return {
            "member": self.member,
            "partner": self.partner,
            "points": self.points,
            "key": key,
            "request": self.request,
            "occurred_at": self.occurred_at(p),
            "identifier": self.identifier,
        }


@dataclass(frozen=True, kw_only=True)
class OfEarlier(Wish):
    """About a transaction that was posted before; by who posted it, or by another."""

    enters = True
    nth: int | None = None
    by: str | None = None
    target: Ref | None = None
    points: int | None = None
    share: int | None = None
    """Tenths of what was posted, in place of points."""
    days_ago: int | None = None
    ahead: int | None = None
    """Minutes that the till's clock runs ahead."""
    kinds: ClassVar[frozenset[str]]

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return any(line.kind in cls.kinds for member in p.members for line in member.journal)

    def settle(self, p: Programme) -> Self:
        if self.target is not None:
            return self
        found = [
            (answer.member, answer.line)
            for _, answer in p.answers.values()
            if p.members[answer.member].journal[answer.line].kind in self.kinds
            and self.fits(p, (answer.member, answer.line))
        ]
        nth = nth_of(self.nth, len(found))
        if nth is None or not found:
            return replace(self, nth=None, share=None, by=self.by or "hard")
        member, line = found[nth]
        done = p.members[member].journal[line]
        points = self.points if self.share is None else part_of(self.share, done.points)
        by = self.by or (done.partner if done.partner in PARTNERS else "hard")
        return replace(self, nth=None, share=None, target=found[nth], by=by, points=points)

    def fits(self, p: Programme, target: Ref) -> bool:  # noqa: ARG002
        """Whether it is one of those, beyond its kind."""
        return True

    def touches(self, p: Programme) -> list[int]:
        return p.line_of(self.target[0]) if self.target else []

    def occurred_at(self, p: Programme) -> datetime:
        return p.now + timedelta(days=-(self.days_ago or 0), minutes=self.ahead or 0)

    def expected(self, p: Programme, key: str) -> dict[str, Any]:
        return {
            "target": self.target,
            "partner": self.by,
            "points": self.points,
            "key": key,
            "request": self.request,
            "occurred_at": self.occurred_at(p),
        }


def nth_of(nth: int | None, count: int) -> int | None:
    """The nth from the last; beyond the first it begins again."""
    return None if nth is None or not count else count - 1 - nth % count


def part_of(tenths: int, points: int) -> int:
    return points + 1 if tenths > 10 else max(1, points * tenths // 10)
