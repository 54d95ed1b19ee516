"""What members and operators wish of members: transfers, merges, adjustments."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

from hypothesis import strategies as st

from coalition import adjusting
from coalition.adjusting import AdjustmentReason, ProposeAdjustment
from coalition.amounts import Points
from coalition.erasing import erase_member
from coalition.ledger import Posting

from . import lasting, people
from .ledger import Ledger
from .programme import ZONE, Answer, Programme
from .wishing import (
    NOBODY,
    Wish,
    days,
    nth_of,
    nths,
    part_of,
    rarely,
    shares,
    some,
    somebody,
    someone,
)


def operator(p: Programme) -> str:
    """Another one at every moment, so that who asks again is not who did it."""
    return f"on duty at {p.now}"


@dataclass(frozen=True, kw_only=True)
class Transfer(Wish):
    enters = True
    member: int
    to: int
    points: int
    share: int | None = None
    nth_identifier: int | None = None
    identifier: int | None = None
    """By which the giver was named: its own, or that of a record which is merged into it."""
    weight = 2
    strategy = staticmethod(
        lambda cls: st.builds(
            cls, member=somebody, to=somebody, points=some, share=shares, nth_identifier=st.none() | nths
        )
    )

    def settle(self, p: Programme) -> Self:
        wish = replace(self, share=None, nth_identifier=None)
        if (named := nth_of(self.nth_identifier, len(p.identifiers))) is not None:
            wish = replace(wish, identifier=named, member=p.line_of(p.identifiers[named].member)[-1])
        if self.share is None or not p.knows(wish.member):
            return wish
        return replace(wish, points=part_of(self.share, p.as_of_now(wish.member).balance[0]))

    def touches(self, p: Programme) -> list[int]:
        return [number for number in (self.member, self.to) if p.knows(number)]

    def expect(self, p: Programme, key: str) -> Answer:
        request = {"to": self.to, "points": self.points}
        return people.transfer(
            p,
            member=self.member,
            to=self.to,
            points=self.points,
            key=key,
            request=request,
            identifier=self.identifier,
            by=self._by(p),
        )

    def _by(self, p: Programme) -> str | None:
        """The operator names the giver; who gives by itself does not."""
        return None if self.identifier is None else operator(p)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> Posting:
        giver, taker = ledger.member(self.member), ledger.member(self.to)
        holder = None if self.identifier is None else ledger.member(p.identifiers[self.identifier].member)
        return ledger.driver.transfer(giver, self.points, to=taker, key=key, holder=holder, by=self._by(p))


@dataclass(frozen=True, kw_only=True)
class Merge(Wish):
    enters = True
    survivor: int
    merged: int
    strategy = staticmethod(lambda cls: st.builds(cls, survivor=somebody, merged=somebody))

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return sum(member.merged_into is not None for member in p.members) < 2

    def touches(self, p: Programme) -> list[int]:
        return [number for number in (self.survivor, self.merged) if p.knows(number)]

    def expect(self, p: Programme, key: str) -> Answer:
        request = ("merge", self.merged)
        return people.merge(
            p, survivor=self.survivor, merged=self.merged, key=key, request=request, by=operator(p)
        )

    def ask(self, ledger: Ledger, p: Programme, key: str) -> Posting:
        survivor, merged = ledger.member(self.survivor), ledger.member(self.merged)
        return ledger.driver.merge(survivor, merged, key=key, by=operator(p))


@dataclass(frozen=True, kw_only=True)
class Unmerge(Merge):
    nth: int | None = None
    strategy = staticmethod(
        lambda cls: st.builds(
            cls, survivor=somebody, merged=somebody, nth=rarely(st.integers(0, 3), st.none())
        )
    )
    weight = 2

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return any(member.merged_into is not None for member in p.members)

    def settle(self, p: Programme) -> Self:
        merged = [member for member in p.members if member.merged_into is not None]
        nth = nth_of(self.nth, len(merged))
        if nth is None or not merged:
            return replace(self, nth=None)
        survivor = merged[nth].merged_into
        assert survivor is not None
        return replace(self, nth=None, survivor=survivor, merged=merged[nth].number)

    def expect(self, p: Programme, key: str) -> Answer:
        request = ("unmerge", self.merged)
        return people.unmerge(
            p, survivor=self.survivor, merged=self.merged, key=key, request=request, by=operator(p)
        )

    def ask(self, ledger: Ledger, p: Programme, key: str) -> Posting:
        survivor, merged = ledger.member(self.survivor), ledger.member(self.merged)
        return ledger.driver.unmerge(survivor, merged, key=key, by=operator(p))


@dataclass(frozen=True, kw_only=True)
class Propose(Wish):
    member: int
    points: int
    issuer: str
    by: str
    nth_plan: int | None = None
    plan: int | None = None
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            member=somebody,
            points=rarely(st.integers(-150, 150), st.just(0)),
            issuer=someone,
            by=st.sampled_from(["ada", "grace"]),
            nth_plan=st.none() | nths,
        )
    )

    def settle(self, p: Programme) -> Self:
        plan = nth_of(self.nth_plan, len(p.plans)) if self.points > 0 else None
        return replace(self, nth_plan=None, plan=plan)

    def touches(self, p: Programme) -> list[int]:
        return [self.member] if p.knows(self.member) else []

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        issuer = self.issuer if self.points > 0 else None
        people.propose(p, member=self.member, points=self.points, issuer=issuer, by=self.by, plan=self.plan)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        wish = ProposeAdjustment(
            member_id=ledger.member(self.member),
            points=Points(self.points),
            reason=AdjustmentReason.GOODWILL,
            by=self.by,
            issuer_id=ledger.partner(self.issuer) if self.points > 0 else None,
            funding_plan_id=ledger.plan(self.plan),
        )
        proposed = ledger.unit(lambda session: adjusting.propose_adjustment(session, wish))
        ledger.adjustments.append((wish.member_id, proposed))


@dataclass(frozen=True, kw_only=True)
class Decide(Wish):
    enters = True
    nth: int
    by: str
    expires: int | None = None
    adjustment: int | None = None
    weight = 2
    strategy = staticmethod(
        lambda cls: st.builds(cls, nth=st.integers(0, 4), by=st.sampled_from(["ada", "grace"]), expires=days)
    )

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return any(wanted.state == "proposed" for wanted in p.adjustments)

    def settle(self, p: Programme) -> Self:
        return replace(self, adjustment=nth_of(self.nth, len(p.adjustments)) if p.adjustments else None)

    def touches(self, p: Programme) -> list[int]:
        return [] if self.adjustment is None else [p.adjustments[self.adjustment].member]

    def expires_at(self, p: Programme) -> datetime | None:
        return p.now + timedelta(days=self.expires) if self.expires else None

    def expect(self, p: Programme, key: str) -> Answer | None:  # noqa: ARG002
        return people.post_adjustment(
            p, adjustment=self.adjustment, by=self.by, expires_at=self.expires_at(p)
        )

    def which(self, ledger: Ledger) -> tuple[Any, Any]:
        if self.adjustment is None:
            return ledger.members[0], ledger.member(NOBODY)
        return ledger.adjustments[self.adjustment]

    def ask(self, ledger: Ledger, p: Programme, key: str) -> Posting | None:  # noqa: ARG002
        terms = None
        if self.adjustment is not None and (issuer := p.adjustments[self.adjustment].issuer):
            terms = p.partners[issuer].in_force(p.now.astimezone(ZONE).date())
        with ledger.driver.database.single_call() as session:
            return adjusting.post_adjustment(
                session,
                *self.which(ledger),
                by=self.by,
                agreement_id=ledger.agreement(terms),
                expires_at=self.expires_at(p),
            )


@dataclass(frozen=True, kw_only=True)
class Reject(Decide):
    enters = False
    weight = 1

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        people.reject_adjustment(p, adjustment=self.adjustment, by=self.by)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        ledger.unit(lambda session: adjusting.reject_adjustment(session, *self.which(ledger), by=self.by))


def empty(p: Programme) -> list[int]:
    """Who had points and has none left."""
    return [
        one.number
        for one in p.members
        if one.journal and not any(one.balance) and one.merged_into is None and not one.erased
    ]


@dataclass(frozen=True, kw_only=True)
class Erase(Wish):
    enters = True
    member: int
    strategy = staticmethod(lambda cls: st.builds(cls, member=somebody))

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return bool(empty(p))

    def settle(self, p: Programme) -> Self:
        """Somebody who has nothing left, as a rule."""
        those = empty(p)
        return (
            replace(self, member=those[self.member % len(those)]) if those and p.knows(self.member) else self
        )

    def touches(self, p: Programme) -> list[int]:
        return [self.member] if p.knows(self.member) else []

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        lasting.erase(p, member=self.member)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        ledger.unit(lambda session: erase_member(session, ledger.member(self.member)))
