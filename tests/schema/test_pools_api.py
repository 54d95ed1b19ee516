"""Household pools over the API: members do it themselves, and nobody sees into another's wallet."""

from typing import Any

from api_driver import ANSWER, REDEEM, Api, Caller, codes, named

from coalition.ids import MemberId
from schema.ids import to_global

POOL = """fragment P on PoolPayload { replayed
    pool { id name spenders spenderLimitPoints ownFirst mostMembers invited closedAt available
        members { id head } }
    userErrors { code field } }"""
CREATE = "mutation($input: CreatePoolInput!) { createPool(input: $input) { ...P } }" + POOL
INVITE = "mutation($input: InviteToPoolInput!) { inviteToPool(input: $input) { ...P } }" + POOL
ACCEPT = (
    "mutation($input: AcceptPoolInvitationInput!) { acceptPoolInvitation(input: $input) { ...P } }" + POOL
)
LEAVE = "mutation($input: LeavePoolInput!) { leavePool(input: $input) { ...P } }" + POOL
CLOSE = "mutation($input: ClosePoolInput!) { closePool(input: $input) { ...P } }" + POOL
AUTHORIZE = """mutation($input: AuthorizeRedemptionInput!) { authorizeRedemption(input: $input) {
    hold { id points } balance { available pooled } userErrors { code } } }"""
VOID = """mutation($input: VoidRedemptionInput!) { voidRedemption(input: $input) {
    balance { available pooled } userErrors { code } } }"""
SEEN = """query($by: MemberBy!) { member(by: $by) { balance { available pooled }
    pool { id available members { id head } } poolInvitations { id name invited available members { head } } } }"""


def _id(member: MemberId) -> str:
    return str(to_global("Member", member))


def _seen(caller: Caller, member: MemberId) -> Any:
    return caller.ask(SEEN, by=named(_id(member)))["member"]


def test_a_household_shares_and_spends_at_a_till(api: Api) -> None:
    grocer, baker = api.coalition.trading("grocer"), api.coalition.trading("baker")
    ada, ben = api.coalition.member(of=grocer), api.coalition.member(of=grocer)
    api.coalition.issue(ada, grocer, points=100)
    api.coalition.issue(ben, baker, points=300)
    at_ada, at_ben, till = api.member(ada), api.member(ben), api.client_of(baker)

    made = at_ada.do(CREATE, name="Home", spenderLimitPoints=200, idempotencyKey="k")
    assert made["userErrors"] == []
    pool = made["pool"]["id"]
    assert at_ada.do(CREATE, name="Home", spenderLimitPoints=200, idempotencyKey="k") == made | {
        "replayed": True
    }
    at_ada.do(INVITE, invited=named(_id(ben)))
    [invitation] = _seen(at_ben, ben)["poolInvitations"]
    assert invitation == {
        "id": pool,
        "name": "Home",
        "invited": None,
        "available": None,
        "members": [{"head": True}],
    }
    joined = at_ben.do(ACCEPT, pool=pool)["pool"]
    assert (joined["available"], joined["invited"], len(joined["members"])) == ("400", 0, 2)

    # A till sees one figure more, and nothing of the pool; so does the member's own view, with the rest.
    assert _seen(till, ada) == {
        "balance": {"available": "100", "pooled": "300"},
        "pool": None,
        "poolInvitations": [],
    }
    assert {one["id"]: one["head"] for one in _seen(at_ada, ada)["pool"]["members"]} == {
        _id(ada): True,
        _id(ben): False,
    }
    assert till.ask("query($id: ID!) { node(id: $id) { id } }", id=pool) == {"node": None}

    held = till.do(AUTHORIZE, member=named(_id(ada)), points=150, fromPool=True)
    assert held["balance"] == {"available": "0", "pooled": "150"}
    assert till.do(VOID, holdId=held["hold"]["id"])["balance"]["available"] == "100"
    spent = till.do(REDEEM + ANSWER, member=named(_id(ada)), points=220, fromPool=True)
    assert (spent["userErrors"], spent["balance"]) == ([], {"available": "0"})
    assert codes(till.do(REDEEM + ANSWER, member=named(_id(ada)), points=1)) == ["INSUFFICIENT_POINTS"]
    told = "{ transactions(first: 2) { nodes { kind explanation counterpart { id } } } }"
    assert [node["kind"] for node in at_ben.ask(told)["transactions"]["nodes"]] == ["POOL_OUT", "UNPOOL_IN"]
    assert at_ben.ask(told)["transactions"]["nodes"][0]["counterpart"] is None
    at_till = till.ask("{ transactions { nodes { kind } } }")["transactions"]["nodes"]
    assert sorted(node["kind"] for node in at_till) == ["AUTHORIZE", "ISSUE", "REDEEM", "VOID"]
    assert till.reverse(spent["transaction"]["id"])["balance"] == {"available": "100"}


