"""The token endpoint, over HTTP as a client meets it."""

import base64
import json
import logging
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from operating import Coalition
from starlette.applications import Starlette

from coalition.config import Settings
from coalition.db import Database
from partners.clients import CreateClient, NewClient, create_client, revoke_client, rotate_secret
from partners.oauth import KEYS_PATH, METADATA_PATH, TOKEN_PATH, routes
from partners.tokens import Tokens

ISSUER = "https://points.example"
GRANT = {"grant_type": "client_credentials"}


@dataclass
class Http:
    """Sends requests straight into the application, each on an event loop of its own."""

    tokens: Tokens

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, **parts: Any) -> httpx.Response:
        return self.request("POST", path, **parts)

    def request(self, method: str, path: str, **parts: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=Starlette(routes=routes(self.tokens)))
            async with httpx.AsyncClient(transport=transport, base_url=ISSUER) as client:
                return await client.request(method, path, **parts)

        return anyio.run(send)


@pytest.fixture
def http(database: Database) -> Http:
    return Http(Tokens(database, issuer=ISSUER, audience="coalition"))


@pytest.fixture
def till(coalition: Coalition) -> NewClient:
    partner = coalition.partner()
    with coalition.database.unit_of_work() as session:
        return create_client(
            session,
            CreateClient(
                name="Till", scopes=["points:issue", "points:redeem"], partner_id=partner.partner_id
            ),
        )


def ask(http: Http, client: NewClient, **form: str) -> httpx.Response:
    return http.post(TOKEN_PATH, data=GRANT | form, auth=(client.client.client_id, client.secret))


def test_a_client_gets_a_token_for_all_its_scopes(http: Http, till: NewClient) -> None:
    answer = ask(http, till)

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert (told["token_type"], told["expires_in"]) == ("Bearer", 300)
    assert told["scope"] == "points:issue points:redeem"
    [key] = [k for k in http.get(KEYS_PATH).json()["keys"] if k["kid"] == header(told["access_token"])["kid"]]
    token = jwt.decode(told["access_token"], ECKey.import_key(key), algorithms=["ES256"])
    assert token.header["typ"] == "at+jwt"
    assert token.claims["iss"] == ISSUER
    assert token.claims["aud"] == "coalition"
    assert token.claims["sub"] == token.claims["client_id"] == till.client.client_id
    assert token.claims["partner_id"] == str(till.client.partner_id)
    assert token.claims["exp"] - token.claims["iat"] == 300
    assert token.claims["jti"]


def header(token: str) -> dict[str, Any]:
    part = token.split(".", maxsplit=1)[0]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return decoded


def test_a_client_can_ask_for_less(http: Http, till: NewClient) -> None:
    assert ask(http, till, scope="points:redeem").json()["scope"] == "points:redeem"
    assert ask(http, till, scope="").json()["scope"] == "points:issue points:redeem"


@pytest.mark.parametrize(
    "scope", ["programme:admin", "points:issue programme:admin", "member:self", "x", " "]
)
def test_a_client_that_asks_for_more_is_told(http: Http, till: NewClient, scope: str) -> None:
    answer = ask(http, till, scope=scope)

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    assert "access_token" not in answer.json()


def test_whoever_does_not_know_the_secret_learns_nothing(http: Http, till: NewClient) -> None:
    known = till.client.client_id
    basic = base64.b64encode(b"\xff\xfe:x").decode()
    answers = [
        http.post(TOKEN_PATH, data=GRANT, auth=(known, "wrong")),
        http.post(TOKEN_PATH, data=GRANT, auth=(known, "")),
        http.post(TOKEN_PATH, data=GRANT, auth=("nobody", till.secret)),
        http.post(TOKEN_PATH, data=GRANT, auth=(f"{known}\x00", till.secret)),
        http.post(TOKEN_PATH, data=GRANT, auth=("' OR true --", "x")),
        http.post(TOKEN_PATH, data=GRANT),
        http.post(TOKEN_PATH, data=GRANT, headers={"Authorization": "Basic"}),
        http.post(TOKEN_PATH, data=GRANT, headers={"Authorization": "Basic !!!"}),
        http.post(TOKEN_PATH, data=GRANT, headers={"Authorization": f"Basic {basic}"}),
        http.post(TOKEN_PATH, data=GRANT, headers={"Authorization": f"Bearer {till.secret}"}),
        http.post(TOKEN_PATH, data=GRANT | {"client_id": "other"}, auth=(known, till.secret)),
    ]

    for answer in answers:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic realm=")
        assert answer.headers["cache-control"] == "no-store"
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["error"] == "invalid_client"


