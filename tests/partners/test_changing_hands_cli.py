"""Transfers, adjustments and the programme's limits, as the operator types them."""

import json
from getpass import getuser
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from operating import Coalition
from terminal import Terminal

from coalition.cli import cli
from coalition.global_ids import spell_reference
from coalition.ids import MemberId
from coalition.ledger import fingerprint
from partners.directory import get_partner_by_code


@pytest.fixture
def terminal(test_database: Any) -> Terminal:
    return Terminal(test_database.environment)


@pytest.fixture
def card(coalition: Coalition, terminal: Terminal) -> str:
    coalition.trading("grocer")
    terminal("member", "enrol", "card:40063813")
    return "card:40063813"


def test_points_are_given_from_one_member_to_another(terminal: Terminal, card: str) -> None:
    terminal("member", "enrol", "email:ada@example.org")
    terminal("member", "adjust", card, "900", "--reason", "migration", "--issuer", "grocer")
    wish = ("member", "transfer", card, "email:ada@example.org", "400", "--key", "g")
    given = terminal.data(*wish, "--by", "grace")
    assert given["available"] == 500
    assert terminal.data(*wish, "--by", "hedy")["replayed"] is True
    assert terminal.data("transaction", "show", given["transaction"])["operator"] == "grace"
    [came] = terminal.data("member", "history", "email:ada@example.org")
    assert terminal.data("transaction", "show", came["transaction"])["operator"] == "grace"
    assert terminal.data("member", "show", "email:ada@example.org")["available"] == 400
    assert "500 are left" in terminal(*wish).stdout
    assert "TRANSFER_TO_ONESELF" in terminal("member", "transfer", card, card, "1", exit_code=1).stderr
    assert "MEMBER_UNKNOWN" in terminal("member", "transfer", card, "card:9999", "1", exit_code=1).stderr


def test_two_members_become_one_and_two_again(terminal: Terminal, card: str) -> None:
    terminal("member", "enrol", "email:ada@example.org")
    terminal("member", "adjust", card, "900", "--reason", "migration", "--issuer", "grocer")
    pair = ("email:ada@example.org", card)
    merged = terminal.data("member", "merge", *pair, "--reason", "one person", "--by", "grace")
    assert merged["available"] == 900
    assert terminal.data("transaction", "show", merged["transaction"])["operator"] == "grace"
    assert "MEMBER_MERGED" in terminal("member", "merge", card, pair[0], exit_code=1).stderr
    assert "900 points changed hands; 0 are" in terminal("member", "unmerge", *pair).stdout
    assert "NOT_MERGED" in terminal("member", "unmerge", *pair, exit_code=1).stderr
    survivor, other = (terminal.data("member", "show", who) for who in pair)
    for shown, with_, kinds in (
        (survivor, other, ("merge_in", "unmerge_out")),
        (other, survivor, ("merge_out", "unmerge_in")),
    ):
        told = [(one["what"], one["with"], one["by"]) for one in shown["merges"]]
        assert told == [(kinds[0], with_["member"], "grace"), (kinds[1], with_["member"], getuser())]
    assert "grace" in terminal("member", "show", pair[0]).stdout


def test_a_gift_of_a_merged_record_sent_again_when_it_is_apart_is_the_same_gift(
    terminal: Terminal, card: str
) -> None:
    for who in ("email:ada@example.org", "email:ben@example.org"):
        terminal("member", "enrol", who)
    terminal("member", "adjust", card, "900", "--reason", "migration", "--issuer", "grocer")
    pair = ("email:ada@example.org", card)
    gift = ("member", "transfer", card, "email:ben@example.org", "400", "--key", "g")
    terminal("member", "merge", *pair)
    assert terminal.data(*gift)["replayed"] is False
    terminal("member", "unmerge", *pair)
    assert terminal.data(*gift)["replayed"] is True
    assert terminal.data("member", "show", "email:ben@example.org")["available"] == 400


