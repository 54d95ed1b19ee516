"""The 61 audits of the npm package graphql-http 1.23.1 (`auditServer`), under its ids, as our own tests.

Where the specification's draft has overtaken an audit, the test holds what the draft says; docs/conformance.md
lists those with the reasons.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from api_driver import Api

PLAIN = "application/json"
GRAPHQL = "application/graphql-response+json"
HELLO = "{ __typename }"
TYPE = "query Type($name: String!) { __type(name: $name) { name } }"
NAME = {"name": "sometype"}
NULL_FOR_ID = {"query": "query CoerceFailure($id: ID!){ __typename }", "variables": {"id": None}}
NO_SUCH_FIELD = {"query": "{ f8f31403dfe404bccbb0e835f2629c6a7 }"}
"""The audit's own starts with a digit, so that it never gets past the parser."""
NOT_STRINGS = ({"obj": "ect"}, 0, False, ["array"])
NOT_OBJECTS = ("string", 0, False, ["array"])

GOOD = range(200, 201)
MALFORMED = range(422, 423)
"""GraphQL over HTTP, draft: JSON, but no well-formed GraphQL-over-HTTP request. The audits want 400."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What is sent, and what must come back."""

    id: str
    post: Mapping[str, Any] | str | bytes | None = None
    get: Mapping[str, str] | None = None
    accept: str | None = None
    content_type: str | None = PLAIN
    status: range = GOOD
    answer_type: str | None = None
    no: str | None = None
    """An entry that the answer must not have."""
    data: Mapping[str, Any] | None = field(default=None)

    def send(self, api: Api, token: str) -> httpx.Response:
        given = {"authorization": f"Bearer {token}", "accept": self.accept, "content-type": self.content_type}
        headers = {name: value for name, value in given.items() if value is not None}
        if self.get is not None:
            headers.pop("content-type", None)
            request = api.http.build_request("GET", "/graphql", params=self.get, headers=headers)
        else:
            body = self.post if isinstance(self.post, str | bytes) else json.dumps(self.post)
            request = api.http.build_request("POST", "/graphql", content=body, headers=headers)
        if self.accept is None:
            del request.headers["accept"]
        return api.http.send(request)


def _nulls() -> list[Audit]:
    made = []
    for index, name in enumerate(("variables", "operationName", "extensions")):
        asked = {"query": HELLO, name: None}
        made += [
            Audit(id=f"94B{index}", post=asked, accept=GRAPHQL, no="errors"),
            Audit(id=f"022{index}", post=asked, accept=PLAIN, no="errors"),
        ]
    return made


