"""Who asks too often is told when to come again; others are served."""

import pytest
from api_driver import Api, serving
from databases import TestDatabase
from operating import START, Coalition
from starlette.requests import Request

from coalition.amounts import Points
from coalition.programme import OpenProgramme, open_programme
from partners import oauth
from partners.tokens import Tokens
from schema.app import create_app
from schema.web.faults import RequestFault
from schema.web.throttle import Throttle


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_let_in_and_then_the_rate_holds() -> None:
    clock = Clock()
    throttle = Throttle(rate=2, burst=3, clock=clock)
    assert [throttle.wait("till") for _ in range(5)] == [0, 0, 0, 0.5, 0.5]
    assert throttle.wait("another") == 0
    clock.now += 0.5
    assert [throttle.wait("till"), throttle.wait("till")] == [0, 0.5]
    clock.now += 100
    assert [throttle.wait("till") for _ in range(4)] == [0, 0, 0, 0.5]


def test_whoever_is_turned_away_is_told_for_how_long() -> None:
    throttle = Throttle(rate=0.1, burst=1, clock=Clock())
    throttle.admit("till")
    with pytest.raises(RequestFault) as fault:
        throttle.admit("till")
    assert (fault.value.status, fault.value.code, fault.value.headers) == (
        429,
        "RATE_LIMITED",
        {"Retry-After": "10"},
    )


def test_callers_whose_burst_is_whole_again_are_forgotten() -> None:
    clock = Clock()
    throttle = Throttle(rate=1_000, burst=1, clock=clock)
    for number in range(50_000):
        clock.now += 0.001
        assert throttle.wait(f"client {number}") == 0
    assert len(throttle._whole_at) <= 10_001


def test_a_client_over_its_rate_gets_429_and_moves_nothing_while_others_are_served(
    test_database: TestDatabase,
) -> None:
    settings = test_database.settings.model_copy(
        update={
            "requests_per_second": 0.01,
            "requests_at_once": 2,
            "tokens_at_once": 3,
            "tokens_per_second": 0.01,
        }
    )
    with test_database.connect(settings) as database:
        with database.unit_of_work() as session:
            open_programme(
                session,
                OpenProgramme(name="Test", mode="sandbox", consent_limit_points=Points(10), starts_at=START),
            )
        tokens = Tokens(database, issuer=settings.issuer_url, audience=settings.audience)
        with serving(create_app(settings, database=database)) as http:
            api = Api(http, Coalition(database), tokens)
            grocer = api.coalition.trading()
            member, till, other = api.enrolled(grocer), api.client_of(grocer), api.client_of(grocer)
            for _ in range(2):
                assert till.issue(member, points=1)["userErrors"] == []
            with api.nothing_moves():
                wish = "mutation($i: IssuePointsInput!) { issuePoints(input: $i) { replayed } }"
                given = {"i": {"idempotencyKey": "k", "member": {"id": member}, "points": 1}}
                refused = till.send(wish, given)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "100")
            assert refused.json()["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
            assert other.issue(member, points=1)["userErrors"] == []
            # A statement is a request like any other.
            bearer = {"Authorization": f"Bearer {till.token}"}
            assert http.get("/statements/2027-01-01.csv", headers=bearer).status_code == 429
            # The third token was the last that this address may have at once.
            api.client_of(grocer)
            late = http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=("a", "b"))
            assert (late.status_code, late.headers["retry-after"]) == (429, "100")
            counted = http.get("/metrics").text
            assert 'coalition_rate_limited_total{limit="requests"} 2' in counted
            assert 'coalition_rate_limited_total{limit="tokens"} 1' in counted


def test_an_address_is_counted_as_what_its_holder_has() -> None:
    def of(host: str) -> str:
        return oauth._address(Request({"type": "http", "client": (host, 1), "headers": []}))

    assert of("192.0.2.7") == of("::ffff:192.0.2.7") != of("192.0.2.8")
    assert of("2001:db8::1") == of("2001:db8::ffff:1") != of("2001:db8:0:1::1")
    assert of("fe80::1%eth0") == of("fe80::2")
    assert of("testclient") == "testclient"
