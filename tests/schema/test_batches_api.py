"""Batches over the API: each line's outcome in its place, and what a refusal stops."""

from typing import Any

import pytest
from api_driver import Api, Caller, codes, named
from sqlalchemy import event

from coalition.audit import run_audit
from partners.batches import MAX_LINES
from partners.scopes import Scope

LINES = """
  replayed stoppedBy userErrors { code message field }
  lines {
    line replayed transaction { id points kind } balance { available }
    userErrors { __typename code message field ... on InsufficientPoints { available requested } }
  }
"""
ISSUE = f"mutation($input: IssuePointsBatchInput!) {{ issuePointsBatch(input: $input) {{ {LINES} }} }}"
REDEEM = f"mutation($input: RedeemPointsBatchInput!) {{ redeemPointsBatch(input: $input) {{ {LINES} }} }}"
CARD = {"kind": "CARD", "value": "4006 3813 3393 1"}


def send(caller: Caller, mutation: str, *lines: dict[str, Any], **more: Any) -> Any:
    [payload] = caller.ask(mutation, input={"lines": lines, **more}).values()
    return payload


def line(member: Any, key: str, points: Any = 5, **more: Any) -> dict[str, Any]:
    by = named(member) if isinstance(member, str) else member
    return {"idempotencyKey": key, "member": by, "points": points, **more}


def receipt(number: str) -> dict[str, Any]:
    return {"store": "s1", "terminal": "t1", "number": number}


def outcomes(payload: Any) -> list[str]:
    return [codes(one)[0] if one["userErrors"] else one["transaction"]["points"] for one in payload["lines"]]


def test_a_line_says_what_its_points_stand_for(api: Api) -> None:
    grocer = api.coalition.trading()
    till, member = api.client_of(grocer), api.enrolled(grocer)
    till.issue(member, points=10)
    spent = send(till, REDEEM, line(member, "a", 10, amount="20.00"), line(member, "b", 1, amount="0"))
    assert outcomes(spent) == ["10", "INVALID_INPUT"]
    back = till.reverse(spent["lines"][0]["transaction"]["id"], amount="5.00")
    assert back["balance"] == {"available": "3"}  # 7.5 of the 10 points are kept


def test_each_line_has_its_outcome_in_its_place(api: Api) -> None:
    grocer = api.coalition.trading()
    till = api.client_of(grocer)
    first, second = api.enrolled(grocer), api.enrolled(grocer)
    given = send(
        till,
        ISSUE,
        line(first, "a", 10, receipt=receipt("1")),
        line(second, "b", 0),
        line(second, "c", 20, receipt=receipt("1")),
        line(first, "d", None, amount="7.99"),
        line("nonsense", "e"),
        line({"identifier": CARD}, "f"),
        line({"identifier": CARD | {"value": "?"}}, "g"),
        line(first, "h", receipt=receipt("") | {"store": ""}),
        line(first, "a", 10),
        line(second, "i", 30),
    )
    assert outcomes(given) == [
        "10",
        "POINTS_INVALID",
        "DUPLICATE_IN_BATCH",
        "7",
        "MEMBER_UNKNOWN",
        "MEMBER_UNKNOWN",
        "IDENTIFIER_INVALID",
        "INVALID_INPUT",
        "DUPLICATE_IN_BATCH",
        "30",
    ]
    assert [one["line"] for one in given["lines"]] == list(range(10))
    assert given["userErrors"] == []
    assert (given["replayed"], given["stoppedBy"]) == (False, None)
    fields = [one["userErrors"][0]["field"] for one in given["lines"] if one["userErrors"]]
    assert fields == [
        ["input", "lines", "1", "points"],
        ["input", "lines", "2", "receipt"],
        ["input", "lines", "4", "member"],
        ["input", "lines", "5", "member"],
        ["input", "lines", "6", "member", "identifier", "value"],
        ["input", "lines", "7", "receipt", "store"],
        ["input", "lines", "8", "idempotencyKey"],
    ]
    assert given["lines"][3]["balance"] == {"available": "17"}

    spent = send(till, REDEEM, line(first, "r1", 11), line(second, "r2", 31), line(first, "r3", 6))
    assert outcomes(spent) == ["11", "INSUFFICIENT_POINTS", "6"]
    [short] = spent["lines"][1]["userErrors"]
    assert (short["__typename"], short["available"], short["requested"]) == ("InsufficientPoints", "30", "31")
    assert [one["transaction"]["kind"] for one in spent["lines"] if one["transaction"]] == ["REDEEM"] * 2
    with api.coalition.database.reading() as session:
        assert run_audit(session) == []


