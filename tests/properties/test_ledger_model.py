"""The ledger and the model do the same, whatever is asked of them in whatever order.

`make model STEPS=100000` takes the search further; COALITION_MODEL_SHRINK=0 shows a difference as it was found
(docs/model.md).
"""

import copy
import os
import sys
from collections import Counter
from contextlib import suppress
from functools import partial
from random import Random
from time import monotonic
from typing import ClassVar

import pytest
from driver import LedgerDriver
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from ledger_model import limits, people
from ledger_model.books import Member
from ledger_model.comparing import Comparison
from ledger_model.corners import CORNERS, MET
from ledger_model.ledger import Ledger, both
from ledger_model.limit_wishes import Limit, Refresh, Review, end
from ledger_model.partner_wishes import Stores
from ledger_model.pool_wishes import Accept, Invite, Open
from ledger_model.programme import Answer, Programme, Refused
from ledger_model.tour import TOUR
from ledger_model.wishes import OPERATIONS, Export, Issue, Merge, Redeem, Wish, changed
from ledger_model.wishing import Expected, Got, Told

from coalition.audit import AUDIT, CHAIN, run_audit
from coalition.db import Database
from coalition.errors import CoalitionError, LimitUnknown, UnderReview
from coalition.ledger import Posting
from coalition.reviewing import queue_review

STEPS = int(os.environ.get("COALITION_MODEL_STEPS", "80"))
EXAMPLES = int(os.environ.get("COALITION_MODEL_EXAMPLES", "25"))
PHASES = [Phase.generate, *([Phase.shrink] if os.environ.get("COALITION_MODEL_SHRINK", "1") == "1" else [])]

AGE = 10  # seconds


class Both:
    """The model and the ledger side by side."""

    def __init__(self, driver: LedgerDriver, reached: Counter[str]) -> None:
        self.reached = reached
        self.model: Programme
        self.ledger: Ledger
        self.model, self.ledger = both(driver)
        self.compare = Comparison(self.ledger)
        self.asked: list[tuple[Wish, str]] = []
        self.differs = False
        self.refreshed = monotonic()

    def choose(self, by: Random) -> type[Wish]:
        """An operation by its weight; what there is nothing to do for yet only now and then."""
        some = [one for one in OPERATIONS if one.sensible(self.model)]
        chosen = OPERATIONS if len(self.asked) % 10 == 0 else some
        return by.choices(chosen, weights=[one.weight for one in chosen])[0]

    def new(self, wish: Wish) -> None:
        settled = wish.settle(self.model)
        key = f"key-{len(self.asked)}"
        self.asked.append((settled, key))
        self.do(settled, key)
        if isinstance(settled, Review) and settled.review is not None:
            # Whoever was held sends the same wish again.
            held = self.model.reviews[settled.review].key.removeprefix("voucher:\u00a0")
            self.do(*next(asked for asked in self.asked if asked[1] == held))

    def do(self, wish: Wish, key: str) -> None:
        self.refresh()
        before = self.model
        after = copy.deepcopy(before)
        after.begin(*range(len(after.members)))
        if wish.enters:
            limits.enter(after)
        touched = wish.touches(before)
        expected: Expected | Refused
        try:
            expected = wish.expect(after, key)
        except Refused as refused:
            expected = refused
            if refused.held and wish.enters:
                limits.remember(self.model, refused.held)
        else:
            self.model = after
            if type(wish) is Merge and isinstance(expected, Answer) and not expected.replayed:
                undone_at_once_it_leaves_both_as_they_were(wish, before, after)
        got: Got | CoalitionError
        try:
            got = wish.ask(self.ledger, before, key)
        except CoalitionError as refusal:
            got = refusal
            if isinstance(refusal, UnderReview) and wish.enters:
                self.ledger.unit(partial(queue_review, refusal=refusal))
        self.reached[wish.name(before) if not isinstance(expected, Refused) else expected.code] += 1
        if isinstance(expected, list):
            self.reached.update(f"{one.code} of a line" for one in expected if isinstance(one, Refused))
        self.differs = True
        self.same(expected, got)
        changed_ = {*touched, *self.compare.behind(self.model)}
        self.compare(self.model, changed_, as_read=not isinstance(expected, Refused))
        self.differs = False

    def refresh(self) -> None:
        """The model has no wall clock: so no posting may find figures that are half a minute old by that."""
        if monotonic() - self.refreshed > AGE and Refresh.sensible(self.model):
            self.refreshed = monotonic()
            self.do(Refresh(), "refresh")

    def same(self, expected: Expected | Refused, got: Got | CoalitionError) -> None:
        if isinstance(expected, list):
            assert isinstance(got, list), f"the ledger refuses: {got!r}"
            for one, other in zip(expected, got, strict=True):
                self.same(one, other)
        elif isinstance(expected, Refused):
            assert isinstance(got, CoalitionError), (
                f"the model refuses ({expected.code}), the ledger does not"
            )
            assert got.code == expected.code
            for name, fact in expected.facts.items():
                assert got.facts[name] == fact, (got.facts, expected.facts)
        elif expected is None or isinstance(expected, Told):
            assert got == expected, f"\n  ledger {got}\n  model  {expected}"
        else:
            assert isinstance(got, Posting), f"the ledger refuses: {got!r}"
            answer = self.ledger.answer(got)
            assert vars(answer) | {"line": expected.line} == vars(expected)
            if not got.replayed:
                self.ledger.refs[expected.member, expected.line] = got.ref


