"""Merges over the API: points go along and come back, rings are refused, and a refusal moves nothing."""

from collections import Counter
from typing import Any
from uuid import uuid4

from api_driver import ANSWER, ISSUE, Api, Caller, codes, named
from sqlalchemy import event

from coalition.ids import NETWORK, MemberId
from partners import on_behalf
from schema.ids import to_global

_BODY = """ { replayed transaction { kind points reason } balance { available } userErrors { code field retryable } } }"""
MERGE = "mutation($input: MergeMembersInput!) { mergeMembers(input: $input)" + _BODY
UNMERGE = "mutation($input: UnmergeMembersInput!) { unmergeMembers(input: $input)" + _BODY
BLOCK = "mutation($input: BlockMemberInput!) { blockMember(input: $input) { userErrors { code } } }"
LINKS = """query($by: MemberBy!) { member(by: $by) { mergedInto { id } mergedFrom { id } } }"""


def _id(member: MemberId) -> str:
    return str(to_global("Member", member))


def _pair(survivor: MemberId, merged: MemberId) -> dict[str, Any]:
    return {"survivor": named(_id(survivor)), "merged": named(_id(merged))}


def test_a_merge_and_its_undoing_to_the_point(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    ada, twin = api.coalition.member(of=grocer), api.coalition.member(of=grocer)
    api.coalition.issue(ada, grocer, points=100)
    api.coalition.issue(twin, grocer, points=40)
    operator = api.operator()
    made = operator.do(MERGE, **_pair(ada, twin), reason="one person", idempotencyKey="m")
    assert made == {
        "replayed": False,
        "transaction": {"kind": "MERGE_IN", "points": "40", "reason": "one person"},
        "balance": {"available": "140"},
        "userErrors": [],
    }
    assert operator.do(MERGE, **_pair(ada, twin), reason="one person", idempotencyKey="m")["replayed"]
    assert operator.ask(LINKS, by=named(_id(twin)))["member"] == {
        "mergedInto": {"id": _id(ada)},
        "mergedFrom": [],
    }
    assert operator.ask(LINKS, by=named(_id(ada)))["member"] == {
        "mergedInto": None,
        "mergedFrom": [{"id": _id(twin)}],
    }
    till = api.client_of(grocer).ask(LINKS, by=named(_id(ada)))["member"]
    assert till == {"mergedInto": None, "mergedFrom": []}
    undone = operator.do(UNMERGE, **_pair(ada, twin))
    assert (undone["userErrors"], undone["balance"]) == ([], {"available": "100"})
    assert operator.ask(LINKS, by=named(_id(ada)))["member"] == {"mergedInto": None, "mergedFrom": []}


JOURNAL = "query($by: MemberBy!) { member(by: $by) { transactions { nodes { kind byOperator operator } } } }"


def test_the_operator_is_told_which_of_its_clients_it_was_the_member_that_it_was_one_and_a_partner_nothing(
    api: Api,
) -> None:
    grocer = api.coalition.trading("grocer")
    ada, twin = api.coalition.member(of=grocer), api.coalition.member(of=grocer)
    api.coalition.issue(twin, grocer, points=40)
    first = api.operator()
    [[one]] = clients = api.coalition.rows("SELECT client_id FROM partners.oauth_client")
    second = api.operator()
    [[two]] = set(api.coalition.rows("SELECT client_id FROM partners.oauth_client")) - set(clients)
    first.do(MERGE, **_pair(ada, twin), idempotencyKey="m")
    assert second.do(MERGE, **_pair(ada, twin), idempotencyKey="m")["replayed"]
    second.do(UNMERGE, **_pair(ada, twin))

    def told(caller: Caller, member: MemberId) -> list[tuple[str, bool, str | None]]:
        nodes = caller.ask(JOURNAL, by=named(_id(member)))["member"]["transactions"]["nodes"]
        return [(node["kind"], node["byOperator"], node["operator"]) for node in reversed(nodes)]

    assert told(second, ada) == [("MERGE_IN", True, one), ("UNMERGE_OUT", True, two)]
    assert told(second, twin)[1:] == [("MERGE_OUT", True, one), ("UNMERGE_IN", True, two)]
    assert told(api.member(ada), ada) == [("MERGE_IN", True, None), ("UNMERGE_OUT", True, None)]
    assert told(api.client_of(grocer), ada) == []


def test_who_did_it_is_read_of_a_whole_page_at_once(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    ada, twin = api.coalition.member(of=grocer), api.coalition.member(of=grocer)
    operator = api.operator()
    for _ in range(3):
        operator.do(MERGE, **_pair(ada, twin))
        operator.do(UNMERGE, **_pair(ada, twin))
    issued = api.coalition.issue(ada, grocer, points=40)
    for _ in range(3):
        with api.coalition.database.unit_of_work() as session:
            on_behalf.reverse(
                session, on_behalf.Reverse(reference=issued.ref, key=str(uuid4()), by="eve", points=1)
            )
    statements: list[str] = []

    @event.listens_for(api.coalition.database.engine, "before_cursor_execute")
    def _(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    # Of both sides, in one page.
    nodes = operator.ask("{ transactions { nodes { kind byOperator operator } } }")["transactions"]["nodes"]
    names = Counter(node["operator"] for node in nodes)
    assert (names["eve"], names[None], len(nodes)) == (3, 1, 16)
    assert {node["kind"] for node in nodes if not node["byOperator"]} == {"ISSUE"}
    assert sum("operator_act" in one for one in statements) == 1
    assert sum("partners.operation" in one for one in statements) == 1


def test_rings_oneself_strangers_and_what_was_not_merged_are_refused_and_nothing_moves(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    ada, twin, other = (api.coalition.member(of=grocer) for _ in range(3))
    api.coalition.issue(twin, grocer, points=40)
    operator = api.operator()
    operator.do(MERGE, **_pair(ada, twin))
    with api.nothing_moves():
        refused = operator.do(MERGE, **_pair(twin, ada))["userErrors"]
        # To send the same again is of no use, ever.
        assert refused == [{"code": "MEMBER_MERGED", "field": ["input", "survivor"], "retryable": False}]
        assert codes(operator.do(MERGE, **_pair(other, twin))) == ["MEMBER_MERGED"]
        assert codes(operator.do(MERGE, **_pair(ada, ada))) == ["MERGE_WITH_ONESELF"]
        assert codes(operator.do(MERGE, **_pair(ada, MemberId(NETWORK)))) == ["MEMBER_UNKNOWN"]
        assert codes(operator.do(UNMERGE, **_pair(ada, other))) == ["NOT_MERGED"]
        assert codes(operator.do(UNMERGE, **_pair(other, twin))) == ["NOT_MERGED"]


def test_who_is_blocked_is_not_merged_into_one_who_is_not(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    ada, twin = api.coalition.member(of=grocer), api.coalition.member(of=grocer)
    api.coalition.issue(twin, grocer, points=40)
    operator = api.operator()
    operator.do(BLOCK, member=named(_id(twin)))
    with api.nothing_moves():
        refused = operator.do(MERGE, **_pair(ada, twin))
    assert refused["userErrors"] == [
        {"code": "MEMBER_BLOCKED", "field": ["input", "merged"], "retryable": False}
    ]


def test_only_the_operator_merges(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    ada, twin = api.coalition.member(of=grocer), api.coalition.member(of=grocer)
    callers = api.client_of(grocer), api.member(ada)
    with api.nothing_moves():
        for caller in callers:
            answer = caller.send(MERGE, {"input": _pair(ada, twin) | {"idempotencyKey": "k"}})
            assert answer.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"


def test_a_merged_members_card_names_the_survivor_at_the_till_and_itself_in_an_unmerge(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    till, operator = api.client_of(grocer), api.operator()
    cards = {name: {"identifier": {"kind": "CARD", "value": value}} for name, value in _CARDS.items()}
    ids = {
        name: till.do(ENROL, identifiers=[card["identifier"]])["member"]["id"] for name, card in cards.items()
    }
    till.do(ISSUE + ANSWER, member=cards["twin"], points=40, idempotencyKey="before")
    assert operator.do(MERGE, survivor=cards["ada"], merged=cards["twin"])["userErrors"] == []
    # The card goes on working; what was posted under its key is still found.
    assert till.do(ISSUE + ANSWER, member=cards["twin"], points=2)["balance"] == {"available": "42"}
    assert till.do(ISSUE + ANSWER, member=cards["twin"], points=40, idempotencyKey="before")["replayed"]
    found = till.ask("query($by: MemberBy!) { member(by: $by) { id } }", by=cards["twin"])["member"]
    assert found == {"id": ids["ada"]}
    # Who names the merged record by its id is told.
    with api.nothing_moves():
        assert codes(till.issue(ids["twin"], points=1)) == ["MEMBER_MERGED"]
    assert operator.do(UNMERGE, survivor=cards["ada"], merged=cards["twin"])["userErrors"] == []
    assert till.do(ISSUE + ANSWER, member=cards["twin"], points=1)["balance"] == {"available": "41"}


_CARDS = {"ada": "4006381333931", "twin": "4006381333948"}
ENROL = "mutation($input: EnrollMemberInput!) { enrollMember(input: $input) { member { id } userErrors { code } } }"


REVERSE = """mutation($input: ReverseTransactionInput!) { reverseTransaction(input: $input) {
    replayed transaction { points } balance { available } userErrors { code } } }"""


def test_a_return_to_a_merged_record_is_answered_with_what_the_survivor_has(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    ada, twin = api.coalition.member(of=grocer), api.coalition.member(of=grocer)
    till = api.client_of(grocer)
    till.do(ISSUE + ANSWER, member=named(_id(ada)), points="500")
    issued = till.do(ISSUE + ANSWER, member=named(_id(twin)), points="100")["transaction"]["id"]
    api.operator().do(MERGE, **_pair(ada, twin))
    answer = till.do(REVERSE, transactionId=issued, points="30", idempotencyKey="r")
    assert answer == {
        "replayed": False,
        "transaction": {"points": "30"},
        "balance": {"available": "570"},
        "userErrors": [],
    }
    assert till.do(REVERSE, transactionId=issued, points="30", idempotencyKey="r") == answer | {
        "replayed": True
    }