@pytest.mark.parametrize("mutation", [ISSUE, REDEEM])
def test_a_line_that_was_refused_at_once_keeps_its_receipt_and_its_key_from_those_after_it(
    api: Api, mutation: str
) -> None:
    grocer = api.coalition.trading()
    till, member = api.client_of(grocer), api.enrolled(grocer)
    till.issue(member, points=100)
    nobody = {"identifier": CARD | {"value": "?"}}
    with api.nothing_moves():
        given = send(
            till,
            mutation,
            line(nobody, "a", receipt=receipt("1")),
            line(member, "b", receipt=receipt("1")),
            line(member, "c", receipt=receipt("") | {"store": ""}),
            line(member, "c", receipt=receipt("2")),
            line(member, "d", 0, receipt=receipt("3")),
            line(member, "e", receipt=receipt("3")),
            line(nobody, "f", receipt=receipt("") | {"store": ""}),
            line(member, "g" * 300, receipt=receipt("4")),
            line(member, "h", receipt=receipt("4")),
        )
    assert outcomes(given) == [
        "IDENTIFIER_INVALID",
        "DUPLICATE_IN_BATCH",
        "INVALID_INPUT",
        "DUPLICATE_IN_BATCH",
        "POINTS_INVALID",
        "DUPLICATE_IN_BATCH",
        "INVALID_INPUT",
        "INVALID_INPUT",
        "DUPLICATE_IN_BATCH",
    ]


def test_a_replay_gets_the_same_answers_singly_too(api: Api) -> None:
    grocer = api.coalition.trading()
    till = api.client_of(grocer)
    crowd = [api.enrolled(grocer) for _ in range(3)]
    lines = [line(one, "k", 5, receipt=receipt(str(number))) for number, one in enumerate(crowd)]
    first = send(till, ISSUE, *lines)
    with api.nothing_moves():
        again = send(till, ISSUE, *lines)
        alone = till.issue(crowd[1], points="5", idempotencyKey="k", receipt=receipt("1"))
    assert not first["replayed"]
    assert again["replayed"]
    assert [one | {"replayed": False} for one in again["lines"]] == first["lines"]
    assert alone["replayed"]
    assert alone["transaction"]["id"] == first["lines"][1]["transaction"]["id"]


@pytest.mark.parametrize("mutation", [ISSUE, REDEEM])
def test_an_atomic_batch_is_posted_whole_or_not_at_all(api: Api, mutation: str) -> None:
    grocer = api.coalition.trading()
    till = api.client_of(grocer)
    member = api.enrolled(grocer)
    till.issue(member, points=100)
    good, bad = line(member, "good"), line("nonsense", "bad")
    with api.nothing_moves():
        stopped = send(
            till, mutation, good, bad, line(member, "too", 0 if mutation is REDEEM else 7), atomic=True
        )
    place = 2 if mutation is REDEEM else 1  # what could never be posted is found first
    assert stopped["stoppedBy"] == place
    assert codes(stopped) == ["BATCH_STOPPED"]
    assert stopped["userErrors"][0]["field"] == ["input", "lines", str(place)]
    expected = ["BATCH_STOPPED"] * 3
    expected[place] = "POINTS_INVALID" if mutation is REDEEM else "MEMBER_UNKNOWN"
    assert outcomes(stopped) == expected
    assert outcomes(send(till, mutation, good, line(member, "other"), atomic=True)) == ["5", "5"]


def test_too_many_lines_or_none_are_refused_whole(api: Api) -> None:
    grocer = api.coalition.trading()
    till = api.client_of(grocer)
    member = api.enrolled(grocer)
    lines = [line(member, f"k{number}", 1, receipt=receipt(str(number))) for number in range(MAX_LINES + 1)]
    with api.nothing_moves():
        many, none = send(till, ISSUE, *lines), send(till, ISSUE)
    assert (codes(many), codes(none)) == (["BATCH_TOO_LARGE"], ["INVALID_INPUT"])
    assert many["lines"] == none["lines"] == []
    assert many["userErrors"][0]["field"] == ["input", "lines"]

    assert outcomes(send(till, ISSUE, *lines[1:])) == ["1"] * MAX_LINES
    assert codes(send(till, ISSUE, *lines)) == ["BATCH_TOO_LARGE"]


