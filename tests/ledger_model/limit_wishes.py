"""What operators wish of limits: publish one, end one, decide on a wish that one of them held; and fresh figures."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Self
from uuid import UUID, uuid4

from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

from coalition import reviewing
from partners.limits import end_limit, refresh_figures

from . import limits
from .ledger import Ledger
from .programme import Programme
from .wishing import Wish, names, nth_of, nths, rarely

SCOPES = ("member", "card", "store", "partner")
REVIEW = text(
    "SELECT review_id FROM ledger.review WHERE member_id = :member AND partner_id = :partner AND key = :key"
)


@dataclass(frozen=True, kw_only=True)
class Limit(Wish):
    number: int
    scope: str
    posting: str
    by_points: bool
    hours: int | None
    most: int
    review: bool
    partner: str | None
    weight = 2
    names = tuple(f"Limit of a {scope}" for scope in SCOPES)
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            number=st.integers(0, 2),
            scope=st.sampled_from(SCOPES),
            posting=st.sampled_from(["issue", "redeem", "both", "both", "transfer"]),
            by_points=st.booleans(),
            hours=st.none() | st.integers(1, 50),
            most=st.integers(0, 5),
            review=st.booleans(),
            partner=rarely(names, st.none(), odds=3),
        )
    )

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return len(p.rules) < 2

    def touches(self, p: Programme) -> list[int]:  # noqa: ARG002
        return []

    def name(self, p: Programme) -> str:  # noqa: ARG002
        return f"Limit of a {self.rule().scope}"

    def rule(self) -> limits.Limit:
        of_transfers = self.posting == "transfer"
        return limits.Limit(
            self.number,
            "member" if of_transfers else self.scope,
            self.posting,
            self.by_points,
            None if self.hours is None else timedelta(hours=self.hours),
            self.most * 40 if self.by_points else self.most,
            self.review,
            None if of_transfers else self.partner,
        )

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        limits.publish(p, self.rule())

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        rule = self.rule()
        ledger.driver.limit(
            ledger.limit(self.number),
            scope=rule.scope,
            posting=rule.posting,
            measure="points" if rule.by_points else "count",
            period=rule.period,
            action="review" if rule.review else "refuse",
            most=rule.most,
            partner_id=None if rule.partner is None else ledger.partner(rule.partner),
        )


@dataclass(frozen=True, kw_only=True)
class EndLimit(Wish):
    number: int
    strategy = staticmethod(lambda cls: st.builds(cls, number=st.integers(0, 2)))

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return bool(p.rules)

    def settle(self, p: Programme) -> Self:
        return self if not p.rules else replace(self, number=sorted(p.rules)[self.number % len(p.rules)])

    def touches(self, p: Programme) -> list[int]:  # noqa: ARG002
        return []

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        limits.end(p, self.number)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        end(ledger, self.number)


@dataclass(frozen=True, kw_only=True)
class Refresh(Wish):
    """What a process that posts does every other second."""

    strategy = staticmethod(st.builds)

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return any(limit.of_figures for limit in p.rules.values())

    def touches(self, p: Programme) -> list[int]:  # noqa: ARG002
        return []

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        if self.sensible(p):
            limits.derive(p)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        def refresh(session: Session) -> bool:
            return refresh_figures(session, older_than=timedelta(0))

        assert ledger.unit(refresh) == self.sensible(p)


@dataclass(frozen=True, kw_only=True)
class Review(Wish):
    nth: int | None
    to: str
    review: int | None = None
    weight = 4
    names = ("Review released", "Review rejected")
    strategy = staticmethod(
        lambda cls: st.builds(
            cls, nth=rarely(nths, st.none()), to=st.sampled_from(["released", "released", "rejected"])
        )
    )

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return any(one.state == "waiting" for one in p.reviews)

    def name(self, p: Programme) -> str:
        return f"{super().name(p)} {self.to}"

    def settle(self, p: Programme) -> Self:
        return replace(self, nth=None, review=nth_of(self.nth, len(p.reviews)))

    def touches(self, p: Programme) -> list[int]:  # noqa: ARG002
        return []

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        limits.decide(p, review=self.review, to=self.to)

    def which(self, ledger: Ledger, p: Programme) -> tuple[int, UUID]:
        if self.review is None:
            return 0, uuid4()
        known = p.reviews[self.review]
        party = ledger.party(known.partner)
        wanted = {"member": ledger.member(known.member), "partner": party, "key": known.key}
        return known.member, ledger.unit(lambda session: session.execute(REVIEW, wanted).scalar_one())

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        member, review = self.which(ledger, p)
        act = reviewing.release if self.to == "released" else reviewing.reject
        ledger.unit(lambda session: act(session, ledger.member(member), review, by="ada"))


def end(ledger: Ledger, number: int) -> None:
    ledger.unit(lambda session: end_limit(session, code=ledger.limit(number), published_by="test"))
