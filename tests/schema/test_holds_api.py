"""Holds and returns in part through the API, as a partner's till does them."""

from typing import Any

import pytest
from api_driver import Api, Caller, codes, named

from partners import on_behalf
from schema.ids import hold_in, to_global, transaction_id

HOLD = """
fragment Answer on HoldPayload {
  replayed
  hold { id state points captured lapsesAt closedBy { kind } authorizedBy { kind } }
  transaction { id kind points reason hold { id } }
  balance { available }
  userErrors { code message field }
}
"""
AUTHORIZE = (
    "mutation ($input: AuthorizeRedemptionInput!) { authorizeRedemption(input: $input) { ...Answer } }" + HOLD
)
CAPTURE = (
    "mutation ($input: CaptureRedemptionInput!) { captureRedemption(input: $input) { ...Answer } }" + HOLD
)
VOID = "mutation ($input: VoidRedemptionInput!) { voidRedemption(input: $input) { ...Answer } }" + HOLD
REVERSE = """
mutation ($input: ReverseTransactionInput!) {
  reverseTransaction(input: $input) {
    transaction { points undonePoints reverses { reversiblePoints reversedBy { points } } }
    balance { available }
    userErrors { code field }
  }
}
"""
RECEIPT = {"store": "s1", "terminal": "t1", "number": "1"}


@pytest.fixture
def till(api: Api) -> tuple[str, Caller]:
    """A member with 500 points, and the till that gave them."""
    grocer = api.coalition.trading("grocer")
    member, caller = api.enrolled(grocer), api.client_of(grocer)
    caller.issue(member, points=500)
    return member, caller


def test_points_are_set_aside_and_taken_in_part(till: tuple[str, Caller]) -> None:
    member, caller = till
    held = caller.do(AUTHORIZE, member=named(member), points=120, secondsToLive=60)
    assert (held["hold"]["state"], held["hold"]["points"], held["balance"]) == (
        "OPEN",
        "120",
        {"available": "380"},
    )
    assert held["transaction"]["hold"] == {"id": held["hold"]["id"]}
    taken = caller.do(CAPTURE, holdId=held["hold"]["id"], points=100, receipt=RECEIPT)
    assert (taken["hold"]["state"], taken["hold"]["captured"]) == ("CAPTURED", "100")
    assert (taken["hold"]["closedBy"], taken["balance"]) == ({"kind": "CAPTURE"}, {"available": "400"})
    assert codes(caller.do(CAPTURE, holdId=held["hold"]["id"])) == ["HOLD_CAPTURED"]
    # By the kind of its receipt, which is a redemption's, or by its own.
    found, same, of_issue = (
        caller.ask(
            "query ($by: TransactionBy!) { transaction(by: $by) { kind points hold { state } explanation } }",
            by={"receipt": {"receipt": RECEIPT, "kind": kind}},
        )["transaction"]
        for kind in ("REDEEM", "CAPTURE", "ISSUE")
    )
    assert (same, of_issue) == (found, None)
    assert (found["kind"], found["points"], found["hold"]) == ("CAPTURE", "100", {"state": "CAPTURED"})
    assert found["explanation"].startswith("100 points were taken of those set aside")
    back = caller.do(REVERSE, receipt={"receipt": RECEIPT, "kind": "CAPTURE"}, points=30)
    assert (back["transaction"]["points"], back["balance"]) == ("30", {"available": "430"})


def test_a_lost_answer_to_an_authorisation_is_replayed(api: Api, till: tuple[str, Caller]) -> None:
    member, caller = till
    first = caller.do(AUTHORIZE, member=named(member), points=10, idempotencyKey="pump-7")
    with api.nothing_moves():
        again = caller.do(AUTHORIZE, member=named(member), points=10, idempotencyKey="pump-7")
        assert again == {**first, "replayed": True}
        assert codes(caller.do(AUTHORIZE, member=named(member), points=11, idempotencyKey="pump-7")) == [
            "IDEMPOTENCY_CONFLICT"
        ]