AUDITS = [
    # Media types
    Audit(id="22EB", post={"query": HELLO}, accept=GRAPHQL, answer_type=GRAPHQL),
    Audit(id="4655", post={"query": HELLO}, accept=PLAIN, answer_type=PLAIN),
    Audit(id="47DE", post={"query": HELLO}, accept="*/*", answer_type=GRAPHQL),
    Audit(id="80D8", post={"query": HELLO}, answer_type=GRAPHQL),
    Audit(id="82A3", post={"query": HELLO}, answer_type=f"{GRAPHQL}; charset=utf-8"),
    Audit(
        id="BF61",
        post=json.dumps({"query": '{ __type(name: "Run🏃Swim🏊") { name } }'}, ensure_ascii=False).encode(),
        content_type=f"{PLAIN}; charset=utf-8",
        data={"__type": None},
    ),
    Audit(id="78D5", post={"query": HELLO}),
    # Methods
    Audit(id="2C94", post={"query": HELLO}),
    Audit(id="5A70", get={"query": HELLO}, data={"__typename": "Query"}),
    Audit(id="9C48", get={"query": "mutation { __typename }"}, accept=GRAPHQL, status=range(405, 406)),
    Audit(id="9ABE", post={"query": HELLO}, content_type=None, status=range(415, 416)),
    Audit(id="03D4", post={"query": HELLO}),
    Audit(id="A5BF", post="", status=range(400, 401)),
    # Parameters
    Audit(id="423L", post={"notquery": HELLO}, accept=GRAPHQL, status=MALFORMED),
    *(Audit(id=f"LKJ{n}", post={"query": bad}, status=MALFORMED) for n, bad in enumerate(NOT_STRINGS)),
    Audit(id="34A2", post={"query": HELLO}, accept=GRAPHQL),
    Audit(id="13EE", post={"query": HELLO}, accept=PLAIN, no="errors"),
    *(
        Audit(id=f"6C0{n}", post={"query": HELLO, "operationName": bad}, status=MALFORMED)
        for n, bad in enumerate(NOT_STRINGS)
    ),
    Audit(id="8161", post={"query": "query Q { __typename }", "operationName": "Q"}, accept=GRAPHQL),
    Audit(
        id="B8B3", post={"query": "query Q { __typename }", "operationName": "Q"}, accept=PLAIN, no="errors"
    ),
    *_nulls(),
    *(
        Audit(id=f"476{n}", post={"query": HELLO, "variables": bad}, status=MALFORMED)
        for n, bad in enumerate(NOT_OBJECTS)
    ),
    Audit(id="2EA1", post={"query": TYPE, "variables": NAME}, accept=GRAPHQL),
    Audit(id="28B9", post={"query": TYPE, "variables": NAME}, accept=PLAIN, no="errors"),
    Audit(id="D6D5", get={"query": TYPE, "variables": json.dumps(NAME)}, accept=GRAPHQL, no="errors"),
    Audit(id="6A70", get={"query": TYPE, "variables": json.dumps(NAME)}, accept=PLAIN, no="errors"),
    *(
        Audit(id=f"58B{n}", post={"query": HELLO, "extensions": bad}, status=MALFORMED)
        for n, bad in enumerate(NOT_OBJECTS)
    ),
    Audit(id="428F", post={"query": HELLO, "extensions": {"some": "value"}}, accept=GRAPHQL),
    Audit(id="1B7A", post={"query": HELLO, "extensions": {"some": "value"}}, accept=PLAIN, no="errors"),
    # What is not JSON, or no request
    Audit(id="B6DC", post='{ "not a JSON', accept=PLAIN, status=range(400, 401)),
    Audit(id="BCF8", post='{ "not a JSON', accept=PLAIN, status=range(400, 401)),
    Audit(id="B7N8", post='{ "not a JSON', accept=GRAPHQL, status=range(400, 401)),
    Audit(id="8764", post={"qeury": HELLO}, status=MALFORMED),
    Audit(id="3E3A", post={"qeury": HELLO}, status=MALFORMED),
    # GraphQL request errors
    Audit(id="572B", post={"query": "{"}, accept=PLAIN, answer_type=PLAIN, no="data"),
    Audit(id="FDE2", post=NO_SUCH_FIELD, accept=PLAIN, answer_type=PLAIN, no="data"),
    Audit(id="7B9B", post=NULL_FOR_ID, accept=PLAIN, answer_type=PLAIN, no="data"),
    Audit(id="865D", post={"query": "{"}, accept=GRAPHQL, status=range(400, 600)),
    Audit(id="556A", post={"query": "{"}, accept=GRAPHQL, status=range(400, 401)),
    Audit(id="D586", post={"query": "{"}, accept=GRAPHQL, status=range(400, 401), no="data"),
    Audit(id="51FE", post=NO_SUCH_FIELD, accept=GRAPHQL, status=range(400, 600)),
    Audit(id="74FF", post=NO_SUCH_FIELD, accept=GRAPHQL, status=range(422, 423)),
    Audit(id="5E5B", post=NO_SUCH_FIELD, accept=GRAPHQL, status=range(422, 423), no="data"),
    Audit(id="86EE", post=NULL_FOR_ID, accept=GRAPHQL, status=range(422, 423)),
]


@pytest.fixture(scope="session")
def token(api: Api) -> str:
    return api.operator().token


@pytest.mark.parametrize("audit", AUDITS, ids=lambda audit: audit.id)
def test_audit(api: Api, token: str, audit: Audit) -> None:
    answer = audit.send(api, token)
    told = (answer.status_code, answer.text)
    assert answer.status_code in audit.status, told
    body = json.loads(answer.content.decode("utf-8"))
    if audit.answer_type is not None:
        assert answer.headers["content-type"].startswith(audit.answer_type), told
    if audit.no is not None:
        assert audit.no not in body, told
    if audit.data is not None:
        assert body["data"] == audit.data, told
    if audit.no == "data" or answer.status_code != 200:
        assert body["errors"][0]["extensions"]["code"], told


def test_all_of_the_suite_is_here() -> None:
    assert len({audit.id for audit in AUDITS}) == len(AUDITS) == 61


def test_a_graphql_request_error_says_that_it_is_graphql_and_any_other_that_it_is_not(
    api: Api, token: str
) -> None:
    by_id = {audit.id: audit for audit in AUDITS}
    for of_graphql in ("556A", "5E5B", "86EE"):
        assert by_id[of_graphql].send(api, token).headers["content-type"].startswith(GRAPHQL)
    for of_http in ("423L", "B7N8", "9C48"):
        assert by_id[of_http].send(api, token).headers["content-type"].startswith(PLAIN)
