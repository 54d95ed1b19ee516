"""Issue, redeem and reverse through the API, as a partner's till does."""

from typing import Any

import pytest
from api_driver import ANSWER, ISSUE, Api, Caller, codes, named
from operating import TODAY

from partners.agreements import ReturnPolicy

Grocery = tuple[str, Caller]
RECEIPT = {"store": "s1", "terminal": "t1", "number": "1"}


@pytest.fixture(scope="module")
def grocery(shared: Api) -> Grocery:
    """A member and a till."""
    grocer = shared.coalition.trading()
    return shared.enrolled(grocer), shared.client_of(grocer)


def test_points_issued_here_are_spent_there_and_the_new_balance_comes_along(api: Api) -> None:
    grocer, baker = api.coalition.trading("grocer"), api.coalition.trading("baker")
    member = api.enrolled(grocer)
    at_grocer, at_baker = api.client_of(grocer), api.client_of(baker)

    given = at_grocer.issue(member, points="500", receipt=RECEIPT)
    spent = at_baker.redeem(member, points=200)

    assert (given["transaction"]["points"], given["balance"]) == ("500", {"available": "500"})
    assert (spent["transaction"]["points"], spent["balance"]) == ("200", {"available": "300"})
    assert not given["replayed"]
    assert given["userErrors"] == spent["userErrors"] == []


def test_money_earns_what_the_agreement_says(api: Api) -> None:
    grocer = api.coalition.trading()
    member = api.enrolled(grocer)
    assert api.client_of(grocer).issue(member, amount="12.99")["transaction"]["points"] == "12"


def test_money_that_earns_nothing_claims_its_receipt_and_makes_no_lot(api: Api) -> None:
    grocer = api.coalition.trading()
    member, till = api.enrolled(grocer), api.client_of(grocer)

    assert till.issue(member, amount="0.40", receipt=RECEIPT)["transaction"]["points"] == "0"

    assert codes(till.issue(member, points=5, receipt=RECEIPT)) == ["RECEIPT_DUPLICATE"]
    assert api.coalition.rows("SELECT * FROM ledger.lot") == []


def test_a_replay_gets_the_first_answer_and_moves_nothing(api: Api) -> None:
    grocer = api.coalition.trading()
    member, till = api.enrolled(grocer), api.client_of(grocer)
    first = till.issue(member, points=10, idempotencyKey="k")
    with api.nothing_moves():
        again = till.issue(member, points="10", idempotencyKey="k")
    assert again == {**first, "replayed": True}


def test_a_reversal_gives_the_points_back(api: Api) -> None:
    grocer = api.coalition.trading()
    member, till = api.enrolled(grocer), api.client_of(grocer)
    till.issue(member, points=100)
    spent = till.redeem(member, points=60)

    undone = till.reverse(spent["transaction"]["id"], reason="returned")

    assert undone["balance"] == {"available": "100"}
    assert codes(till.reverse(spent["transaction"]["id"])) == ["ALREADY_REVERSED"]


@pytest.mark.parametrize(
    ("policy", "deficit"), [(ReturnPolicy.AVAILABLE, "0"), (ReturnPolicy.UNLIMITED, "60")]
)
def test_a_reversal_says_how_many_points_were_not_there_any_more(
    api: Api, policy: ReturnPolicy, deficit: str
) -> None:
    grocer = api.coalition.trading(return_policy=policy)
    member, till = api.enrolled(grocer), api.client_of(grocer)
    given, spent = till.issue(member, points=100), till.redeem(member, points=60)
    reverse = """mutation($input: ReverseTransactionInput!) { reverseTransaction(input: $input) {
        transaction { undonePoints points missingPoints } userErrors { code } } }"""
    undone = till.do(reverse, transactionId=given["transaction"]["id"], points=100)
    assert undone == {
        "transaction": {"undonePoints": "100", "points": "40", "missingPoints": "60"},
        "userErrors": [],
    }
    seen = api.operator().ask(
        "query($by: MemberBy!) { member(by: $by) { balance { deficit } } }", by=named(member)
    )
    assert seen["member"]["balance"] == {"deficit": deficit}
    [told] = till.ask("{ transactions(filter: {kinds: [REVERSE_ISSUE]}) { nodes { explanation } } }")[
        "transactions"
    ]["nodes"]
    owed = " 60 points had been spent already and are owed." if deficit != "0" else ""
    assert told["explanation"] == f"100 points of an issue were undone: 40 points moved back.{owed}"
    back = till.do(reverse, transactionId=spent["transaction"]["id"])["transaction"]
    assert back == {"undonePoints": "60", "points": "60", "missingPoints": "0"}
    seen = till.ask(
        "query($id: ID!) { transaction(by: {id: $id}) { missingPoints } }", id=given["transaction"]["id"]
    )
    assert seen == {"transaction": {"missingPoints": None}}


