"""Transfers and adjustments over the API: who may, what is told to whom, and that a refusal moves nothing."""

from typing import Any
from uuid import uuid4

import pytest
from api_driver import Api, Caller, codes, named

from coalition import members
from coalition.blocking import set_blocked
from coalition.identifiers import Identifier, IdentifierKind
from coalition.ids import NETWORK, MemberId
from coalition.merging import MergeMembers, merge_members, unmerge_members
from partners.clients import rotate_secret
from partners.scopes import Scope
from schema.ids import to_global

TRANSFER = """mutation($input: TransferPointsInput!) { transferPoints(input: $input) {
    replayed transaction { kind points reason partner { code } counterpart { id } } balance { available }
    userErrors { __typename code message field ... on TransferLimitExceeded { allowed requested } } } }"""
ADJUST = """mutation($input: AdjustPointsInput!) { adjustPoints(input: $input) { ...A } }"""
APPROVE = """mutation($input: ApproveAdjustmentInput!) { approveAdjustment(input: $input) { ...A } }"""
REJECT = """mutation($input: RejectAdjustmentInput!) { rejectAdjustment(input: $input) { ...A } }"""
MAKE = """mutation($input: CreateClientInput!) {
    createClient(input: $input) { client { clientId } clientSecret } }"""
ROTATE = (
    """mutation($input: RotateClientSecretInput!) { rotateClientSecret(input: $input) { clientSecret } }"""
)
ADJUSTED = """fragment A on AdjustmentPayload { replayed
    adjustment { id state points reason note issuer { code } proposedBy decidedBy }
    transaction { kind points explanation } balance { available } userErrors { code field } }"""
LIST = """query($state: AdjustmentState, $member: MemberBy, $first: Int, $after: String) {
    adjustments(state: $state, member: $member, first: $first, after: $after) {
        nodes { id points state member { id } transaction { points } }
        pageInfo { hasNextPage endCursor } } }"""


def _phone(api: Api, member: MemberId, number: str) -> dict[str, Any]:
    with api.coalition.database.unit_of_work() as session:
        members.link_identifier(
            session,
            members.LinkIdentifier(
                member_id=member,
                partner_id=NETWORK,
                identifier=Identifier.of(IdentifierKind.PHONE, number, partner_id=NETWORK),
            ),
        )
    return {"identifier": {"kind": "PHONE", "value": number}}


def _id(member: MemberId) -> str:
    return str(to_global("Member", member))


