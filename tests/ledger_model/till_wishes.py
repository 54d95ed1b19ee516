"""What partners wish: each operation of a till as a value."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

from hypothesis import strategies as st

from coalition.ledger import Posting

from . import pools, reversing, tills
from .ledger import Ledger
from .programme import ZONE, Answer, Programme
from .wishing import (
    NO_PLAN,
    ByPartner,
    OfEarlier,
    ago,
    ahead,
    days,
    money,
    nth_of,
    nths,
    part_of,
    rarely,
    receipts,
    shares,
    some,
    somebody,
    someone,
)

from_pool = st.booleans()
named_by = st.none() | nths


@dataclass(frozen=True, kw_only=True)
class Issue(ByPartner):
    matures: int | None = None
    expires: int | None = None
    amount: int | None = None
    nth_plan: int | None = None
    plan: int | None = None
    weight = 4
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            member=somebody,
            partner=someone,
            points=rarely(some, st.just(0)),
            receipt=receipts,
            days_ago=ago,
            ahead=ahead,
            nth_identifier=named_by,
            matures=days,
            expires=days,
            amount=st.none() | st.integers(0, 50),
            nth_plan=st.none() | nths,
            plan=rarely(st.none(), st.just(NO_PLAN)),
        )
    )

    def settle(self, p: Programme) -> Self:
        plan = nth_of(self.nth_plan, len(p.plans))
        return replace(super().settle(p), nth_plan=None, plan=self.plan if plan is None else plan)

    def moments(self, p: Programme) -> tuple[datetime | None, datetime | None]:
        matures_at = p.now + timedelta(days=self.matures) if self.matures else None
        later = timedelta(days=(self.matures or 0) + (self.expires or 0))
        # What a purchase earned that is posted very late may have lapsed before.
        expires_at = self.occurred_at(p) + later if self.expires and not self.matures else p.now + later
        return matures_at, expires_at if self.expires else None

    def expect(self, p: Programme, key: str) -> Answer:
        matures_at, expires_at = self.moments(p)
        return tills.issue(
            p,
            **self.expected(p, key),
            receipt=self.receipt,
            matures_at=matures_at,
            expires_at=expires_at,
            amount=self.amount,
            plan=self.plan,
        )

    def ask(self, ledger: Ledger, p: Programme, key: str) -> Posting:
        matures_at, expires_at = self.moments(p)
        return ledger.driver.issue(
            ledger.member(self.member),
            self.points,
            **self.asked(ledger, p, key),
            receipt=ledger.receipt(self.receipt),
            matures_at=matures_at,
            expires_at=expires_at,
            amount=self.amount,
            funding_plan_id=ledger.plan(self.plan),
        )


def spending(cls: Any, **more: Any) -> Any:
    """A redemption made up, at once or by a hold, with what is its own."""
    return st.builds(
        cls,
        member=somebody,
        partner=someone,
        points=some,
        days_ago=ago,
        ahead=ahead,
        nth_identifier=named_by,
        nth_consent=rarely(st.none(), nths),
        share=shares,
        from_pool=from_pool,
        **more,
    )


@dataclass(frozen=True, kw_only=True)
class Redeem(ByPartner):
    nth_consent: int | None = None
    confirmation: int | None = None
    from_pool: bool = False
    amount: int | None = None
    weight = 5
    variants = ("Redeem from a pool",)

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return any(p.as_of_now(member.number).balance[0] for member in p.members)

    strategy = staticmethod(lambda cls: spending(cls, receipt=receipts, amount=money))

    def settle(self, p: Programme) -> Self:
        consent = nth_of(self.nth_consent, len(p.confirmations))
        settled = replace(super().settle(p), nth_consent=None, confirmation=consent)
        if self.from_pool and self.share is not None and p.knows(settled.member):
            pooled = pools.spendable(p, settled.member) or p.as_of_now(settled.member).balance[0]
            return replace(settled, points=part_of(self.share, pooled))
        return settled

    def name(self, p: Programme) -> str:
        return super().name(p) + (" from a pool" if self.from_pool else "")

    def expect(self, p: Programme, key: str) -> Answer:
        return tills.redeem(
            p,
            **self.expected(p, key),
            receipt=self.receipt,
            confirmation=self.confirmation,
            from_pool=self.from_pool,
            amount=self.amount,
        )

    def ask(self, ledger: Ledger, p: Programme, key: str) -> Posting:
        return ledger.driver.redeem(
            ledger.member(self.member),
            self.points,
            **self.asked(ledger, p, key),
            receipt=ledger.receipt(self.receipt),
            confirmation_id=ledger.confirmation(self.confirmation),
            from_pool=self.from_pool,
            amount=self.amount,
        )


@dataclass(frozen=True, kw_only=True)
class Reverse(OfEarlier):
    amount: int | None = None
    kinds = frozenset({"issue", "redeem", "capture", "adjust_in", "transfer_out"})
    weight = 4
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            nth=nths,
            by=rarely(st.none(), someone),
            points=rarely(st.none(), some),
            share=shares,
            days_ago=ago,
            ahead=ahead,
            amount=rarely(st.none(), st.integers(1, 40)),
        )
    )

    def expect(self, p: Programme, key: str) -> Answer:
        return reversing.reverse(p, **self.expected(p, key), amount=self.amount)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> Posting:
        assert self.by
        acting = p.partners.get(self.by)
        before = sum(line.amount or 0 for line in p.reversals(*self.target)) if self.target else 0
        return ledger.driver.reverse(
            ledger.ref(self.target),
            self.points,
            by=ledger.partner(self.by),
            key=key,
            request=self.request,
            agreement_id=ledger.agreement(acting and acting.in_force(p.now.astimezone(ZONE).date())),
            amount=self.amount,
            amount_before=before,
            occurred_at=self.occurred_at(p),
        )