def test_a_hold_lapses_before_anybody_posts_that_it_has(api: Api, till: tuple[str, Caller]) -> None:
    member, caller = till
    hold = caller.do(AUTHORIZE, member=named(member), points=10, secondsToLive=30)["hold"]["id"]
    api.coalition.pass_time(seconds=1)
    voided = caller.do(AUTHORIZE, member=named(member), points=10)["hold"]["id"]
    caller.do(VOID, holdId=voided)
    api.coalition.pass_time(seconds=31)
    with api.nothing_moves():
        seen = caller.ask(
            "query ($id: ID!) { node(id: $id) { ... on Hold { state closedBy { id } member { balance { available }"
            " holds { nodes { state } } } } } }",
            id=hold,
        )["node"]
        assert seen == {
            "state": "LAPSED",
            "closedBy": None,
            "member": {
                "balance": {"available": "500"},
                "holds": {"nodes": [{"state": "VOIDED"}, {"state": "LAPSED"}]},
            },
        }
        assert codes(caller.do(CAPTURE, holdId=hold)) == ["HOLD_LAPSED"]
        assert codes(caller.do(VOID, holdId=hold)) == ["HOLD_LAPSED"]
        assert codes(caller.do(VOID, holdId=voided)) == ["HOLD_VOIDED"]


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"points": 0}, "POINTS_INVALID", ["input", "points"]),
        ({"points": 501}, "INSUFFICIENT_POINTS", ["input", "points"]),
        ({"points": 1, "secondsToLive": 0}, "HOLD_TIME_INVALID", ["input", "secondsToLive"]),
        ({"points": 1, "secondsToLive": 604_801}, "HOLD_TIME_INVALID", ["input", "secondsToLive"]),
        (
            {"points": 1, "occurredAt": "2019-01-01T00:00:00Z"},
            "OCCURRED_TOO_LONG_AGO",
            ["input", "occurredAt"],
        ),
        ({"points": 1, "occurredAt": "2040-01-01T00:00:00Z"}, "OCCURRED_IN_FUTURE", ["input", "occurredAt"]),
        ({"points": 1, "confirmation": "x"}, "CONFIRMATION_INVALID", ["input", "confirmation"]),
    ],
)
def test_a_refused_authorisation_names_the_field_and_moves_nothing(
    api: Api, till: tuple[str, Caller], given: dict[str, Any], code: str, field: list[str]
) -> None:
    member, caller = till
    with api.nothing_moves():
        [error] = caller.do(AUTHORIZE, member=named(member), **given)["userErrors"]
    assert (error["code"], error["field"]) == (code, field)


def test_another_partners_hold_and_none_at_all_are_the_same(api: Api, till: tuple[str, Caller]) -> None:
    member, caller = till
    hold = caller.do(AUTHORIZE, member=named(member), points=10)["hold"]["id"]
    stranger = api.client_of(api.coalition.trading("stranger"))
    nothing = str(
        to_global(
            "Hold",
            "00000000-0000-0000-0000-000000000001",
            "2026-03-02",
            "00000000-0000-0000-0000-000000000002",
        )
    )
    node = "query ($id: ID!) { node(id: $id) { id } }"
    with api.nothing_moves():
        answers = [
            (
                stranger.do(CAPTURE, holdId=given, idempotencyKey="k"),
                stranger.do(VOID, holdId=given, idempotencyKey="k"),
                stranger.ask(node, id=given),
            )
            for given in (hold, nothing, "nonsense")
        ]
    assert answers[0] == answers[1] == answers[2]
    assert codes(answers[0][0]) == ["HOLD_UNKNOWN"]
    holds = "query ($by: MemberBy!) { member(by: $by) { holds { nodes { id } } } }"
    assert stranger.ask(holds, by=named(member)) == {"member": {"holds": {"nodes": []}}}


