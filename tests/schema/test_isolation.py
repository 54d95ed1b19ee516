"""A partner learns nothing of others: what is not its own is answered as what does not exist."""

import base64
import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from api_driver import Api, Caller, codes, named
from operating import TODAY

from coalition.ids import MemberId, TransactionId
from coalition.ledger import TransactionRef
from coalition.pooling import OpenPool, accept_invitation, invite_to_pool, open_pool
from partners.scopes import Scope
from schema.ids import to_global, transaction_id, transaction_in

RECEIPT = {"store": "s1", "terminal": "t1", "number": "1"}


@dataclass
class Scene:
    """Grocer and baker; a member who got points at both and spent at the baker."""

    api: Api
    member_id: MemberId
    member: str
    grocer: Caller
    baker: Caller
    issued: str
    """By the grocer."""
    spent: str
    """At the baker; it took the grocer's points."""


@pytest.fixture(scope="module")
def scene(shared: Api) -> Scene:
    grocer = shared.coalition.trading("grocer")
    baker = shared.coalition.trading("baker", maturity_days=1)
    member_id = shared.coalition.member(of=grocer)
    member = str(to_global("Member", member_id))
    at_grocer, at_baker = shared.client_of(grocer), shared.client_of(baker)
    issued = at_grocer.issue(member, points=100, receipt=RECEIPT, idempotencyKey="issue-1")
    at_baker.issue(member, amount="50")
    spent = at_baker.redeem(member, points=30)
    return Scene(
        api=shared,
        member_id=member_id,
        member=member,
        grocer=at_grocer,
        baker=at_baker,
        issued=issued["transaction"]["id"],
        spent=spent["transaction"]["id"],
    )


def _elsewhere(given: str) -> str:
    """The id of a transaction that does not exist, as like that one as can be."""
    ref = transaction_in(given)
    assert ref is not None
    return str(
        transaction_id(
            TransactionRef(
                member_id=ref.member_id,
                business_date=ref.business_date,
                transaction_id=TransactionId(uuid4()),
            )
        )
    )


WHOLE = """id points kind recordedAt explanation partner { code } member { id } receipt { number }
    entries { points } reversedBy { id } undonePoints reversiblePoints hold { id }"""


@pytest.mark.parametrize(
    "question",
    [
        f"query($id: ID!) {{ node(id: $id) {{ id ... on Transaction {{ {WHOLE} }} }} }}",
        f"query($id: ID!) {{ transaction(by: {{id: $id}}) {{ {WHOLE} }} }}",
    ],
)
def test_anothers_transaction_is_as_one_that_does_not_exist(scene: Scene, question: str) -> None:
    theirs = scene.baker.send(question, {"id": scene.issued}).json()
    nowhere = scene.baker.send(question, {"id": _elsewhere(scene.issued)}).json()
    nonsense = scene.baker.send(question, {"id": "nonsense"}).json()
    for answer in (theirs, nowhere, nonsense):
        answer["extensions"].pop("requestId")
    assert theirs == nowhere == nonsense
    assert list(theirs["data"].values()) == [None]


def test_reversing_anothers_transaction_is_refused_as_if_it_did_not_exist(scene: Scene) -> None:
    with scene.api.nothing_moves():
        answers = [
            scene.baker.reverse(given)
            for given in (scene.issued, _elsewhere(scene.issued), "nonsense", scene.member)
        ]
    assert all(answer == answers[0] for answer in answers)
    assert codes(answers[0]) == ["TRANSACTION_UNKNOWN"]


