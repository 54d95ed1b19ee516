"""Identifiers and blocks, as the operator types them: who did what when, and why."""

from typing import Any

import pytest
from operating import Coalition
from terminal import Terminal

CARD = "card:4006381333931"
NEW = "card:4006381333948"
PHONE = "phone:+4930901820"


@pytest.fixture
def terminal(test_database: Any, coalition: Coalition) -> Terminal:
    coalition.trading("grocer")
    return Terminal(test_database.environment)


@pytest.fixture
def member(terminal: Terminal) -> str:
    return str(terminal.data("member", "enrol", CARD, PHONE)["member"])


def history(terminal: Terminal, who: str) -> dict[str, list[tuple[str, str | None, str | None]]]:
    return {
        one["identifier"]: [(line["state"], line["by"], line["reason"]) for line in one["history"]]
        for one in terminal.data("member", "identifiers", who)
    }


def test_each_change_says_who_made_it_and_why(terminal: Terminal, member: str) -> None:
    words = ("--by", "ada", "--reason", "lost on a bus")
    assert terminal.data("member", "block-identifier", CARD, *words)["state"] == "blocked"
    terminal("member", "block-identifier", CARD, "--by", "bob", "--reason", "again")  # changes nothing
    assert "is active" in terminal("member", "unblock-identifier", CARD, "--by", "bob").stdout
    replaced = terminal.data("member", "replace-card", CARD, NEW, "--by", "eve", "--reason", "worn")
    assert replaced["history"][-1]["replacedBy"] == NEW
    terminal("member", "unlink", PHONE, "--by", "bob", "--reason", "not hers")

    assert history(terminal, member) == {
        CARD: [
            ("active", None, None),
            ("blocked", "ada", "lost on a bus"),
            ("active", "bob", None),
            ("replaced", "eve", "worn"),
        ],
        NEW: [("active", None, None)],
        PHONE: [("active", None, None), ("unlinked", "bob", "not hers")],
    }
    shown = terminal("member", "identifiers", NEW).stdout
    assert "lost on a bus" in shown
    assert f"replaced by {NEW}" in shown
    # Linked in one moment of the clock, they have no order.
    assert sorted(terminal.data("member", "show", member)["identifiers"]) == sorted([CARD, NEW])
    assert terminal.data("audit")["findings"] == []


def test_one_without_a_name_for_the_operator_is_named_by_its_id(terminal: Terminal, member: str) -> None:
    [phone] = [one for one in terminal.data("member", "identifiers", member) if one["identifier"] == PHONE]
    assert terminal.data("member", "block-identifier", phone["id"])["state"] == "blocked"
    assert (
        "IDENTIFIER_UNKNOWN"
        in terminal("member", "block-identifier", f"{member}/{member}", exit_code=1).stderr
    )
    wrong = terminal("member", "unlink", "0170-5551234", exit_code=2)
    assert "KIND:VALUE" in wrong.stderr
    assert "0170" not in wrong.stderr


def test_what_was_merged_is_listed_with_the_survivors_own_and_what_was_erased_without_values(
    terminal: Terminal, member: str
) -> None:
    terminal("member", "enrol", "card:2222")
    terminal("member", "merge", member, "card:2222")
    assert set(history(terminal, member)) == {CARD, PHONE, "card:2222"}
    terminal("member", "block-identifier", "card:2222", "--reason", "found in a drawer")
    terminal("member", "erase", member, "--yes")
    assert terminal.data("audit")["findings"] == []
    assert [one["identifier"] for one in terminal.data("member", "identifiers", member)] == [
        "card (erased)",
        "phone (erased)",
        "card (erased)",
    ]
    assert "drawer" not in terminal("member", "identifiers", member).stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("block-identifier", "card:9999"), "IDENTIFIER_UNKNOWN"),
        (("replace-card", CARD, "phone:+4930901821"), "INVALID_INPUT"),
        (("replace-card", PHONE, NEW), "INVALID_INPUT"),
        (("replace-card", CARD, CARD), "IDENTIFIER_TAKEN"),
        (("block-identifier", CARD, "--reason", ""), "INVALID_INPUT"),
        (("block", CARD, "--reason", "x" * 201), "INVALID_INPUT"),
        (("block", "card:9999"), "MEMBER_UNKNOWN"),
        (("block", "00000000-0000-0000-0000-00000000000f"), "MEMBER_UNKNOWN"),
    ],
)
def test_a_refusal_is_named_and_changes_nothing(
    terminal: Terminal, member: str, words: tuple[str, ...], code: str
) -> None:
    before = history(terminal, member), terminal.data("member", "show", member)
    assert code in terminal("member", *words, exit_code=1).stderr
    assert (history(terminal, member), terminal.data("member", "show", member)) == before


def test_a_block_of_a_member_says_who_set_it_and_why(terminal: Terminal, member: str) -> None:
    assert terminal.data("member", "show", member)["blocks"] == []
    words = ("--by", "ada", "--reason", "reported stolen")
    assert terminal.data("member", "block", CARD, *words)["blocked"] is True
    terminal("member", "block", member, "--by", "bob")  # changes nothing
    assert "reported stolen" in terminal("member", "show", member).stdout
    assert "is not blocked" in terminal("member", "unblock", member, "--by", "bob").stdout
    shown = terminal.data("member", "show", member)
    assert shown["blocked"] is False
    assert [(line["blocked"], line["by"], line["reason"]) for line in shown["blocks"]] == [
        (True, "ada", "reported stolen"),
        (False, "bob", None),
    ]
    assert terminal.data("audit")["findings"] == []


@pytest.mark.parametrize(
    "words",
    [
        ("member", "show"),
        ("member", "identifiers"),
        ("member", "adjust", "--reason", "goodwill", "--issuer", "grocer"),
        ("client", "member-token"),
        ("adjustment", "list", "--member"),
        ("refusals", "--member"),
    ],
)
def test_every_command_reads_a_member_in_one_way(terminal: Terminal, words: tuple[str, ...]) -> None:
    more = ("1",) if "adjust" in words else ()
    for nobody in ("card:9999", "00000000-0000-0000-0000-00000000000f"):
        assert "MEMBER_UNKNOWN" in terminal(*words, nobody, *more, exit_code=1).stderr
    for nonsense in ("ada@example.org", "partner_reference:7", "mail:ada@example.org"):
        wrong = terminal(*words, nonsense, *more, exit_code=2)
        assert "KIND:VALUE" in wrong.stderr
        assert nonsense not in wrong.stderr