MALFORMED = [
    ("", "invalid_request"),
    ("grant_type=", "invalid_request"),
    ("grant_type=client_credentials&grant_type=client_credentials", "invalid_request"),
    ("grant_type=client_credentials&client_secret=x", "invalid_request"),
    ("grant_type=client_credentials&scope=%FF", "invalid_request"),
    ("grant_type=password&username=a&password=b", "unsupported_grant_type"),
    ("grant_type=%C3%A9%22", "unsupported_grant_type"),
    ("&".join(f"a{n}=1" for n in range(50)), "invalid_request"),
    ("grant_type=client_credentials&scope=" + "x" * 9_000, "invalid_request"),
]


def test_a_malformed_request_is_told_so(http: Http, till: NewClient) -> None:
    for body, error in MALFORMED:
        answer = http.post(
            TOKEN_PATH,
            content=body,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            auth=(till.client.client_id, till.secret),
        )

        assert (answer.status_code, answer.json()["error"]) == (400, error), body
        assert answer.headers["cache-control"] == "no-store"


def test_the_body_must_be_a_form(http: Http, till: NewClient) -> None:
    answer = http.post(TOKEN_PATH, json=GRANT, auth=(till.client.client_id, till.secret))

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert http.get(TOKEN_PATH).status_code == 405


def test_a_new_secret_ends_the_old_one(coalition: Coalition, http: Http, till: NewClient) -> None:
    with coalition.database.unit_of_work() as session:
        new = rotate_secret(session, till.client.client_id)

    assert ask(http, till).status_code == 401
    assert ask(http, new).status_code == 200


def test_a_revoked_client_gets_no_token(coalition: Coalition, http: Http, till: NewClient) -> None:
    with coalition.database.unit_of_work() as session:
        revoke_client(session, till.client.client_id)

    assert ask(http, till).status_code == 401


def test_neither_secret_nor_token_is_logged(
    http: Http, till: NewClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    token = ask(http, till).json()["access_token"]
    http.post(TOKEN_PATH, data=GRANT, auth=(till.client.client_id, "wrong-secret"))

    logged = "\n".join(str(record.__dict__) + record.getMessage() for record in caplog.records)
    assert till.client.client_id in logged
    assert till.secret not in logged
    assert "wrong-secret" not in logged
    assert token not in logged
    assert till.secret not in repr(till)


def test_the_keys_are_published_without_their_private_half(http: Http) -> None:
    answer = http.get(KEYS_PATH)

    assert len(answer.json()["keys"]) == 2  # the current and the next
    for key in answer.json()["keys"]:
        assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("EC", "P-256", "ES256", "sig")
        assert "d" not in key


def test_the_metadata_says_where_things_are(http: Http) -> None:
    told = http.get(METADATA_PATH).json()

    assert told["issuer"] == ISSUER
    assert told["token_endpoint"] == f"{ISSUER}/oauth/token"
    assert told["jwks_uri"] == f"{ISSUER}/oauth/jwks.json"
    assert told["token_endpoint_auth_methods_supported"] == ["client_secret_basic"]


def test_without_a_database_the_client_is_told_to_come_back() -> None:
    settings = Settings(database_url="postgresql://nobody@127.0.0.1:9/none")  # type: ignore[arg-type]
    with Database.connect(settings) as database:
        http = Http(Tokens(database, issuer=ISSUER, audience="coalition"))
        answers = [http.post(TOKEN_PATH, data=GRANT, auth=("a", "b")), http.get(KEYS_PATH)]

    for answer in answers:
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
