"""What the operator does in a partner's name: with the partner's refusals, and on record."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner
from operating import Coalition
from terminal import Terminal

from coalition.cli import cli
from coalition.global_ids import spell_reference
from coalition.holding import get_holds
from coalition.ids import MemberId
from coalition.ledger import Posting
from coalition.receipts import Receipt
from partners import holds, till
from partners.agreements import ReturnPolicy
from partners.directory import Partner, PartnerState, set_partner_state

RECEIPT = Receipt(store="berlin-1", terminal="t4", number="815")


@pytest.fixture
def terminal(test_database: Any) -> Terminal:
    return Terminal(test_database.environment)


@pytest.fixture
def grocer(coalition: Coalition) -> Partner:
    return coalition.trading("grocer")


@pytest.fixture
def member(coalition: Coalition, grocer: Partner) -> MemberId:
    return coalition.member(of=grocer)


def name_of(posting: Posting) -> str:
    return spell_reference(posting.ref)


def held(coalition: Coalition, member: MemberId, partner: Partner, points: int) -> Posting:
    with coalition.database.single_call() as session:
        return holds.authorize(session, coalition.wish(holds.Authorize, member, partner, points=points))


def reverse(*words: str) -> tuple[str, ...]:
    return ("transaction", "reverse", *words, "--yes", "--by", "ada")


def test_a_part_is_undone_by_points_and_then_the_rest(
    coalition: Coalition, grocer: Partner, member: MemberId, terminal: Terminal
) -> None:
    issue = name_of(coalition.issue(member, grocer, points=100))
    undone = terminal.data(*reverse(issue, "--points", "30", "--reason", "till sent it twice"))
    assert (undone["kind"], undone["points"], undone["undonePoints"]) == ("reverse_issue", 30, 30)
    assert (undone["reverses"], undone["partner"]) == (issue, "grocer")
    assert (undone["operator"], undone["reason"]) == ("ada", "till sent it twice")
    assert terminal.data("member", "show", str(member))["available"] == 70
    assert "70 points are undone" in terminal(*reverse(issue)).stdout
    seen = terminal.data("transaction", "show", issue)
    assert (seen["operator"], seen["reversiblePoints"]) == (None, 0)
    assert [one["points"] for one in seen["reversedBy"]] == [30, 70]
    told = terminal("transaction", "show", seen["reversedBy"][0]["transaction"]).stdout
    assert "done in the partner's name by: ada" in told
    assert "why: till sent it twice" in told
    assert terminal.data("audit")["findings"] == []


def test_money_and_receipts_name_what_is_undone_as_in_the_api(
    coalition: Coalition, grocer: Partner, member: MemberId, terminal: Terminal
) -> None:
    coalition.issue(member, grocer, amount=Decimal("20.50"), receipt=RECEIPT)
    coalition.redeem(member, grocer, points=5, receipt=RECEIPT)
    line = ("--partner", "grocer", "--receipt", "berlin-1", "t4", "815")
    assert terminal.data(*reverse(*line, "--amount", "10"))["undonePoints"] == 10
    assert terminal.data(*reverse(*line, "--redeemed"))["kind"] == "reverse_redemption"
    assert terminal.data("member", "show", str(member))["available"] == 10
    # The API's lines begin at 0.
    first = Receipt(store="berlin-1", terminal="t4", number="815", line=0)
    coalition.issue(member, grocer, points=3, receipt=first)
    assert terminal.data(*reverse(*line, "--line", "0"))["undonePoints"] == 3


def test_money_goes_back_to_the_last_cent_and_none_that_went_back_as_points(
    coalition: Coalition, grocer: Partner, member: MemberId, terminal: Terminal
) -> None:
    bought = name_of(coalition.issue(member, grocer, amount=Decimal("20.50")))
    paid = name_of(coalition.redeem(member, grocer, points=10, amount=Decimal(10)))
    assert terminal.data(*reverse(bought, "--amount", "20"))["undonePoints"] == 20
    assert terminal.data(*reverse(bought, "--amount", "0.50"))["undonePoints"] == 0
    terminal.data(*reverse(paid, "--points", "5"))
    with coalition.nothing_moves():
        assert "ALREADY_REVERSED" in terminal(*reverse(bought, "--amount", "0.01"), exit_code=1).stderr
        told = terminal(*reverse(paid, "--amount", "10"), exit_code=1).stderr
    assert "10 of the money was to go back, and 10 of it, and 5 points, are left." in told


def test_a_key_has_one_effect(
    coalition: Coalition, grocer: Partner, member: MemberId, terminal: Terminal
) -> None:
    issue = name_of(coalition.issue(member, grocer, points=100))
    wish = reverse(issue, "--points", "30", "--key", "k")
    first = terminal.data(*wish)
    again = terminal.data(*wish[:-1], "grace", "--reason", "other words")
    assert (first["replayed"], again) == (False, first | {"replayed": True})
    with coalition.nothing_moves():
        other = terminal(*reverse(issue, "--points", "31", "--key", "k"), exit_code=1)
        assert "IDEMPOTENCY_CONFLICT" in other.stderr
    assert terminal.data("member", "show", str(member))["available"] == 70


def test_a_partners_own_key_is_not_taken_for_the_operators(
    coalition: Coalition, grocer: Partner, member: MemberId, terminal: Terminal
) -> None:
    issue = coalition.issue(member, grocer, points=100, idempotency_key="operator:k")
    assert terminal.data("transaction", "show", name_of(issue))["operator"] is None
    with coalition.nothing_moves():
        refused = terminal(*reverse(name_of(issue), "--key", "k"), exit_code=1)
        assert "IDEMPOTENCY_CONFLICT" in refused.stderr
    own = till.Reverse(
        reference=issue.ref, partner_id=grocer.partner_id, idempotency_key="operator:own", points=5
    )
    with coalition.database.single_call() as session:
        till.reverse(session, own)
    with coalition.nothing_moves():  # though it is the very wish, and the ledger would answer it again
        refused = terminal(*reverse(name_of(issue), "--points", "5", "--key", "own"), exit_code=1)
        assert "IDEMPOTENCY_CONFLICT" in refused.stderr
    other = coalition.member(of=grocer)
    undone = terminal.data(*reverse(name_of(coalition.issue(other, grocer, points=9)), "--key", "k"))
    assert undone["operator"] == "ada"
    assert terminal.data("transaction", "show", name_of(issue))["operator"] is None


def test_money_that_is_no_plain_number_is_not_understood(
    coalition: Coalition, grocer: Partner, member: MemberId, terminal: Terminal
) -> None:
    issue = name_of(coalition.issue(member, grocer, amount=Decimal(20)))
    with coalition.nothing_moves():
        for amount in ("sNaN", "NaN", "Infinity", "1_0", "\u0661", "1e9999999", ""):
            told = terminal(*reverse(issue, "--amount", amount), exit_code=2).stderr
            assert "is no decimal number" in told


def test_a_key_is_as_long_as_the_journal_has_room_for_and_else_its_bound_is_told(
    coalition: Coalition, grocer: Partner, member: MemberId, terminal: Terminal
) -> None:
    issue = name_of(coalition.issue(member, grocer, points=100))
    hold = name_of(held(coalition, member, grocer, 5))
    with coalition.nothing_moves():
        for words in (reverse(issue), ("hold", "void", hold, "--reason", "broke", "--yes", "--by", "ada")):
            for length in (247, 255, 256):
                told = terminal(*words, "--key", "k" * length, exit_code=1).stderr
                assert "1 to 246 printable characters" in " ".join(told.split())
    wish = reverse(issue, "--points", "1", "--key", "k" * 246)
    assert terminal.data(*wish)["operator"] == "ada"
    assert terminal.data(*wish)["replayed"]


def test_what_the_member_has_spent_does_not_come_back(
    coalition: Coalition, grocer: Partner, member: MemberId, terminal: Terminal
) -> None:
    issue = name_of(coalition.issue(member, grocer, points=100))
    coalition.redeem(member, grocer, points=60)
    told = terminal(*reverse(issue)).stdout
    assert "100 points are undone" in told
    assert "60 of them were not there any more" in told


def test_nothing_is_undone_that_was_not_agreed_to(
    coalition: Coalition, grocer: Partner, member: MemberId, terminal: Terminal
) -> None:
    issue = name_of(coalition.issue(member, grocer, points=100))
    words = ("transaction", "reverse", issue, "--points", "40")
    with coalition.nothing_moves():
        asked = CliRunner().invoke(cli, words, env=terminal.environment, input="n\n")
        assert asked.exit_code == 1
    assert "issue of 100 points by grocer" in asked.stderr
    assert "Undo 40 points of it?" in asked.stderr
    agreed = CliRunner().invoke(cli, words, env=terminal.environment, input="y\n")
    assert "40 points are undone" in agreed.stdout


def test_the_partners_refusals_are_the_operators_and_nothing_moves(
    coalition: Coalition, member: MemberId, grocer: Partner, terminal: Terminal
) -> None:
    strict = coalition.trading("strict", return_policy=ReturnPolicy.PENDING_ONLY)
    issue = name_of(coalition.issue(member, grocer, points=100))
    bound = name_of(coalition.issue(member, strict, points=100))
    undone = terminal.data(*reverse(issue))["transaction"]
    rest = name_of(coalition.issue(member, grocer, points=100))
    with coalition.nothing_moves():
        for words, code in (
            ((issue,), "ALREADY_REVERSED"),
            ((undone,), "NOT_REVERSIBLE"),
            ((bound,), "RETURN_POLICY_FORBIDS"),
            ((rest, "--points", "101"), "REVERSAL_EXCEEDED"),
            ((rest, "--amount", "1"), "INVALID_INPUT"),
            ((rest, "--amount", "0"), "INVALID_INPUT"),
            ((rest, "--reason", " "), "INVALID_INPUT"),
            ((rest, "--key", "x" * 300), "INVALID_INPUT"),
            ((f"{member}/2026-03-02/{uuid4()}",), "TRANSACTION_UNKNOWN"),
            (("--partner", "grocer", "--receipt", "a", "b", "c"), "TRANSACTION_UNKNOWN"),
        ):
            assert code in terminal(*reverse(*words), exit_code=1).stderr
        assert (
            "--points, --amount"
            in terminal(*reverse(rest, "--points", "1", "--amount", "1"), exit_code=2).stderr
        )
    with coalition.database.unit_of_work() as session:
        set_partner_state(session, partner_id=grocer.partner_id, state=PartnerState.SUSPENDED)
    with coalition.nothing_moves():
        assert "PARTNER_NOT_ACTIVE" in terminal(*reverse(rest), exit_code=1).stderr


def test_what_the_network_posted_is_no_partners_to_undo(
    coalition: Coalition, member: MemberId, terminal: Terminal
) -> None:
    slow = coalition.trading("slow", maturity_days=1)
    coalition.issue(member, slow, points=100)
    coalition.pass_time(days=2)
    coalition.issue(member, slow, points=1)
    [matured] = terminal.data("member", "history", str(member), "--kind", "mature")
    assert matured["partner"] == "network"
    with coalition.nothing_moves():
        assert "NOT_REVERSIBLE" in terminal(*reverse(matured["transaction"]), exit_code=1).stderr


def test_holds_are_listed_by_member_partner_and_state(
    coalition: Coalition, grocer: Partner, member: MemberId, terminal: Terminal
) -> None:
    fuel, other = coalition.trading("fuel"), coalition.member(of=grocer)
    for one in (member, other):
        coalition.issue(one, grocer, points=100)
    held(coalition, member, grocer, 10)
    coalition.pass_time(days=1)  # it lapses, unposted
    held(coalition, member, fuel, 20)
    held(coalition, other, fuel, 30)

    def listed(*filters: str) -> list[tuple[str, int, str]]:
        found = terminal.data("hold", "list", *filters)
        return [(one["partner"], one["points"], one["state"]) for one in found]

    assert sorted(listed()) == [("fuel", 20, "open"), ("fuel", 30, "open")]
    assert listed("--member", str(member)) == [("fuel", 20, "open")]
    assert listed("--member", str(member), "--state", "all") == [
        ("fuel", 20, "open"),
        ("grocer", 10, "lapsed"),
    ]
    assert listed("--partner", "grocer") == []
    assert listed("--partner", "grocer", "--state", "lapsed") == [("grocer", 10, "lapsed")]
    assert listed("--state", "captured") == []
    [first] = terminal.data("hold", "list", "--member", str(member), "--state", "all", "--most", "1")
    rest = ("hold", "list", "--member", str(member), "--state", "all", "--after", first["hold"])
    assert [one["points"] for one in terminal.data(*rest)] == [10]
    cut = terminal("hold", "list", "--state", "all", "--most", "2")
    assert "There are more" in cut.stderr
    assert "fuel" in cut.stdout


def test_a_hold_is_voided_for_a_reason_and_on_record(
    coalition: Coalition, grocer: Partner, member: MemberId, terminal: Terminal
) -> None:
    coalition.issue(member, grocer, points=100)
    hold = held(coalition, member, grocer, 40)
    which = name_of(hold)
    words = ("hold", "void", which, "--reason", "the till broke down", "--by", "ada", "--key", "k")
    with coalition.nothing_moves():
        asked = CliRunner().invoke(cli, words, env=terminal.environment, input="n\n")
        assert asked.exit_code == 1
    assert "40 points, set aside by grocer" in asked.stderr
    done = terminal.data(*words, "--yes")
    assert (done["state"], done["replayed"]) == ("voided", False)
    closed = done["closedBy"]
    assert (closed["kind"], closed["operator"], closed["reason"]) == ("void", "ada", "the till broke down")
    assert closed["hold"] == which
    assert terminal.data(*words, "--yes")["replayed"] is True
    assert terminal.data("member", "show", str(member))["available"] == 100
    with coalition.database.reading() as session:
        assert get_holds(session, [hold.ref])[hold.ref].state == "voided"
    assert terminal.data("audit")["findings"] == []
    # The words are the member's to get, and go with it.
    assert "the till broke down" in terminal("member", "export", str(member)).stdout


def test_what_cannot_be_voided_is_refused_and_nothing_moves(
    coalition: Coalition, grocer: Partner, member: MemberId, terminal: Terminal
) -> None:
    coalition.issue(member, grocer, points=100)
    voided, open_, late = (name_of(held(coalition, member, grocer, 10)) for _ in range(3))

    def void(which: str, reason: str = "why", *words: str) -> tuple[str, ...]:
        return ("hold", "void", which, "--reason", reason, "--yes", *words)

    assert "10 points are the member's again" in terminal(*void(voided)).stdout
    with coalition.nothing_moves():
        assert "HOLD_VOIDED" in terminal(*void(voided), exit_code=1).stderr
        assert "HOLD_UNKNOWN" in terminal(*void(f"{member}/2026-03-02/{uuid4()}"), exit_code=1).stderr
        assert "INVALID_INPUT" in terminal(*void(open_, " "), exit_code=1).stderr
        assert "is no hold" in terminal(*void("x"), exit_code=2).stderr
        assert "--reason" in terminal("hold", "void", open_, "--yes", exit_code=2).stderr
    coalition.pass_time(days=1)
    with coalition.nothing_moves():
        assert "HOLD_LAPSED" in terminal(*void(late), exit_code=1).stderr
