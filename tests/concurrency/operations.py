"""What meets on a member: each operation with what must be there before it, and how it is done.

A scene is a few fresh members, of whom one, `ann`, is the member that all operations touch. The clock is set
forward before they do, so what an operation wants to be due is due.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any, cast
from uuid import UUID, uuid4

from driver import LedgerDriver, receipt
from sqlalchemy.orm import Session

from coalition import adjusting, identifier_changes, reviewing
from coalition.amounts import Points
from coalition.blocking import set_blocked
from coalition.erasing import erase_member
from coalition.errors import UnderReview
from coalition.identifier_changes import Actor, ChangeIdentifier
from coalition.identifiers import Identifier, IdentifierKind
from coalition.ids import NETWORK, MemberId, PartnerId
from coalition.issuing import IssuePoints
from coalition.ledger import Posting, TransactionRef
from coalition.members import EnrolMember, LinkIdentifier, enrol_member, link_identifier
from coalition.programme import set_adjustment_limit
from coalition.redeeming import RedeemPoints

ROLES = ("ann", "bob", "cat", "dan", "eve")
"""ann is the one that all meet on; bob gives, takes and shares with her; cat is merged into her, and was eve;
dan is whom she is merged into, and who invites her to another pool."""

SOON = timedelta(seconds=60)
LATER = timedelta(seconds=120)


@dataclass
class Scene:
    """Members to whom nothing has happened but what the operations need."""

    ledger: LedgerDriver
    partner: PartnerId
    start: datetime
    people: dict[str, MemberId]
    made: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def fresh(cls, ledger: LedgerDriver, *, ann_last: bool) -> "Scene":
        """ann's id is before the others', or after them all: which of two heads is locked first."""
        # Keys of its own: what is prepared for equal scenes is posted under equal ones.
        ledger = replace(ledger, keys=count(1))
        ids = sorted(enrolled(ledger))
        if ann_last:
            ids.reverse()
        scene = cls(ledger, ledger.any_partner(), ledger.now, dict(zip(ROLES, ids, strict=True)))
        scene.once("first", lambda: ledger.issue(scene.ann, 100).ref)
        return scene

    @property
    def ann(self) -> MemberId:
        return self.people["ann"]

    @property
    def bob(self) -> MemberId:
        return self.people["bob"]

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What several operations may need is made for the first of them."""
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]

    def rich(self, role: str) -> None:
        self.once(f"points of {role}", lambda: self.ledger.issue(self.people[role], 60))

    def hold(self) -> TransactionRef:
        ref: TransactionRef = self.once("hold", lambda: self.ledger.authorize(self.ann, 30).ref)
        return ref

    def card(self) -> UUID:
        card: UUID = self.once("card", lambda: self.ledger.card(self.ann))
        return card

    def household(self) -> UUID:
        self.rich("bob")
        pool: UUID = self.once("pool", lambda: self.ledger.pool(self.bob, self.ann))
        return pool

    def in_review(self) -> UUID:
        """A wish of the watched partner's that waits for an operator."""

        def make() -> UUID:
            _queue(self.ledger, self)
            [(review,)] = self.ledger.rows(
                "SELECT review_id FROM ledger.review WHERE member_id = :ann", ann=self.ann
            )
            return cast("UUID", review)

        review: UUID = self.once("review", make)
        return review

    @property
    def watched(self) -> PartnerId:
        """The partner whose issues an operator looks at first."""
        return list(self.ledger.agreements)[1]

    @property
    def names(self) -> dict[UUID, str]:
        return {member: role for role, member in self.people.items()} | {
            self.partner: "the partner",
            self.watched: "the watched partner",
        }


FREE = 22
"""An adjustment of more points than that wants a second person."""


def set_rules(ledger: LedgerDriver) -> None:
    """What the programme must have for all scenes: a partner who is watched, and a limit of adjustments."""
    ledger.any_partner()
    watched = ledger.partner()
    ledger.limit("watched", posting="issue", measure="points", most=1, action="review", partner_id=watched)
    with ledger.database.unit_of_work() as session:
        set_adjustment_limit(session, points=Points(FREE))


