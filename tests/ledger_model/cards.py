"""Cards: whose they are, and how they stand after they were blocked, replaced or unlinked."""

from dataclasses import dataclass

from .books import NETWORK
from .programme import Programme, Refusals, Refused


@dataclass(eq=False)
class Card:
    number: int
    print: int
    """What is written on it. Once it is unlinked, another may bear the same."""
    member: int
    linked_by: str
    state: str = "active"
    said_by: str | None = None
    """Who said that it stands so: a partner or the operator; None: the member."""


def link(p: Programme, *, member: int, partner: str, print_: int) -> None:
    no = Refusals()
    no("MEMBER_UNKNOWN", when=not p.knows(member))
    no.end()
    no("MEMBER_ERASED", when=p.members[member].erased)
    _judge_linker(p, no, partner)
    known = in_use(p, print_)
    no("IDENTIFIER_TAKEN", when=known is not None and known.member != member)
    no("CARD_REPLACED", when=known is not None and known.member == member and known.state == "replaced")
    no.end()
    if known is None:
        p.cards.append(Card(len(p.cards), print_, member, partner, said_by=partner))


def change(p: Programme, *, card: int | None, to: str, by: str | None) -> None:
    """Block it, unblock it ("active") or unlink it. What is so already stays so."""
    no = Refusals()
    changing = _judge_change(p, no, card, to, by)
    no.end()
    if changing.state == to and (to != "blocked" or _weight(by) <= _weight(changing.said_by)):
        return
    changing.state, changing.said_by = to, by


def replace(p: Programme, *, card: int | None, print_: int, by: str) -> None:
    no = Refusals()
    old = _judge_change(p, no, card, "replaced", by)
    no.end()  # who may not change it learns nothing of the new one
    no("IDENTIFIER_TAKEN", when=in_use(p, print_) is not None)
    no.end()
    no("MEMBER_ERASED", when=p.members[old.member].erased)
    if by != NETWORK:
        _judge_linker(p, no, by)
    no.end()
    p.cards.append(Card(len(p.cards), print_, old.member, by, said_by=by))
    old.state, old.said_by = "replaced", by


def judge_named(p: Programme, no: Refusals, member: int, card: int | None) -> None:
    """Whether a posting may name the member so."""
    if card is None:
        return
    named = p.cards[card]
    if member not in p.line_of(named.member) and not no.found:
        raise Refused("MEMBER_MERGED", {})  # by now; when it was looked up, it was the member's
    no("IDENTIFIER_BLOCKED", when=named.state == "blocked", kind="card")
    no("CARD_REPLACED", when=named.state == "replaced")
    no("IDENTIFIER_UNLINKED", when=named.state == "unlinked", kind="card")


def in_use(p: Programme, print_: int) -> Card | None:
    return next(
        (
            card
            for card in p.cards
            if card.print == print_ and card.state != "unlinked" and not p.members[card.member].erased
        ),
        None,
    )


def _judge_linker(p: Programme, no: Refusals, partner: str) -> None:
    known = p.partners.get(partner)
    no("PARTNER_UNKNOWN", when=known is None)
    no("PARTNER_NOT_ACTIVE", when=known is not None and known.state != "active")


def _judge_change(p: Programme, no: Refusals, card: int | None, to: str, by: str | None) -> Card:
    changing = None if card is None else p.cards[card]
    may = changing is not None and by in {None, NETWORK, changing.linked_by}
    no("IDENTIFIER_UNKNOWN", when=not may)
    no.end()
    assert changing
    no("MEMBER_ERASED", when=p.members[changing.member].erased)
    others_block = changing.state == "blocked" and by not in {changing.said_by, NETWORK}
    no("IDENTIFIER_BLOCKED", when=others_block and to in {"active", "unlinked"})
    no("CARD_REPLACED", when=changing.state == "replaced")
    no("IDENTIFIER_UNLINKED", when=changing.state == "unlinked")
    return changing


def _weight(by: str | None) -> int:
    """Of several blocks the operator's counts, then the partner's, then the member's."""
    return 0 if by is None else 2 if by == NETWORK else 1
