"""Guard rails through the API: what the operator does, and what partners see of it."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from api_driver import Api, Caller, codes, named

from coalition.ids import MemberId
from partners import refusals
from partners.limits import refresh_figures
from partners.refusals import Attempt
from schema.ids import member_in

LIMIT = """mutation($input: PublishLimitInput!) { publishLimit(input: $input) {
    limit { code version scope posting measure most periodSeconds action partner { code } } replayed
    userErrors { code field } } }"""
END = """mutation($input: EndLimitInput!) { endLimit(input: $input) {
    limit { version most } userErrors { code field } } }"""
LIMITS = "{ limits { code figures { used overshot store partner { code } } figuresAsOf } }"
STORES = """mutation($input: PublishStoresInput!) { publishStores(input: $input) {
    stores { code name since closed } replayed userErrors { code field } } }"""
RELEASE = """mutation($input: ReleaseReviewInput!) { releaseReview(input: $input) {
    review { id state decidedBy } userErrors { code field } } }"""
REJECT = """mutation($input: RejectReviewInput!) { rejectReview(input: $input) {
    review { id state } userErrors { code field } } }"""
REVIEWS = """query($state: ReviewState! = WAITING, $partner: String, $member: MemberBy) {
    reviews(state: $state, partner: $partner, member: $member) { nodes {
    id state kind points store limit facts member { id } partner { code } transaction { points } } } }"""
BLOCK = """mutation($input: BlockMemberInput!) { blockMember(input: $input) { member { id } userErrors { code } } }"""
UNBLOCK = """mutation($input: UnblockMemberInput!) { unblockMember(input: $input) { member { id } userErrors { code } } }"""
REFUSALS = """query($filter: RefusalFilter, $first: Int, $after: String) {
    refusals(filter: $filter, first: $first, after: $after) { nodes {
      code posting partner { code } memberId points store terminal receiptNumber client requestId facts unwritten }
      pageInfo { hasNextPage endCursor } } }"""
ISSUE = """mutation($input: IssuePointsInput!) { issuePoints(input: $input) { transaction { points }
    userErrors { __typename code message retryable ... on LimitExceeded { scope left againAt } } } }"""
BATCH = """mutation($input: IssuePointsBatchInput!) { issuePointsBatch(input: $input) { userErrors { code retryable }
    lines { transaction { points } userErrors { code retryable } } } }"""

RULE = {"code": "large", "scope": "MEMBER", "posting": "ISSUE", "measure": "POINTS", "most": "50"}
RECEIPT = {"store": "s1", "terminal": "t1", "number": "17"}


@pytest.fixture
def till(api: Api) -> Caller:
    return api.client_of(api.coalition.trading("grocer"))


def enrolled(till: Caller, card: str = "CARD-0001") -> str:
    payload = till.do(
        "mutation($input: EnrollMemberInput!) { enrollMember(input: $input) { member { id } } }",
        identifiers=[{"kind": "CARD", "value": card}],
    )
    return str(payload["member"]["id"])


def test_a_limit_is_published_superseded_replayed_and_ended(api: Api, till: Caller) -> None:
    operator = api.operator()
    made = operator.do(LIMIT, **RULE, periodSeconds=3600, partner="grocer", idempotencyKey="k")
    assert made["limit"] == {
        "code": "large",
        "version": 1,
        "scope": "MEMBER",
        "posting": "ISSUE",
        "measure": "POINTS",
        "most": "50",
        "periodSeconds": 3600,
        "action": "REFUSE",
        "partner": {"code": "grocer"},
    }
    again = operator.do(LIMIT, **RULE, periodSeconds=3600, partner="grocer", idempotencyKey="k")
    assert again == made | {"replayed": True}
    assert operator.do(LIMIT, **RULE)["limit"]["version"] == 2
    member = enrolled(till)
    with api.nothing_moves():
        [error] = till.do(ISSUE, member=named(member), points=51)["userErrors"]
        assert error == {
            "__typename": "LimitExceeded",
            "code": "LIMIT_EXCEEDED",
            "message": "A limit of this member leaves no room for it now.",
            "retryable": False,
            "scope": "member",
            "left": None,
            "againAt": None,
        }
    assert operator.do(END, code="large")["limit"] == {"version": 3, "most": None}
    with api.nothing_moves():
        assert codes(operator.do(END, code="large")) == ["LIMIT_UNKNOWN"]
    assert till.do(ISSUE, member=named(member), points=51)["transaction"] == {"points": "51"}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"code": "Large"}, ["input", "code"]),
        ({"most": -1}, ["input", "most"]),
        ({"periodSeconds": 0}, ["input", "periodSeconds"]),
        ({"scope": "PARTNER", "periodSeconds": 59}, ["input", "periodSeconds"]),
        ({"periodSeconds": 400 * 86_400}, ["input", "periodSeconds"]),
        ({"posting": "TRANSFER", "scope": "CARD"}, ["input", "scope"]),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(api: Api, wrong: dict[str, Any], field: list[str]) -> None:
    operator = api.operator()
    assert operator.do(LIMIT, **(RULE | wrong))["userErrors"] == [{"code": "INVALID_INPUT", "field": field}]
    assert operator.ask("{ limits { code } }") == {"limits": []}
    assert codes(operator.do(LIMIT, **RULE, partner="nobody")) == ["PARTNER_UNKNOWN"]


def test_a_partner_is_told_what_is_left_of_its_own(api: Api, till: Caller) -> None:
    operator = api.operator()
    operator.do(LIMIT, **RULE, periodSeconds=3600, partner="grocer")
    member = enrolled(till)
    till.do(ISSUE, member=named(member), points=20)
    with api.nothing_moves():
        [error] = till.do(ISSUE, member=named(member), points=31)["userErrors"]
    assert (error["scope"], error["left"], error["againAt"]) == ("member", "30", "2026-03-02T12:00:00Z")


def test_one_card_is_limited_and_the_members_other_card_is_not(api: Api, till: Caller) -> None:
    api.operator().do(LIMIT, code="card", scope="CARD", posting="ISSUE", measure="COUNT", most=1)
    member = enrolled(till)
    link = "mutation($input: LinkIdentifierInput!) { linkIdentifier(input: $input) { member { id } } }"
    till.do(link, member=named(member), identifier={"kind": "CARD", "value": "CARD-0002"})

    def with_card(number: str) -> Any:
        return till.do(ISSUE, member={"identifier": {"kind": "CARD", "value": number}}, points=1)

    assert codes(with_card("CARD-0001")) == []
    with api.nothing_moves():
        [error] = with_card("card 0001".replace(" ", "-"))["userErrors"]
    assert (error["code"], error["scope"]) == ("LIMIT_EXCEEDED", "card")
    assert codes(with_card("CARD-0002")) == []
    assert codes(till.do(ISSUE, member=named(member), points=1)) == []


def test_a_partners_figure_and_by_how_much_it_was_overshot_are_shown(api: Api, till: Caller) -> None:
    operator = api.operator()
    operator.do(LIMIT, **(RULE | {"scope": "PARTNER"}))
    member = enrolled(till)
    till.do(ISSUE, member=named(member), points=50)
    till.do(ISSUE, member=named(member), points=50)  # the figure is less than two seconds old
    with api.coalition.database.unit_of_work() as session:
        refresh_figures(session, older_than=timedelta(0))
    [limit] = operator.ask(LIMITS)["limits"]
    assert limit["figures"] == [
        {"used": "100", "overshot": "50", "store": None, "partner": {"code": "grocer"}}
    ]
    assert limit["figuresAsOf"] is not None
    [error] = till.do(ISSUE, member=named(member), points=1)["userErrors"]
    assert (error["scope"], error["left"]) == ("partner", "0")
    [entry] = operator.ask(REFUSALS, filter={"code": "LIMIT_EXCEEDED"})["refusals"]["nodes"]
    assert json.loads(entry["facts"])["over"] == 50


def test_a_quote_asks_the_limits_and_moves_nothing(api: Api, till: Caller) -> None:
    operator = api.operator()
    operator.do(LIMIT, **RULE)
    on_card = RULE | {"code": "spend", "posting": "REDEEM", "scope": "CARD", "most": 49}
    operator.do(LIMIT, **on_card, action="REVIEW")
    operator.do(LIMIT, **(RULE | {"code": "shop", "posting": "BOTH", "scope": "PARTNER", "most": 1000}))
    member = enrolled(till)
    card = {"identifier": {"kind": "CARD", "value": "CARD-0001"}}
    issue = "query($input: QuoteIssueInput!) { quoteIssue(input: $input) { quote { points } userErrors { code } } }"
    spend = """query($input: QuoteRedemptionInput!) { quoteRedemption(input: $input) {
        quote { points } userErrors { code } } }"""

    def ask(query: str, **given: Any) -> Any:
        [payload] = till.ask(query, input=given).values()
        return payload

    with api.nothing_moves():
        assert ask(issue, member=named(member), points=50)["quote"] == {"points": "50"}
        assert codes(ask(issue, member=named(member), points=51)) == ["LIMIT_EXCEEDED"]
        assert ask(issue, points=51)["quote"] == {"points": "51"}  # for any member
        assert ask(spend, member=card, points=50)["quote"] == {"points": "50"}  # there are too few for it
    till.do(ISSUE, member=named(member), points=50)
    with api.nothing_moves():
        assert codes(ask(spend, member=card, points=50)) == ["UNDER_REVIEW"]
        assert ask(spend, member=named(member), points=50)["quote"] == {"points": "50"}


def test_a_wish_under_review_waits_is_released_and_posted(api: Api, till: Caller) -> None:
    operator = api.operator()
    api.coalition.partner("baker")
    operator.do(LIMIT, **RULE, action="REVIEW")
    member = enrolled(till)
    wish = {"member": named(member), "points": 60, "receipt": RECEIPT, "idempotencyKey": "k"}
    before = api.coalition.snapshot()
    for _ in range(2):
        [error] = till.do(ISSUE, **wish)["userErrors"]
        assert (error["code"], error["retryable"]) == ("UNDER_REVIEW", True)
    after = api.coalition.snapshot()
    assert len(after.pop("ledger.review")) == 1
    assert after == {table: rows for table, rows in before.items() if table != "ledger.review"}
    [waiting] = operator.ask(REVIEWS)["reviews"]["nodes"]
    assert (waiting["points"], waiting["store"], waiting["partner"]) == ("60", "s1", {"code": "grocer"})
    assert (waiting["member"], waiting["transaction"]) == ({"id": member}, None)
    for wanted, found in (
        ({"partner": "grocer", "member": named(member)}, [waiting]),
        ({"member": {"identifier": {"kind": "CARD", "value": "CARD-0001"}}}, [waiting]),
        ({"member": named(enrolled(till, "CARD-0002"))}, []),
        ({"member": named("nonsense")}, []),
        ({"partner": "baker"}, []),
    ):
        assert operator.ask(REVIEWS, **wanted)["reviews"]["nodes"] == found
    released = operator.do(RELEASE, review=waiting["id"])["review"]
    assert released["state"] == "RELEASED"
    assert till.do(ISSUE, **wish)["transaction"] == {"points": "60"}
    assert operator.ask(REVIEWS)["reviews"]["nodes"] == []
    [posted] = operator.ask(REVIEWS, state="POSTED")["reviews"]["nodes"]
    assert posted["transaction"] == {"points": "60"}
    assert codes(operator.do(REJECT, review=waiting["id"])) == ["REVIEW_DECIDED"]
    assert codes(operator.do(RELEASE, review="nonsense")) == ["REVIEW_UNKNOWN"]


@pytest.mark.parametrize(("action", "again"), [("REVIEW", True), ("REFUSE", False)])
def test_an_atomic_batch_is_sent_again_where_the_line_that_stopped_it_is(
    api: Api, till: Caller, action: str, again: bool
) -> None:
    operator = api.operator()
    operator.do(LIMIT, **RULE, action=action)
    large, small = enrolled(till), enrolled(till, "CARD-0002")
    lines = [
        {"member": named(member), "points": points, "idempotencyKey": f"k{points}"}
        for member, points in ((small, 5), (large, 60))
    ]
    before = api.coalition.snapshot()
    [stopped] = till.ask(BATCH, input={"lines": lines, "atomic": True}).values()
    assert api.coalition.snapshot() | {"ledger.review": []} == before
    whole, *each = (one for part in (stopped, *stopped["lines"]) for one in part["userErrors"])
    code = "UNDER_REVIEW" if again else "LIMIT_EXCEEDED"
    assert [one["code"] for one in (whole, *each)] == ["BATCH_STOPPED", "BATCH_STOPPED", code]
    assert [one["retryable"] for one in (whole, *each)] == [again] * 3
    for waiting in operator.ask(REVIEWS)["reviews"]["nodes"]:
        operator.do(RELEASE, review=waiting["id"])
        [posted] = till.ask(BATCH, input={"lines": lines, "atomic": True}).values()
        assert [one["transaction"]["points"] for one in posted["lines"]] == ["5", "60"]


def test_a_rejected_wish_stays_refused(api: Api, till: Caller) -> None:
    operator = api.operator()
    operator.do(LIMIT, **RULE, action="REVIEW")
    member = enrolled(till)
    till.do(ISSUE, member=named(member), points=60, idempotencyKey="k")
    [waiting] = operator.ask(REVIEWS)["reviews"]["nodes"]
    assert operator.do(REJECT, review=waiting["id"])["review"]["state"] == "REJECTED"
    with api.nothing_moves():
        assert codes(till.do(ISSUE, member=named(member), points=60, idempotencyKey="k")) == [
            "REVIEW_REJECTED"
        ]


def test_receipts_name_a_published_store(api: Api, till: Caller) -> None:
    operator = api.operator()
    member = enrolled(till)
    given = [{"code": "s2", "name": "South"}, {"code": "old", "name": "Old", "closed": "2026-03-01"}]
    made = operator.do(STORES, partner="grocer", stores=given)
    assert [one["code"] for one in made["stores"]] == ["old", "s2"]
    with api.nothing_moves():
        assert codes(till.do(ISSUE, member=named(member), points=1, receipt=RECEIPT)) == ["STORE_UNKNOWN"]
    assert codes(till.do(ISSUE, member=named(member), points=1, receipt=RECEIPT | {"store": "s2"})) == []
    seen = "{ viewer { partner { stores(first: 1) { nodes { code closed } pageInfo { hasNextPage } } } } }"
    assert till.ask(seen)["viewer"]["partner"]["stores"] == {
        "nodes": [{"code": "old", "closed": "2026-03-01"}],
        "pageInfo": {"hasNextPage": True},
    }
    for wrong in (
        [],
        [given[0], given[0]],
        [{"code": "", "name": "x"}],
        [{"code": "x", "name": "x", "since": "2026-02-02", "closed": "2026-02-01"}],
    ):
        assert codes(operator.do(STORES, partner="grocer", stores=wrong)) == ["INVALID_INPUT"]
    assert codes(operator.do(STORES, partner="nobody", stores=given)) == ["PARTNER_UNKNOWN"]


def test_a_member_is_blocked_at_once_and_again_takes_part(api: Api, till: Caller) -> None:
    operator = api.operator()
    member = enrolled(till)
    assert operator.do(BLOCK, member={"identifier": {"kind": "CARD", "value": "CARD-0001"}})["member"] == {
        "id": member
    }
    with api.nothing_moves():
        assert codes(till.do(ISSUE, member=named(member), points=1)) == ["MEMBER_BLOCKED"]
        assert codes(till.redeem(member, points=1)) == ["MEMBER_BLOCKED"]
    assert codes(operator.do(UNBLOCK, member=named(member))) == []
    assert codes(till.do(ISSUE, member=named(member), points=1)) == []
    assert codes(operator.do(BLOCK, member={"identifier": {"kind": "CARD", "value": "CARD-9999"}})) == [
        "MEMBER_UNKNOWN"
    ]


def test_who_blocked_a_member_and_why_the_operator_sees_and_the_member_but_for_who(
    api: Api, till: Caller
) -> None:
    operator = api.operator()
    member = enrolled(till)
    operator.do(BLOCK, member=named(member), reason="reported stolen")
    operator.do(BLOCK, member=named(member), reason="again")
    seen = """query($m: MemberBy!) { member(by: $m) { blocked blocks { blocked by reason } } }"""
    told = operator.ask(seen, m=named(member))["member"]
    [block] = told["blocks"]
    assert (told["blocked"], block["blocked"], block["reason"]) == (True, True, "reported stolen")
    assert block["by"]
    own_id = member_in(member)
    assert own_id is not None
    itself = api.member(own_id).ask(seen, m=named(member))["member"]
    assert itself == told | {"blocks": [block | {"by": None}]}
    assert till.ask(seen, m=named(member))["member"] == {"blocked": None, "blocks": []}
    operator.do(UNBLOCK, member=named(member), reason="it was another's")
    told = operator.ask(seen, m=named(member))["member"]
    assert (told["blocked"], [line["blocked"] for line in told["blocks"]]) == (False, [True, False])
    assert codes(operator.do(BLOCK, member=named(member), reason="x" * 201)) == ["INVALID_INPUT"]


def test_only_the_operator_does_and_sees_these(till: Caller) -> None:
    for query in (
        "{ limits { code } }",
        "{ reviews { nodes { id } } }",
        'mutation { publishLimit(input: {idempotencyKey: "k", code: "x", scope: MEMBER, posting: ISSUE, measure: COUNT, most: 1}) { replayed } }',
        'mutation { blockMember(input: {idempotencyKey: "k", member: {id: "x"}}) { replayed } }',
        'mutation { publishStores(input: {idempotencyKey: "k", partner: "grocer", stores: []}) { replayed } }',
        'mutation { releaseReview(input: {idempotencyKey: "k", review: "x"}) { replayed } }',
    ):
        answer = till.send(query).json()
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN", query


# -- the register ----------------------------------------------------------------------------------


def test_the_register_tells_the_operator_all_and_a_partner_its_own(api: Api, till: Caller) -> None:
    operator = api.operator()
    stranger = api.client_of(api.coalition.trading("stranger"))
    member = enrolled(till)
    till.redeem(member, points=5, receipt=RECEIPT)
    stranger.redeem(member, points=6)
    stranger.reverse("nonsense")
    till.redeem("nonsense", points=7)
    operator.do(END, code="none")

    everything = operator.ask(REFUSALS)["refusals"]["nodes"]
    assert [(one["code"], one["posting"]) for one in everything] == [
        ("LIMIT_UNKNOWN", "EndLimit"),
        ("MEMBER_UNKNOWN", "redeem"),
        ("TRANSACTION_UNKNOWN", "reverse"),
        ("INSUFFICIENT_POINTS", "redeem"),
        ("INSUFFICIENT_POINTS", "redeem"),
    ]
    first = everything[-1]
    assert (first["partner"], first["memberId"], first["points"], first["store"], first["receiptNumber"]) == (
        {"code": "grocer"},
        member,
        "5",
        "s1",
        "17",
    )
    assert first["client"]
    assert first["requestId"]
    assert json.loads(first["facts"]) == {"available": 0, "requested": 5, "field": "input.points"}

    own = till.ask(REFUSALS)["refusals"]["nodes"]
    assert [one["code"] for one in own] == ["MEMBER_UNKNOWN", "INSUFFICIENT_POINTS"]
    assert {(one["facts"], one["unwritten"]) for one in own} == {(None, None)}
    assert till.ask(REFUSALS, filter={"partner": "stranger"})["refusals"]["nodes"] == own
    by_member = operator.ask(REFUSALS, filter={"member": named(member), "partner": "stranger"})
    assert [one["points"] for one in by_member["refusals"]["nodes"]] == ["6"]
    page = operator.ask(REFUSALS, first=2)["refusals"]
    rest = operator.ask(REFUSALS, after=page["pageInfo"]["endCursor"])["refusals"]["nodes"]
    assert page["nodes"] + rest == everything
    assert operator.ask(REFUSALS, filter={"until": "2026-03-02T00:00:00Z"})["refusals"]["nodes"] == []
    answer = api.member(MemberId(UUID(int=1))).send(REFUSALS).json()
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"


def test_a_flood_is_counted_and_not_all_written(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    database = api.coalition.database
    monkeypatch.setattr(refusals, "AT_ONCE", 3)
    monkeypatch.setattr(refusals, "A_SECOND", 0)
    throttle = refusals._Throttle()
    monkeypatch.setitem(refusals._throttles, database.engine.pool, throttle)
    refused = (Attempt(posting="issue"), refusals.InvalidInput("no"))
    for _ in range(5):
        refusals.register(database, [refused])
    throttle._room = 1.0
    refusals.register(database, [refused])
    found = api.operator().ask(REFUSALS)["refusals"]["nodes"]
    assert [one["unwritten"] for one in found] == [2, 0, 0, 0]


def test_a_register_that_cannot_be_written_changes_no_answer(
    till: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise refusals.InvalidInput("the register is away")

    monkeypatch.setattr(refusals, "call", broken)
    assert codes(till.redeem(enrolled(till), points=5)) == ["INSUFFICIENT_POINTS"]
    assert "could not be written into the register" in caplog.text
