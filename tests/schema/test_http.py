"""What is no proper request gets a clean error with a code, and the server stays up."""

import base64
import json
import time
from typing import Any

import pytest
from api_driver import JSON, Api, Caller
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from partners.scopes import Scope
from partners.tokens import Tokens
from schema.web.observing import Metrics
from schema.web.request import GRAPHQL_JSON, MAX_BODY

HELLO = "{ __typename }"


@pytest.fixture(scope="module")
def caller(shared: Api) -> Caller:
    return shared.operator()


def _post(caller: Caller, body: bytes, **headers: str) -> Any:
    return caller.http.post(
        "/graphql", content=body, headers=JSON | {"Authorization": f"Bearer {caller.token}"} | headers
    )


def _code(answer: Any) -> str:
    return str(answer.json()["errors"][0]["extensions"]["code"])


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "JSON_INVALID"),
        (b"{", 400, "JSON_INVALID"),
        (b'{"query": "\xff\xfe"}', 400, "JSON_INVALID"),
        (b"[" * 100_000, 400, "JSON_INVALID"),
        (b'{"query": "{__typename}", "variables": ' + b'{"a":' * 40_000, 400, "JSON_INVALID"),
        (b"1", 422, "REQUEST_INVALID"),
        (b"null", 422, "REQUEST_INVALID"),
        (b'"{ __typename }"', 422, "REQUEST_INVALID"),
        (b'[{"query": "{ __typename }"}]', 422, "NO_BATCHES"),
        (b"{}", 422, "REQUEST_INVALID"),
        (b'{"query": 1}', 422, "REQUEST_INVALID"),
        (b'{"query": "{ __typename }", "variables": [7]}', 422, "REQUEST_INVALID"),
        (b'{"query": "{ __typename }", "operationName": 7}', 422, "REQUEST_INVALID"),
        (b'{"query": "{ __typename }", "extensions": 7}', 422, "REQUEST_INVALID"),
        (b'{"query": "{"}', 400, "GRAPHQL_PARSE_FAILED"),
        (b'{"query": "\\u0000"}', 400, "GRAPHQL_PARSE_FAILED"),
        (b'{"query": "{ nothing }"}', 422, "GRAPHQL_VALIDATION_FAILED"),
        (b'{"query": "query A { __typename } query B { __typename }"}', 422, "OPERATION_UNKNOWN"),
        (b'{"query": "{ __typename }", "operationName": "B"}', 422, "OPERATION_UNKNOWN"),
        (b'{"query": "fragment F on Query { __typename }"}', 422, "GRAPHQL_VALIDATION_FAILED"),
        (b'{"query": "subscription { a }"}', 422, "GRAPHQL_VALIDATION_FAILED"),
        (b'{"query": "query($a: Int!) { __typename }"}', 422, "GRAPHQL_VALIDATION_FAILED"),
        (b"x" * (MAX_BODY + 1), 413, "BODY_TOO_LONG"),
    ],
    ids=lambda value: repr(value[:30]) if isinstance(value, bytes) else None,
)
def test_a_malformed_request_is_told_what_is_wrong(
    caller: Caller, body: bytes, status: int, code: str
) -> None:
    answer = _post(caller, body)
    assert (answer.status_code, _code(answer)) == (status, code)
    assert caller.ask(HELLO) == {"__typename": "Query"}


def test_other_methods_types_and_tastes_are_turned_away(caller: Caller) -> None:
    form = caller.http.post(
        "/graphql", content=b"query={a}", headers={"Authorization": f"Bearer {caller.token}"}
    )
    assert (form.status_code, _code(form)) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert _post(caller, b"{}", **{"Content-Type": "application/json; charset=latin1"}).status_code == 415
    assert caller.send(HELLO, Accept="image/png").status_code == 406
    assert caller.http.put("/graphql").status_code == 405
    assert caller.http.get("/nothing").json()["errors"][0]["extensions"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("*/*", f"{GRAPHQL_JSON}; charset=utf-8"),
        ("application/*", f"{GRAPHQL_JSON}; charset=utf-8"),
        ("application/json", "application/json; charset=utf-8"),
        (GRAPHQL_JSON, f"{GRAPHQL_JSON}; charset=utf-8"),
        (f"application/json;q=0.5, {GRAPHQL_JSON}", f"{GRAPHQL_JSON}; charset=utf-8"),
        (f"{GRAPHQL_JSON}; charset=utf-8, */*;q=0.1", f"{GRAPHQL_JSON}; charset=utf-8"),
    ],
)
def test_the_answer_is_of_the_type_that_the_client_prefers(caller: Caller, accept: str, media: str) -> None:
    assert caller.send(HELLO, Accept=accept).headers["content-type"] == media