def test_anothers_receipt_and_key_find_nothing_and_ones_own_do(scene: Scene) -> None:
    by_receipt = "query($r: ReceiptInput!) { transaction(by: {receipt: {receipt: $r}}) { id } }"
    by_key = """query($m: MemberBy!, $k: ID!) {
        transaction(by: {key: {member: $m, idempotencyKey: $k}}) { id } }"""
    key = {"m": named(scene.member), "k": "issue-1"}
    assert scene.grocer.ask(by_receipt, r=RECEIPT) == {"transaction": {"id": scene.issued}}
    assert scene.grocer.ask(by_key, **key) == {"transaction": {"id": scene.issued}}
    assert scene.baker.ask(by_receipt, r=RECEIPT) == scene.baker.ask(by_key, **key) == {"transaction": None}


def test_lists_hold_ones_own_only_also_beneath_a_member_and_behind_anothers_cursor(scene: Scene) -> None:
    page = "edges { cursor node { id partner { code } } } pageInfo { hasNextPage hasPreviousPage }"
    top = f"query($a: String) {{ transactions(after: $a) {{ {page} }} }}"
    beneath = "query($id: ID!, $a: String) { member(by: {id: $id}) { transactions(after: $a) { PAGE } } }"
    beneath = beneath.replace("PAGE", page)
    mine = scene.grocer.ask(top)["transactions"]
    assert [edge["node"]["partner"]["code"] for edge in mine["edges"]] == ["grocer"]
    theirs = scene.baker.ask(top)["transactions"]
    assert {edge["node"]["partner"]["code"] for edge in theirs["edges"]} == {"baker"}
    nested = scene.grocer.ask(beneath, id=scene.member)["member"]["transactions"]
    assert [edge["node"] for edge in nested["edges"]] == [edge["node"] for edge in mine["edges"]]
    for edge in theirs["edges"]:
        behind = scene.grocer.ask(top, a=edge["cursor"])["transactions"]
        assert all(found["node"]["partner"]["code"] == "grocer" for found in behind["edges"])
        assert behind["pageInfo"]["hasNextPage"] is False


def test_a_partner_sees_the_available_total_and_what_it_issued_itself(scene: Scene) -> None:
    query = """query($id: ID!) { member(by: {id: $id}) { identifiers { value } balance {
        available pending held deficit byIssuer { available pending issuer { code } }
        expiring(within: 3650) { points issuer { code } } } } }"""
    seen = scene.baker.ask(query, id=scene.member)["member"]
    assert seen["balance"] == {
        "available": "70",
        "pending": None,
        "held": None,
        "deficit": None,
        "byIssuer": [{"available": "0", "pending": "50", "issuer": {"code": "baker"}}],
        "expiring": [{"points": "50", "issuer": {"code": "baker"}}],
    }
    whole = scene.api.member(scene.member_id).ask(query, id=scene.member)["member"]["balance"]
    assert (whole["pending"], {part["issuer"]["code"] for part in whole["byIssuer"]}) == (
        "50",
        {"grocer", "baker"},
    )


def test_whose_points_were_spent_is_told_to_the_member_and_not_to_the_redeemer(scene: Scene) -> None:
    query = """query($id: ID!) { node(id: $id) { ... on Transaction {
        explanation entries { points issuer { code } } } } }"""
    to_baker = scene.baker.ask(query, id=scene.spent)["node"]
    to_member = scene.api.member(scene.member_id).ask(query, id=scene.spent)["node"]
    assert to_baker["entries"] == []
    assert "Grocer" not in to_baker["explanation"]
    assert {entry["issuer"]["code"] for entry in to_member["entries"]} == {"grocer"}
    assert "30 points came from Grocer. Grocer funds them alone." in to_member["explanation"]


def test_an_issue_is_explained_to_its_issuer(scene: Scene) -> None:
    [own] = [
        node
        for node in scene.baker.ask(
            "{ transactions { nodes { kind explanation amount { amount currency } } } }"
        )["transactions"]["nodes"]
        if node["kind"] == "ISSUE"
    ]
    assert own["amount"] == {"amount": "50", "currency": "EUR"}
    assert own["explanation"] == (
        "50 points were given for 50 EUR spent: 1 point for each 1 EUR, rounded down (agreement version 1,"
        " from 2026-03-02). They can be spent from 2026-03-03. They expire at the end of 2028-03-02."
        " Baker funds them alone."
    )


