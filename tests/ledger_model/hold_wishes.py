"""What is wished of points that are set aside: authorise, capture, void; give a voucher and take it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Self

from hypothesis import strategies as st

from coalition.amounts import Points
from coalition.ledger import Posting
from coalition.vouchers import IssueVoucher, issue_voucher, redeem_voucher
from coalition.vouchers import RedeemVoucher as TakeVoucher

from . import holds, tills
from .ledger import Ledger
from .programme import ZONE, Answer, Programme
from .till_wishes import Redeem, spending
from .wishing import (
    OfEarlier,
    Ref,
    Wish,
    ago,
    ahead,
    money,
    nths,
    part_of,
    rarely,
    receipts,
    shares,
    some,
    somebody,
    someone,
)


@dataclass(frozen=True, kw_only=True)
class Authorize(Redeem):
    seconds: int | None = None
    weight = 4
    variants = ("Authorize from a pool",)
    strategy = staticmethod(
        lambda cls: spending(
            cls, seconds=rarely(st.none() | st.integers(1, 86_400), st.sampled_from([0, 86_401]))
        )
    )

    def expect(self, p: Programme, key: str) -> Answer:
        lasting = p.limits.hold if self.seconds is None else timedelta(seconds=self.seconds)
        return tills.redeem(
            p,
            **self.expected(p, key),
            confirmation=self.confirmation,
            lasting=lasting,
            from_pool=self.from_pool,
        )

    def ask(self, ledger: Ledger, p: Programme, key: str) -> Posting:
        return ledger.driver.authorize(
            ledger.member(self.member),
            self.points,
            **self.asked(ledger, p, key),
            seconds_to_live=self.seconds,
            confirmation_id=ledger.confirmation(self.confirmation),
            from_pool=self.from_pool,
        )


@dataclass(frozen=True, kw_only=True)
class Capture(OfEarlier):
    receipt: tuple[int, int] | None = None
    amount: int | None = None
    kinds = frozenset({"authorize"})
    weight = 2
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            nth=nths,
            by=rarely(st.none(), someone),
            points=rarely(st.none(), some),
            share=shares,
            receipt=receipts,
            amount=money,
            days_ago=ago,
            ahead=ahead,
        )
    )

    def expect(self, p: Programme, key: str) -> Answer:
        return holds.end_hold(p, **self.expected(p, key), receipt=self.receipt, amount=self.amount)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> Posting:
        assert self.by
        return ledger.driver.capture(
            ledger.ref(self.target),
            self.points,
            by=ledger.partner(self.by),
            key=key,
            receipt=ledger.receipt(self.receipt),
            amount=self.amount,
            occurred_at=self.occurred_at(p),
            request=self.request,
        )


@dataclass(frozen=True, kw_only=True)
class Void(OfEarlier):
    kinds = frozenset({"authorize"})
    strategy = staticmethod(
        lambda cls: st.builds(cls, nth=nths, by=rarely(st.none(), someone), days_ago=ago, ahead=ahead)
    )

    def expect(self, p: Programme, key: str) -> Answer:
        return holds.end_hold(p, **self.expected(p, key), void=True)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> Posting:
        assert self.by
        return ledger.driver.void(
            ledger.ref(self.target),
            by=ledger.partner(self.by),
            key=key,
            occurred_at=self.occurred_at(p),
            request=self.request,
        )


@dataclass(frozen=True, kw_only=True)
class Voucher(Wish):
    """A member's wish for one."""

    enters = True
    member: int
    partner: str
    points: int
    share: int | None = None
    seconds: int | None = None
    weight = 2
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            member=somebody,
            partner=someone,
            points=some,
            share=shares,
            seconds=rarely(st.none() | st.integers(60, 3_600), st.sampled_from([0, 3_601])),
        )
    )

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return any(p.as_of_now(member.number).balance[0] for member in p.members)

    def settle(self, p: Programme) -> Self:
        if self.share is None or not p.knows(self.member):
            return replace(self, share=None)
        available = p.as_of_now(self.member).balance[0]
        return replace(self, share=None, points=part_of(self.share, min(available, p.limits.vouchers)))

    def touches(self, p: Programme) -> list[int]:
        return [self.member] if p.knows(self.member) else []

    def expect(self, p: Programme, key: str) -> Answer:
        return tills.give_voucher(
            p,
            member=self.member,
            partner=self.partner,
            points=self.points,
            key=key,
            good_for=p.limits.voucher if self.seconds is None else timedelta(seconds=self.seconds),
            request=("voucher", self.points, self.seconds),
        )

    def ask(self, ledger: Ledger, p: Programme, key: str) -> Posting:
        partner = p.partners.get(self.partner)
        wish = IssueVoucher(
            member_id=ledger.member(self.member),
            partner_id=ledger.partner(self.partner),
            points=Points(self.points),
            idempotency_key=key,
            agreement_id=ledger.agreement(partner and partner.in_force(p.now.astimezone(ZONE).date())),
            seconds_to_live=self.seconds,
        )
        with ledger.driver.database.single_call() as session:
            return issue_voucher(session, wish)


@dataclass(frozen=True, kw_only=True)
class RedeemVoucher(OfEarlier):
    """By a till that took it so many minutes after it was given, and is online again."""

    minutes: int = 0
    receipt: tuple[int, int] | None = None
    amount: int | None = None
    kinds = frozenset({"authorize"})
    weight = 2
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            nth=rarely(nths, st.none(), odds=10),
            by=rarely(st.none(), someone),
            points=rarely(st.none(), some),
            share=shares,
            receipt=receipts,
            amount=money,
            minutes=rarely(st.integers(0, 25), st.integers(-10, 70)),
            ahead=ahead,
        )
    )

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return any(hold.redeem_by and hold.state == "open" for member in p.members for hold in member.holds)

    def fits(self, p: Programme, target: Ref) -> bool:
        hold = holds.hold_at(p, target)
        return hold is not None and hold.redeem_by is not None

    def occurred_at(self, p: Programme) -> datetime:
        now = super().occurred_at(p)
        if self.target is None:
            return now
        member, line = self.target
        return min(now, p.members[member].journal[line].recorded_at + timedelta(minutes=self.minutes))

    def expect(self, p: Programme, key: str) -> Answer:
        return holds.redeem_voucher(p, **self.expected(p, key), receipt=self.receipt, amount=self.amount)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> Posting:
        assert self.by
        wish = TakeVoucher(
            hold=ledger.ref(self.target),
            partner_id=ledger.partner(self.by),
            idempotency_key=key,
            points=None if self.points is None else Points(self.points),
            receipt=ledger.receipt(self.receipt),
            amount=None if self.amount is None else Decimal(self.amount),
            occurred_at=self.occurred_at(p),
            request=self.request,
        )
        with ledger.driver.database.single_call() as session:
            return redeem_voucher(session, wish)