def test_no_money_goes_back_of_what_was_not_posted_as_money(api: Api) -> None:
    grocer = api.coalition.trading()
    member, till = api.enrolled(grocer), api.client_of(grocer)
    postings = [till.issue(member, points=100), till.redeem(member, points=60)]
    with api.nothing_moves():
        for posting in postings:
            [error] = till.reverse(posting["transaction"]["id"], amount="5.00")["userErrors"]
            assert (error["code"], error["field"]) == ("INVALID_INPUT", ["input", "amount"])


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"points": 0}, "POINTS_INVALID", ["input", "points"]),
        ({"points": "-5"}, "POINTS_INVALID", ["input", "points"]),
        ({"points": "1000000001"}, "POINTS_INVALID", ["input", "points"]),
        ({"points": "99999999999999999999999"}, "POINTS_INVALID", ["input", "points"]),
        ({}, "INVALID_INPUT", ["input", "points"]),
        ({"points": 1, "amount": "1"}, "INVALID_INPUT", ["input", "points"]),
        ({"amount": "-1"}, "INVALID_INPUT", ["input", "amount"]),
        ({"points": 1, "idempotencyKey": ""}, "INVALID_INPUT", ["input", "idempotencyKey"]),
        ({"points": 1, "receipt": RECEIPT | {"store": ""}}, "INVALID_INPUT", ["input", "receipt", "store"]),
        ({"points": 1, "occurredAt": "2026-03-02T12:00:00Z"}, "OCCURRED_IN_FUTURE", ["input", "occurredAt"]),
        ({"points": 1, "occurredAt": "2026-03-01T12:00:00Z"}, "AGREEMENT_MISSING", None),
        ({"points": 1, "fundingPlan": "nowhere"}, "FUNDING_PLAN_UNKNOWN", ["input", "fundingPlan"]),
    ],
)
def test_an_issue_that_makes_no_sense_is_refused(
    shared: Api, grocery: Grocery, given: dict[str, Any], code: str, field: list[str] | None
) -> None:
    member, till = grocery
    with shared.nothing_moves():
        payload = till.issue(member, **given)
    assert codes(payload) == [code]
    assert payload["userErrors"][0]["field"] == field
    assert payload["transaction"] is payload["balance"] is None


@pytest.mark.parametrize("points", [1.5, "1.5", "ten", True, [1], {"a": 1}, "9" * 50, None])
def test_points_that_are_no_whole_number_are_an_error_that_names_the_field(
    shared: Api, grocery: Grocery, points: Any
) -> None:
    member, till = grocery
    given = {"idempotencyKey": "k", "member": named(member), "points": points}
    with shared.nothing_moves():
        answer = till.send(
            "mutation($i: RedeemPointsInput!) { redeemPoints(input: $i) { replayed } }", {"i": given}
        )
    [error] = answer.json()["errors"]
    assert answer.status_code == 422
    assert error["extensions"]["code"] == "VARIABLES_INVALID"
    assert ".points" in error["message"]


def test_more_than_is_available_is_refused_with_both_figures(api: Api) -> None:
    grocer = api.coalition.trading()
    member, till = api.enrolled(grocer), api.client_of(grocer)
    till.issue(member, points=100)
    with api.nothing_moves():
        [error] = till.redeem(member, points=101)["userErrors"]
    assert error["__typename"] == error["code"].title().replace("_", "") == "InsufficientPoints"
    assert (error["available"], error["requested"], error["field"]) == ("100", "101", ["input", "points"])


def test_points_that_have_not_matured_cannot_be_spent(api: Api) -> None:
    grocer = api.coalition.trading(maturity_days=14)
    member, till = api.enrolled(grocer), api.client_of(grocer)
    till.issue(member, points=100)
    with api.nothing_moves():
        assert codes(till.redeem(member, points=1)) == ["INSUFFICIENT_POINTS"]


def test_beyond_the_limit_the_member_must_confirm_and_then_it_goes_through(api: Api) -> None:
    grocer = api.coalition.trading()
    member_id = api.coalition.member(of=grocer)
    till, owner = api.client_of(grocer), api.member(member_id)
    member = owner.ask("{ viewer { member { id } } }")["viewer"]["member"]["id"]
    till.issue(member, points=20_000)
    with api.nothing_moves():
        [error] = till.redeem(member, points=5_001)["userErrors"]
    assert (error["code"], error["allowed"]) == ("CONSENT_REQUIRED", "5000")
    confirmed = owner.do(
        "mutation($input: ConfirmRedemptionInput!) { confirmRedemption(input: $input)"
        " { confirmation { id expiresAt } replayed userErrors { code } } }",
        partner="grocer",
        points=6_000,
        idempotencyKey="c",
    )
    assert confirmed["userErrors"] == []

    spent = till.redeem(member, points=5_001, confirmation=confirmed["confirmation"]["id"])

    assert spent["balance"] == {"available": "14999"}
    with api.nothing_moves():
        used = till.redeem(member, points=10, confirmation=confirmed["confirmation"]["id"])
        made_up = till.redeem(member, points=10, confirmation="nonsense")
    assert codes(used) == codes(made_up) == ["CONFIRMATION_INVALID"]