def test_an_adjustment_above_the_limit_waits_for_somebody_else(terminal: Terminal, card: str) -> None:
    adjust = ("member", "adjust", card, "5000", "--reason", "goodwill", "--issuer", "grocer", "--by", "ada")
    proposed = terminal.data(*adjust, "--key", "k")
    assert (proposed["state"], proposed["proposedBy"]) == ("proposed", "ada")
    assert terminal.data(*adjust, "--key", "k")["adjustment"] == proposed["adjustment"]
    which = proposed["adjustment"]
    refused = terminal("adjustment", "approve", which, "--by", "ada", exit_code=1)
    assert "SECOND_PERSON_NEEDED" in refused.stderr
    assert terminal.data("adjustment", "approve", which, "--by", "grace")["decidedBy"] == "grace"
    assert terminal.data("member", "show", card)["available"] == 5_000
    late = terminal("adjustment", "reject", which, "--by", "grace", exit_code=1)
    assert "ADJUSTMENT_DECIDED" in late.stderr
    second = terminal.data(*adjust)["adjustment"]
    assert "rejected" in terminal("adjustment", "reject", second, "--by", "grace").stdout
    listed = terminal.data("adjustment", "list", "--member", card)
    assert {one["state"] for one in listed} == {"rejected", "posted"}
    assert terminal.data("adjustment", "list", "--state", "proposed") == []
    assert "grocer" in terminal("adjustment", "list").stdout
    taken = terminal("member", "adjust", "--reason", "fraud", card, "--", "-500")
    assert "-500 points are posted" in taken.stdout
    assert "no adjustment" in terminal("adjustment", "approve", "x", exit_code=2).stderr


def test_the_programmes_limits_are_set_and_shown(coalition: Coalition, terminal: Terminal) -> None:
    assert coalition.rows("SELECT 1") == [(1,)]
    changed = terminal.data(
        "programme", "set", "--hold-time", "60", "--late-days", "7", "--transfer-limit", "5",
        "--adjustment-limit", "6",
    )  # fmt: skip
    shown: dict[str, Any] = json.loads(terminal("programme", "show", "--json").stdout)
    assert changed == shown
    assert {name: shown[name] for name in ("holdSeconds", "longestHoldSeconds", "lateDays")} == {
        "holdSeconds": 60,
        "longestHoldSeconds": 604_800,
        "lateDays": 7,
    }
    assert (shown["transferLimitPoints"], shown["adjustmentLimitPoints"]) == (5, 6)
    assert terminal.data("programme", "set", "--longest-hold", "60")["longestHoldSeconds"] == 60
    assert "INVALID_INPUT" in terminal("programme", "set", "--hold-time", "61", exit_code=1).stderr
    assert "at least one" in terminal("programme", "set", exit_code=2).stderr


def test_a_household_pool_at_the_command_line(terminal: Terminal, card: str) -> None:
    terminal("member", "enrol", "email:ada@example.org")
    terminal("member", "adjust", card, "900", "--reason", "migration", "--issuer", "grocer")
    made = terminal.data("pool", "open", "email:ada@example.org", "Home", "--limit", "500")
    pool = made["pool"]
    terminal("pool", "invite", "email:ada@example.org", card)
    joined = terminal.data("pool", "accept", card, pool)
    assert sorted(one["spendable"] for one in joined["members"]) == [500, 900]
    assert [one["pool"] for one in terminal.data("pool", "list")] == [pool]
    assert "Home" in terminal("pool", "show", pool).stdout
    assert "ALREADY_IN_POOL" in terminal("pool", "open", card, "Other", exit_code=1).stderr
    assert terminal.data("pool", "leave", card)["members"][0]["spendable"] == 0
    assert terminal.data("pool", "close", pool)["closedAt"] is not None
    assert terminal.data("pool", "list") == []
    unknown = "00000000-0000-4000-8000-000000000000"
    assert "POOL_UNKNOWN" in terminal("pool", "show", unknown, exit_code=1).stderr