def test_another_partner_is_as_one_that_does_not_exist(scene: Scene) -> None:
    query = "query($c: String!) { partner(code: $c) { code agreements { version } } }"
    assert scene.baker.ask(query, c="grocer") == scene.baker.ask(query, c="nowhere") == {"partner": None}
    assert scene.baker.ask(query, c="baker")["partner"] == {"code": "baker", "agreements": [{"version": 1}]}
    assert scene.baker.ask("{ partners { nodes { code } } }") == {"partners": {"nodes": [{"code": "baker"}]}}
    grocer = scene.grocer.ask("{ viewer { partner { id } } }")["viewer"]["partner"]["id"]
    assert scene.baker.ask("query($id: ID!) { node(id: $id) { id } }", id=grocer) == {"node": None}
    assert len(scene.api.operator().ask("{ partners { nodes { code } } }")["partners"]["nodes"]) == 2


def test_a_member_sees_itself_and_no_other_member(scene: Scene) -> None:
    stranger_id = scene.api.coalition.member(of=scene.api.coalition.partner("florist"))
    stranger = scene.api.member(stranger_id)
    query = "query($id: ID!) { member(by: {id: $id}) { id } node(id: $id) { id } }"
    assert stranger.ask(query, id=scene.member) == {"member": None, "node": None}
    listed = "query($m: MemberBy!) { transactions(filter: {member: $m}) { nodes { id } } }"
    assert stranger.ask(listed, m=named(scene.member)) == {"transactions": {"nodes": []}}
    assert stranger.ask("query($id: ID!) { node(id: $id) { id } }", id=scene.issued) == {"node": None}
    assert stranger.ask("{ transactions { nodes { id } } }") == {"transactions": {"nodes": []}}