def test_a_purchase_returned_bit_by_bit_takes_back_what_it_had_earned(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    member, caller = api.enrolled(grocer), api.client_of(grocer)
    caller.issue(member, amount="10.50", receipt=RECEIPT)
    parts = [
        caller.do(REVERSE, receipt={"receipt": RECEIPT}, amount=amount) for amount in ("3.60", "0.90", "5.00")
    ]
    # 10 points for 10.50: 6 of 6.90 are left, then 6 of 6.00, then 1 of 1.00.
    assert [part["transaction"]["undonePoints"] for part in parts] == ["4", "0", "5"]
    with api.nothing_moves():
        refused = caller.do(REVERSE, receipt={"receipt": RECEIPT}, amount="1.01")
        assert codes(refused) == ["REVERSAL_EXCEEDED"]
    last = caller.do(REVERSE, receipt={"receipt": RECEIPT}, amount="1.00")["transaction"]
    assert (last["undonePoints"], last["reverses"]["reversiblePoints"]) == ("1", "0")
    assert [one["points"] for one in last["reverses"]["reversedBy"]] == ["4", "0", "5", "1"]


@pytest.mark.parametrize("captured", [False, True])
def test_goods_that_were_paid_with_points_are_returned_as_their_money(
    api: Api, till: tuple[str, Caller], captured: bool
) -> None:
    member, caller = till
    if captured:
        hold = caller.do(AUTHORIZE, member=named(member), points=50)["hold"]["id"]
        caller.do(CAPTURE, holdId=hold, points=7, amount="10.00", receipt=RECEIPT)
    else:
        caller.redeem(member, points=7, amount="10.00", receipt=RECEIPT)
    of = {"receipt": RECEIPT, "kind": "REDEEM"}
    # 7 points for 10.00: 4 of 7.00 are left, then 4 of 6.00 (a bit that is worth no point), then none.
    for amount, points, available in (("3.00", "3", "496"), ("1.00", "0", "496"), ("6.00", "4", "500")):
        back = caller.do(REVERSE, receipt=of, amount=amount)
        assert (back["transaction"]["undonePoints"], back["balance"]["available"]) == (points, available)
    with api.nothing_moves():
        assert codes(caller.do(REVERSE, receipt=of, amount="0.01")) == ["ALREADY_REVERSED"]
    seen = caller.ask(
        "query ($of: TransactionByReceipt!) { transaction(by: {receipt: $of}) { amount { amount }"
        " reversedBy { amount { amount } } } }",
        of=of,
    )["transaction"]
    assert seen["amount"] == {"amount": "10"}
    assert [one["amount"]["amount"] for one in seen["reversedBy"]] == ["3", "1", "6"]


def test_no_more_money_goes_back_than_the_points_stood_for_and_what_is_none_is_refused(
    api: Api, till: tuple[str, Caller]
) -> None:
    member, caller = till
    with api.nothing_moves():
        for amount in ("0", "-1", "1.23456", "1000000000000"):
            refused = caller.redeem(member, points=7, amount=amount)["userErrors"]
            assert [(one["code"], one["field"]) for one in refused] == [
                ("INVALID_INPUT", ["input", "amount"])
            ]
    spent = caller.redeem(member, points=7, amount="10.00", idempotencyKey="k")["transaction"]["id"]
    with api.nothing_moves():
        assert caller.redeem(member, points=7, amount="10", idempotencyKey="k")["replayed"]
        for given in ({"amount": "9.99"}, {}):
            again = caller.redeem(member, points=7, idempotencyKey="k", **given)
            assert codes(again) == ["IDEMPOTENCY_CONFLICT"]
        [error] = caller.reverse(spent, amount="10.01")["userErrors"]
        assert (error["code"], error["field"]) == ("REVERSAL_EXCEEDED", ["input", "amount"])
        assert error["message"] == "10.01 of the money was to go back, and 10 of it, and 7 points, are left."
    assert caller.do(REVERSE, transactionId=spent, points=5)["transaction"]["undonePoints"] == "5"
    with api.nothing_moves():
        # Points of it have gone back already, so that not so many are left as this money stands for.
        for amount in ("9.99", "10.00"):
            assert codes(caller.do(REVERSE, transactionId=spent, amount=amount)) == ["REVERSAL_EXCEEDED"]
    assert caller.do(REVERSE, transactionId=spent)["transaction"]["undonePoints"] == "2"
    with api.nothing_moves():
        assert codes(caller.do(REVERSE, transactionId=spent, amount="10.00")) == ["ALREADY_REVERSED"]


def test_a_redemption_is_returned_by_points_and_refusals_move_nothing(
    api: Api, till: tuple[str, Caller]
) -> None:
    member, caller = till
    spent = caller.redeem(member, points=90)["transaction"]["id"]
    assert caller.do(REVERSE, transactionId=spent, points=30)["balance"] == {"available": "440"}
    with api.nothing_moves():
        for given, code in (
            ({"points": 61}, "REVERSAL_EXCEEDED"),
            ({"points": 0}, "POINTS_INVALID"),
            ({"points": 1, "amount": "1"}, "INVALID_INPUT"),
            ({"amount": "0"}, "INVALID_INPUT"),
            ({"receipt": {"receipt": RECEIPT}}, "INVALID_INPUT"),
        ):
            assert codes(caller.do(REVERSE, transactionId=spent, **given)) == [code], given
        assert codes(caller.do(REVERSE)) == ["INVALID_INPUT"]
    assert caller.do(REVERSE, transactionId=spent)["balance"] == {"available": "500"}
    assert codes(caller.do(REVERSE, transactionId=spent)) == ["ALREADY_REVERSED"]


def test_a_void_says_why_and_a_retry_may_say_it_otherwise(api: Api, till: tuple[str, Caller]) -> None:
    member, caller = till
    hold = caller.do(AUTHORIZE, member=named(member), points=50)["hold"]["id"]
    with api.nothing_moves():
        [error] = caller.do(VOID, holdId=hold, reason=" ")["userErrors"]
        assert (error["code"], error["field"]) == ("INVALID_INPUT", ["input", "reason"])
    done = caller.do(VOID, holdId=hold, reason="changed her mind", idempotencyKey="k")
    assert (done["transaction"]["kind"], done["transaction"]["reason"]) == ("VOID", "changed her mind")
    with api.nothing_moves():
        again = caller.do(VOID, holdId=hold, reason="went home", idempotencyKey="k")
    assert again == done | {"replayed": True}
    assert caller.do(AUTHORIZE, member=named(member), points=50)["transaction"]["reason"] is None


def test_a_partner_sees_what_the_operator_did_in_its_name(api: Api, till: tuple[str, Caller]) -> None:
    member, caller = till
    held = [caller.do(AUTHORIZE, member=named(member), points=50)["hold"]["id"] for _ in range(2)]
    own = caller.do(VOID, holdId=held[0])["transaction"]["id"]
    ref = hold_in(held[1])
    assert ref is not None
    with api.coalition.database.unit_of_work() as session:
        done = on_behalf.void(session, on_behalf.Void(hold=ref, key="k", by="ada", reason="till broke down"))
    seen = """query($id: ID!) { transaction(by: {id: $id}) { kind byOperator operator reason partner { code } } }"""
    assert caller.ask(seen, id=own)["transaction"]["byOperator"] is False
    assert caller.ask(seen, id=transaction_id(done.ref))["transaction"] == {
        "kind": "VOID",
        "byOperator": True,
        "operator": None,
        "reason": "till broke down",
        "partner": {"code": "grocer"},
    }
    assert api.operator().ask(seen, id=transaction_id(done.ref))["transaction"]["operator"] == "ada"
