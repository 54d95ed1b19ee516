"""What is wished of partners: their state, their terms and stores, and who pays for what they issue."""

from dataclasses import dataclass
from datetime import date, timedelta

from hypothesis import strategies as st
from sqlalchemy.orm import Session

from coalition.amounts import PARTS_PER_MILLION
from partners.funding import PublishFundingPlan, find_funding_plan, publish_funding_plan
from partners.stores import PublishStores, Store, list_stores, publish_stores

from . import published
from .books import NETWORK, Terms
from .ledger import Ledger
from .programme import Programme
from .wishing import Told, Wish, names, rarely, someone


@dataclass(frozen=True, kw_only=True)
class SetState(Wish):
    """A partner is suspended, leaves, or comes back."""

    partner: str
    state: str
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            partner=names,
            state=st.sampled_from(["active", "active", "active", "suspended", "leaving"]),
        )
    )

    def touches(self, p: Programme) -> list[int]:  # noqa: ARG002
        return []

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        p.partners[self.partner].state = self.state

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        ledger.driver.set_state(ledger.partner(self.partner), self.state)


@dataclass(frozen=True, kw_only=True)
class Publish(Wish):
    """New terms of a partner, from some day on."""

    partner: str
    policy: str
    grace: int
    in_days: int
    activity: str | None
    at_issuer: bool
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            partner=names,
            policy=st.sampled_from(["pending_only", "available", "unlimited", "unlimited"]),
            grace=st.integers(0, 5),
            in_days=st.integers(0, 3),
            activity=st.sampled_from([None, None, "any", "issue", "redeem"]),
            at_issuer=st.booleans(),
        )
    )

    def touches(self, p: Programme) -> list[int]:  # noqa: ARG002
        return []

    def terms(self, p: Programme) -> Terms:
        number = sum(len(partner.agreements) for partner in p.partners.values())
        begins = p.window + timedelta(days=self.in_days)
        grace = timedelta(days=self.grace)
        return Terms(number, begins, self.policy, grace, self.activity, self.at_issuer)

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        p.partners[self.partner].agreements.append(self.terms(p))

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        ledger.publish(self.partner, self.terms(p))


@dataclass(frozen=True, kw_only=True)
class Stores(Wish):
    """A partner says where it sells, and from when until when, in days from the window's."""

    partner: str
    store: int
    since: int | None
    closed: int | None
    weight = 2
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            partner=names,
            store=st.integers(0, 1),
            since=st.none() | st.integers(-6, 3),
            closed=rarely(st.none(), st.integers(-3, 6), odds=3),
        )
    )

    def touches(self, p: Programme) -> list[int]:  # noqa: ARG002
        return []

    def days(self, p: Programme) -> tuple[date | None, date | None]:
        since, closed = (
            None if days is None else p.window + timedelta(days=days) for days in (self.since, self.closed)
        )
        return since, closed

    def expect(self, p: Programme, key: str) -> Told:  # noqa: ARG002
        since, closed = self.days(p)
        return Told(published.publish_store(p, self.partner, self.store, since=since, closed=closed))

    def ask(self, ledger: Ledger, p: Programme, key: str) -> Told:  # noqa: ARG002
        since, closed = self.days(p)
        code = ledger.store(self.store)
        assert code
        partner_id = ledger.partner(self.partner)
        wish = PublishStores(
            partner_id=partner_id,
            stores=[Store(code=code, name="A store", since=since, closed=closed)],
            published_by="test",
        )

        def publish(session: Session) -> list[Store]:
            publish_stores(session, wish)
            return list_stores(session, partner_id, limit=10)

        return Told({int(one.code[-1]): (one.since, one.closed) for one in ledger.unit(publish)})


@dataclass(frozen=True, kw_only=True)
class Plan(Wish):
    """Who pays for points that issues name it for: these in equal parts, the first what is left over."""

    funders: tuple[str, ...]
    off: int = 0
    """How far the parts are from a million."""
    weight = 2
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            funders=st.lists(
                rarely(someone, st.just(NETWORK), odds=3), min_size=1, max_size=3, unique=True
            ).map(tuple),
            off=rarely(st.just(0), st.sampled_from([-1, 1]), odds=8),
        )
    )

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return len(p.plans) < 3

    def touches(self, p: Programme) -> list[int]:  # noqa: ARG002
        return []

    @property
    def parts(self) -> dict[str, int]:
        whole = PARTS_PER_MILLION + self.off
        part = whole // len(self.funders)
        return {
            name: part + (0 if nth else whole - part * len(self.funders))
            for nth, name in enumerate(self.funders)
        }

    def expect(self, p: Programme, key: str) -> Told:  # noqa: ARG002
        return Told(published.publish_plan(p, self.parts))

    def ask(self, ledger: Ledger, p: Programme, key: str) -> Told:  # noqa: ARG002
        code = ledger.plan_code(len(ledger.plans))
        wish = PublishFundingPlan(
            code=code,
            name="A plan",
            parts={ledger.party(name): part for name, part in self.parts.items()},
            published_by="test",
        )
        ledger.unit(lambda session: publish_funding_plan(session, wish))
        found = ledger.unit(lambda session: find_funding_plan(session, code))
        ledger.plans.append(found.funding_plan_id)
        known = {ledger.party(name): name for name in (*ledger.partners, NETWORK)}
        return Told({known[party]: part for party, part in found.parts.items()})
