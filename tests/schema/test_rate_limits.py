"""Who asks too often is told when to come back; others are served meanwhile."""

import time
from collections.abc import Iterator

import pytest
from api_driver import Api, Caller, serving_api
from databases import TestDatabase

from coalition.ids import MemberId
from partners.scopes import Scope

HELLO = "{ __typename }"
TINY = {"client_rate": 0.2, "client_burst": 3, "token_rate": 0.2, "token_burst": 6}


@pytest.fixture
def api(test_database: TestDatabase) -> Iterator[Api]:
    with serving_api(test_database, **TINY) as api:
        yield api


def _drained(caller: Caller) -> None:
    while caller.send(HELLO).status_code == 200:
        pass


def test_a_client_that_asks_too_often_is_told_when_to_come_back(api: Api) -> None:
    grocer, florist = api.coalition.trading(), api.coalition.trading("florist")
    member: MemberId = api.coalition.member(of=grocer)
    busy, other = api.client_of(grocer), api.client_of(florist)

    _drained(busy)
    refused = busy.send(HELLO)

    assert refused.status_code == 429
    assert refused.json()["errors"][0]["extensions"] == {"code": "RATE_LIMITED"}
    assert refused.json()["extensions"]["requestId"] == refused.headers["x-request-id"]
    assert 1 <= int(refused.headers["retry-after"]) <= 5
    # Another client of its own, another partner and a member are other callers; statements count too.
    assert {one.send(HELLO).status_code for one in (other, api.client_of(grocer), api.member(member))} == {
        200
    }
    statement = {"url": "/statements/2027-01-01.csv", "headers": {"Authorization": f"Bearer {busy.token}"}}
    assert api.http.get(**statement).status_code == 429
    assert 'coalition_rate_limited_total{limit="client"} 3' in api.http.get("/metrics").text


def test_a_refused_mutation_moves_nothing_and_succeeds_when_sent_again(api: Api) -> None:
    grocer = api.coalition.trading()
    member = api.enrolled(grocer)
    till = api.client_of(grocer, frozenset({Scope.POINTS_ISSUE}))
    wish = "mutation($i: IssuePointsInput!) { issuePoints(input: $i) { replayed userErrors { code } } }"
    given = {"i": {"idempotencyKey": "k", "member": {"id": member}, "points": 5}}

    _drained(till)
    with api.nothing_moves():
        refused = till.send(wish, given)
    assert refused.status_code == 429
    time.sleep(int(refused.headers["retry-after"]))
    assert till.ask(wish, **given) == {"issuePoints": {"replayed": False, "userErrors": []}}


def test_an_address_cannot_try_secrets_without_end(api: Api) -> None:
    def guess() -> object:
        return api.http.post(
            "/oauth/token", data={"grant_type": "client_credentials"}, auth=("network-1", "guess")
        )

    answers = [guess() for _ in range(7)]

    assert [one.status_code for one in answers] == [401] * 6 + [429]
    last = answers[-1]
    assert last.json()["error"] == "temporarily_unavailable"
    assert last.json()["errors"][0]["extensions"] == {"code": "RATE_LIMITED"}
    assert last.headers["cache-control"] == "no-store"
    assert 'coalition_rate_limited_total{limit="token"} 1' in api.http.get("/metrics").text
    # The keys and the metadata stay readable for all.
    assert api.http.get("/oauth/jwks.json").status_code == 200
    assert 1 <= int(last.headers["retry-after"]) <= 5