@pytest.mark.parametrize(
    "asked",
    [{"query": "{"}, {"query": "{ nothing }"}, {"query": HELLO, "operationName": "B"}],
    ids=["unparsable", "invalid", "no such operation"],
)
def test_who_takes_plain_json_alone_gets_200_for_a_well_formed_request(
    caller: Caller, asked: dict[str, str]
) -> None:
    """A 4xx in plain JSON could come from anything in between (GraphQL over HTTP, application/json)."""
    answer = _post(caller, json.dumps(asked).encode(), Accept="application/json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert "data" not in answer.json()
    assert answer.json()["errors"]


def test_get_is_for_queries_only(shared: Api, caller: Caller) -> None:
    headers = {"Authorization": f"Bearer {caller.token}"}
    asked = caller.http.get("/graphql", params={"query": HELLO, "variables": "{}"}, headers=headers)
    assert asked.json()["data"] == {"__typename": "Query"}
    done = 'mutation { createPartner(input: {idempotencyKey: "k", code: "a", name: "A"}) { replayed } }'
    with shared.nothing_moves():
        refused = caller.http.get("/graphql", params={"query": done}, headers=headers)
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert (
        caller.http.get("/graphql", params={"query": HELLO, "variables": "{"}, headers=headers).status_code
        == 400
    )


def test_the_request_id_is_taken_over_if_sane_and_made_up_if_not(caller: Caller) -> None:
    given = caller.send(HELLO, **{"X-Request-Id": "till-7:42"})
    assert given.headers["x-request-id"] == given.json()["extensions"]["requestId"] == "till-7:42"
    assert caller.send(HELLO, **{"X-Request-Id": "a" * 65}).headers["x-request-id"] != "a" * 65
    assert caller.send("{").json()["extensions"]["requestId"]


def test_cost_is_reported(caller: Caller) -> None:
    cost = caller.send("{ partners(first: 50) { nodes { code } } }").json()["extensions"]["cost"]
    assert cost == {"requested": 51, "limit": 5_000}
    by_variable = caller.send("query($n: Int) { partners(first: $n) { nodes { code } } }", {"n": 7})
    assert by_variable.json()["extensions"]["cost"]["requested"] == 8
    by_default = caller.send("query($n: Int = 100) { partners(first: $n) { nodes { code } } }")
    assert by_default.json()["extensions"]["cost"]["requested"] == 101


# -- limits ---------------------------------------------------------------------------------------

BOMB = "".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(30)) + (
    "fragment f30 on Query { viewer { clientId } } query { ...f0 }"
)
NESTED = "{" + "transactions { nodes { member { " * 3 + "id" + "} } } " * 3 + "}"
INTROSPECTION_BOMB = (
    "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }"
)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (BOMB, "TOO_MANY_FIELDS"),
        (
            "{ "
            + "node(id: 1) { ... on Member { transactions { nodes { " * 1
            + "x: __typename " * 40
            + "} } } } }",
            "TOO_MANY_ALIASES",
        ),
        ("{" + " ".join(f"a{n}: __typename" for n in range(31)) + "}", "TOO_MANY_ALIASES"),
        ("{ " + "__typename " * 301 + "}", "TOO_MANY_FIELDS"),
        ("{" + "viewer{member{transactions{nodes{member{" * 4 + "id" + "}}}}}" * 4 + "}", "TOO_DEEP"),
        ("{" + "a{" * 5_000, "TOO_DEEP"),
        ("{ " + "a{" * 500 + "b" + "}" * 500 + "}", "TOO_DEEP"),
        ("{ a(b: " + "[" * 800 + "]" * 800 + ") }", "TOO_DEEP"),
        ("{ " + "__typename " * 3_000 + "}", "TOO_LONG"),
        (NESTED, "TOO_COSTLY"),
        (INTROSPECTION_BOMB, "GRAPHQL_VALIDATION_FAILED"),
        ("query { ...f } fragment f on Query { ...f }", "GRAPHQL_VALIDATION_FAILED"),
        (
            "{ __typename } fragment f on Query { ...g ...g } fragment g on Query { ...f }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
    ],
    ids=[
        "bomb",
        "aliases",
        "more aliases",
        "fields",
        "deep",
        "long and deep",
        "deeper",
        "deep value",
        "long",
        "costly",
        "introspection",
        "cycle",
        "unused cycle",
    ],
)
def test_what_asks_too_much_is_turned_away_cheaply(caller: Caller, query: str, code: str) -> None:
    began = time.perf_counter()
    answer = caller.send(query)
    assert (_code(answer), answer.status_code in {400, 422}) == (code, True), answer.text
    # Far less than the hours that unfolding the bomb would take; tests share a busy machine.
    assert time.perf_counter() - began < 2


def test_the_usual_introspection_passes(caller: Caller) -> None:
    from graphql import get_introspection_query  # noqa: PLC0415

    assert caller.ask(get_introspection_query())["__schema"]["queryType"]["name"] == "Query"


# -- tokens ---------------------------------------------------------------------------------------


