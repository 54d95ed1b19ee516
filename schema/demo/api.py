"""The public API as a partner's program uses it: tokens, operations, refusals."""

from __future__ import annotations

import base64
import time
from typing import Any, Final

import orjson

from schema.demo.http import Connection

_RENEW_AFTER: Final = 200.0  # seconds; a token lives for 300


class Unexpected(Exception):
    """The API answered what the demo was not made for."""


class Caller:
    """Someone with an OAuth client (or a token given to them), who fetches a token before it is needed."""

    def __init__(self, *, client_id: str = "", secret: str = "", token: str = "") -> None:
        self.client_id = client_id
        self.secret = secret
        self._token = token
        self._renew_at = float("inf") if token else 0.0

    async def authorization(self, connection: Connection) -> str:
        """The value of the Authorization header."""
        if time.monotonic() >= self._renew_at:
            basic = base64.b64encode(f"{self.client_id}:{self.secret}".encode()).decode()
            answer = await connection.post(
                "/oauth/token",
                b"grant_type=client_credentials",
                {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"},
            )
            if answer.status != 200:  # noqa: PLR2004 - OK
                raise Unexpected(f"no token for {self.client_id}: {answer.body.decode()}")
            self._token = orjson.loads(answer.body)["access_token"]
            self._renew_at = time.monotonic() + _RENEW_AFTER
        return f"Bearer {self._token}"


async def ask(connection: Connection, caller: Caller, document: str, variables: dict[str, Any]) -> Any:
    """Run an operation and return its data; what the network refuses is in the data.

    Raises:
        Unexpected: the request itself was not accepted.
    """
    answer = await connection.post(
        "/graphql",
        orjson.dumps({"query": document, "variables": variables}),
        {
            "Authorization": await caller.authorization(connection),
            "Content-Type": "application/json",
            "Accept": "application/graphql-response+json",
        },
    )
    told = orjson.loads(answer.body)
    if answer.status != 200 or told.get("errors"):  # noqa: PLR2004 - OK
        raise Unexpected(f"HTTP {answer.status}: {answer.body.decode()[:1000]}")
    return told["data"]


async def must(connection: Connection, caller: Caller, document: str, variables: dict[str, Any]) -> Any:
    """Run a mutation that is not refused; returns its payload.

    Raises:
        Unexpected: it was.
    """
    [payload] = (await ask(connection, caller, document, variables)).values()
    if payload["userErrors"]:
        raise Unexpected(str(payload["userErrors"]))
    return payload