def enrolled(ledger: LedgerDriver) -> list[MemberId]:
    """A new member for each role, in one transaction."""
    wish = EnrolMember(partner_id=ledger.any_partner(), identifiers=[])
    with ledger.database.unit_of_work() as session:
        return [enrol_member(session, wish) for _ in ROLES]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One thing that touches ann."""

    name: str
    prepare: Callable[[Scene], object]
    act: Callable[[LedgerDriver, Scene, str], Posting | UUID | int | None]
    """As whom (whose session it is), in what scene, under which key."""
    keyed: bool = True
    """A partner's or an operator's wish, which has a key."""
    other: str = ""
    """Whose head it locks with ann's."""
    prepare_last: Callable[[Scene], object] = lambda _: None
    """What of it must be there before it, and would be in the way of what others need."""
    brings: frozenset[str] = frozenset()
    """What it has made of ann before it is done: a `hold`, a `pool`."""
    shuns: frozenset[str] = frozenset()
    """It is refused to a member that has such."""
    only: str = ""
    """It locks no head, but this one row of ann's: `review` or `adjustment`."""
    touches: frozenset[str] = frozenset()
    """Such rows that it locks besides the head."""

    def meets(self, other: "Operation") -> bool:
        """Whether there is a row that both lock."""
        mine, others = self._rows(), other._rows()
        return bool(mine & others)

    def _rows(self) -> frozenset[str]:
        return frozenset({self.only or "head"}) | self.touches

    def granted_with(self, other: "Operation") -> bool:
        """Whether it is granted where it is first, in a scene made for it and the other."""
        return not self.shuns & (self.brings | other.brings)


def _propose(scene: Scene, points: int) -> UUID:
    def make() -> UUID:
        with scene.ledger.database.unit_of_work() as session:
            return adjusting.propose_adjustment(
                session,
                adjusting.ProposeAdjustment(
                    member_id=scene.ann,
                    points=Points(points),
                    reason=adjusting.AdjustmentReason.GOODWILL,
                    by="ada",
                    issuer_id=scene.partner if points > 0 else None,
                ),
            )

    proposed: UUID = scene.once(f"adjustment of {points}", make)
    return proposed


def _adjust(ledger: LedgerDriver, scene: Scene, points: int, *, by: str = "ada") -> Posting:
    with ledger.database.single_call() as session:
        return adjusting.post_adjustment(
            session,
            scene.ann,
            scene.made[f"adjustment of {points}"],
            by=by,
            agreement_id=ledger.agreements[scene.partner] if points > 0 else None,
        )


def _reject_adjustment(ledger: LedgerDriver, scene: Scene, _: str) -> None:
    with ledger.database.single_call() as session:
        adjusting.reject_adjustment(session, scene.ann, scene.made[f"adjustment of {FREE + 2}"], by="grace")


def _ask_watched(ledger: LedgerDriver, scene: Scene) -> Posting:
    return ledger.issue(scene.ann, 12, by=scene.watched, key="a watched wish")


def _queue(ledger: LedgerDriver, scene: Scene) -> bool:
    """Remember the wish that is refused so, whatever has become of the member since."""
    with ledger.database.unit_of_work() as session:
        return reviewing.queue_review(session, _held_for_review(scene))


def _held_for_review(scene: Scene) -> UnderReview:
    def make() -> UnderReview:
        try:
            _ask_watched(scene.ledger, scene)
        except UnderReview as refusal:
            return refusal
        raise AssertionError("it was not held for review")

    refusal: UnderReview = scene.once("refusal", make)
    return refusal


def _decide(
    how: Callable[..., None],
) -> Callable[[LedgerDriver, Scene, str], None]:
    def act(ledger: LedgerDriver, scene: Scene, _: str) -> None:
        with ledger.database.single_call() as session:
            how(session, scene.ann, scene.in_review(), by="ada")

    return act