def _claims(api: Api, **other: Any) -> dict[str, Any]:
    now = int(time.time())
    claims = {
        "iss": api.tokens.issuer,
        "aud": api.tokens.audience,
        "sub": "x",
        "client_id": "x",
        "iat": now,
        "nbf": now,
        "exp": now + 300,
        "jti": "j",
        "scope": "programme:admin",
    }
    return claims | other


def _unsigned(claims: dict[str, Any]) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'at+jwt'})}.{part(claims)}."


def test_without_a_good_token_nothing_is_answered(api: Api) -> None:
    grocer = api.coalition.trading()
    good = api.client_of(grocer)
    stranger = ECKey.generate_key("P-256", auto_kid=True)
    header = {"alg": "ES256", "typ": "at+jwt", "kid": stranger.kid}
    elsewhere = Tokens(api.coalition.database, issuer=api.tokens.issuer, audience="another")
    hmac_header = {"alg": "HS256", "typ": "at+jwt"}
    tokens = {
        "forged": jwt.encode(header, _claims(api), stranger, algorithms=["ES256"]),
        "unsigned": _unsigned(_claims(api)),
        "hmac": jwt.encode(hmac_header, _claims(api), OctKey.import_key("k" * 32), algorithms=["HS256"]),
        "audience": elsewhere.issue(client_id="x", partner_id=grocer.partner_id, scopes=[Scope.MEMBERS_READ]),
        "garbage": "garbage",
        "tampered": good.token[:-4] + "AAAA",
    }
    for name, token in tokens.items():
        answer = Caller(api.http, token).send(HELLO)
        assert answer.status_code == 401, name
        assert _code(answer) == "UNAUTHENTICATED"
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert token not in answer.text
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}):
        answer = api.http.post("/graphql", json={"query": HELLO}, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="coalition"')


def test_without_the_scope_a_field_is_forbidden_and_nothing_moves(api: Api) -> None:
    grocer = api.coalition.trading()
    member = api.enrolled(grocer)
    reader = api.client_of(grocer, frozenset({Scope.MEMBERS_READ}))
    wish = "mutation($i: IssuePointsInput!) { issuePoints(input: $i) { replayed } }"
    given = {"i": {"idempotencyKey": "k", "member": {"id": member}, "points": 1}}
    operator = api.operator()
    with api.nothing_moves():
        answer = reader.send(wish, given, Accept="application/json")
        partial = reader.send(wish, given, Accept=GRAPHQL_JSON)
        by_operator = operator.send(wish, given)
        before = reader.send("{ clients { nodes { clientId } } }")
    assert (answer.status_code, answer.json()["data"], _code(answer)) == (
        200,
        {"issuePoints": None},
        "FORBIDDEN",
    )
    assert partial.status_code == 294
    assert _code(by_operator) == _code(before) == "FORBIDDEN"


def test_of_two_mutations_in_one_document_each_stands_for_itself(api: Api) -> None:
    grocer = api.coalition.trading()
    member = api.enrolled(grocer)
    till = api.client_of(grocer)
    one = "issuePoints(input: {idempotencyKey: %s, member: {id: %s}, points: 1}) { replayed }"
    first, last = (one % (json.dumps(key), json.dumps(member)) for key in ("first", "last"))
    forbidden = 'adjustPoints(input: {idempotencyKey: "k", member: {id: %s}, points: 1, reason: GOODWILL}) { replayed }'
    answer = till.send(f"mutation {{ a: {first} b: {forbidden % json.dumps(member)} c: {last} }}")
    assert answer.json()["data"] == {"a": {"replayed": False}, "b": None, "c": {"replayed": False}}
    [error] = answer.json()["errors"]
    assert (error["path"], error["extensions"]["code"]) == (["b"], "FORBIDDEN")


def test_what_goes_wrong_inside_is_not_shown(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("schema.queries.network.get_programme", broken)
    answer = caller.send("{ programme { name } }")
    assert _code(answer) == "INTERNAL"
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in answer.json()["errors"][0]["message"]


def test_health_and_metrics_need_no_token(api: Api) -> None:
    assert api.http.get("/healthz").status_code == 200
    assert api.http.get("/readyz").json() == {"ready": True}
    api.operator().ask(HELLO)
    counted = 'coalition_http_requests_total{route="/graphql",status="200"} 1'
    # Counted once the answer is sent: the client may be quicker.
    deadline = time.monotonic() + 5
    while counted not in api.http.get("/metrics").text:
        assert time.monotonic() < deadline, "the request was not counted"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/members/TWVtYmVyOjE/export", "/members/"),
        ("/statements/2026-03-02.csv", "/statements/"),
        ("/verify_proof.py", "/verify_proof.py"),
        ("/nowhere", "other"),
    ],
)
def test_a_request_is_counted_by_what_it_is_for(path: str, route: str) -> None:
    metrics = Metrics(rate_limited={})
    metrics.count(path, 200, 0.001)
    assert f'coalition_http_requests_total{{route="{route}",status="200"}} 1' in metrics.text()
