"""Each pair of operations that meet on a member, in forced order: as if one had come after the other.

The first is done and not committed; the second is seen waiting for it; the first commits, or rolls back; then
the second ends. What it was answered and every row of the books must be what they are where the same two were
done one after the other to members like those.

As a rule each pair is done in one order and one way: which of the two comes first, and whether ann's head is locked
first or last, goes by their places in the list, and the first commits. BOTH_WAYS, and each operation with itself, are
also done with the first rolled back. Threes are chosen, not all that there are: of each subject some in which the last
may or gets something else by what came before. Each is done with the waiters in both orders, and all commit.
COALITION_TEST_WIDE=1, as the night runs it, does each pair in both orders, with ann's head locked first and last, and
with the first rolled back; and the same threes with each way to end.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations, product
from typing import Any
from uuid import UUID

import psycopg
import pytest
from concurrency.interleaving import Act, Counter, counter, in_forced_order
from concurrency.operations import (
    BY_NAME,
    LATER,
    OPERATIONS,
    TWO_HEADS,
    Operation,
    Scene,
    propose_another,
    set_rules,
)
from concurrency.portrait import Portrait, differences, portrait
from databases import TestCluster
from driver import LedgerDriver
from waiting import PATIENCE

from coalition.audit import AUDIT, CHAIN, run_audit
from coalition.errors import CoalitionError, UnderReview
from coalition.ids import MemberId
from coalition.ledger import Posting
from coalition.ledger.kernel import FUNCTIONS_FOR_THE_APPLICATION

pytestmark = pytest.mark.long

End = tuple[list[object], Portrait]
"""What each was answered, in order; and the books."""


@pytest.fixture(scope="module")
def till(cluster: TestCluster) -> Iterator[Counter]:
    """Where tellers work: one database for all, each scene with members of its own; in the end the audit finds
    nothing, whatever they did."""
    with (
        cluster.new_database() as here,
        here.connect() as database,
        counter(LedgerDriver(database).open()) as found,
    ):
        set_rules(found.ledger)
        yield found
        with database.reading() as session:
            assert run_audit(session, checks=(*AUDIT, *CHAIN)) == []


def scene_for(ledger: LedgerDriver, operations: Sequence[Operation], *, ann_last: bool) -> Scene:
    scene = Scene.fresh(ledger, ann_last=ann_last)
    for operation in operations:
        operation.prepare(scene)
    # The block after all else: nothing of the others' could be prepared once it is there.
    for operation in sorted(operations, key=lambda one: one.name == "unblock"):
        operation.prepare_last(scene)
    ledger.pass_time(seconds=LATER.total_seconds())
    return scene


def acts_of(scene: Scene, operations: Sequence[Operation], keys: Sequence[str]) -> list[Act]:
    def acting(operation: Operation, key: str) -> Act:
        return lambda ledger: operation.act(ledger, scene, key)

    return [acting(operation, key) for operation, key in zip(operations, keys, strict=True)]


def end_of(scene: Scene, answers: Sequence[Any]) -> End:
    names = {str(one): name for one, name in scene.names.items()}

    def told(answer: Any) -> object:
        if isinstance(answer, Posting):
            balance = answer.balance
            return (
                answer.points,
                answer.replayed,
                (answer.recorded_at - scene.start).total_seconds(),
                (balance.available, balance.pending, balance.held, balance.deficit),
            )
        if isinstance(answer, CoalitionError):
            facts = {name: names.get(str(fact), fact) for name, fact in answer.facts.items()}
            return answer.code, sorted(facts.items())
        return "an id" if isinstance(answer, UUID) else answer

    return [told(answer) for answer in answers], portrait(scene.ledger, scene.names, start=scene.start)


def one_after_the_other(
    ledger: LedgerDriver, prepared: Sequence[Operation], done: Sequence[tuple[Operation, str]]
) -> End:
    """The end where these are done to members who were prepared for those."""
    asked = tuple(one.name for one in prepared), tuple((one.name, key) for one, key in done)
    if asked not in SERIAL:
        scene = scene_for(ledger, prepared, ann_last=False)
        answers = []
        for act in acts_of(scene, *zip(*done, strict=True)) if done else []:
            try:
                answers.append(act(ledger))
            except CoalitionError as refusal:
                answers.append(refusal)
        SERIAL[asked] = end_of(scene, answers)
    return SERIAL[asked]


KEYS = ("the first's", "the second's", "the third's")

SERIAL: dict[object, End] = {}
"""Whatever database they were done in: members' ids and the day are not in it."""