def test_the_largest_batch_may_ask_what_a_till_wants_to_know(api: Api) -> None:
    grocer = api.coalition.trading()
    till = api.client_of(grocer)
    member = api.enrolled(grocer)
    asked = """mutation($input: IssuePointsBatchInput!) { issuePointsBatch(input: $input) {
        lines {
            transaction { id points recordedAt late receipt { number } }
            balance { available pending }
            userErrors { code message field }
        }
    } }"""
    lines = [line(member, f"k{number}", 1, receipt=receipt(str(number))) for number in range(MAX_LINES)]
    statements: list[str] = []

    @event.listens_for(api.coalition.database.engine, "before_cursor_execute")
    def _(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    answer = till.send(asked, {"input": {"lines": lines}}).json()

    assert "errors" not in answer, answer["errors"]
    assert answer["extensions"]["cost"] == {"requested": 10 + 2 * MAX_LINES + 1, "limit": 5_000}
    answered = answer["data"]["issuePointsBatch"]["lines"]
    assert [one["transaction"]["receipt"]["number"] for one in answered] == [
        str(number) for number in range(MAX_LINES)
    ]
    assert {one["transaction"]["late"] for one in answered} == {False}
    # What was not in the kernel's answer is read of all lines together.
    assert sum("ledger.transaction" in one for one in statements) == 1


@pytest.mark.parametrize(
    "deep",
    [
        "transaction { reversedBy { id receipt { number } } }",
        "transaction { entries { issuer { code } } }",
        "transaction { member { transactions(first: 5) { nodes { id } } } }",
        "transaction { member { id } partner { code } receipt { number } member2: member { id } }",
    ],
)
def test_the_largest_batch_is_no_way_round_the_limit_of_cost(api: Api, deep: str) -> None:
    grocer = api.coalition.trading()
    till = api.client_of(grocer)
    member = api.enrolled(grocer)
    lines = [line(member, f"k{number}") for number in range(MAX_LINES)]
    asked = f"mutation($input: IssuePointsBatchInput!) {{ issuePointsBatch(input: $input) {{ lines {{ {deep} }} }} }}"

    with api.nothing_moves():
        [error] = till.send(asked, {"input": {"lines": lines}}).json()["errors"]

    assert error["extensions"]["code"] == "TOO_COSTLY"


def test_what_a_batch_costs_goes_by_its_lines(api: Api) -> None:
    grocer = api.coalition.trading()
    till = api.client_of(grocer)
    member = api.enrolled(grocer)
    asked = """mutation($input: IssuePointsBatchInput!) { issuePointsBatch(input: $input) {
        lines { transaction { id member { id } partner { code } } balance { available pooled } }
    } }"""

    def cost(count: int) -> Any:
        lines = [line(member, f"{count}-{number}") for number in range(count)]
        return till.send(asked, {"input": {"lines": lines}}).json()

    assert cost(2)["extensions"]["cost"]["requested"] < cost(300)["extensions"]["cost"]["requested"]
    [error] = cost(1000)["errors"]
    assert error["extensions"]["code"] == "TOO_COSTLY"


def test_a_batch_of_whose_lines_nothing_is_asked_costs_no_less(api: Api) -> None:
    grocer = api.coalition.trading()
    till = api.client_of(grocer)
    member = api.enrolled(grocer)
    lines = [line(member, f"k{number}") for number in range(MAX_LINES)]
    batches = " ".join(f"b{number}: issuePointsBatch(input: $input) {{ replayed }}" for number in range(25))
    with api.nothing_moves():
        sent = till.send(
            f"mutation($input: IssuePointsBatchInput!) {{ {batches} }}", {"input": {"lines": lines}}
        )
    [error] = sent.json()["errors"]
    assert error["extensions"]["code"] == "TOO_COSTLY"


def test_refusals_of_lines_are_in_the_register(api: Api) -> None:
    grocer = api.coalition.trading()
    till = api.client_of(grocer)
    member = api.enrolled(grocer)
    send(till, REDEEM, line(member, "a", 5, receipt=receipt("9")), line("nonsense", "b", 3))
    send(till, REDEEM, line(member, "a", 4), atomic=True)
    assert api.coalition.rows(
        "SELECT code, posting, points, receipt_number, member_id IS NOT NULL FROM partners.refusal ORDER BY refusal_id"
    ) == [
        ("INSUFFICIENT_POINTS", "redeem", 5, "9", True),
        ("MEMBER_UNKNOWN", "redeem", 3, None, False),
        ("INSUFFICIENT_POINTS", "redeem", 4, None, True),
    ]


def test_a_batch_needs_the_scope_of_its_posting(api: Api) -> None:
    grocer = api.coalition.trading()
    member = api.enrolled(grocer)
    till = api.client_of(grocer, frozenset({Scope.POINTS_REDEEM}))
    with api.nothing_moves():
        answer = till.send(ISSUE, {"input": {"lines": [line(member, "a")]}}).json()
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