def _released(scene: Scene) -> None:
    """One that was decided upon since stays so."""

    def release() -> None:
        with scene.ledger.database.unit_of_work() as session:
            reviewing.release(session, scene.ann, scene.in_review(), by="ada")

    scene.in_review()
    scene.once("release", release)


def _link(ledger: LedgerDriver, scene: Scene, _: str) -> None:
    phone = Identifier(kind=IdentifierKind.PHONE, value=f"+49{scene.ann.int % 10**10:010}")
    with ledger.database.single_call() as session:
        link_identifier(
            session,
            LinkIdentifier(member_id=scene.ann, partner_id=scene.partner, identifier=phone),
        )


def _set_blocked(ledger: LedgerDriver, scene: Scene, *, blocked: bool) -> None:
    with ledger.database.single_call() as session:
        set_blocked(session, scene.ann, blocked=blocked, by="ada")


def _change_card(
    change: Callable[[Session, ChangeIdentifier], None],
) -> Callable[[LedgerDriver, Scene, str], None]:
    def act(ledger: LedgerDriver, scene: Scene, _: str) -> None:
        with ledger.database.single_call() as session:
            change(
                session,
                ChangeIdentifier(
                    member_id=scene.ann,
                    identifier_id=scene.card(),
                    by=Actor(name="ada", party_id=NETWORK),
                ),
            )

    return act


def _spend_all(scene: Scene) -> None:
    """Who is erased has nothing left."""
    left = scene.ledger.balance(scene.ann).available
    if left:
        scene.ledger.redeem(scene.ann, left)


def _erase(ledger: LedgerDriver, scene: Scene, _: str) -> int:
    with ledger.database.single_call() as session:
        return len(erase_member(session, scene.ann).records)


def _dans_pool(scene: Scene) -> UUID:
    pool: UUID = scene.once("dan's pool", lambda: scene.ledger.pool(scene.people["dan"]))
    return pool


def _invited_by_dan(scene: Scene) -> None:
    _dans_pool(scene)
    scene.once("invitation", lambda: scene.ledger.invite(scene.people["dan"], scene.ann))


def _merged_with_eve(scene: Scene) -> None:
    scene.rich("eve")
    scene.once("eve's merge", lambda: scene.ledger.merge(scene.ann, scene.people["eve"]))


def _held_from_pool(scene: Scene, role: str, points: int) -> TransactionRef:
    """A hold for which the other gave some; its holder has got new points since."""

    def make() -> TransactionRef:
        holder = scene.people[role]
        held = scene.ledger.authorize(holder, points, from_pool=True).ref
        scene.ledger.issue(holder, 60)
        return held

    scene.household()
    ref: TransactionRef = scene.once(f"hold from the pool of {role}", make)
    return ref


def _held_by_bob(scene: Scene) -> TransactionRef:
    return _held_from_pool(scene, "bob", 80)


def _held_by_ann(scene: Scene) -> TransactionRef:
    return _held_from_pool(scene, "ann", 110)


def _spent_from_pool(scene: Scene, role: str) -> TransactionRef:
    """A purchase for which the other gave some; who made it has got new points since."""

    def make() -> TransactionRef:
        spender = scene.people[role]
        points = scene.ledger.balance(spender).available + 10
        spent = scene.ledger.redeem(spender, points, from_pool=True).ref
        scene.ledger.issue(spender, 110)
        return spent

    scene.household()
    ref: TransactionRef = scene.once(f"spent from the pool by {role}", make)
    return ref


def _lapsing_from_pool(scene: Scene, role: str) -> None:
    """A hold for which the other gave some, over by the time at which they meet."""

    def make() -> None:
        holder = scene.people[role]
        points = scene.ledger.balance(holder).available + 10
        scene.ledger.authorize(holder, points, from_pool=True, seconds_to_live=60)
        scene.ledger.issue(holder, 110)

    scene.household()
    scene.once(f"lapsing hold from the pool of {role}", make)