def faults_of(
    till: Counter,
    operations: Sequence[Operation],
    *,
    commits: Sequence[bool],
    ann_last: bool,
    keys: Sequence[str] | None = None,
) -> list[str]:
    """How the end of an interleaving differs from the serial order in which its sessions came to act."""
    keys = keys or KEYS[: len(operations)]
    scene = scene_for(till.ledger, operations, ann_last=ann_last)
    ended = in_forced_order(till, acts_of(scene, operations, keys), commits=commits)
    orders = [ended.order]
    if any(isinstance(answer, CoalitionError) for answer in ended.answers):
        # Who is refused lets go at that moment, and the next may act before we hear of it.
        orders = [[0, *rest] for rest in permutations(ended.order[1:])]
    found = []
    for order in orders:
        stayed = [nth for nth in order if commits[nth]]
        answers, books = end_of(scene, [ended.answers[nth] for nth in stayed])
        expected, expected_books = one_after_the_other(
            till.ledger, operations, [(operations[nth], keys[nth]) for nth in stayed]
        )
        found.append(
            [
                f"{operations[nth].name}: {want}, but {got}"
                for nth, want, got in zip(stayed, expected, answers, strict=True)
                if want != got
            ]
            + differences(expected_books, books)
        )
    return min(found, key=len)


def described(operations: Sequence[Operation], *, commits: Sequence[bool], ann_last: bool) -> str:
    line = ", ".join(
        f"{one.name} {'' if stays else '(rolled back)'}".strip()
        for one, stays in zip(operations, commits, strict=True)
    )
    return f"{line}; ann's id is {'last' if ann_last else 'first'}"


def report(faults: Mapping[str, Sequence[str]]) -> str:
    return "\n".join(f"{how}\n    " + "\n    ".join(found) for how, found in faults.items())


WIDE = bool(os.environ.get("COALITION_TEST_WIDE"))

COMMITS, COMMITS_LAST, ROLLS_BACK = (True, False), (True, True), (False, False)
"""Whether the first commits, and whether ann's head is locked last."""

BOTH_WAYS = {
    ("be merged", "reverse issue"),
    ("be merged", "reverse redemption"),
    ("be merged", "transfer in"),
    ("un-merge", "reverse issue"),
    ("block the card", "redeem by card"),
    ("redeem by card", "block the card"),
    ("replace the card", "redeem by card"),
    ("erase", "issue"),
    ("confirm an adjustment", "reject the adjustment"),
    ("reject the adjustment", "confirm an adjustment"),
    ("issue what was released", "decline"),
    ("decline", "issue what was released"),
    ("close the pool", "spend from the pool"),
    ("spend from the pool", "close the pool"),
    ("erase", "link a phone"),
    ("merge another", "erase"),
    ("un-merge", "erase"),
}
"""What waits for the first of these must ask again whether it may."""


def ways_of(first: str, second: str) -> Sequence[tuple[bool, bool]]:
    """How this pair is done in this order: not at all, in one way, or in all."""
    if WIDE:
        return COMMITS, COMMITS_LAST, ROLLS_BACK
    names = list(BY_NAME)
    one, other = names.index(first), names.index(second)
    if (first, second) in BOTH_WAYS or (one == other):
        return COMMITS, ROLLS_BACK
    if (one < other) != ((one + other) % 2 == 0):
        return ()  # the other order's turn
    return (COMMITS if other % 2 else COMMITS_LAST,)


def granted(answer: object) -> None:
    """A batch does not raise the refusal of its line, it answers with it."""
    if isinstance(answer, CoalitionError):
        raise answer


