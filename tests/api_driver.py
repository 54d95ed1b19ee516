"""A driver that speaks to the API as clients do: over HTTP, with tokens that it fetched."""

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx
import uvicorn
from databases import TestDatabase
from operating import START, Coalition
from starlette.applications import Starlette

from coalition.amounts import Points
from coalition.ids import MemberId
from coalition.programme import OpenProgramme, open_programme
from partners.clients import CreateClient, create_client
from partners.directory import Partner
from partners.scopes import PARTNER_SCOPES, Scope
from partners.tokens import Tokens
from schema.app import create_app
from schema.ids import to_global

CONSENT_LIMIT = 5_000

JSON = {"Content-Type": "application/json"}

ISSUE = """
mutation Issue($input: IssuePointsInput!) {
  issuePoints(input: $input) { ...Answer }
}
"""
REDEEM = """
mutation Redeem($input: RedeemPointsInput!) {
  redeemPoints(input: $input) { ...Answer }
}
"""
REVERSE = """
mutation Reverse($input: ReverseTransactionInput!) {
  reverseTransaction(input: $input) { ...Answer }
}
"""
ANSWER = """
fragment Answer on PointsPayload {
  replayed
  transaction { id points }
  balance { available }
  userErrors {
    __typename code message field retryable
    ... on InsufficientPoints { available requested }
    ... on ConsentRequired { allowed }
    ... on AgreementMissing { date }
    ... on PartnerNotActive { state }
  }
}
"""


@dataclass
class Caller:
    """A holder of a token."""

    http: httpx.Client
    token: str
    keys: Any = field(default_factory=lambda: count(1))

    def send(self, query: str, variables: Mapping[str, Any] | None = None, **headers: str) -> Any:
        return self.http.post(
            "/graphql",
            json={"query": query, "variables": variables},
            headers={"Authorization": f"Bearer {self.token}", **headers},
        )

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of an answer without top-level errors."""
        answer = self.send(query, variables)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert "errors" not in body, body
        return body["data"]

    def do(self, mutation: str, **given: Any) -> Any:
        """A mutation's payload; a key is made up where none is given."""
        given.setdefault("idempotencyKey", f"api-{next(self.keys)}")
        [payload] = self.ask(mutation, input=given).values()
        return payload

    def issue(self, member: str, **given: Any) -> Any:
        return self.do(ISSUE + ANSWER, member=named(member), **given)

    def redeem(self, member: str, **given: Any) -> Any:
        return self.do(REDEEM + ANSWER, member=named(member), **given)

    def reverse(self, transaction: str, **given: Any) -> Any:
        return self.do(REVERSE + ANSWER, transactionId=transaction, **given)


@dataclass
class Api:
    """The server, and whoever there is to call it."""

    http: httpx.Client
    coalition: Coalition
    tokens: Tokens

    def client_of(self, partner: Partner | None, scopes: frozenset[Scope] = PARTNER_SCOPES) -> Caller:
        """A new client of the partner, with a token that it fetched with its secret."""
        with self.coalition.database.unit_of_work() as session:
            made = create_client(
                session,
                CreateClient(
                    name="test", scopes=scopes, partner_id=None if partner is None else partner.partner_id
                ),
            )
        return self.with_secret(made.client.client_id, made.secret)

    def with_secret(self, client_id: str, secret: str) -> Caller:
        """Whoever has a client's secret."""
        answer = self.http.post(
            "/oauth/token", data={"grant_type": "client_credentials"}, auth=(client_id, secret)
        )
        assert answer.status_code == 200, answer.text
        return Caller(self.http, answer.json()["access_token"])

    def operator(self) -> Caller:
        return self.client_of(None, frozenset({Scope.PROGRAMME_ADMIN}))

    def finance(self) -> Caller:
        return self.client_of(None, frozenset({Scope.SETTLEMENT_READ, Scope.SETTLEMENT_OPERATE}))

    def member(self, member_id: MemberId) -> Caller:
        return Caller(self.http, self.tokens.mint_member_token(member_id))

    def enrolled(self, partner: Partner) -> str:
        """A new member's global id."""
        return str(to_global("Member", self.coalition.member(of=partner)))

    @contextmanager
    def nothing_moves(self) -> Iterator[None]:
        before = self.coalition.snapshot()
        yield
        assert self.coalition.snapshot() == before


class _Server(uvicorn.Server):
    """Looks whether it is to end more often than ten times a second: a test waits for that."""

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            await asyncio.sleep(0.01)


@contextmanager
def serving(app: Starlette) -> Iterator[httpx.Client]:
    """The application behind a real HTTP server on a port of its own."""
    server = _Server(uvicorn.Config(app, port=0, ws="none", log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
            yield http
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def serving_api(test_database: TestDatabase, *, consent_limit: int = CONSENT_LIMIT) -> Iterator[Api]:
    """The whole server on a database of its own, in a sandbox whose clock stands at operating.START."""
    settings = test_database.settings
    with test_database.connect(settings) as database:
        with database.unit_of_work() as session:
            open_programme(
                session,
                OpenProgramme(
                    name="Test", mode="sandbox", consent_limit_points=Points(consent_limit), starts_at=START
                ),
            )
        tokens = Tokens(database, issuer=settings.issuer_url, audience=settings.audience)
        with serving(create_app(settings, database=database)) as http:
            yield Api(http, Coalition(database), tokens)


def named(member: str) -> dict[str, Any]:
    return {"id": member}


def codes(payload: Mapping[str, Any]) -> list[str]:
    return [error["code"] for error in payload["userErrors"]]
