"""What is wished of identifiers: join by one, link one, block, unblock and unlink it, replace a card by another."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self
from uuid import UUID, uuid4

from hypothesis import strategies as st

from coalition import identifier_changes, members
from coalition.identifier_changes import Actor, ChangeIdentifier
from coalition.identifiers import Identifier, IdentifierKind
from coalition.ids import NETWORK as OPERATOR
from coalition.ids import MemberId

from . import identifiers
from .books import NETWORK
from .ledger import Ledger
from .programme import Programme
from .wishing import Wish, names, nth_of, nths, rarely, somebody, someone

MOST = 8
prints = st.integers(0, 5)
parties = st.none() | st.just(NETWORK) | names
kinds = st.sampled_from(["card", "card", "card", "phone", "email", "partner_reference"])
CHANGES: dict[str, Callable[..., None]] = {
    "blocked": identifier_changes.block,
    "active": identifier_changes.unblock,
    "unlinked": identifier_changes.unlink,
}


@dataclass(frozen=True, kw_only=True)
class Enrol(Wish):
    """At a till, by a bare card or whatever else there is."""

    partner: str
    kind: str
    print: int
    strategy = staticmethod(lambda cls: st.builds(cls, partner=someone, kind=kinds, print=prints))

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return len(p.members) < MOST

    def touches(self, p: Programme) -> list[int]:  # noqa: ARG002
        return []

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        identifiers.enrol(p, partner=self.partner, kind=self.kind, print_=self.print)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        identifier = written(ledger, self.kind, self.print, identifiers.owner_of(self.kind, self.partner))
        wish = members.EnrolMember(
            partner_id=ledger.partner(self.partner),
            identifiers=[identifier],
            member_id=MemberId(UUID(int=ledger.members[-1].int + 1)),  # in the order of the model's numbers
        )
        ledger.members.append(ledger.unit(lambda session: members.enrol_member(session, wish)))
        _remember(ledger, identifier)


@dataclass(frozen=True, kw_only=True)
class Link(Wish):
    member: int
    partner: str
    kind: str
    print: int
    weight = 4
    names = ("Link card", "Link phone", "Link email", "Link partner_reference")
    strategy = staticmethod(
        lambda cls: st.builds(cls, member=somebody, partner=someone, kind=kinds, print=prints)
    )

    def name(self, p: Programme) -> str:
        return f"{super().name(p)} {self.kind}"

    def touches(self, p: Programme) -> list[int]:
        return [self.member] if p.knows(self.member) else []

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        identifiers.link(p, member=self.member, partner=self.partner, kind=self.kind, print_=self.print)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        identifier = written(ledger, self.kind, self.print, identifiers.owner_of(self.kind, self.partner))
        wish = members.LinkIdentifier(
            member_id=ledger.member(self.member),
            partner_id=ledger.partner(self.partner),
            identifier=identifier,
        )
        ledger.unit(lambda session: members.link_identifier(session, wish))
        _remember(ledger, identifier)


@dataclass(frozen=True, kw_only=True)
class OfIdentifier(Wish):
    nth: int | None = None
    identifier: int | None = None
    by: str | None = None

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return any(one.state in {"active", "blocked"} for one in p.identifiers)

    def settle(self, p: Programme) -> Self:
        return replace(self, nth=None, identifier=nth_of(self.nth, len(p.identifiers)))

    def touches(self, p: Programme) -> list[int]:
        return [] if self.identifier is None else [p.identifiers[self.identifier].member]

    def wish(self, ledger: Ledger, p: Programme) -> ChangeIdentifier:
        known = self.identifier
        party = None if self.by is None else OPERATOR if self.by == NETWORK else ledger.partner(self.by)
        return ChangeIdentifier(
            member_id=ledger.members[0 if known is None else p.identifiers[known].member],
            identifier_id=uuid4() if known is None else ledger.identifiers[known],
            by=Actor(name="test", party_id=party),
        )


@dataclass(frozen=True, kw_only=True)
class Change(OfIdentifier):
    to: str
    weight = 3
    names = ("Change to blocked", "Change to active", "Change to unlinked")
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            nth=rarely(nths, st.none()),
            by=parties,
            to=st.sampled_from(["blocked", "blocked", "active", "active", "unlinked"]),
        )
    )

    def name(self, p: Programme) -> str:
        return f"{super().name(p)} to {self.to}"

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        identifiers.change(p, identifier=self.identifier, to=self.to, by=self.by)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        ledger.unit(lambda session: CHANGES[self.to](session, self.wish(ledger, p)))


@dataclass(frozen=True, kw_only=True)
class Replace(OfIdentifier):
    print: int
    weight = 2
    strategy = staticmethod(
        lambda cls: st.builds(
            cls, nth=rarely(nths, st.none()), by=st.just(NETWORK) | names, print=st.integers(0, 9)
        )
    )

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        assert self.by
        identifiers.replace(p, card=self.identifier, print_=self.print, by=self.by)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        card = written(ledger, "card", self.print, NETWORK)
        ledger.unit(lambda session: identifier_changes.replace_card(session, self.wish(ledger, p), card))
        _remember(ledger, card)


def written(ledger: Ledger, kind: str, print_: int, owner: str) -> Identifier:
    """As somebody might write it; the ledger has it in its normal form."""
    value = {
        "card": f"{ledger.own}-{print_}",
        "phone": f"+49 (1{int(ledger.own, 16):010}) {print_}",
        "email": f"Member.{print_}@{ledger.own}.Example.ORG",
        "partner_reference": f" {ledger.own}/{print_} ",
    }[kind]
    return Identifier.of(IdentifierKind(kind), value, partner_id=ledger.party(owner))


def _remember(ledger: Ledger, identifier: Identifier) -> None:
    def named(session: Any) -> Any:
        return members.find_named(session, identifier)

    found = ledger.unit(named)
    if found.identifier_id not in ledger.identifiers:
        ledger.identifiers.append(found.identifier_id)
