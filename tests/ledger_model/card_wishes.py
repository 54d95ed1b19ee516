"""What is wished of cards: link one, block, unblock and unlink it, replace it by another."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self
from uuid import uuid4

from hypothesis import strategies as st

from coalition import identifier_changes, members
from coalition.identifier_changes import Actor, ChangeIdentifier
from coalition.identifiers import Identifier, IdentifierKind
from coalition.ids import NETWORK as OPERATOR

from . import cards
from .books import NETWORK
from .ledger import Ledger
from .programme import Programme
from .wishing import Wish, names, nth_of, nths, rarely, somebody, someone

prints = st.integers(0, 5)
parties = st.none() | st.just(NETWORK) | names
CHANGES: dict[str, Callable[..., None]] = {
    "blocked": identifier_changes.block,
    "active": identifier_changes.unblock,
    "unlinked": identifier_changes.unlink,
}


@dataclass(frozen=True, kw_only=True)
class Link(Wish):
    member: int
    partner: str
    print: int
    weight = 3
    strategy = staticmethod(lambda cls: st.builds(cls, member=somebody, partner=someone, print=prints))

    def touches(self, p: Programme) -> list[int]:
        return [self.member] if p.knows(self.member) else []

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        cards.link(p, member=self.member, partner=self.partner, print_=self.print)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        card = written(ledger, self.print)
        wish = members.LinkIdentifier(
            member_id=ledger.member(self.member), partner_id=ledger.partner(self.partner), identifier=card
        )
        ledger.unit(lambda session: members.link_identifier(session, wish))
        _remember(ledger, card)


@dataclass(frozen=True, kw_only=True)
class OfCard(Wish):
    nth: int | None = None
    card: int | None = None
    by: str | None = None

    @classmethod
    def sensible(cls, p: Programme) -> bool:
        return any(card.state in {"active", "blocked"} for card in p.cards)

    def settle(self, p: Programme) -> Self:
        return replace(self, nth=None, card=nth_of(self.nth, len(p.cards)))

    def touches(self, p: Programme) -> list[int]:
        return [] if self.card is None else [p.cards[self.card].member]

    def wish(self, ledger: Ledger, p: Programme) -> ChangeIdentifier:
        member = ledger.members[0] if self.card is None else ledger.members[p.cards[self.card].member]
        party = None if self.by is None else OPERATOR if self.by == NETWORK else ledger.partner(self.by)
        return ChangeIdentifier(
            member_id=member,
            identifier_id=uuid4() if self.card is None else ledger.cards[self.card],
            by=Actor(name="test", party_id=party),
        )


@dataclass(frozen=True, kw_only=True)
class Change(OfCard):
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
        cards.change(p, card=self.card, to=self.to, by=self.by)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        ledger.unit(lambda session: CHANGES[self.to](session, self.wish(ledger, p)))


@dataclass(frozen=True, kw_only=True)
class Replace(OfCard):
    print: int
    strategy = staticmethod(
        lambda cls: st.builds(
            cls, nth=rarely(nths, st.none()), by=st.just(NETWORK) | names, print=st.integers(0, 9)
        )
    )

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        assert self.by
        cards.replace(p, card=self.card, print_=self.print, by=self.by)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        card = written(ledger, self.print)
        ledger.unit(lambda session: identifier_changes.replace_card(session, self.wish(ledger, p), card))
        _remember(ledger, card)


def written(ledger: Ledger, print_: int) -> Identifier:
    return Identifier(kind=IdentifierKind.CARD, value=f"{ledger.store}{print_}".replace("-", "").upper())


def _remember(ledger: Ledger, card: Identifier) -> None:
    def named(session: Any) -> Any:
        return members.find_named(session, card)

    found = ledger.unit(named)
    if found.identifier_id not in ledger.cards:
        ledger.cards.append(found.identifier_id)
