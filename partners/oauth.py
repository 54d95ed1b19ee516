"""The authorisation server: `/oauth/token`, the published keys, and its metadata.

Authlib's core decides; it is synchronous and runs in a worker thread. Each request has a server object
of its own, so requests share nothing.
"""

import ipaddress
import logging
import math
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl

import anyio.to_thread
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request
from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError, InvalidScopeError
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6749.util import extract_basic_authorization
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from coalition.errors import DatabaseUnavailable
from partners.clients import Client, authenticate
from partners.scopes import Scope
from partners.tokens import LIFE, REALM, Tokens

_log = logging.getLogger(__name__)

TOKEN_PATH: Final = "/oauth/token"  # noqa: S105 - a path
KEYS_PATH: Final = "/oauth/jwks.json"
METADATA_PATH: Final = "/.well-known/oauth-authorization-server"

_GRANT: Final = "client_credentials"
_LONGEST_BODY: Final = 8_192
_MOST_FIELDS: Final = 20
_FORM: Final = "application/x-www-form-urlencoded"
_NOT_STORED: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_PUBLISHED: Final = {"Cache-Control": "public, max-age=300"}
_UNAUTHORIZED: Final = 401
# The core refuses http. Where TLS ends, here or at a proxy before us, is the deployment's to arrange,
# and a proxied request looks like plain http.
_SECURE: Final = "https://coalition.invalid"
# What our ids and secrets are made of; anything else is not looked up at all.
_CREDENTIAL: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}")


def routes(tokens: Tokens, *, wait: Callable[[str], float] = lambda _: 0.0) -> list[Route]:
    """The endpoints of the authorisation server that signs these tokens.

    Args:
        tokens: Signs them.
        wait: Counts a request for a token by the address that it comes from, and says for how many seconds
            that address must wait; 0 lets it in.
    """

    async def token(request: Request) -> Response:
        if (seconds := wait(_address(request))) > 0:
            return _asked_too_often(seconds)
        body = await _body(request)
        return await anyio.to_thread.run_sync(_answer, tokens, request, body)

    async def keys(_request: Request) -> Response:
        return await anyio.to_thread.run_sync(_keys, tokens)

    async def metadata(_request: Request) -> Response:
        return JSONResponse(_metadata(tokens), headers=_PUBLISHED)

    return [
        Route(TOKEN_PATH, token, methods=["POST"]),
        Route(KEYS_PATH, keys, methods=["GET"]),
        Route(METADATA_PATH, metadata, methods=["GET"]),
    ]


class _AuthenticatedClient(ClientMixin):  # type: ignore[misc] # Authlib has no types
    """A client as Authlib's core asks about it; its secret has been checked already."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def get_client_id(self) -> str:
        return self.client.client_id

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == _GRANT


class _Grant(ClientCredentialsGrant):  # type: ignore[misc]
    """Client credentials, without refresh tokens, and never for more than the client may have."""

    def validate_requested_scope(self) -> None:
        # The core would quietly leave out what the client may not have; a program that asks for too
        # much should be told.
        wanted = self.request.payload.scope
        allowed = {scope.value for scope in self.request.client.client.scopes}
        if wanted is not None and not (wanted.split() and set(wanted.split()) <= allowed):
            raise InvalidScopeError("The client may not have that scope.")

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        # The core's own logs the token.
        client: Client = self.request.client.client
        answer = self.server.generate_token(_GRANT, client, scope=self.request.payload.scope)
        _log.info("token for client %s, scope %s", client.client_id, answer["scope"])
        return 200, answer, self.TOKEN_RESPONSE_HEADER


class _Server(AuthorizationServer):  # type: ignore[misc]
    """Authlib's core for one request."""

    def __init__(self, tokens: Tokens) -> None:
        super().__init__()
        self._tokens = tokens
        self.register_grant(_Grant)
        self.register_token_generator(_GRANT, self._generate)

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        return request

    def authenticate_client(
        self, request: OAuth2Request, methods: list[str], endpoint: str = "token"
    ) -> _AuthenticatedClient:
        """The client of the request's Basic credentials; one answer for all that can be wrong."""
        del methods, endpoint
        client_id, secret = _credentials(request)
        if client_id is not None and secret is not None:
            # Given back before the token is signed: that may need a connection of its own.
            with self._tokens.database.reading() as session:
                client = authenticate(session, client_id=client_id, secret=secret)
            named = request.payload.client_id
            if client is not None and named in (None, client_id):
                return _AuthenticatedClient(client)
        _log.info("client authentication failed for %s", client_id)
        raise InvalidClientError("Client authentication failed.", status_code=401)

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens: the core wants to be able to call."""

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> Response:
        return JSONResponse(body, status_code=status, headers=dict(headers) | _NOT_STORED)

    def _generate(self, client: Client, scope: str | None, **_: Any) -> dict[str, Any]:
        scopes = client.scopes if scope is None else frozenset(map(Scope, scope.split()))
        token = self._tokens.issue(client_id=client.client_id, partner_id=client.partner_id, scopes=scopes)
        return {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": int(LIFE.total_seconds()),
            "scope": " ".join(sorted(scopes)),
        }


def _credentials(request: OAuth2Request) -> tuple[str | None, str | None]:
    try:
        client_id, secret = extract_basic_authorization(request.headers)
    except ValueError:
        return None, None  # not UTF-8
    if not all(part and _CREDENTIAL.fullmatch(part) for part in (client_id, secret)):
        return None, None
    return client_id, secret


async def _body(request: Request) -> bytes | None:
    """The request's body; None if it is longer than any token request."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_BODY:
            return None
    return bytes(body)


