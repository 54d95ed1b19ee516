"""Many clients at once over HTTP: the promises that the API makes to tills that meet on one member."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import httpx
import pytest
from api_driver import ANSWER, REDEEM, Api, codes, named, serving_api
from databases import TestDatabase

from coalition.audit import run_audit

pytestmark = pytest.mark.fire


@pytest.fixture
def api(test_database: TestDatabase) -> Iterator[Api]:
    with serving_api(test_database, consent_limit=10**9) as api:
        yield api


def all_at_once(api: Api, token: str, count: int, wish: Callable[[int], dict[str, Any]]) -> list[Any]:
    """The payloads that so many clients got, each over a connection of its own."""
    start = Barrier(count)

    def run(index: int) -> Any:
        body = {"query": REDEEM + ANSWER, "variables": {"input": wish(index)}}
        with httpx.Client(base_url=api.http.base_url, timeout=30) as http:
            start.wait()
            answer = http.post("/graphql", json=body, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]["redeemPoints"]

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_64_clients_ask_for_300_of_1000_points_and_three_get_them(api: Api) -> None:
    grocer = api.coalition.trading()
    till = api.client_of(grocer)
    member = api.enrolled(grocer)
    till.issue(member, points="1000")

    payloads = all_at_once(
        api,
        till.token,
        64,
        lambda index: {"idempotencyKey": f"r{index}", "member": named(member), "points": "300"},
    )

    granted = [payload for payload in payloads if not payload["userErrors"]]
    assert sorted(payload["balance"]["available"] for payload in granted) == ["100", "400", "700"]
    refused = [codes(payload) for payload in payloads if payload["userErrors"]]
    assert refused == [["INSUFFICIENT_POINTS"]] * 61
    with api.coalition.database.reading() as session:
        assert list(run_audit(session)) == []


def test_40_calls_with_one_key_have_one_effect_and_equal_answers(api: Api) -> None:
    grocer = api.coalition.trading()
    till = api.client_of(grocer)
    member = api.enrolled(grocer)
    till.issue(member, points="1000")

    payloads = all_at_once(
        api,
        till.token,
        40,
        lambda _: {"idempotencyKey": "the-key", "member": named(member), "points": "10"},
    )

    assert sum(not payload.pop("replayed") for payload in payloads) == 1
    assert all(payload == payloads[0] for payload in payloads)
    assert payloads[0]["balance"]["available"] == "990"
    with api.coalition.database.reading() as session:
        assert list(run_audit(session)) == []