@pytest.mark.parametrize("first", [one.name for one in OPERATIONS])
def test_two_sessions_end_as_one_after_the_other(till: Counter, first: str) -> None:
    faults = {}
    one = BY_NAME[first]
    for other in OPERATIONS:
        ways = ways_of(first, other.name)
        if not ways or not one.meets(other):
            continue
        if not one.granted_with(other):
            scene = scene_for(till.ledger, [one, other], ann_last=False)
            with pytest.raises(CoalitionError):
                granted(one.act(till.ledger, scene, "key"))
            continue
        for commit, ann_last in ways:
            how = {"commits": (commit, True), "ann_last": ann_last}
            found = faults_of(till, [one, other], **how)
            if found:
                faults[described([one, other], **how)] = found
    assert not faults, report(faults)


@pytest.mark.parametrize("name", [one.name for one in OPERATIONS if one.keyed])
def test_a_wish_sent_twice_at_once_waits_and_gets_the_firsts_answer(till: Counter, name: str) -> None:
    """Two sessions with one key: where the first commits the second is a replay, or else it is the one."""
    one, keys = BY_NAME[name], ("the key", "the key")
    for commit in (True, False):
        assert not faults_of(till, [one, one], commits=(commit, True), ann_last=False, keys=keys)
    scene = scene_for(till.ledger, [one], ann_last=False)
    answers = in_forced_order(till, acts_of(scene, [one, one], keys), commits=(True, True)).answers
    assert [answer.replayed for answer in answers] == [False, True]
    assert replace(answers[1], replayed=False) == answers[0]


def test_a_wish_that_is_released_while_it_waits_is_posted(till: Counter) -> None:
    waiting = replace(
        BY_NAME["issue what was released"], name="issue what is in review", prepare=Scene.in_review
    )
    for first in (BY_NAME["release"], BY_NAME["decline"]):
        assert not faults_of(till, [first, waiting], commits=(True, True), ann_last=False)
    with pytest.raises(UnderReview):
        waiting.act(till.ledger, scene_for(till.ledger, [waiting], ann_last=False), "")
    scene = scene_for(till.ledger, [waiting], ann_last=False)
    acts = acts_of(scene, [BY_NAME["release"], waiting], KEYS[:2])
    assert in_forced_order(till, acts, commits=(True, True)).answers[1].points == 12


THREE = (
    ("issue", "redeem", "reverse issue"),
    ("redeem", "redeem", "redeem"),
    ("redeem", "transfer out", "adjust, taking"),
    ("authorise", "capture", "void"),
    ("capture", "void", "lapse by the night"),
    ("reverse issue", "capture", "redeem"),
    ("reverse issue", "be merged", "reverse issue"),
    ("be merged", "reverse redemption", "issue"),
    ("merge another", "be merged", "transfer in"),
    ("un-merge", "redeem", "reverse issue"),
    ("mature by the night", "reverse issue", "redeem"),
    ("expire by the night", "reverse redemption", "transfer out"),
    ("leave a pool", "give to the pool", "spend from the pool"),
    ("leave a pool", "be merged", "join a pool"),
    ("get back from the pool", "give to the pool", "leave a pool"),
    ("redeem a voucher", "void", "issue a voucher"),
    ("block", "issue", "redeem"),
    ("redeem by card", "block the card", "issue by card"),
    ("be merged", "redeem by card", "replace the card"),
    ("erase", "transfer in", "be merged"),
    ("be merged", "issue in a batch", "redeem in a batch"),
    ("block", "issue in a batch", "un-merge"),
    ("close the pool", "spend from the pool", "leave a pool"),
    ("close the pool", "join a pool", "give to the pool"),
    ("confirm an adjustment", "reject the adjustment", "redeem"),
    ("issue what was released", "decline", "queue for review"),
    ("link a phone", "erase", "link a phone"),
)


@pytest.mark.parametrize("names", THREE, ids=", ".join)
def test_three_sessions_end_in_the_order_in_which_they_came_to_act(
    till: Counter, names: tuple[str, ...]
) -> None:
    """The waiters in both orders, each way of the first two to end, ann's head locked first and last."""
    faults = {}
    first, *others = (BY_NAME[name] for name in names)
    for waiters in (others, others[::-1]):
        operations = [first, *waiters]
        for commits in product((True, False), (True, False), (True,)) if WIDE else [(True, True, True)]:
            for ann_last in (True, False) if WIDE else [waiters is others]:
                found = faults_of(till, operations, commits=commits, ann_last=ann_last)
                if found:
                    faults[described(operations, commits=commits, ann_last=ann_last)] = found
    assert not faults, report(faults)