def test_an_unknown_member_is_refused_alike_however_it_is_named(api: Api) -> None:
    grocer = api.coalition.trading()
    till = api.client_of(grocer)
    nobody = "TWVtYmVyOjc2ZDhjN2FlLTNhZDItNDY4OC1iMDEyLTAzNjE1MTYyNDgyYQ"
    with api.nothing_moves():
        answers = [
            till.issue(nobody, points=5)["userErrors"],
            till.issue("nonsense", points=5)["userErrors"],
            till.do(ISSUE + ANSWER, member={"identifier": {"kind": "CARD", "value": "4711"}}, points=5)[
                "userErrors"
            ],
        ]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0]["code"] == "MEMBER_UNKNOWN"


NOT_ACTIVE = "{ member { id } userErrors { code ... on PartnerNotActive { state } } }"


def test_a_suspended_partner_is_refused(api: Api) -> None:
    grocer = api.coalition.trading()
    member, till = api.enrolled(grocer), api.client_of(grocer)
    from partners.directory import PartnerState, set_partner_state  # noqa: PLC0415

    with api.coalition.database.unit_of_work() as session:
        set_partner_state(session, partner_id=grocer.partner_id, state=PartnerState.SUSPENDED)
    card = {"kind": "CARD", "value": "4006381333931"}
    joins, links = {"identifiers": [card]}, {"member": named(member), "identifier": card}
    with api.nothing_moves():
        refused = [
            till.issue(member, points=5),
            till.do(
                f"mutation($input: EnrollMemberInput!) {{ enrollMember(input: $input) {NOT_ACTIVE} }}",
                **joins,
            ),
            till.do(
                f"mutation($input: LinkIdentifierInput!) {{ linkIdentifier(input: $input) {NOT_ACTIVE} }}",
                **links,
            ),
        ]
    for payload in refused:
        [error] = payload["userErrors"]
        assert (error["code"], error["state"]) == ("PARTNER_NOT_ACTIVE", "suspended")


def test_a_partner_without_an_agreement_is_told_for_which_date(api: Api) -> None:
    grocer = api.coalition.partner("grocer")
    member, till = api.enrolled(grocer), api.client_of(grocer)
    with api.nothing_moves():
        [error] = till.issue(member, points=5)["userErrors"]
    assert (error["code"], error["date"]) == ("AGREEMENT_MISSING", TODAY.isoformat())


def test_a_key_used_for_something_else_and_a_receipt_used_twice_are_refused(api: Api) -> None:
    grocer = api.coalition.trading()
    member, other, till = api.enrolled(grocer), api.enrolled(grocer), api.client_of(grocer)
    till.issue(member, points=10, idempotencyKey="k", receipt=RECEIPT)
    with api.nothing_moves():
        assert codes(till.issue(member, points=11, idempotencyKey="k")) == ["IDEMPOTENCY_CONFLICT"]
        assert codes(till.issue(other, points=10, idempotencyKey="k2", receipt=RECEIPT)) == [
            "RECEIPT_DUPLICATE"
        ]


def test_a_quote_is_what_the_mutation_then_does_and_moves_nothing(api: Api) -> None:
    grocer = api.coalition.trading(maturity_days=3)
    member, till = api.enrolled(grocer), api.client_of(grocer)
    ask = """query($i: QuoteIssueInput!) { quoteIssue(input: $i) {
        quote { points maturesAt expiresAt agreement { version } } userErrors { code } } }"""
    with api.nothing_moves():
        quote = till.ask(ask, i={"member": named(member), "amount": "9.99"})["quoteIssue"]
        wrong = till.ask(ask, i={"member": named("nonsense"), "amount": "9.99"})["quoteIssue"]
    assert quote["quote"]["points"] == till.issue(member, amount="9.99")["transaction"]["points"] == "9"
    assert wrong == {"quote": None, "userErrors": [{"code": "MEMBER_UNKNOWN"}]}


def test_points_that_came_back_to_an_expired_lot_are_said_to_lapse_when_they_do(api: Api) -> None:
    grocer = api.coalition.trading("grocer", expiry_months=1, grace_days=5)
    member, till = api.enrolled(grocer), api.client_of(grocer)
    given = till.issue(member, points=100)["transaction"]["id"]
    spent = till.redeem(member, points=60)["transaction"]["id"]
    query = "query($id: ID!) { transaction(by: {id: $id}) { explanation } }"

    def told() -> str:
        return str(api.operator().ask(query, id=given)["transaction"]["explanation"])

    assert "They expire at the end of 2026-04-02." in told()
    api.coalition.pass_time(days=40)
    api.client_of(grocer).reverse(spent, points=20, idempotencyKey="back")
    assert "They expire on 2026-04-16 at 13:00." in told()
    seen = api.operator().ask(
        "query($id: ID!) { member(by: {id: $id}) { balance { expiring { points on } } } }", id=member
    )
    assert seen["member"]["balance"]["expiring"] == [{"points": "20", "on": "2026-04-16"}]
