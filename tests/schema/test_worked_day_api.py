"""The worked day, from the first partner to the last cent, as its parties do it.

The operator and the tills over the API, each with a token of its own; the night by `coalition settle`;
then finance and each partner read what came of it over the API.
"""

import os
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from api_driver import Api, Caller
from databases import TestDatabase

from coalition import clock
from schema.ids import member_in

R = Decimal("0.0095")
EXPECTED = {
    "1": ("-860.00", "90.00", "-145.00", "915.00"),
    "0": ("-622.50", "280.00", "-50.00", "392.50"),
    "0.6": ("-765.00", "166.00", "-107.00", "706.00"),
}

CREATE_PARTNER = (
    "mutation ($input: CreatePartnerInput!) { createPartner(input: $input) { userErrors { code } } }"
)
PUBLISH = (
    "mutation ($input: PublishAgreementInput!) { publishAgreement(input: $input) { userErrors { code } } }"
)
PLAN = "mutation ($input: PublishFundingPlanInput!) { publishFundingPlan(input: $input) { userErrors { code } } }"
CLIENT = """mutation ($input: CreateClientInput!) {
  createClient(input: $input) { client { clientId } clientSecret userErrors { code } }
}"""
ENROLL = """mutation ($input: EnrollMemberInput!) {
  enrollMember(input: $input) { member { id } userErrors { code } }
}"""


def granted(payload: Any) -> Any:
    assert payload["userErrors"] == [], payload
    return payload


def settle(test_database: TestDatabase, directory: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "coalition", "settle", "--directory", directory],
        env={**os.environ, **test_database.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def a_day_passes(api: Api) -> str:
    with api.coalition.database.unit_of_work() as session:
        to = clock.now(session) + timedelta(days=1)
        clock.set_clock(session, to=to)
    return to.date().isoformat()


def till_of(api: Api, operator: Caller, code: str) -> Caller:
    """A client that the operator made over the API, with the token that it fetched."""
    scopes = [
        "members:write",
        "points:issue",
        "points:redeem",
        "points:reverse",
        "settlement:read",
        "members:read",
    ]
    made = granted(operator.do(CLIENT, partner=code, name=f"Tills of {code}", scopes=scopes))
    answer = api.http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(made["client"]["clientId"], made["clientSecret"]),
    )
    return Caller(api.http, answer.json()["access_token"])


@pytest.mark.parametrize("paid_up_front", EXPECTED)
def test_the_worked_day_over_the_api(
    api: Api, test_database: TestDatabase, tmp_path: Path, paid_up_front: str
) -> None:
    operator = api.operator()
    share = Decimal(paid_up_front)
    prices = {
        "funding": str(share * R),
        "redemptionCharge": str((1 - share) * R),
        "reimbursement": str(R),
        "returnPolicy": "UNLIMITED",
    }
    for code in "abc":
        granted(operator.do(CREATE_PARTNER, code=code, name=code.upper()))
        granted(operator.do(PUBLISH, partner=code, validFrom="2026-03-02", serviceFee="0.0015", **prices))
    tills = {code: till_of(api, operator, code) for code in "abc"}
    members = {}
    for name in ("a", "b", "c", "old", "bonus"):
        identifier = {"kind": "CARD", "value": f"CARD{name}"}
        members[name] = granted(tills["a"].do(ENROLL, identifiers=[identifier]))["member"]["id"]

    old = granted(tills["a"].issue(members["old"], points="5000"))["transaction"]["id"]
    today = a_day_passes(api)
    settle(test_database, tmp_path)

    for code in "abc":
        granted(operator.do(PUBLISH, partner=code, validFrom=today, serviceFee="0.0025", **prices))
    parts = [{"partner": "c", "ppm": 500_000}, {"partner": None, "ppm": 500_000}]
    granted(operator.do(PLAN, code="half", name="Half and half", parts=parts))
    granted(tills["a"].issue(members["a"], points="100000"))
    granted(tills["b"].issue(members["b"], points="40000"))
    granted(tills["c"].issue(members["c"], points="10000"))
    granted(tills["c"].issue(members["bonus"], points="20000", fundingPlan="half"))
    granted(tills["a"].reverse(old))
    for at, who, points in (("a", "a", 30_000), ("b", "a", 40_000), ("b", "b", 20_000), ("c", "c", 10_000)):
        confirmation = confirmed(api, members[who], at, points)
        granted(tills[at].redeem(members[who], points=str(points), confirmation=confirmation))
    a_day_passes(api)
    settle(test_database, tmp_path)

    run = api.finance().ask(
        """query ($date: Date!) { settlementRun(businessDate: $date) {
          state positions { party { code } net { amount currency } }
        } }""",
        date=today,
    )["settlementRun"]
    nets = {position["party"]["code"]: Decimal(position["net"]["amount"]) for position in run["positions"]}
    assert nets == dict(zip(("a", "b", "c", "network"), map(Decimal, EXPECTED[paid_up_front]), strict=True))
    assert {position["net"]["currency"] for position in run["positions"]} == {"EUR"}
    own = tills["b"].ask(
        "query ($date: Date!) { statement(businessDate: $date) { position { net { amount } } } }", date=today
    )
    assert Decimal(own["statement"]["position"]["net"]["amount"]) == nets["b"]


def confirmed(api: Api, member: str, at: str, points: int) -> str:
    """The member's own consent, over the API with the member's token: these lie beyond the limit."""
    member_id = member_in(member)
    assert member_id is not None
    payload = api.member(member_id).do(
        """mutation ($input: ConfirmRedemptionInput!) {
          confirmRedemption(input: $input) { confirmation { id } userErrors { code } }
        }""",
        partner=at,
        idempotencyKey=f"{at}-{points}",
        points=str(points),
    )
    return str(granted(payload)["confirmation"]["id"])
