"""What members wish of household pools; spending from one is a wish of a till."""

from dataclasses import dataclass, replace
from typing import Any, Self
from uuid import UUID, uuid4

from hypothesis import strategies as st

from coalition import pooling
from coalition.amounts import Points
from coalition.pooling import OpenPool, PoolSpenders

from . import pools
from .ledger import Ledger
from .programme import Programme
from .wishing import Wish, nth_of, nths, rarely, somebody, whom


@dataclass(frozen=True, kw_only=True)
class PoolWish(Wish):
    """Nothing of it moves a point."""

    member: int

    def touches(self, p: Programme) -> list[int]:  # noqa: ARG002
        return []


@dataclass(frozen=True, kw_only=True)
class OfPool(PoolWish):
    nth: int | None = None
    pool: int | None = None

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return any(not pool.closed for pool in p.pools)

    def settle(self, p: Programme) -> Self:
        """The nth from the last of those that are open; if none is named or open, of all."""
        if self.pool is not None:
            return self
        numbers = [pool.number for pool in p.pools if not pool.closed] or [pool.number for pool in p.pools]
        nth = nth_of(self.nth, len(numbers))
        return replace(self, nth=None, pool=None if nth is None else numbers[nth])

    def which(self, ledger: Ledger) -> UUID:
        return uuid4() if self.pool is None else ledger.pools[self.pool]


@dataclass(frozen=True, kw_only=True)
class Open(PoolWish):
    head_only: bool
    limit: int | None
    own_first: bool
    most: int
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            member=somebody,
            head_only=st.sampled_from([False, False, True]),
            limit=st.none() | st.integers(20, 200),
            own_first=st.booleans(),
            most=st.sampled_from([2, 3, 4, 4]),
        )
    )

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        rules: dict[str, Any] = {
            "head_only": self.head_only,
            "limit": self.limit,
            "own_first": self.own_first,
            "most": self.most,
        }
        pools.open_pool(p, member=self.member, **rules)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        pool_id = uuid4()
        wish = OpenPool(
            member_id=ledger.member(self.member),
            pool_id=pool_id,
            name="Home",
            spenders=PoolSpenders.HEAD if self.head_only else PoolSpenders.ALL,
            spender_limit_points=None if self.limit is None else Points(self.limit),
            own_first=self.own_first,
            most_members=self.most,
        )
        ledger.unit(lambda session: pooling.open_pool(session, wish))
        ledger.pools.append(pool_id)


@dataclass(frozen=True, kw_only=True)
class Invite(PoolWish):
    invited: int
    by_head: bool = True

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return any(len(pool.members) < pool.most for pool in p.pools if not pool.closed)

    strategy = staticmethod(
        lambda cls: st.builds(
            cls, member=somebody, invited=somebody, by_head=rarely(st.just(value=True), st.just(value=False))
        )
    )
    weight = 2

    def settle(self, p: Programme) -> Self:
        """The head of a pool invites, as a rule."""
        heads = [pool.head for pool in p.pools if not pool.closed]
        if not self.by_head or not heads:
            return replace(self, by_head=False)
        return replace(self, by_head=False, member=heads[self.member % len(heads)])

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        pools.invite(p, member=self.member, invited=self.invited)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        head, invited = ledger.member(self.member), ledger.member(self.invited)
        ledger.unit(lambda session: pooling.invite_to_pool(session, head, invited=invited))


@dataclass(frozen=True, kw_only=True)
class Accept(OfPool):
    invited: bool = True
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            member=somebody,
            nth=rarely(nths, st.none()),
            invited=rarely(st.just(value=True), st.just(value=False)),
        )
    )
    weight = 2

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return any(place.good(p.now) and not place.joined_at for pool in p.pools for place in pool.places)

    def settle(self, p: Programme) -> Self:
        """Somebody who was invited, as a rule."""
        waiting = [
            (pool.number, place.member)
            for pool in p.pools
            for place in pool.places
            if place.good(p.now) and not place.joined_at
        ]
        if not self.invited or not waiting or self.pool is not None:
            return replace(super().settle(p), invited=False)
        pool, member = waiting[-1 - (self.nth or 0) % len(waiting)]
        return replace(self, invited=False, nth=None, pool=pool, member=member)

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        pools.accept(p, member=self.member, pool=self.pool)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        member, pool = ledger.member(self.member), self.which(ledger)
        ledger.unit(lambda session: pooling.accept_invitation(session, member, pool))


@dataclass(frozen=True, kw_only=True)
class Leave(PoolWish):
    strategy = staticmethod(lambda cls: st.builds(cls, member=somebody))

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return any(not pool.closed for pool in p.pools)

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        pools.leave(p, member=self.member)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        member = ledger.member(self.member)
        ledger.unit(lambda session: pooling.leave_pool(session, member))


@dataclass(frozen=True, kw_only=True)
class Close(OfPool):
    by_operator: bool
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            member=whom,
            nth=rarely(nths, st.none()),
            by_operator=st.sampled_from([False, False, False, True]),
        )
    )

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        pools.close(p, pool=self.pool, by=None if self.by_operator else self.member)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        pool = self.which(ledger)
        by = None if self.by_operator else ledger.member(self.member)
        ledger.unit(lambda session: pooling.close_pool(session, pool, by=by))