def undone_at_once_it_leaves_both_as_they_were(merge: Merge, before: Programme, after: Programme) -> None:
    """A law of the model's own: nobody has looked at what it does, as long as it and the ledger agree."""
    parted = copy.deepcopy(after)
    people.unmerge(
        parted, survivor=merge.survivor, merged=merge.merged, key="undone", request="undone", by="ada"
    )
    for number in (merge.survivor, merge.merged):
        assert has(parted.members[number]) == has(before.as_of_now(number))


def has(member: Member) -> tuple[Counter[tuple[object, ...]], Counter[tuple[object, ...]]]:
    """The points that a member has, by all that is known of them, and those that it owes."""
    points: Counter[tuple[object, ...]] = Counter()
    for lot in member.lots:
        for bucket in ("pending", "available", "held"):
            points[lot.number, lot.matures_at, lot.expires_at, bucket] += lot.at[bucket]
    owed: Counter[tuple[object, ...]] = Counter()
    for claim in member.claims:
        owed[claim.claimant, claim.terms, claim.brought_by] += claim.open
    return +points, +owed


class LedgerMachine(RuleBasedStateMachine):
    """Each example has new members and partners in the same database, so examples don't meet."""

    driver: ClassVar[LedgerDriver]
    reached: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.both = Both(self.driver, self.reached)
        for member, partner in enumerate(("hard", "lenient", "harder", "strict")):
            for matures, expires, points in ((None, 6, 90), (None, None, 150), (2, 3, 60)):
                self.both.new(
                    Issue(member=member, partner=partner, points=points, matures=matures, expires=expires)
                )

    @initialize(opened=st.none() | Open.strategy(Open), joining=st.lists(st.integers(0, 3), max_size=3))
    def household(self, opened: Open | None, joining: list[int]) -> None:
        """Most begin with a pool."""
        if opened:
            self.both.new(opened)
            for member in joining:
                self.both.new(Invite(member=opened.member, invited=member))
                self.both.new(Accept(member=member, nth=0))

    @initialize(rules=st.lists(Limit.strategy(Limit), max_size=2))
    def guarded(self, rules: list[Limit]) -> None:
        """Some begin with limits."""
        for limit in rules:
            self.both.new(limit)

    @initialize(stores=st.lists(Stores.strategy(Stores), max_size=2))
    def with_stores(self, stores: list[Stores]) -> None:
        """Some partners have published stores."""
        for store in stores:
            self.both.new(store)

    @initialize()
    def nothing_left(self) -> None:
        """One has spent all that it got."""
        self.both.new(Issue(member=4, partner="hard", points=20))
        self.both.new(Redeem(member=4, partner="hard", points=20))

    @rule(seed=st.integers(0, 2**32 - 1), data=st.data())
    def wish(self, seed: int, data: st.DataObject) -> None:
        operation = self.both.choose(Random(f"{seed} {len(self.both.asked)}"))
        self.both.new(data.draw(operation.strategy(operation)))

    @precondition(lambda self: len(self.both.asked) % 8 == 0)
    @rule(nth=st.integers(0, 5), more=st.sampled_from([0, 0, 1]), member=st.none() | st.integers(0, 3))
    def again(self, nth: int, more: int, member: int | None) -> None:
        """A key is used again: for the same wish, for another, or of another member."""
        asked = self.both.asked
        wish, key = asked[-1 - nth % len(asked)]
        self.both.do(changed(wish, self.both.model, more=more, member=member), key)

    def teardown(self) -> None:
        for number in list(self.both.model.rules):
            limits.end(self.both.model, number)
            with suppress(LimitUnknown):  # where they differ on that
                end(self.both.ledger, number)
        if self.both.differs:
            return  # said already
        self.both.compare.all(self.both.model)
        for member in range(len(self.both.model.members)):
            self.both.do(Export(member=member), "export")
        with self.driver.database.reading() as session:
            assert list(run_audit(session, checks=(*AUDIT, *CHAIN))) == []


def test_each_operation_is_granted_once(database: Database) -> None:
    driver = LedgerDriver(database).open()
    both = Both(driver, Counter())
    for wish in TOUR:
        both.new(wish)
    unreached = {name for operation in OPERATIONS for name in operation.names} - set(both.reached)
    assert not unreached
    with database.reading() as session:
        assert list(run_audit(session, checks=(*AUDIT, *CHAIN))) == []


@pytest.mark.parametrize("corner", CORNERS)
def test_in_corners_they_agree(database: Database, corner: str) -> None:
    driver = LedgerDriver(database).open()
    both = Both(driver, Counter())
    for wish in CORNERS[corner]:
        both.new(wish)
    assert both.reached >= MET.get(corner, Counter())


def test_ledger_and_model_agree(database: Database) -> None:
    driver = LedgerDriver(database).open()
    reached: Counter[str] = Counter()
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        type("Machine", (LedgerMachine,), {"driver": driver, "reached": reached}),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            phases=PHASES,
        ),
    )
    unreached = {name for operation in OPERATIONS for name in operation.names} - set(reached)
    enough = STEPS * EXAMPLES >= 2_000  # the tour sees to each; this, to a search that is one in earnest
    assert not enough or len(unreached) <= len(OPERATIONS) // 3, f"never granted: {sorted(unreached)}"
    report(reached)


def report(reached: Counter[str]) -> None:
    """With -s: how often each operation was granted, and each refusal given."""
    sys.stdout.write("".join(f"{times:6} {name}\n" for name, times in reached.most_common()))
