"""From a request's header to who asks, and whether that one asks too often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from partners.tokens import Principal, TokenRejected, Tokens
from schema.web.faults import RequestFault, unauthenticated

if TYPE_CHECKING:
    from starlette.requests import Request

    from schema.web.throttle import Throttle


def bearer_of(request: Request) -> str:
    """The token in the header, not looked at yet.

    Raises:
        RequestFault: there is none (401).
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise unauthenticated("Send an access token from /oauth/token: Authorization: Bearer …")
    return token.strip()


class Authentication:
    """Asks the tokens' own room, and counts what each caller asks."""

    def __init__(self, tokens: Tokens, throttle: Throttle) -> None:
        self._tokens = tokens
        self._throttle = throttle

    def __call__(self, request: Request) -> Principal:
        """Who asks. May ask the database, so not for the event loop.

        Raises:
            RequestFault: the token is missing or rejected (401), or its holder asks too often (429).
            DatabaseUnavailable: a key or a client could not be looked up.
        """
        try:
            principal = self._tokens.verify(bearer_of(request))
        except TokenRejected as rejected:
            raise rejected_token(rejected) from rejected
        request.state.client_id = principal.client_id
        self._throttle.admit(principal.caller)
        return principal


def rejected_token(rejected: TokenRejected) -> RequestFault:
    """401 with the reason, in the challenge too (RFC 6750)."""
    reason = str(rejected.reason)
    return unauthenticated(f"The access token is not accepted: {reason}.", error="invalid_token")
