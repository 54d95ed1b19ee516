"""What happens around: blocks, nights, consent, time and windows."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from coalition.blocking import set_blocked
from coalition.lapsing import lapse_pooled_holds

from . import limits, pools
from .ledger import Ledger, set_limits
from .programme import Confirmation, Limits, Programme, Refusals
from .wishing import Wish, names, whom


@dataclass(frozen=True, kw_only=True)
class Block(Wish):
    member: int
    blocked: bool
    strategy = staticmethod(
        lambda cls: st.builds(cls, member=whom, blocked=st.sampled_from([True, False, False]))
    )

    def touches(self, p: Programme) -> list[int]:  # noqa: ARG002
        return [self.member]

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        no = Refusals()
        p.judge_member(no, self.member)
        no.end()
        p.members[self.member].blocked = self.blocked

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        ledger.unit(
            lambda session: set_blocked(session, ledger.member(self.member), blocked=self.blocked, by="test")
        )


@dataclass(frozen=True, kw_only=True)
class Night(Wish):
    """What the night does for a member whom nobody touched."""

    enters = True
    member: int
    strategy = staticmethod(lambda cls: st.builds(cls, member=whom))

    def touches(self, p: Programme) -> list[int]:  # noqa: ARG002
        return [self.member]

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        p.members[self.member].bring_up_to_date(p.now)
        pools.lapse_pooled(p, self.member)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        ledger.driver.bring_up_to_date(ledger.member(self.member))


@dataclass(frozen=True, kw_only=True)
class Lapse(Wish):
    """What a server does each minute."""

    strategy = staticmethod(st.builds)

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return bool(pools.who_waits(p))

    def touches(self, p: Programme) -> list[int]:
        return pools.who_waits(p)

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        for member in pools.who_waits(p):
            limits.enter(p)
            p.members[member].bring_up_to_date(p.now)
            pools.lapse_pooled(p, member)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        lapse_pooled_holds(ledger.driver.database)


@dataclass(frozen=True, kw_only=True)
class Confirm(Wish):
    """The member says yes to a redemption."""

    member: int
    partner: str
    points: int
    strategy = staticmethod(
        lambda cls: st.builds(cls, member=whom, partner=names, points=st.integers(100, 500))
    )

    def touches(self, p: Programme) -> list[int]:  # noqa: ARG002
        return []

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        no = Refusals()
        p.judge_member(no, self.member)
        no.end()
        until = p.now + p.limits.confirmation
        p.confirmations.append(Confirmation(self.member, self.partner, self.points, until))

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        ledger.confirmations.append(
            ledger.driver.confirm(ledger.member(self.member), self.points, at=ledger.partner(self.partner))
        )


@dataclass(frozen=True, kw_only=True)
class PassTime(Wish):
    minutes: int
    weight = 3
    strategy = staticmethod(
        lambda cls: st.builds(
            cls, minutes=st.integers(1, 130) | st.integers(1, 60).map(lambda hours: 60 * hours)
        )
    )

    def touches(self, p: Programme) -> list[int]:  # noqa: ARG002
        return []

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        p.now += timedelta(minutes=self.minutes)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        ledger.driver.pass_time(minutes=self.minutes)


@dataclass(frozen=True, kw_only=True)
class CloseWindow(Wish):
    strategy = staticmethod(st.builds)

    def touches(self, p: Programme) -> list[int]:  # noqa: ARG002
        return []

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        p.close_window()

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        ledger.driver.close_window()


def minutes(most: int) -> Any:
    return st.integers(1, most).map(lambda number: timedelta(minutes=number))


LIMITS: dict[str, Any] = {
    "consent": st.integers(0, 800),
    "transfer": st.integers(0, 600),
    "adjustment": st.integers(0, 300),
    "late_days": st.integers(0, 8),
    "vouchers": st.integers(0, 300),
    "voucher": minutes(60),
    "voucher_grace": minutes(40 * 60),
    "hold": minutes(120),
    "longest_hold": st.integers(2, 48).map(lambda number: timedelta(hours=number)),
}


@dataclass(frozen=True, kw_only=True)
class SetProgramme(Wish):
    """A limit of the whole programme is another from now on; what is held already keeps its times."""

    limit: str
    to: Any
    strategy = staticmethod(
        lambda cls: st.sampled_from(sorted(LIMITS)).flatmap(
            lambda limit: st.builds(cls, limit=st.just(limit), to=LIMITS[limit])
        )
    )

    def touches(self, p: Programme) -> list[int]:  # noqa: ARG002
        return []

    def limits(self, p: Programme) -> Limits:
        return replace(p.limits, **{self.limit: self.to})

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        p.limits = self.limits(p)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        set_limits(ledger.driver, self.limits(p))