def test_pages_follow_each_other_without_gap_or_repetition_both_ways(scene: Scene) -> None:
    owner = scene.api.member(scene.member_id)
    query = """query($f: Int, $a: String, $l: Int, $b: String) {
        transactions(first: $f, after: $a, last: $l, before: $b) {
            nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
    every = [node["id"] for node in owner.ask(query, f=100)["transactions"]["nodes"]]
    assert len(every) == 3
    walked: list[str] = []
    after = None
    while True:
        page = owner.ask(query, f=1, a=after)["transactions"]
        walked += [node["id"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    back = owner.ask(query, l=2, b=after)["transactions"]
    assert walked == every
    assert [node["id"] for node in back["nodes"]] == every[:2]
    nearest = owner.ask(query, l=1, b=after)["transactions"]
    assert [node["id"] for node in nearest["nodes"]] == every[1:2]
    assert nearest["pageInfo"]["hasPreviousPage"] is True
    for wrong in ({"f": 0}, {"f": 101}, {"a": "nonsense"}, {"f": 1, "l": 1}, {"a": "WyJ4IiwieSJd"}):
        [error] = owner.send(query, wrong).json()["errors"]
        assert error["extensions"]["code"] == "INVALID_INPUT"


def test_filters_hold_together(scene: Scene) -> None:
    query = "query($f: TransactionFilter) { transactions(filter: $f) { nodes { kind } } }"

    def kinds(caller: Caller, **given: Any) -> list[str]:
        return [node["kind"] for node in caller.ask(query, f=given)["transactions"]["nodes"]]

    today = TODAY.isoformat()
    assert kinds(scene.grocer, since=today, until=today, store="s1", window=today, kinds=["ISSUE"]) == [
        "ISSUE"
    ]
    assert kinds(scene.grocer, since="2026-03-03") == kinds(scene.grocer, store="s2") == []
    assert kinds(scene.grocer, until="2026-03-01") == kinds(scene.grocer, kinds=["REDEEM"]) == []
    assert sorted(kinds(scene.baker, member=named(scene.member))) == ["ISSUE", "REDEEM"]
    assert len(kinds(scene.baker, since="0001-01-01", until="9999-12-31")) == 2


def test_texts_that_cannot_be_stored_are_told_as_such(scene: Scene) -> None:
    operator = scene.api.operator()
    for query in (
        '{ clients(partner: "\\u0000") { nodes { id } } }',
        '{ transactions(filter: {store: "\\u0000"}) { nodes { id } } }',
    ):
        [error] = operator.send(query).json()["errors"]
        assert error["extensions"]["code"] in {"BAD_ARGUMENT", "INVALID_INPUT"}
    assert operator.ask('{ partner(code: "\\u0000") { id } }') == {"partner": None}


def test_no_cursor_counts_what_others_posted_in_between(api: Api) -> None:
    grocer, baker = api.coalition.trading("grocer"), api.coalition.trading("baker")
    member = api.enrolled(grocer)
    at_grocer, at_baker = api.client_of(grocer), api.client_of(baker)
    for till in (at_baker, at_grocer, at_grocer, at_baker, at_baker):
        till.issue(member, points=5)
    page = """query($by: MemberBy!, $after: String) { member(by: $by) {
        transactions(first: 1, after: $after) { edges { cursor node { id } } pageInfo { hasNextPage } } } }"""
    seen, after, more = [], None, True
    while more:
        found = at_baker.ask(page, by=named(member), after=after)["member"]["transactions"]
        [edge], more = found["edges"], found["pageInfo"]["hasNextPage"]
        after = edge["cursor"]
        told = json.loads(base64.urlsafe_b64decode(after + "=="))
        # The window, and the transaction that it has anyhow.
        assert told[1:] == [str(transaction_in(edge["node"]["id"]).transaction_id)]  # type: ignore[union-attr]
        seen.append(edge["node"]["id"])
    assert len(set(seen)) == 3
    newest = at_baker.ask(page, by=named(member))["member"]["transactions"]["edges"][0]["node"]["id"]
    assert seen[0] == newest
    # Another's transaction is no cursor of this list.
    [other] = at_grocer.ask(page, by=named(member))["member"]["transactions"]["edges"]
    answer = at_baker.send(page, {"by": named(member), "after": other["cursor"]}).json()
    assert [error["message"] for error in answer["errors"]] == ["after is not a cursor of this list"]


NESTED = """mutation($input: IssuePointsInput!) { issuePoints(input: $input) {
    transaction { member { balance { available } transactions { nodes { id } } holds { nodes { id } }
    identifiers { kind value } } }
    userErrors { code } } }"""
LINK = """mutation($input: LinkIdentifierInput!) { linkIdentifier(input: $input) {
    member { identifiers { kind value } } userErrors { code } } }"""
REFERENCE = {"kind": "PARTNER_REFERENCE", "value": "Ada Byron, 12 St James's Square"}


def test_a_token_that_reads_no_members_reads_no_history_by_way_of_what_it_posts(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    member, everything = api.enrolled(grocer), api.client_of(grocer)
    everything.issue(member, points=9)
    api.client_of(grocer, frozenset({Scope.POINTS_REDEEM})).do(
        "mutation($input: AuthorizeRedemptionInput!) { authorizeRedemption(input: $input) { userErrors { code } } }",
        member=named(member),
        points=3,
        idempotencyKey="held",
    )
    # Who may link sees what is linked.
    writer = api.client_of(grocer, frozenset({Scope.MEMBERS_WRITE}))
    linked = writer.do(LINK, member=named(member), identifier=REFERENCE)["member"]
    assert linked == {"identifiers": [REFERENCE]}
    till = api.client_of(grocer, frozenset({Scope.POINTS_ISSUE}))
    told = till.do(NESTED, member=named(member), points=5, idempotencyKey="issued")
    assert told["transaction"]["member"] == {
        "balance": {"available": "11"},
        "transactions": {"nodes": []},
        "holds": {"nodes": []},
        "identifiers": [],
    }
    told = everything.do(NESTED, member=named(member), points=5)["transaction"]["member"]
    assert (len(told["transactions"]["nodes"]), len(told["holds"]["nodes"])) == (4, 1)
    assert told["identifiers"] == [REFERENCE]


def test_what_a_household_has_is_told_to_who_redeems_and_to_no_other_partner(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    ada, ben = api.coalition.member(of=grocer), api.coalition.member(of=grocer)
    api.coalition.issue(ben, grocer, points=77)
    pool_id = uuid4()
    with api.coalition.database.unit_of_work() as session:
        open_pool(session, OpenPool(member_id=ada, pool_id=pool_id, name="Home"))
        invite_to_pool(session, ada, invited=ben)
        accept_invitation(session, ben, pool_id)
    query = "query($by: MemberBy!) { member(by: $by) { balance { available pooled } } }"
    by = named(str(to_global("Member", ada)))
    reads = frozenset({Scope.MEMBERS_READ})
    for caller, pooled in (
        (api.client_of(grocer, reads), None),
        (api.client_of(grocer, reads | {Scope.POINTS_REDEEM}), "77"),
        (api.member(ada), "77"),
        (api.operator(), "77"),
    ):
        assert caller.ask(query, by=by)["member"]["balance"] == {"available": "0", "pooled": pooled}


def test_who_funds_a_plan_too_is_told_to_the_member_and_not_to_the_issuer(api: Api) -> None:
    grocer, *_ = (api.coalition.trading(code) for code in ("grocer", "baker", "florist"))
    member_id = api.coalition.member(of=grocer)
    member, till = str(to_global("Member", member_id)), api.client_of(grocer)
    plan = """mutation($input: PublishFundingPlanInput!) { publishFundingPlan(input: $input) {
        userErrors { code } } }"""
    shares = {
        "two": {"baker": 500_000, "grocer": 300_000, None: 200_000},
        "three": {"baker": 500_000, "grocer": 300_000, "florist": 200_000},
    }
    for code, parts in shares.items():
        given = [{"partner": partner, "ppm": ppm} for partner, ppm in parts.items()]
        assert codes(api.operator().do(plan, code=code, name=code, parts=given)) == []
    query = "query($id: ID!) { node(id: $id) { ... on Transaction { explanation } } }"
    for code, to_issuer, to_member in (
        (
            "two",
            "Grocer 30 %, the network 20 %, another partner 50 %.",
            "Baker 50 %, Grocer 30 %, the network 20 %.",
        ),
        ("three", "Grocer 30 %, other partners 70 %.", "Baker 50 %, Grocer 30 %, Florist 20 %."),
    ):
        issued = till.issue(member, points=10, fundingPlan=code)["transaction"]["id"]
        for caller, told in ((till, to_issuer), (api.member(member_id), to_member)):
            explained = caller.ask(query, id=issued)["node"]["explanation"]
            assert explained.endswith(f"They are funded by plan {code}: {told}")


AUTHORIZE = """mutation($input: AuthorizeRedemptionInput!) { authorizeRedemption(input: $input) {
    hold { id } userErrors { code } } }"""
VOID = "mutation($input: VoidRedemptionInput!) { voidRedemption(input: $input) { userErrors { code } } }"
OPEN = """query($partner: String, $first: Int, $after: String) {
    openHolds(partner: $partner, first: $first, after: $after) {
        nodes { id state partner { code } member { id } } pageInfo { hasNextPage endCursor } } }"""


def test_open_holds_over_all_members_are_a_partners_own_and_a_members_own(api: Api) -> None:
    grocer, baker = api.coalition.trading("grocer"), api.coalition.trading("baker")
    ada, ben = api.coalition.member(of=grocer), api.coalition.member(of=grocer)
    at_grocer, at_baker = api.client_of(grocer), api.client_of(baker)

    def held(till: Caller, member: MemberId) -> str:
        by = named(str(to_global("Member", member)))
        api.coalition.pass_time(seconds=1)
        return str(till.do(AUTHORIZE, member=by, points=5)["hold"]["id"])

    for member in (ada, ben):
        api.coalition.issue(member, grocer, points=100)
    first, ended, theirs, second = (
        held(till, member)
        for till, member in ((at_grocer, ada), (at_grocer, ben), (at_baker, ada), (at_grocer, ben))
    )
    assert codes(at_grocer.do(VOID, holdId=ended)) == []

    def seen(caller: Caller, **wanted: Any) -> list[str]:
        return [one["id"] for one in caller.ask(OPEN, **wanted)["openHolds"]["nodes"]]

    assert seen(at_grocer) == seen(at_grocer, partner="baker") == [second, first]
    assert seen(at_baker) == [theirs]
    assert seen(api.operator()) == [second, theirs, first]
    assert seen(api.operator(), partner="baker") == [theirs]
    assert seen(api.member(ada)) == [theirs, first]
    assert seen(api.client_of(api.coalition.trading("florist"))) == []
    page = at_grocer.ask(OPEN, first=1)["openHolds"]
    assert (page["pageInfo"]["hasNextPage"], page["nodes"][0]["state"]) == (True, "OPEN")
    assert seen(at_grocer, after=page["pageInfo"]["endCursor"]) == [first]
    for caller in (api.client_of(grocer, frozenset({Scope.POINTS_REDEEM})), api.finance()):
        [error] = caller.send(OPEN).json()["errors"]
        assert error["extensions"]["code"] == "FORBIDDEN"


LONG = """query($id: ID!, $first: Int! = 100, $skip: Int! = 0) { node(id: $id) { ... on Transaction {
    points entryCount entries(first: $first, skip: $skip) { points issuer { code } } } } }"""


def test_the_legs_of_a_transaction_are_told_in_parts_as_far_as_they_are_ones_own(api: Api) -> None:
    grocer, baker = api.coalition.trading("grocer"), api.coalition.trading("baker")
    member_id = api.coalition.member(of=grocer)
    for _ in range(51):
        api.coalition.issue(member_id, grocer, points=1)
    at_baker, owner = api.client_of(baker), api.member(member_id)
    api.coalition.issue(member_id, baker, points=1)
    spent = at_baker.redeem(str(to_global("Member", member_id)), points=52)["transaction"]["id"]

    def legs(caller: Caller, **wanted: Any) -> tuple[int, int]:
        told = caller.ask(LONG, id=spent, **wanted)["node"]
        return told["entryCount"], len(told["entries"])

    assert (legs(owner), legs(owner, skip=100), legs(owner, skip=200)) == ((104, 100), (104, 4), (104, 0))
    assert legs(owner, first=3) == (104, 3)
    assert legs(at_baker) == (2, 2)
    every = (
        owner.ask(LONG, id=spent)["node"]["entries"] + owner.ask(LONG, id=spent, skip=100)["node"]["entries"]
    )
    assert sum(int(leg["points"]) for leg in every) == 0
    bare = "query($id: ID!) { node(id: $id) { ... on Transaction { entries { points } reversedBy { id } } } }"
    assert len(owner.ask(bare, id=spent)["node"]["entries"]) == 100
    for wrong in ({"first": 0}, {"first": 101}, {"skip": -1}):
        [error] = owner.send(LONG, {"id": spent, **wrong}).json()["errors"]
        assert error["extensions"]["code"] == "INVALID_INPUT"
    costs = [
        owner.send(LONG, {"id": spent, **wanted}).json()["extensions"]["cost"]["requested"]
        for wanted in ({"first": 3}, {"first": 50}, {})
    ]
    assert (costs[1] - costs[0], costs[2] - costs[1]) == (47, 50)