def _address(request: Request) -> str:
    """Where the request comes from; of an IPv6 address the network, since its holder has all of it."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


def _asked_too_often(seconds: float) -> Response:
    return JSONResponse(
        {"error": "temporarily_unavailable", "error_description": "This address asks for tokens too often."},
        status_code=429,
        headers=_NOT_STORED | {"Retry-After": str(math.ceil(seconds))},
    )


def _answer(tokens: Tokens, request: Request, body: bytes | None) -> Response:
    try:
        wish = OAuth2Request("POST", _SECURE + TOKEN_PATH, headers=request.headers)
        wish.payload = BasicOAuth2Payload(_form(request, body))
        response: Response = _Server(tokens).create_token_response(wish)
    except OAuth2Error as error:
        status, told, headers = error()
        response = JSONResponse(told, status_code=status, headers=dict(headers) | _NOT_STORED)
    except DatabaseUnavailable:
        response = JSONResponse(
            {"error": "temporarily_unavailable"}, status_code=503, headers=_NOT_STORED | {"Retry-After": "2"}
        )
    if response.status_code == _UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = f'Basic realm="{REALM}", charset="UTF-8"'
    return response


def _form(request: Request, body: bytes | None) -> dict[str, str]:
    """The parameters of a token request; those without a value count as absent (RFC 6749, 3.2)."""
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != _FORM:
        raise InvalidRequestError(f"The body must be {_FORM}.")
    if body is None:
        raise InvalidRequestError("The body is too long.")
    try:
        pairs = parse_qsl(body.decode("ascii"), errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise InvalidRequestError("The body is malformed.") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise InvalidRequestError("A parameter is repeated.")
    if "client_secret" in form:
        raise InvalidRequestError("The client authenticates with HTTP Basic, and not in the body.")
    if "grant_type" not in form:
        raise InvalidRequestError("The parameter grant_type is missing.")
    if form["grant_type"] != _GRANT:
        raise OAuth2Error(f"The grant type must be {_GRANT}.", error="unsupported_grant_type")
    return form


def _keys(tokens: Tokens) -> Response:
    try:
        return JSONResponse(tokens.keys.public(), headers=_PUBLISHED)
    except DatabaseUnavailable:
        return JSONResponse(
            {"error": "temporarily_unavailable"}, status_code=503, headers={"Retry-After": "2"}
        )


def _metadata(tokens: Tokens) -> dict[str, Any]:
    """What clients can find out by themselves (RFC 8414)."""
    return {
        "issuer": tokens.issuer,
        "token_endpoint": tokens.issuer + TOKEN_PATH,
        "jwks_uri": tokens.issuer + KEYS_PATH,
        "grant_types_supported": [_GRANT],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        "scopes_supported": sorted(scope.value for scope in Scope if scope is not Scope.MEMBER_SELF),
    }