def test_of_an_adjustment_no_digest_is_kept_that_could_be_tried_out(
    terminal: Terminal, coalition: Coalition
) -> None:
    coalition.trading("grocer")
    terminal("member", "enrol", "phone:+4930901820")
    asked = {"member": "phone:+4930901820", "points": 9, "reason": "migration", "note": "moved"}
    wish = ("member", "adjust", asked["member"], "9", "--reason", "migration", "--note", "moved")
    for _ in range(2):
        terminal(*wish, "--issuer", "grocer", "--key", "k")
    [(kept, blinded_by)] = coalition.rows(
        "SELECT fingerprint, blinded_by FROM partners.operation WHERE key = 'k'"
    )
    guess = {"adjust": asked | {"issuer": "grocer", "plan": None}}
    assert blinded_by == 1
    assert bytes(kept) != fingerprint("operation", guess)


HUGE = "1" + "0" * 19  # more than PostgreSQL's largest integer


@pytest.mark.parametrize(
    "command",
    [
        f"member transfer CARD email:ada@example.org {HUGE}",
        f"member adjust CARD {HUGE} --reason goodwill --issuer grocer",
        f"pool open CARD Home --limit {HUGE}",
        f"pool list --most {HUGE}",
        f"limit publish day --scope member --posting issue --measure points --most {HUGE}",
        f"refusals --after {HUGE}",
        f"partner agreement publish grocer --reimbursement 0.01 --maturity-days {HUGE}",
        f"partner agreement publish grocer --reimbursement 0.01 --grace-days {HUGE}",
        f"partner agreement publish grocer --reimbursement 0.01 --expiry-months {HUGE}",
        f"transaction show --partner grocer --receipt s t 1 --line {HUGE}",
        f"transaction show --partner grocer --receipt s t 1 --revision {HUGE}",
        f"transaction reverse TRANSACTION --yes --points {HUGE}",
        f"report expiry-forecast --months {HUGE}",
    ],
)
def test_a_number_that_cannot_be_is_refused_by_name_and_nothing_moves(
    terminal: Terminal, coalition: Coalition, card: str, command: str
) -> None:
    terminal("member", "enrol", "email:ada@example.org")
    member = MemberId(UUID(terminal.data("member", "show", card)["member"]))
    with coalition.database.reading() as session:
        grocer = get_partner_by_code(session, "grocer")
    given = spell_reference(coalition.issue(member, grocer, points=900).ref)
    words = [{"CARD": card, "TRANSACTION": given}.get(word, word) for word in command.split()]
    before = coalition.snapshot()
    refused = CliRunner().invoke(cli, words, env=terminal.environment)
    assert isinstance(refused.exception, SystemExit)
    assert refused.exit_code in {1, 2}
    assert refused.stdout == ""
    assert coalition.snapshot() == before


def test_adjustments_come_in_pages(terminal: Terminal, card: str) -> None:
    adjust = ("member", "adjust", card, "--reason", "migration", "--issuer", "grocer")
    for points in range(1, 4):
        terminal(*adjust, str(points))

    def listed(*words: str) -> list[str]:
        return [one["adjustment"] for one in terminal.data("adjustment", "list", *words)]

    everything = listed("--most", "500")
    assert len(everything) == 3
    assert listed("--most", "2") == everything[:2]
    last = everything[1]
    assert f"There are more: --after {last}" in terminal("adjustment", "list", "--most", "2").stderr
    assert listed("--after", last) == everything[2:]
    assert "more" not in terminal("adjustment", "list", "--after", last).stderr
    terminal("adjustment", "list", "--after", "nonsense", exit_code=2)
    nobody = "00000000-0000-4000-8000-000000000000"
    unknown = terminal("adjustment", "list", "--after", f"{nobody}/{nobody}", exit_code=1)
    assert "ADJUSTMENT_UNKNOWN" in unknown.stderr
