"""A database that is down is told as such, and when it is back so is the service, by itself."""

import logging
import time

import orjson
import pytest
from api_driver import ANSWER, ISSUE, Api, named
from databases import TestDatabase
from sqlalchemy import Engine, text

from schema.web.observing import JsonLines

pytestmark = pytest.mark.fresh_database


def _refuse_connections(test_database: TestDatabase, *, refuse: bool) -> None:
    with test_database.cluster.administrator() as connection:
        connection.execute(f'ALTER DATABASE "{test_database.name}" ALLOW_CONNECTIONS {not refuse}')
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [test_database.name]
        )


def test_503_while_the_database_is_down_and_service_again_after(
    api: Api, test_database: TestDatabase
) -> None:
    grocer = api.coalition.trading()
    member, till = api.enrolled(grocer), api.client_of(grocer)
    # A member's token needs no look at a client: here it is the query itself that finds the database down.
    owner = api.member(api.coalition.member(of=grocer))
    owner.ask("{ __typename }")
    wish = {"input": {"idempotencyKey": "k", "member": named(member), "points": 5}}
    assert api.http.get("/readyz").status_code == 200

    _refuse_connections(test_database, refuse=True)
    try:
        for _ in range(3):
            answer = till.send(ISSUE + ANSWER, wish)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
            [error] = answer.json()["errors"]
            assert error["extensions"]["code"] == "DATABASE_UNAVAILABLE"
            assert "data" not in answer.json()
        asked = owner.send("{ programme { name } }")
        assert (asked.status_code, asked.headers["retry-after"], "data" in asked.json()) == (503, "2", False)
        file = api.http.get("/statements/2026-03-01.csv", headers={"Authorization": f"Bearer {till.token}"})
        assert file.status_code == 503
        ready = api.http.get("/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "DATABASE_UNAVAILABLE")
        token = api.http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=("a", "b"))
        assert token.status_code == 503
        assert api.http.get("/healthz").status_code == 200
    finally:
        _refuse_connections(test_database, refuse=False)

    done = till.do(ISSUE + ANSWER, **wish["input"])
    assert (done["balance"], done["replayed"]) == ({"available": "5"}, False)
    assert api.http.get("/readyz").status_code == 200


def test_503_from_a_query_whose_table_is_not_there_yet(api: Api, owner_engine: Engine) -> None:
    grocer = api.client_of(api.coalition.trading())
    stores = "{ viewer { partner { stores(first: 1) { nodes { code } } } } }"
    with owner_engine.begin() as owner:
        owner.execute(text("ALTER TABLE partners.store RENAME TO store_of_the_next_version"))
    refused = grocer.send(stores)
    assert (refused.status_code, "data" in refused.json()) == (503, False)
    [error] = refused.json()["errors"]
    assert (error["extensions"]["code"], "`coalition migrate`" in error["message"]) == (
        "DATABASE_UNAVAILABLE",
        True,
    )
    with owner_engine.begin() as owner:
        owner.execute(text("ALTER TABLE partners.store_of_the_next_version RENAME TO store"))
    assert grocer.send(stores).status_code == 200


def test_connections_that_were_cut_heal_within_a_request_or_two(
    api: Api, test_database: TestDatabase
) -> None:
    grocer = api.coalition.trading()
    member, till = api.enrolled(grocer), api.client_of(grocer)
    till.issue(member, points=1)
    _refuse_connections(test_database, refuse=False)
    statuses = []
    for number in range(5):
        wish = {"input": {"idempotencyKey": f"cut-{number}", "member": named(member), "points": 1}}
        statuses.append(till.send(ISSUE + ANSWER, wish).status_code)
        time.sleep(0.05)
    assert statuses[-2:] == [200, 200]
    assert set(statuses) <= {200, 503}


def test_each_request_is_one_line_of_the_log_without_secrets(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="coalition.access")
    operator = api.operator()
    operator.send(
        "query Find($by: MemberBy!) { member(by: $by) { id } }",
        {"by": {"identifier": {"kind": "EMAIL", "value": "secret@example.org"}}},
        **{"X-Request-Id": "seen"},
    )
    # The line is written once the answer is sent: the client may be quicker.
    deadline = time.monotonic() + 5
    while not (seen := [one for one in caplog.records if getattr(one, "request_id", "") == "seen"]):
        assert time.monotonic() < deadline, "no line was written"
        time.sleep(0.01)
    [record] = seen
    line = orjson.loads(JsonLines().format(record))
    assert {name: line[name] for name in ("request_id", "method", "path", "operation", "status")} == {
        "request_id": "seen",
        "method": "POST",
        "path": "/graphql",
        "operation": "Find",
        "status": 200,
    }
    assert line["client"].startswith("network-")
    assert "secret" not in str(line)
    assert operator.token not in str(line)