def test_a_member_gives_points_to_one_whom_it_names(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    giver, taker = api.coalition.member(of=grocer), api.coalition.member(of=grocer)
    api.coalition.issue(giver, grocer, points=500)
    to = _phone(api, taker, "+4930901820")
    given = api.member(giver).do(TRANSFER, to=to, points=200, reason="for Ada", idempotencyKey="gift")
    assert given == {
        "replayed": False,
        "transaction": {
            "kind": "TRANSFER_OUT",
            "points": "200",
            "reason": "for Ada",
            "partner": None,
            "counterpart": None,
        },
        "balance": {"available": "300"},
        "userErrors": [],
    }
    again = api.member(giver).do(TRANSFER, to=to, points=200, reason="for Ada", idempotencyKey="gift")
    assert (again["replayed"], again["balance"]) == (True, {"available": "300"})
    # The receiver reads what came, from whom only as far as the giver said; the operator sees both sides.
    query = "{ transactions { nodes { kind points reason counterpart { id } entries { issuer { code } } } } }"
    [arrived] = api.member(taker).ask(query)["transactions"]["nodes"]
    assert (arrived["kind"], arrived["reason"], arrived["counterpart"]) == ("TRANSFER_IN", "for Ada", None)
    assert {entry["issuer"]["code"] for entry in arrived["entries"]} == {"grocer"}
    seen = api.operator().ask(query)["transactions"]["nodes"]
    assert {one["kind"]: one["counterpart"] and one["counterpart"]["id"] for one in seen} == {
        "ISSUE": None,
        "TRANSFER_OUT": _id(taker),
        "TRANSFER_IN": _id(giver),
    }
    till = api.client_of(grocer)
    assert [one["kind"] for one in till.ask(query)["transactions"]["nodes"]] == ["ISSUE"]


@pytest.mark.parametrize("by_phone", [True, False], ids=["named by a phone", "named by an id"])
def test_a_gift_sent_again_is_the_same_wish_though_its_receiver_was_merged_meanwhile(
    api: Api, *, by_phone: bool
) -> None:
    grocer = api.coalition.trading("grocer")
    giver, taker, survivor = (api.coalition.member(of=grocer) for _ in range(3))
    api.coalition.issue(giver, grocer, points=500)
    to = _phone(api, taker, "+4930901821") if by_phone else named(_id(taker))
    wish = {"to": to, "points": 200, "idempotencyKey": "gift"}
    given = api.member(giver).do(TRANSFER, **wish)
    with api.coalition.database.unit_of_work() as session:
        merge_members(
            session, MergeMembers(survivor=survivor, merged=taker, idempotency_key="merge", by="op")
        )
    with api.nothing_moves():
        assert api.member(giver).do(TRANSFER, **wish) == given | {"replayed": True}
        assert codes(api.member(giver).do(TRANSFER, **wish | {"points": 201})) == ["IDEMPOTENCY_CONFLICT"]
    # And a new gift still finds who has the points now.
    assert api.member(giver).do(TRANSFER, to=to, points=50)["userErrors"] == []
    assert api.coalition.rows(
        "SELECT available FROM ledger.member_head WHERE member_id = :member", member=survivor
    ) == [(250,)]


def test_of_a_gift_both_sides_see_that_the_operator_made_it_and_the_operator_which_of_its_clients(
    api: Api,
) -> None:
    grocer = api.coalition.trading("grocer")
    giver, taker = api.coalition.member(of=grocer), api.coalition.member(of=grocer)
    api.coalition.issue(giver, grocer, points=500)
    operator = api.operator()
    clients = api.coalition.rows("SELECT client_id FROM partners.oauth_client")
    other = api.operator()
    wish = {"from": named(_id(giver)), "to": named(_id(taker)), "points": 200, "idempotencyKey": "operator:k"}
    assert operator.do(TRANSFER, **wish)["userErrors"] == []
    assert other.do(TRANSFER, **wish)["replayed"]
    api.member(giver).do(TRANSFER, to=named(_id(taker)), points=100)
    [[mine]] = clients
    query = (
        "query($by: MemberBy!) { member(by: $by) { transactions { nodes { points byOperator operator } } } }"
    )

    def told(caller: Caller, member: MemberId) -> list[tuple[Any, ...]]:
        nodes = caller.ask(query, by=named(_id(member)))["member"]["transactions"]["nodes"]
        return [tuple(one.values()) for one in nodes]

    for member, before in ((giver, [("500", False, None)]), (taker, [])):
        assert told(other, member) == [("100", False, None), ("200", True, mine), *before]
        assert told(api.member(member), member) == [("100", False, None), ("200", True, None), *before]


def test_a_gift_that_the_operator_sends_again_after_an_un_merge_is_the_same_wish(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    ada, twin, taker = (api.coalition.member(of=grocer) for _ in range(3))
    for member in (ada, twin):
        api.coalition.issue(member, grocer, points=500)
    wish = {
        "from": _phone(api, twin, "+4930901822"),
        "to": named(_id(taker)),
        "points": 200,
        "idempotencyKey": "gift",
    }
    operator = api.operator()
    with api.coalition.database.unit_of_work() as session:
        merge_members(session, MergeMembers(survivor=ada, merged=twin, idempotency_key="merge", by="op"))
    given = operator.do(TRANSFER, **wish)
    assert given["balance"] == {"available": "800"}
    with api.coalition.database.unit_of_work() as session:
        unmerge_members(session, MergeMembers(survivor=ada, merged=twin, idempotency_key="unmerge", by="op"))
    with api.nothing_moves():
        assert operator.do(TRANSFER, **wish) == given | {"replayed": True}


BLOCK, UNLINK = (
    f"mutation($input: {name[0].upper()}{name[1:]}Input!) {{ {name}(input: $input) {{ userErrors {{ code }} }} }}"
    for name in ("blockIdentifier", "unlinkIdentifier")
)


@pytest.mark.parametrize("change", [BLOCK, UNLINK], ids=["blocked", "unlinked"])
@pytest.mark.parametrize("whose", ["from", "to"])
def test_a_gift_sent_again_finds_its_answer_though_who_was_named_is_so_no_more(
    api: Api, change: str, whose: str
) -> None:
    grocer = api.coalition.trading("grocer")
    giver, taker = api.coalition.member(of=grocer), api.coalition.member(of=grocer)
    api.coalition.issue(giver, grocer, points=500)
    by = {"from": _phone(api, giver, "+4930901823"), "to": _phone(api, taker, "+4930901824")}
    operator = api.operator()
    given = operator.do(TRANSFER, **by, points=200, idempotencyKey="gift")
    assert given["userErrors"] == []
    assert codes(operator.do(change, identifier=by[whose])) == []
    with api.nothing_moves():
        assert operator.do(TRANSFER, **by, points=200, idempotencyKey="gift") == given | {"replayed": True}
        assert codes(operator.do(TRANSFER, **by, points=201, idempotencyKey="gift")) == [
            "IDEMPOTENCY_CONFLICT"
        ]
        assert codes(operator.do(TRANSFER, **by, points=200)) != []


def test_the_operator_gives_on_a_members_behalf_and_nobody_for_another(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    giver, taker = api.coalition.member(of=grocer), api.coalition.member(of=grocer)
    api.coalition.issue(giver, grocer, points=500)
    operator, till = api.operator(), api.client_of(grocer)
    wish = {"from": named(_id(giver)), "to": named(_id(taker)), "points": 100}
    assert operator.do(TRANSFER, **wish)["balance"] == {"available": "400"}
    with api.nothing_moves():
        assert codes(operator.do(TRANSFER, to=named(_id(taker)), points=100)) == ["INVALID_INPUT"]
        refused = api.member(taker).do(TRANSFER, **wish)
        assert (codes(refused), refused["userErrors"][0]["field"]) == (["INVALID_INPUT"], ["input", "from"])
        answer = till.send(TRANSFER, {"input": wish | {"idempotencyKey": "k"}})
        assert answer.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"


def test_of_a_receiver_the_giver_learns_nothing_but_that_it_can_receive(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    giver, blocked, merged, survivor = (api.coalition.member(of=grocer) for _ in range(4))
    api.coalition.issue(giver, grocer, points=50_000)
    with api.coalition.database.unit_of_work() as session:
        set_blocked(session, blocked, blocked=True, by="test")
        merge_members(session, MergeMembers(survivor=survivor, merged=merged, idempotency_key="m", by="op"))
    mine, operator = api.member(giver), api.operator()
    with api.nothing_moves():
        unknown = mine.do(TRANSFER, to={"identifier": {"kind": "CARD", "value": "0000 1111"}}, points=5)
        for to in (named(_id(blocked)), named(_id(MemberId(NETWORK))), named("nonsense")):
            assert mine.do(TRANSFER, to=to, points=5) == unknown
        [error] = unknown["userErrors"]
        assert (error["code"], error["field"]) == ("MEMBER_UNKNOWN", ["input", "to"])
        told = operator.do(TRANSFER, **{"from": named(_id(giver))}, to=named(_id(blocked)), points=5)
        assert (codes(told), told["userErrors"][0]["field"]) == (["MEMBER_BLOCKED"], ["input", "to"])
        for given, code in (
            ({"to": named(_id(giver)), "points": 5}, "TRANSFER_TO_ONESELF"),
            ({"to": named(_id(survivor)), "points": 0}, "POINTS_INVALID"),
            ({"to": named(_id(survivor)), "points": 2**60}, "POINTS_INVALID"),
            ({"to": named(_id(survivor)), "points": 5, "reason": ""}, "INVALID_INPUT"),
            ({"to": named(_id(survivor)), "points": 5, "reason": "\u0000"}, "INVALID_INPUT"),
            ({"to": {"identifier": {"kind": "PHONE", "value": "030"}}, "points": 5}, "IDENTIFIER_INVALID"),
        ):
            assert codes(mine.do(TRANSFER, **given)) == [code], given
        beyond = mine.do(TRANSFER, to=named(_id(survivor)), points=10_001)["userErrors"][0]
        assert (beyond["__typename"], beyond["allowed"]) == ("TransferLimitExceeded", "10000")
    # Whoever was merged is found by its own id still: the giver does not notice.
    assert mine.do(TRANSFER, to=named(_id(merged)), points=5)["userErrors"] == []
    assert api.member(survivor).ask("{ viewer { member { balance { available } } } }")["viewer"]["member"][
        "balance"
    ] == {"available": "5"}


def _adjust(caller: Caller, member: str, points: int, **given: Any) -> Any:
    given.setdefault("reason", "GOODWILL")
    if points > 0:
        given.setdefault("issuer", "grocer")
    return caller.do(ADJUST + ADJUSTED, member=named(member), points=points, **given)


def test_an_adjustment_within_the_limit_is_posted_at_once_at_its_issuers_terms(api: Api) -> None:
    grocer = api.coalition.trading("grocer", expiry_months=6, maturity_days=30)
    member = api.enrolled(grocer)
    operator = api.operator()
    given = _adjust(operator, member, 800, note="sorry", idempotencyKey="k")
    assert given["userErrors"] == []
    assert (given["adjustment"]["state"], given["balance"]) == ("POSTED", {"available": "800"})
    assert given["transaction"]["explanation"] == "The operator gave 800 points: goodwill."
    assert _adjust(operator, member, 800, note="sorry", idempotencyKey="k") == given | {"replayed": True}
    assert codes(_adjust(operator, member, 801, note="sorry", idempotencyKey="k")) == ["IDEMPOTENCY_CONFLICT"]
    # At once available, since nothing can be returned, and expiring as an issue of today would.
    assert api.coalition.rows("SELECT available, expires_at::date::text FROM ledger.lot") == [
        (800, "2026-09-02")
    ]
    taken = _adjust(operator, member, -300, reason="CORRECTION")
    assert (taken["transaction"]["kind"], taken["balance"]) == ("ADJUST_OUT", {"available": "500"})
    with api.nothing_moves():
        for points, more, code in (
            (-501, {}, "INSUFFICIENT_POINTS"),
            (0, {}, "POINTS_INVALID"),
            (-(2**60), {}, "POINTS_INVALID"),
            (10, {"issuer": None}, "INVALID_INPUT"),
            (-10, {"issuer": "grocer"}, "INVALID_INPUT"),
            (-10, {"fundingPlan": "x"}, "INVALID_INPUT"),
            (10, {"issuer": "nobody"}, "PARTNER_UNKNOWN"),
            (10, {"fundingPlan": "nothing"}, "FUNDING_PLAN_UNKNOWN"),
        ):
            assert codes(_adjust(operator, member, points, **more)) == [code], points
        assert codes(_adjust(operator, "nobody", 10)) == ["MEMBER_UNKNOWN"]
    assert len(operator.ask(LIST)["adjustments"]["nodes"]) == 2, "what was refused was not written down"


def test_above_the_limit_somebody_else_says_yes_or_no(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    member = api.enrolled(grocer)
    ada, grace, mallory = api.operator(), api.operator(), api.operator()
    wanted = [_adjust(ada, member, points) for points in (5_000, 6_000)]
    assert [one["adjustment"]["state"] for one in wanted] == ["PROPOSED"] * 2
    assert [(one["transaction"], one["balance"]) for one in wanted] == [(None, None)] * 2
    first, second = (one["adjustment"]["id"] for one in wanted)
    waiting = ada.ask(LIST, state="PROPOSED", first=1)["adjustments"]
    assert waiting["pageInfo"]["hasNextPage"]
    rest = ada.ask(LIST, state="PROPOSED", after=waiting["pageInfo"]["endCursor"])["adjustments"]
    assert {one["id"] for one in waiting["nodes"] + rest["nodes"]} == {first, second}
    with api.nothing_moves():
        assert codes(ada.do(APPROVE + ADJUSTED, adjustment=first)) == ["SECOND_PERSON_NEEDED"]
        assert codes(grace.do(APPROVE + ADJUSTED, adjustment="x")) == ["ADJUSTMENT_UNKNOWN"]
    approved = grace.do(APPROVE + ADJUSTED, adjustment=first, idempotencyKey="yes")
    assert (approved["adjustment"]["state"], approved["balance"]) == ("POSTED", {"available": "5000"})
    assert approved["adjustment"]["decidedBy"] != approved["adjustment"]["proposedBy"]
    assert grace.do(APPROVE + ADJUSTED, adjustment=first, idempotencyKey="yes") == approved | {
        "replayed": True
    }
    assert grace.do(REJECT + ADJUSTED, adjustment=second)["adjustment"]["state"] == "REJECTED"
    with api.nothing_moves():
        assert codes(mallory.do(APPROVE + ADJUSTED, adjustment=first)) == ["ADJUSTMENT_DECIDED"]
        assert codes(mallory.do(REJECT + ADJUSTED, adjustment=first)) == ["ADJUSTMENT_DECIDED"]
        assert codes(mallory.do(APPROVE + ADJUSTED, adjustment=second)) == ["ADJUSTMENT_DECIDED"]
    assert ada.ask(LIST, member=named(member), state="POSTED")["adjustments"]["nodes"][0]["transaction"] == {
        "points": "5000"
    }
    assert ada.ask(LIST, member=named("nobody"))["adjustments"]["nodes"] == []


def test_clients_whose_secrets_one_had_are_one_person(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    member = api.enrolled(grocer)
    operator = Scope.PROGRAMME_ADMIN.value

    def do(caller: Caller, mutation: str, **given: Any) -> Any:
        # A client's keys are its own, whichever secret its token was fetched with.
        return caller.do(mutation, idempotencyKey=str(uuid4()), **given)

    def made(by: Caller) -> tuple[str, Caller]:
        payload = do(by, MAKE, name="Another", scopes=[operator])
        return payload["client"]["clientId"], api.with_secret(
            payload["client"]["clientId"], payload["clientSecret"]
        )

    def rotated(by: Caller, client_id: str) -> Caller:
        return api.with_secret(client_id, do(by, ROTATE, clientId=client_id)["clientSecret"])

    ada, grace = api.operator(), api.operator()
    child_id, child = made(ada)
    _, other_child = made(ada)
    _, grandchild = made(child)
    colleague_id, _ = made(grace)
    colleague = rotated(child, colleague_id)
    for proposer, second in (
        (ada, child),
        (ada, grandchild),
        (ada, colleague),
        (child, ada),
        (child, other_child),
        (other_child, grandchild),
    ):
        wanted = _adjust(proposer, member, 5_000)["adjustment"]["id"]
        with api.nothing_moves():
            assert codes(do(second, APPROVE + ADJUSTED, adjustment=wanted)) == ["SECOND_PERSON_NEEDED"]
        assert do(grace, APPROVE + ADJUSTED, adjustment=wanted)["adjustment"]["state"] == "POSTED"

    # Its own secret is no way out of the line; the command line is.
    proposed = _adjust(ada, member, 5_000)["adjustment"]
    wanted, ada_id = proposed["id"], proposed["proposedBy"]
    child = rotated(child, child_id)
    with api.nothing_moves():
        assert codes(do(child, APPROVE + ADJUSTED, adjustment=wanted)) == ["SECOND_PERSON_NEEDED"]
    # Nor do two that have each other's go round for ever.
    rotated(child, ada_id)
    with api.nothing_moves():
        assert codes(do(child, APPROVE + ADJUSTED, adjustment=wanted)) == ["SECOND_PERSON_NEEDED"]
    with api.coalition.database.unit_of_work() as session:
        free = rotate_secret(session, child_id)
    child = api.with_secret(child_id, free.secret)
    with api.nothing_moves():
        # It has the secret of the one that proposed.
        assert codes(do(child, APPROVE + ADJUSTED, adjustment=wanted)) == ["SECOND_PERSON_NEEDED"]
    with api.coalition.database.unit_of_work() as session:
        rotate_secret(session, ada_id)
    assert do(child, APPROVE + ADJUSTED, adjustment=wanted)["adjustment"]["state"] == "POSTED"


@pytest.mark.parametrize("query", [LIST, ADJUST + ADJUSTED])
def test_adjustments_are_the_operators_alone(api: Api, query: str) -> None:
    grocer = api.coalition.trading("grocer")
    member = api.coalition.member(of=grocer)
    given = {"input": {"idempotencyKey": "k", "member": named("x"), "points": 1, "reason": "GOODWILL"}}
    for caller in (api.client_of(grocer), api.finance(), api.member(member)):
        [error] = caller.send(query, given if "mutation" in query else {}).json()["errors"]
        assert error["extensions"]["code"] == "FORBIDDEN"


def test_the_programme_tells_its_limits_and_the_operators_own_to_the_operator(api: Api) -> None:
    query = """{ programme { holdSeconds longestHoldSeconds lateDays transferLimitPoints
        adjustmentLimitPoints } }"""
    told = {"holdSeconds": 900, "longestHoldSeconds": 604_800, "lateDays": 90, "transferLimitPoints": "10000"}
    assert api.operator().ask(query)["programme"] == told | {"adjustmentLimitPoints": "1000"}
    till = api.client_of(api.coalition.trading("grocer"))
    assert till.ask(query)["programme"] == told | {"adjustmentLimitPoints": None}


INVITE = "mutation($input: InviteToPoolInput!) { inviteToPool(input: $input) { userErrors { code field } } }"
LEAVE = "mutation($input: LeavePoolInput!) { leavePool(input: $input) { userErrors { code field } } }"
OPEN = "mutation($input: CreatePoolInput!) { createPool(input: $input) { userErrors { code } } }"


def test_a_member_does_not_learn_that_somebody_elses_identifier_is_blocked(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    giver, other = api.coalition.member(of=grocer), api.coalition.member(of=grocer)
    api.coalition.issue(giver, grocer, points=50)
    blocked = _phone(api, other, "+4930901820")
    nobodys = {"identifier": {"kind": "PHONE", "value": "+4930901821"}}
    block = (
        "mutation($input: BlockIdentifierInput!) { blockIdentifier(input: $input) { userErrors { code } } }"
    )
    operator, member = api.operator(), api.member(giver)
    assert operator.do(block, identifier=blocked)["userErrors"] == []
    assert member.do(OPEN, name="Home")["userErrors"] == []
    with api.coalition.nothing_moves():
        for mutation, given, field, code in (
            (TRANSFER, {"points": 5}, "to", "MEMBER_UNKNOWN"),
            (INVITE, {}, "invited", "MEMBER_UNKNOWN"),
            (LEAVE, {}, "member", "INVALID_INPUT"),
        ):
            told = [member.do(mutation, **given, **{field: by})["userErrors"] for by in (blocked, nobodys)]
            assert told[0] == told[1]
            assert [error["code"] for error in told[0]] == [code]
        # The operator is told what is the matter.
        answer = operator.do(TRANSFER, **{"from": named(_id(giver)), "to": blocked, "points": 5})
        assert codes(answer) == ["IDENTIFIER_BLOCKED"]