def propose_another(ledger: LedgerDriver, member: MemberId) -> None:
    """An adjustment that nobody decides upon."""
    with ledger.database.single_call() as session:
        adjusting.propose_adjustment(
            session,
            adjusting.ProposeAdjustment(
                member_id=member, points=Points(-7), reason=adjusting.AdjustmentReason.GOODWILL, by="ada"
            ),
        )


def _captured(scene: Scene) -> TransactionRef:
    held = scene.once("hold that ended", lambda: scene.ledger.authorize(scene.ann, 25).ref)
    ref: TransactionRef = scene.once("captured", lambda: scene.ledger.capture(held, 15).ref)
    return ref


def _confirmed(scene: Scene) -> UUID:
    confirmation: UUID = scene.once(
        "confirmation", lambda: scene.ledger.confirm(scene.ann, 40, at=scene.partner)
    )
    return confirmation


def _due(scene: Scene, name: str, **terms: Any) -> None:
    scene.once(name, lambda: scene.ledger.issue(scene.ann, 25, **terms))


def _batch(ledger: LedgerDriver, *lines: IssuePoints | RedeemPoints) -> Posting:
    """What came of ann's line, the first. The others stay where that one is refused."""
    outcome = ledger.batch(*lines)[0]
    # A refusal is an answer here, and is not raised: raised, it would undo the other lines.
    return cast("Posting", outcome)


def _night(ledger: LedgerDriver, scene: Scene, _: str) -> int:
    return ledger.bring_up_to_date(scene.ann)


def _nothing(_: Scene) -> None:
    pass


_HOLD, _POOL = frozenset({"hold"}), frozenset({"pool"})
_BLOCK, _CARD_BLOCK = frozenset({"block"}), frozenset({"block of the card"})
_REVIEW, _ADJUSTMENT = frozenset({"review"}), frozenset({"adjustment"})
_NOTHING_LEFT, _COMING = frozenset({"nothing left"}), frozenset({"points to come"})
_ALL_HELD, _EVES_HELD = frozenset({"all held"}), frozenset({"eve's held"})