@pytest.mark.parametrize("name", TWO_HEADS)
def test_of_two_heads_the_lower_id_is_locked_first(till: Counter, name: str) -> None:
    """While it waits for the lower it does not hold the higher; while it waits for the higher it holds the lower."""
    one = BY_NAME[name]
    for waits_for_lower, ann_last in product((True, False), (True, False)):
        scene = scene_for(till.ledger, [one], ann_last=ann_last)
        low, high = sorted([scene.ann, scene.people[one.other]])
        held, probed = (low, high) if waits_for_lower else (high, low)
        with till.tellers(3) as (holder, waiter, probe):
            holder.start(one_head_of(held)).result(timeout=PATIENCE)
            waiting = waiter.start(*acts_of(scene, [one], ["the wish"]))
            till.until_waiting(waiter, waiting, behind={holder.pid})
            probing = probe.start(one_head_of(probed))
            if waits_for_lower:
                probing.result(timeout=PATIENCE)
                probe.end(commit=True)
                holder.end(commit=True)
                assert not isinstance(waiting.result(timeout=PATIENCE), CoalitionError)
            else:
                till.until_waiting(probe, probing, behind={waiter.pid})
                holder.end(commit=True)
                assert not isinstance(waiting.result(timeout=PATIENCE), CoalitionError)
                waiter.end(commit=True)
                probing.result(timeout=PATIENCE)
                probe.end(commit=True)
            waiter.end(commit=True)


def one_head_of(member: MemberId) -> Act:
    """What locks one member's head and no other's, also of one that was merged or has a pool's points."""
    return lambda ledger: propose_another(ledger, member)


@pytest.mark.parametrize("one", TWO_HEADS)
def test_two_that_want_the_same_heads_never_wait_in_a_circle(till: Counter, one: str) -> None:
    """Both are seen waiting behind a third that holds ann; then all get on, the one after the other."""
    faults = {}
    place = TWO_HEADS.index(one)
    for nth, other in enumerate(TWO_HEADS if WIDE else TWO_HEADS[place:]):
        operations = [BY_NAME[name] for name in ("issue", one, other)]
        for ann_last in (True, False) if WIDE else [nth % 2 == 0]:
            found = faults_of(till, operations, commits=(True, True, True), ann_last=ann_last)
            if found:
                faults[described(operations, commits=(True,) * 3, ann_last=ann_last)] = found
    assert not faults, report(faults)


WAITS_FOR_NO_MEMBER = {
    "they read": {
        "witness",
        "remembered",
        "taken_unasked",
        "taken_of_others",
        "ask_limits",
        "ask_identifier",
    },
    "of the programme": {
        "open_programme",
        "set_clock",
        "set_consent_limit",
        "set_hold_limits",
        "set_late_days",
        "set_transfer_limit",
        "set_adjustment_limit",
        "set_voucher_limits",
    },
    "of the books": {"prepare_partitions", "close_window", "seal_window", "refresh_figures"},
    "of the register of refusals": {"record_refusals", "trim_refusals"},
    "its member is new": {"enrol"},
    "its row is new, and whether it may be used is asked when it is": {"confirm_redemption"},
    "what they rewrite means what it did": {"respell_identifiers", "forget_requests"},
}


def test_every_other_door_of_the_kernel_is_among_the_operations(
    ledger: LedgerDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_rules(ledger)
    called: set[str] = set()
    execute = psycopg.Cursor.execute

    def noting(self: Any, query: Any, *arguments: Any, **more: Any) -> Any:
        called.update(re.findall(r"ledger\.(\w+)\(", str(query)))
        return execute(self, query, *arguments, **more)

    for operation in OPERATIONS:
        scene = scene_for(ledger, [operation], ann_last=False)
        with monkeypatch.context() as patched:
            patched.setattr(psycopg.Cursor, "execute", noting)
            operation.act(ledger, scene, "key")
    assert set(FUNCTIONS_FOR_THE_APPLICATION) - called == set().union(*WAITS_FOR_NO_MEMBER.values())