def test_what_a_pool_refuses_moves_nothing(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    ada, ben, cleo = (api.coalition.member(of=grocer) for _ in range(3))
    api.coalition.issue(ben, grocer, points=100)
    at_ada, at_ben, at_cleo, till = api.member(ada), api.member(ben), api.member(cleo), api.client_of(grocer)
    operator = api.operator()
    pool = at_ada.do(CREATE, name="Home", mostMembers=2, spenderLimitPoints=10)["pool"]["id"]
    at_ada.do(INVITE, invited=named(_id(ben)))
    at_ben.do(ACCEPT, pool=pool)
    other = at_cleo.do(CREATE, name="Other", spenders="HEAD")["pool"]["id"]
    at_cleo.do(INVITE, invited=named(_id(ben)))
    with api.nothing_moves():
        for caller, mutation, given, code in (
            (at_ada, CREATE, {"name": "x"}, "ALREADY_IN_POOL"),
            (at_ada, CREATE, {"name": ""}, "INVALID_INPUT"),
            (at_ada, CREATE, {"name": "x", "mostMembers": 21}, "INVALID_INPUT"),
            (at_ada, CREATE, {"name": "x", "spenderLimitPoints": 0}, "INVALID_INPUT"),
            (at_ada, CREATE, {"name": "x", "member": named(_id(ben))}, "INVALID_INPUT"),
            (at_ada, INVITE, {"invited": named(_id(cleo))}, "POOL_FULL"),
            (at_ada, INVITE, {"invited": named("nobody")}, "MEMBER_UNKNOWN"),
            (at_ben, INVITE, {"invited": named(_id(cleo))}, "POOL_HEAD_ONLY"),
            (at_ben, ACCEPT, {"pool": other}, "ALREADY_IN_POOL"),
            (at_cleo, ACCEPT, {"pool": pool}, "POOL_UNKNOWN"),
            (at_cleo, ACCEPT, {"pool": "x"}, "POOL_UNKNOWN"),
            (at_ben, CLOSE, {"pool": pool}, "POOL_HEAD_ONLY"),
            (at_cleo, CLOSE, {"pool": pool}, "POOL_UNKNOWN"),
            (operator, CLOSE, {"pool": "x"}, "POOL_UNKNOWN"),
            (operator, LEAVE, {"member": named("nobody")}, "MEMBER_UNKNOWN"),
            (operator, LEAVE, {}, "INVALID_INPUT"),
        ):
            assert codes(caller.do(mutation, **given)) == [code], (mutation, given)
        for who, points, code in (
            (ada, 11, "POOL_LIMIT_EXCEEDED"),
            (cleo, 1, "INSUFFICIENT_POINTS"),
        ):
            answer = till.do(REDEEM + ANSWER, member=named(_id(who)), points=points, fromPool=True)
            assert codes(answer) == [code]
    query = "query($id: ID!) { pool(id: $id) { name } }"
    assert at_cleo.ask(query, id=pool) == at_cleo.ask(query, id="x") == {"pool": None}
    assert at_ben.ask(query, id=other) == {"pool": {"name": "Other"}}
    [error] = till.send(query, {"id": pool}).json()["errors"]
    assert error["extensions"]["code"] == "FORBIDDEN"
    assert operator.do(CLOSE, pool=pool)["pool"]["closedAt"] is not None
    with api.nothing_moves():
        assert codes(at_ada.do(CLOSE, pool=pool)) == ["POOL_CLOSED"]
        assert codes(at_ben.do(LEAVE)) == ["NOT_IN_POOL"]
        answer = till.do(REDEEM + ANSWER, member=named(_id(ben)), points=1, fromPool=True)
        assert codes(answer) == ["NOT_IN_POOL"]


def test_the_operator_does_it_on_members_behalf(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    ada, ben = api.coalition.member(of=grocer), api.coalition.member(of=grocer)
    operator = api.operator()
    pool = operator.do(CREATE, member=named(_id(ada)), name="Home")["pool"]["id"]
    operator.do(INVITE, member=named(_id(ada)), invited=named(_id(ben)))
    assert len(operator.do(ACCEPT, member=named(_id(ben)), pool=pool)["pool"]["members"]) == 2
    left = operator.do(LEAVE, member=named(_id(ada)))["pool"]
    assert (left["members"], left["closedAt"] is None) == ([], False)


def test_a_till_asks_beforehand_what_a_pool_would_give(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    ada, ben = api.coalition.member(of=grocer), api.coalition.member(of=grocer)
    api.coalition.issue(ben, grocer, points=300)
    at_ada = api.member(ada)
    pool = at_ada.do(CREATE, name="Home", spenderLimitPoints=200)["pool"]["id"]
    at_ada.do(INVITE, invited=named(_id(ben)))
    api.member(ben).do(ACCEPT, pool=pool)
    till = api.client_of(grocer)
    ask = """query($input: QuoteRedemptionInput!) { quoteRedemption(input: $input) {
        quote { available ofPool sufficient } userErrors { code field } } }"""

    def quote(points: int, **parts: Any) -> Any:
        asked = {"member": named(_id(ada)), "points": points} | parts
        with api.nothing_moves():
            return till.ask(ask, input=asked)["quoteRedemption"]

    assert quote(100)["quote"] == {"available": "0", "ofPool": "0", "sufficient": False}
    assert quote(200, fromPool=True)["quote"] == {"available": "300", "ofPool": "200", "sufficient": True}
    assert codes(quote(201, fromPool=True)) == ["POOL_LIMIT_EXCEEDED"]
    stranger = named(_id(api.coalition.member(of=grocer)))
    assert codes(quote(1, fromPool=True, member=stranger)) == ["NOT_IN_POOL"]