OPERATIONS = (
    Operation(
        name="issue",
        prepare=_nothing,
        act=lambda ledger, scene, key: ledger.issue(
            scene.ann, 30, key=key, receipt=receipt(key, store=str(scene.ann))
        ),
        shuns=_BLOCK,
    ),
    Operation(
        name="redeem",
        prepare=_nothing,
        act=lambda ledger, scene, key: ledger.redeem(
            scene.ann, 40, key=key, receipt=receipt(key, store=str(scene.ann))
        ),
        shuns=_BLOCK | _NOTHING_LEFT,
    ),
    Operation(
        name="issue in a batch",
        prepare=lambda scene: scene.rich("bob"),
        act=lambda ledger, scene, key: _batch(
            ledger,
            ledger.to_issue(scene.ann, 30, key=key, receipt=receipt(key, store=str(scene.ann))),
            ledger.to_issue(scene.bob, 5, key=key),
        ),
        other="bob",
        shuns=_BLOCK,
    ),
    Operation(
        name="redeem in a batch",
        prepare=lambda scene: scene.rich("bob"),
        act=lambda ledger, scene, key: _batch(
            ledger,
            ledger.to_redeem(scene.ann, 40, key=key, receipt=receipt(key, store=str(scene.ann))),
            ledger.to_issue(scene.bob, 5, key=key),
        ),
        other="bob",
        shuns=_BLOCK | _NOTHING_LEFT,
    ),
    Operation(
        name="authorise",
        prepare=_nothing,
        act=lambda ledger, scene, key: ledger.authorize(scene.ann, 35, key=key),
        shuns=_BLOCK | _NOTHING_LEFT,
    ),
    Operation(
        name="capture",
        prepare=Scene.hold,
        act=lambda ledger, scene, key: ledger.capture(scene.hold(), 20, key=key),
        brings=_HOLD,
    ),
    Operation(
        name="void",
        prepare=Scene.hold,
        act=lambda ledger, scene, key: ledger.void(scene.hold(), key=key),
        brings=_HOLD,
    ),
    Operation(
        name="lapse by the night",
        prepare=lambda scene: scene.once(
            "short hold", lambda: scene.ledger.authorize(scene.ann, 15, seconds_to_live=60)
        ),
        act=_night,
        keyed=False,
        brings=_COMING,
    ),
    Operation(
        name="mature by the night",
        prepare=lambda scene: _due(scene, "maturing", matures_at=scene.start + SOON),
        act=_night,
        keyed=False,
        brings=_COMING,
    ),
    Operation(
        name="expire by the night",
        prepare=lambda scene: _due(scene, "expiring", expires_at=scene.start + SOON),
        act=_night,
        keyed=False,
    ),
    Operation(
        name="reverse issue",
        prepare=_nothing,
        act=lambda ledger, scene, key: ledger.reverse(scene.made["first"], 70, key=key),
    ),
    Operation(
        name="reverse redemption",
        prepare=lambda scene: scene.once("spent", lambda: scene.ledger.redeem(scene.ann, 30).ref),
        act=lambda ledger, scene, key: ledger.reverse(scene.made["spent"], 20, key=key),
    ),
    Operation(
        name="transfer out",
        prepare=_nothing,
        act=lambda ledger, scene, key: ledger.transfer(scene.ann, 25, to=scene.bob, key=key),
        other="bob",
        shuns=_BLOCK | _NOTHING_LEFT,
    ),
    Operation(
        name="transfer in",
        prepare=lambda scene: scene.rich("bob"),
        act=lambda ledger, scene, key: ledger.transfer(scene.bob, 45, to=scene.ann, key=key),
        other="bob",
        shuns=_BLOCK,
    ),
    Operation(
        name="merge another",
        prepare=lambda scene: scene.rich("cat"),
        act=lambda ledger, scene, key: ledger.merge(scene.ann, scene.people["cat"], key=key),
        other="cat",
    ),
    Operation(
        name="be merged",
        prepare=_nothing,
        act=lambda ledger, scene, key: ledger.merge(scene.people["dan"], scene.ann, key=key),
        shuns=_HOLD | _POOL | _BLOCK,
        other="dan",
    ),
    Operation(
        name="un-merge",
        prepare=_merged_with_eve,
        act=lambda ledger, scene, key: ledger.unmerge(scene.ann, scene.people["eve"], key=key),
        other="eve",
        shuns=_ALL_HELD,  # eve's points, too
    ),
    Operation(
        name="reverse what one merged into it had",
        prepare=_merged_with_eve,
        act=lambda ledger, scene, key: ledger.reverse(scene.made["points of eve"].ref, 30, key=key),
        other="eve",
        shuns=_EVES_HELD,
    ),
    Operation(
        name="propose an adjustment",
        prepare=_nothing,
        act=lambda ledger, scene, _: propose_another(ledger, scene.ann),
        keyed=False,
    ),
    Operation(
        name="adjust, giving",
        prepare=lambda scene: _propose(scene, 20),
        act=lambda ledger, scene, _: _adjust(ledger, scene, 20),
        keyed=False,
        shuns=_BLOCK,
    ),
    Operation(
        name="adjust, taking",
        prepare=lambda scene: _propose(scene, -20),
        act=lambda ledger, scene, _: _adjust(ledger, scene, -20),
        keyed=False,
        shuns=_NOTHING_LEFT,
    ),
    Operation(
        name="confirm an adjustment",
        prepare=lambda scene: _propose(scene, FREE + 2),
        act=lambda ledger, scene, _: _adjust(ledger, scene, FREE + 2, by="grace"),
        keyed=False,
        shuns=_BLOCK,
        touches=_ADJUSTMENT,
    ),
    Operation(
        name="reject the adjustment",
        prepare=lambda scene: _propose(scene, FREE + 2),
        act=_reject_adjustment,
        keyed=False,
        only="adjustment",
    ),
    Operation(
        name="queue for review",
        prepare=_held_for_review,
        act=lambda ledger, scene, _: _queue(ledger, scene),
        keyed=False,
    ),
    Operation(
        name="issue what was released",
        prepare=_released,
        act=lambda ledger, scene, _: _ask_watched(ledger, scene),
        keyed=False,
        shuns=_BLOCK,
        touches=_REVIEW,
    ),
    Operation(
        name="release",
        prepare=Scene.in_review,
        act=_decide(reviewing.release),
        keyed=False,
        only="review",
    ),
    Operation(
        name="decline",
        prepare=Scene.in_review,
        act=_decide(reviewing.reject),
        keyed=False,
        only="review",
    ),
    Operation(
        name="join a pool",
        prepare=_invited_by_dan,
        act=lambda ledger, scene, _: ledger.join_pool(scene.ann, scene.made["dan's pool"]),
        keyed=False,
        shuns=_BLOCK | _POOL,
    ),
    Operation(
        name="leave a pool",
        prepare=Scene.household,
        act=lambda ledger, scene, _: ledger.leave_pool(scene.ann),
        keyed=False,
        brings=_POOL,
    ),
    Operation(
        name="close the pool",
        prepare=Scene.household,
        act=lambda ledger, scene, _: ledger.close_pool(scene.made["pool"], by=scene.bob),
        keyed=False,
        brings=_POOL,
        other="bob",
    ),
    Operation(
        name="spend from the pool",
        prepare=Scene.household,
        act=lambda ledger, scene, key: ledger.redeem(scene.ann, 110, key=key, from_pool=True),
        brings=_POOL,
        other="bob",
        shuns=_BLOCK | _NOTHING_LEFT,
    ),
    Operation(
        name="give to the pool",
        prepare=Scene.household,
        act=lambda ledger, scene, key: ledger.redeem(scene.bob, 80, key=key, from_pool=True),
        brings=_POOL,
        other="bob",
        shuns=_BLOCK | _NOTHING_LEFT,
    ),
    Operation(
        name="get back from the pool",
        prepare=_held_by_bob,
        act=lambda ledger, scene, key: ledger.void(_held_by_bob(scene), key=key),
        brings=_POOL,
        other="bob",
    ),
    Operation(
        name="spend from the pool in a batch",
        prepare=Scene.household,
        act=lambda ledger, scene, key: _batch(
            ledger, ledger.to_redeem(scene.ann, 110, key=key, from_pool=True)
        ),
        brings=_POOL,
        other="bob",
        shuns=_BLOCK | _NOTHING_LEFT,
    ),
    Operation(
        name="authorise from the pool",
        prepare=Scene.household,
        act=lambda ledger, scene, key: ledger.authorize(scene.ann, 110, key=key, from_pool=True),
        brings=_POOL,
        other="bob",
        shuns=_BLOCK | _NOTHING_LEFT,
    ),
    Operation(
        name="capture from the pool",
        prepare=_held_by_ann,
        act=lambda ledger, scene, key: ledger.capture(_held_by_ann(scene), 50, key=key),
        brings=_POOL | _HOLD | _ALL_HELD,
        other="bob",
    ),
    Operation(
        name="reverse what a pool paid",
        prepare=lambda scene: _spent_from_pool(scene, "ann"),
        act=lambda ledger, scene, key: ledger.reverse(_spent_from_pool(scene, "ann"), key=key),
        brings=_POOL,
        other="bob",
    ),
    Operation(
        name="get back what a pool paid",
        prepare=lambda scene: _spent_from_pool(scene, "bob"),
        act=lambda ledger, scene, key: ledger.reverse(_spent_from_pool(scene, "bob"), key=key),
        brings=_POOL,
        other="bob",
    ),
    Operation(
        name="lapse with a pool's points",
        prepare=lambda scene: _lapsing_from_pool(scene, "ann"),
        act=_night,
        keyed=False,
        brings=_POOL | _ALL_HELD | _EVES_HELD,
        other="bob",
    ),
    Operation(
        name="get back from a lapse",
        prepare=lambda scene: _lapsing_from_pool(scene, "bob"),
        act=lambda ledger, scene, _: ledger.bring_up_to_date(scene.bob),
        keyed=False,
        brings=_POOL,
        other="bob",
    ),
    Operation(
        name="be invited to a pool",
        prepare=_dans_pool,
        act=lambda ledger, scene, _: ledger.invite(scene.people["dan"], scene.ann),
        keyed=False,
    ),
    Operation(
        name="open a pool",
        prepare=_nothing,
        act=lambda ledger, scene, _: ledger.pool(scene.ann),
        keyed=False,
        shuns=_BLOCK | _POOL,
    ),
    Operation(
        name="reverse a capture",
        prepare=_captured,
        act=lambda ledger, scene, key: ledger.reverse(_captured(scene), 10, key=key),
    ),
    Operation(
        name="redeem what was confirmed",
        prepare=_confirmed,
        act=lambda ledger, scene, key: ledger.redeem(
            scene.ann, 40, key=key, confirmation_id=_confirmed(scene)
        ),
        shuns=_BLOCK | _NOTHING_LEFT,
    ),
    Operation(
        name="issue a voucher",
        prepare=_nothing,
        act=lambda ledger, scene, key: ledger.voucher(scene.ann, 35, key=key),
        shuns=_BLOCK | _NOTHING_LEFT,
    ),
    Operation(
        name="redeem a voucher",
        prepare=lambda scene: scene.once("voucher", lambda: scene.ledger.voucher(scene.ann, 20).ref),
        act=lambda ledger, scene, key: ledger.redeem_voucher(scene.made["voucher"], 10, key=key),
        brings=_HOLD,
    ),
    Operation(
        name="reverse all of an issue",
        prepare=_nothing,
        act=lambda ledger, scene, key: ledger.reverse(scene.made["first"], key=key),
    ),
    Operation(
        name="block",
        prepare=_nothing,
        act=lambda ledger, scene, _: _set_blocked(ledger, scene, blocked=True),
        keyed=False,
    ),
    Operation(
        name="unblock",
        prepare=_nothing,
        prepare_last=lambda scene: _set_blocked(scene.ledger, scene, blocked=True),
        act=lambda ledger, scene, _: _set_blocked(ledger, scene, blocked=False),
        keyed=False,
        brings=_BLOCK,
    ),
    Operation(
        name="issue by card",
        prepare=Scene.card,
        act=lambda ledger, scene, key: ledger.issue(scene.ann, 15, key=key, identifier_id=scene.card()),
        shuns=_BLOCK | _CARD_BLOCK,
    ),
    Operation(
        name="redeem by card",
        prepare=Scene.card,
        act=lambda ledger, scene, key: ledger.redeem(scene.ann, 45, key=key, identifier_id=scene.card()),
        shuns=_BLOCK | _CARD_BLOCK | _NOTHING_LEFT,
    ),
    Operation(
        name="block the card",
        prepare=Scene.card,
        act=_change_card(identifier_changes.block),
        keyed=False,
    ),
    Operation(
        name="unblock the card",
        prepare=Scene.card,
        prepare_last=lambda scene: _change_card(identifier_changes.block)(scene.ledger, scene, ""),
        act=_change_card(identifier_changes.unblock),
        keyed=False,
        brings=_CARD_BLOCK,
    ),
    Operation(name="link a phone", prepare=_nothing, act=_link, keyed=False),
    Operation(
        name="unlink the card",
        prepare=Scene.card,
        act=_change_card(identifier_changes.unlink),
        keyed=False,
    ),
    Operation(
        name="replace the card",
        prepare=Scene.card,
        act=_change_card(
            lambda session, change: identifier_changes.replace_card(
                session, change, Identifier(kind=IdentifierKind.CARD, value=uuid4().hex[:16].upper())
            )
        ),
        keyed=False,
    ),
    Operation(
        name="erase",
        prepare=_nothing,
        prepare_last=_spend_all,
        act=_erase,
        keyed=False,
        brings=_NOTHING_LEFT,
        shuns=_HOLD | _POOL | _COMING,
    ),
)

TWO_HEADS = tuple(operation.name for operation in OPERATIONS if operation.other)

BY_NAME = {operation.name: operation for operation in OPERATIONS}
