"""What everybody wishes: each operation of the API as a mutation, who asks for it, and with what."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

Input = dict[str, Any]

ANSWERS: Final = {
    "Points": "transaction { id kind points } balance { available }",
    "Hold": "hold { id } transaction { id kind points } balance { available }",
    "IssueVoucher": "voucher { token hold { id } } balance { available }",
    "Adjustment": "adjustment { id } transaction { id kind points } balance { available }",
    "Pool": "pool { id }",
    "Member": "member { id }",
    "EraseMember": "member { id } erasedAt",
    "Confirmation": "confirmation { id expiresAt }",
    "Review": "review { id }",
    "Batch": (
        "lines { replayed transaction { id kind points } balance { available }"
        " userErrors { code retryable } }"
    ),
}


@dataclass(slots=True)
class Seat:
    """One who asks: the till of a partner, the members' app, or the operator; and what it knows."""

    name: str
    chance: Random
    members: Sequence[str]
    known: dict[str, list[str]] = field(default_factory=dict)
    """Ids that it was told of and may still use, by what they are."""
    me: str = ""
    """In the members' app: whose wish it is this time."""

    def anybody(self) -> Input:
        """Some member."""
        return {"id": self.chance.choice(self.members)}

    def points(self, most: int) -> str:
        """So many, or fewer."""
        return str(self.chance.randint(1, most))

    def mostly(self) -> bool:
        """Four times in five; what is used again then is refused by its own code."""
        return self.chance.randrange(5) > 0

    def one_of(self, what: str, *, use_up: bool = False) -> str | None:
        """An id that it knows, if it knows one."""
        ids = self.known.get(what)
        if not ids:
            return None
        at = self.chance.randrange(len(ids))
        return ids.pop(at) if use_up else ids[at]

    def learn(self, what: str, one: str) -> None:
        """Remember an id, and no more of them than are of use."""
        ids = self.known.setdefault(what, [])
        ids.append(one)
        del ids[:-40]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One kind of wish."""

    mutation: str
    family: str
    """What `--only` names."""
    answer: str
    make: Callable[[Seat], Input | None]
    """The input without its key; None: there is nothing to wish it for."""
    weight: int = 2
    teaches: str = ""
    """What the id that it answers with can be used for."""
    lines_are: str = ""
    """Of a batch: the mutation by which a line could be sent alone."""
    looks_up: str = ""
    """A connection whose ids the seat reads first, and knows by that name."""

    @property
    def document(self) -> str:
        """The GraphQL document."""
        kind = self.mutation[0].upper() + self.mutation[1:]
        return (
            f"mutation($input: {kind}Input!) {{ {self.mutation}(input: $input) {{ replayed"
            f" {ANSWERS[self.answer]} userErrors {{ code retryable }} }} }}"
        )

    def with_key(self, asked: Input, key: str) -> Input:
        """The input with its key, or with one for each of its lines."""
        if "lines" not in asked:
            return {"idempotencyKey": key, **asked}  # what is sent again has its own
        lines = [{"idempotencyKey": f"{key}.{nth}", **line} for nth, line in enumerate(asked["lines"])]
        return {**asked, "lines": lines}


def _card(seat: Seat) -> Input | None:
    number = seat.one_of("card")
    return None if number is None else {"identifier": {"kind": "CARD", "value": number}}


def _by_card(seat: Seat, most: int) -> Input | None:
    named = _card(seat)
    return None if named is None else {"member": named, "points": seat.points(most)}


def _changing_card(seat: Seat, **more: Any) -> Input | None:
    named = _card(seat)
    return None if named is None else {"identifier": named, **more}


def _linked(seat: Seat) -> Input:
    number = f"+4930{seat.chance.randrange(10**8):08}"
    return {"member": seat.anybody(), "identifier": {"kind": "PHONE", "value": number}}


def _unlinked(seat: Seat) -> Input | None:
    number = seat.one_of("phone", use_up=seat.mostly())
    return None if number is None else {"identifier": {"identifier": {"kind": "PHONE", "value": number}}}


def _confirmed(seat: Seat) -> Input | None:
    """A redemption of some of the points that its member confirmed, or of more."""
    word = seat.one_of("confirmation", use_up=seat.mostly())
    if word is None:
        return None
    confirmation, member = word.split(" ")
    return {"member": {"id": member}, "points": seat.points(40), "confirmation": confirmation}


def _lines(seat: Seat, most: int) -> Input:
    return {
        "lines": [
            {"member": seat.anybody(), "points": seat.points(most), "receipt": _receipt(seat)}
            for _ in range(seat.chance.randint(1, 8))
        ],
        "atomic": seat.chance.randrange(2) == 0,
    }


def _receipt(seat: Seat) -> Input:
    return {"store": "S", "terminal": seat.name, "number": f"{seat.chance.getrandbits(64):x}"}


def _of(seat: Seat, what: str, name: str, *, use_up: bool = False, **more: Any) -> Input | None:
    known = seat.one_of(what, use_up=use_up)
    return None if known is None else {name: known, **more}


def _two(seat: Seat, one: str, other: str) -> Input:
    first, second = seat.chance.sample(list(seat.members), 2)
    return {one: {"id": first}, other: {"id": second}}


def _part(seat: Seat, most: int) -> str | None:
    """A number of points, or null: all of it."""
    return seat.chance.choice([None, seat.points(most), seat.points(most)])


def _merged(seat: Seat) -> Input | None:
    pair = seat.one_of("merge", use_up=True)
    if pair is None:
        return None
    survivor, merged = pair.split(" ")
    return {"survivor": {"id": survivor}, "merged": {"id": merged}}


def _as_head(seat: Seat) -> Input | None:
    seat.me = seat.one_of("head") or ""
    return {"invited": seat.anybody()} if seat.me else None


def _closing(seat: Seat) -> Input | None:
    opened = seat.one_of("pool", use_up=True)
    if opened is None:
        return None
    pool, seat.me = opened.split(" ")
    return {"pool": pool}


def _held_again(seat: Seat) -> Input | None:
    """A wish that was held for review, as it was sent, in case that it was released meanwhile."""
    held = seat.one_of("held", use_up=True)
    return None if held is None else dict(json.loads(held))


def _newcomers(seat: Seat, most: int) -> Input | None:
    newcomer = seat.one_of("newcomer")
    return None if newcomer is None else {"member": {"id": newcomer}, "points": seat.points(most)}


def _erased(seat: Seat) -> Input | None:
    newcomer = seat.one_of("newcomer")
    return None if newcomer is None else {"member": {"id": newcomer}}


def _as_invited(seat: Seat) -> Input | None:
    invitation = seat.one_of("invitation", use_up=True)
    if invitation is None:
        return None
    pool, seat.me = invitation.split(" ")
    return {"pool": pool}


AT_TILLS: Final = (
    Wish(
        mutation="issuePoints",
        family="points",
        answer="Points",
        make=lambda seat: {"member": seat.anybody(), "points": seat.points(60), "receipt": _receipt(seat)},
        weight=9,
        teaches="issue",
    ),
    Wish(
        mutation="redeemPoints",
        family="points",
        answer="Points",
        make=lambda seat: {"member": seat.anybody(), "points": seat.points(40), "receipt": _receipt(seat)},
        weight=5,
        teaches="redemption",
    ),
    Wish(
        mutation="redeemPoints",
        family="pools",
        answer="Points",
        make=lambda seat: {"member": seat.anybody(), "points": seat.points(120), "fromPool": True},
        weight=4,
        teaches="redemption",
    ),
    Wish(
        mutation="authorizeRedemption",
        family="pools",
        answer="Hold",
        make=lambda seat: {"member": seat.anybody(), "points": seat.points(120), "fromPool": True},
        teaches="hold",
    ),
    Wish(
        mutation="authorizeRedemption",
        family="holds",
        answer="Hold",
        make=lambda seat: {
            "member": seat.anybody(),
            "points": seat.points(40),
            # Some lapse in a night.
            "secondsToLive": seat.chance.choice([900, 4 * 86_400]),
        },
        weight=5,
        teaches="hold",
    ),
    Wish(
        mutation="captureRedemption",
        family="holds",
        answer="Hold",
        make=lambda seat: _of(seat, "hold", "holdId", use_up=seat.mostly(), points=_part(seat, 30)),
        weight=3,
        teaches="redemption",
    ),
    Wish(
        mutation="voidRedemption",
        family="holds",
        answer="Hold",
        make=lambda seat: _of(seat, "hold", "holdId", use_up=seat.mostly()),
    ),
    Wish(
        mutation="reverseTransaction",
        family="reversals",
        answer="Points",
        make=lambda seat: _of(seat, "issue", "transactionId", points=_part(seat, 20)),
        weight=3,
    ),
    Wish(
        mutation="reverseTransaction",
        family="reversals",
        answer="Points",
        make=lambda seat: _of(seat, "redemption", "transactionId", points=_part(seat, 20)),
        weight=3,
    ),
    Wish(
        mutation="redeemVoucher",
        family="vouchers",
        answer="Hold",
        make=lambda seat: _of(seat, "voucher", "voucher", use_up=seat.mostly(), points=_part(seat, 20)),
        teaches="redemption",
    ),
    Wish(
        mutation="issuePoints",
        family="cards",
        answer="Points",
        make=lambda seat: _by_card(seat, 30),
        teaches="issue",
    ),
    Wish(
        mutation="redeemPoints",
        family="cards",
        answer="Points",
        make=lambda seat: _by_card(seat, 30),
        weight=3,
        teaches="redemption",
    ),
    Wish(
        mutation="linkIdentifier",
        family="phones",
        answer="Member",
        make=_linked,
        teaches="phone",
    ),
    Wish(mutation="unlinkIdentifier", family="phones", answer="Member", make=_unlinked),
    Wish(
        mutation="redeemPoints",
        family="confirmations",
        answer="Points",
        make=_confirmed,
        teaches="redemption",
    ),
    Wish(
        mutation="issuePoints",
        family="reviews",
        answer="Points",
        make=_held_again,
        weight=4,
        teaches="issue",
    ),
    Wish(
        mutation="enrollMember",
        family="erasures",
        answer="Member",
        make=lambda seat: {
            "identifiers": [
                {"kind": "CARD", "value": f"{seat.chance.getrandbits(60):015X}"},
                {"kind": "EMAIL", "value": f"m{seat.chance.getrandbits(60):x}@example.com"},
            ]
        },
        weight=1,
        teaches="newcomer",
    ),
    Wish(
        mutation="issuePoints",
        family="erasures",
        answer="Points",
        make=lambda seat: _newcomers(seat, 3),
        weight=1,
    ),
    Wish(
        mutation="redeemPoints",
        family="erasures",
        answer="Points",
        make=lambda seat: _newcomers(seat, 3),
        weight=2,
    ),
    Wish(
        mutation="issuePointsBatch",
        family="batches",
        answer="Batch",
        make=lambda seat: _lines(seat, 20),
        lines_are="issuePoints",
    ),
    Wish(
        mutation="redeemPointsBatch",
        family="batches",
        answer="Batch",
        make=lambda seat: _lines(seat, 20),
        lines_are="redeemPoints",
    ),
)

IN_THE_APP: Final = (
    Wish(
        mutation="transferPoints",
        family="transfers",
        answer="Points",
        make=lambda seat: {"to": seat.anybody(), "points": seat.points(30)},
        weight=5,
    ),
    Wish(
        mutation="issueVoucher",
        family="vouchers",
        answer="IssueVoucher",
        make=lambda seat: {"partner": "grocer", "points": seat.points(30)},
        weight=2,
        teaches="voucher",
    ),
    Wish(
        mutation="confirmRedemption",
        family="confirmations",
        answer="Confirmation",
        make=lambda seat: {"partner": "baker", "points": seat.points(40)},
        teaches="confirmation",
    ),
    Wish(
        mutation="createPool",
        family="pools",
        answer="Pool",
        make=lambda _: {"name": "Home"},
        teaches="head",
    ),
    Wish(
        mutation="inviteToPool",
        family="pools",
        answer="Pool",
        make=_as_head,
        weight=5,
        teaches="invitation",
    ),
    Wish(
        mutation="acceptPoolInvitation",
        family="pools",
        answer="Pool",
        make=_as_invited,
        weight=6,
    ),
    Wish(mutation="leavePool", family="pools", answer="Pool", make=lambda _: {}, weight=1),
    Wish(mutation="closePool", family="pools", answer="Pool", make=_closing, weight=1),
)

BY_THE_OPERATOR: Final = (
    Wish(
        mutation="adjustPoints",
        family="adjustments",
        answer="Adjustment",
        make=lambda seat: {
            "member": seat.anybody(),
            "reason": "GOODWILL",
            "points": seat.points(30),
            "issuer": seat.chance.choice(["grocer", "baker", "florist"]),
        },
    ),
    Wish(
        mutation="adjustPoints",
        family="adjustments",
        answer="Adjustment",
        make=lambda seat: {
            "member": seat.anybody(),
            "reason": "CORRECTION",
            "points": f"-{seat.points(20)}",
        },
    ),
    Wish(
        mutation="mergeMembers",
        family="merges",
        answer="Points",
        make=lambda seat: _two(seat, "survivor", "merged"),
        teaches="merge",
    ),
    Wish(
        mutation="unmergeMembers",
        family="merges",
        answer="Points",
        make=_merged,
        weight=4,
    ),
    Wish(
        mutation="blockIdentifier",
        family="cards",
        answer="Member",
        make=_changing_card,
        weight=1,
    ),
    Wish(
        mutation="unblockIdentifier",
        family="cards",
        answer="Member",
        make=_changing_card,
        weight=3,
    ),
    Wish(
        mutation="replaceCard",
        family="cards",
        answer="Member",
        make=lambda seat: _changing_card(seat, card=f"{seat.chance.getrandbits(60):X}"),
        weight=1,
        teaches="card",
    ),
    Wish(
        mutation="eraseMember",
        family="erasures",
        answer="EraseMember",
        make=_erased,
        weight=3,
    ),
    Wish(
        mutation="releaseReview",
        family="reviews",
        answer="Review",
        make=lambda seat: _of(seat, "reviews", "review"),
        weight=4,
        looks_up="reviews",
    ),
    Wish(
        mutation="rejectReview",
        family="reviews",
        answer="Review",
        make=lambda seat: _of(seat, "reviews", "review"),
        weight=1,
        looks_up="reviews",
    ),
    Wish(
        mutation="blockMember",
        family="blocks",
        answer="Member",
        make=lambda seat: {"member": seat.anybody()},
        weight=1,
    ),
    Wish(
        mutation="unblockMember",
        family="blocks",
        answer="Member",
        make=lambda seat: {"member": seat.anybody()},
        weight=3,
    ),
)

ALONE: Final = {wish.mutation: wish for wish in reversed(AT_TILLS) if wish.answer == "Points"}
"""What a batch's line could be sent as."""

FAMILIES: Final = tuple(sorted({wish.family for wish in (*AT_TILLS, *IN_THE_APP, *BY_THE_OPERATOR)}))
