"""What members are known by: whose it is, and how it stands after it was blocked, replaced or unlinked."""

from dataclasses import dataclass
from datetime import datetime

from .books import NETWORK, NEVER, Line, Member
from .programme import Answer, Programme, Refusals, Refused


@dataclass(eq=False)
class Identifier:
    number: int
    kind: str
    print: int
    """What is written on it. Once it is unlinked, another may bear the same."""
    owner: str
    """The partner whose reference it is; the network of every other kind."""
    member: int
    linked_by: str
    linked_at: datetime
    unlinked_at: datetime = NEVER
    state: str = "active"
    said_by: str | None = None
    """Who said that it stands so: a partner or the operator; None: the member."""


def link(p: Programme, *, member: int, partner: str, kind: str, print_: int) -> None:
    no = Refusals()
    no("MEMBER_UNKNOWN", when=not p.knows(member))
    no.end()
    no("MEMBER_ERASED", when=p.members[member].erased)
    _judge_linker(p, no, partner)
    owner = owner_of(kind, partner)
    known = in_use(p, kind, print_, owner)
    another = known is not None and member not in p.line_of(known.member)
    no("IDENTIFIER_TAKEN", when=another)
    no("CARD_REPLACED", when=known is not None and not another and known.state == "replaced")
    no.end()
    if known is None:
        p.identifiers.append(
            Identifier(len(p.identifiers), kind, print_, owner, member, partner, p.now, said_by=partner)
        )


def enrol(p: Programme, *, partner: str, kind: str, print_: int) -> None:
    """Somebody joins, known by no more than this."""
    no = Refusals()
    _judge_linker(p, no, partner)
    no.end()
    no("IDENTIFIER_TAKEN", when=in_use(p, kind, print_, owner_of(kind, partner)) is not None)
    no.end()
    p.members.append(Member(len(p.members), p.window))
    link(p, member=len(p.members) - 1, partner=partner, kind=kind, print_=print_)


def change(p: Programme, *, identifier: int | None, to: str, by: str | None) -> None:
    """Block it, unblock it ("active") or unlink it. What is so already stays so."""
    no = Refusals()
    changing = _judge_change(p, no, identifier, to, by)
    no.end()
    if changing.state == to and (to != "blocked" or _weight(by) <= _weight(changing.said_by)):
        return
    changing.state, changing.said_by = to, by
    if to == "unlinked":
        changing.unlinked_at = p.now


def replace(p: Programme, *, card: int | None, print_: int, by: str) -> None:
    no = Refusals()
    no("INVALID_INPUT", when=card is not None and p.identifiers[card].kind != "card")
    no.end()
    old = _judge_change(p, no, card, "replaced", by)
    no.end()  # who may not change it learns nothing of the new one
    no("IDENTIFIER_TAKEN", when=in_use(p, "card", print_, NETWORK) is not None)
    no.end()
    no("MEMBER_ERASED", when=p.members[old.member].erased)
    if by != NETWORK:
        _judge_linker(p, no, by)
    no.end()
    p.identifiers.append(
        Identifier(len(p.identifiers), "card", print_, NETWORK, old.member, by, p.now, said_by=by)
    )
    old.state, old.said_by = "replaced", by


def judge_named(p: Programme, no: Refusals, member: int, identifier: int | None) -> None:
    """Whether a posting may name the member so."""
    if identifier is None:
        return
    named = p.identifiers[identifier]
    if member not in p.line_of(named.member) and not no.found:
        raise Refused("MEMBER_MERGED", {})  # by now; when it was looked up, it was the member's
    no("IDENTIFIER_BLOCKED", when=named.state == "blocked", kind=named.kind)
    no("CARD_REPLACED", when=named.state == "replaced")
    no("IDENTIFIER_UNLINKED", when=named.state == "unlinked", kind=named.kind)


def card_of(p: Programme, identifier: int | None) -> int | None:
    """What a posting remembers of what it was named by: a card, and nothing else."""
    return identifier if identifier is not None and p.identifiers[identifier].kind == "card" else None


def owner_of(kind: str, partner: str) -> str:
    return partner if kind == "partner_reference" else NETWORK


def in_use(p: Programme, kind: str, print_: int, owner: str) -> Identifier | None:
    return next((one for one in _of_value(p, kind, print_, owner) if one.state != "unlinked"), None)


def named_to(p: Programme, asking: str, kind: str, print_: int, owner: str) -> set[tuple[int, int]]:
    """Which identifier a partner who looks for it finds, and whom that names; one of these, or it finds none.

    One that was unlinked is found by who knew it; the latest of them, of which several may have been unlinked in
    one moment. It names who has the points of its member.
    """
    used = in_use(p, kind, print_, owner)
    found = [used] if used else [one for one in _of_value(p, kind, print_, owner) if _knew(p, asking, one)]
    latest = max((one.unlinked_at for one in found), default=NEVER)
    return {(one.number, p.line_of(one.member)[-1]) for one in found if one.unlinked_at == latest}


def _knew(p: Programme, asking: str, one: Identifier) -> bool:
    """Who linked it, and who posted for its member meanwhile, or by it for another into whom that was merged."""
    survivor = p.members[one.member].merged_into
    records = [one.member] if survivor is None else [one.member, survivor]
    posted: list[Line | Answer] = [
        line for record in records for line in p.members[record].journal if line.partner == asking
    ]
    posted += [
        p.answers[member, partner, key][1]
        for (holder, partner, key), member in p.named.items()
        if (holder, partner) == (one.member, asking)
    ]
    return one.linked_by == asking or any(
        one.linked_at <= each.recorded_at < one.unlinked_at for each in posted
    )


def _of_value(p: Programme, kind: str, print_: int, owner: str) -> list[Identifier]:
    return [
        one
        for one in p.identifiers
        if (one.kind, one.print, one.owner) == (kind, print_, owner) and not p.members[one.member].erased
    ]


def _judge_linker(p: Programme, no: Refusals, partner: str) -> None:
    known = p.partners.get(partner)
    no("PARTNER_UNKNOWN", when=known is None)
    no("PARTNER_NOT_ACTIVE", when=known is not None and known.state != "active")


def _judge_change(p: Programme, no: Refusals, identifier: int | None, to: str, by: str | None) -> Identifier:
    changing = None if identifier is None else p.identifiers[identifier]
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
