"""Access tokens: JSON Web Tokens after RFC 9068, signed ES256, good for five minutes.

What a token says is believed only after its signature, type, issuer, audience and times were checked,
and a client's token only while the client has not been revoked. Tokens use the wall clock always.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from joserfc import jws, jwt
from joserfc.errors import JoseError
from sqlalchemy import select

from coalition.db import Database
from coalition.ids import MemberId, PartnerId, PartyId
from partners import tables
from partners.keys import ALGORITHM, LONGEST_TOKEN_LIFE, KeyRing
from partners.scopes import NETWORK_SCOPES, PARTNER_SCOPES, Scope

LIFE: Final = timedelta(minutes=5)
REALM: Final = "coalition"

_TYPE: Final = "at+jwt"
_LEEWAY: Final = 5  # seconds by which servers' clocks may differ
_LONGEST: Final = 4_096  # characters; ours have about 600
_REMEMBERED: Final = 4_096
_CLIENT_LOOKED_UP_EVERY: Final = 1.5  # seconds: a revoked client is out within two
_MEMBERS_CLIENT: Final = "coalition-command-line"
"""The client_id of tokens that the operator mints for a member (RFC 9068 wants one in each)."""


class TokenRejected(Exception):
    """The token is not to be believed. The reason says why, and nothing of what is in it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def challenge(self) -> str:
        """The value of the answer's WWW-Authenticate (RFC 6750, section 3)."""
        return f'Bearer realm="{REALM}", error="invalid_token", error_description="{self.reason}"'


def challenge() -> str:
    """WWW-Authenticate for a request that brought no token: no error code, as RFC 6750 has it."""
    return f'Bearer realm="{REALM}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls, and what for: a partner's client, the network's, or a member."""

    client_id: str | None
    partner_id: PartnerId | None
    member_id: MemberId | None
    scopes: frozenset[Scope]

    @property
    def caller(self) -> str:
        """The scope of the caller's idempotency keys."""
        return self.client_id or f"member:{self.member_id}"


@dataclass(frozen=True, slots=True)
class _Believed:
    principal: Principal
    expires_at: int


class Tokens:
    """Signs and verifies the tokens of one programme. One per process; any thread may use it."""

    def __init__(self, database: Database, *, issuer: str, audience: str) -> None:
        self.database = database
        self.issuer = issuer
        self.audience = audience
        self.keys = KeyRing(database)
        self._believed: OrderedDict[bytes, _Believed] = OrderedDict()
        self._clients: dict[str, tuple[float, bool]] = {}
        self._changing = threading.Lock()

    def issue(self, *, client_id: str, partner_id: PartnerId | None, scopes: Collection[Scope]) -> str:
        """A token for a client that has shown its secret."""
        claims: dict[str, Any] = {"sub": client_id, "client_id": client_id}
        if partner_id is not None:
            claims["partner_id"] = str(partner_id)
        return self._signed(claims, scopes, LIFE)

    def mint_member_token(self, member_id: MemberId, *, life: timedelta = LIFE) -> str:
        """A token for `member:self`, which only the operator can have made, at the command line."""
        assert timedelta(0) < life <= LONGEST_TOKEN_LIFE, "retired keys are not kept for longer"
        claims = {"sub": str(member_id), "client_id": _MEMBERS_CLIENT, "member_id": str(member_id)}
        return self._signed(claims, [Scope.MEMBER_SELF], life)

    def verify(self, token: str) -> Principal:
        """Who the bearer of a token is. May ask the database, so not for an event loop's thread.

        Raises:
            TokenRejected: the token is malformed, forged, expired, or not for this API; or its client
                was revoked.
            DatabaseUnavailable: a key or the client could not be looked up.
        """
        if len(token) > _LONGEST:
            raise TokenRejected("the token is too long")
        digest = hashlib.sha256(token.encode(errors="replace")).digest()
        believed = self._recall(digest)
        if believed is None:
            believed = self._check(token)
            self._remember(digest, believed)
        client_id = believed.principal.client_id
        if client_id is not None and not self._is_active(client_id):
            raise TokenRejected("the client was revoked")
        return believed.principal

    def peek(self, token: str) -> Principal | None:
        """The same from memory alone, for an event loop; None: `verify` must be asked in a thread."""
        if len(token) > _LONGEST:
            return None
        believed = self._recall(hashlib.sha256(token.encode(errors="replace")).digest())
        if believed is None:
            return None
        client_id = believed.principal.client_id
        if client_id is not None:
            looked_at, active = self._clients.get(client_id, (0.0, False))
            if not active or time.monotonic() - looked_at > _CLIENT_LOOKED_UP_EVERY:
                return None
        return believed.principal

    def _signed(self, claims: Mapping[str, Any], scopes: Collection[Scope], life: timedelta) -> str:
        key = self.keys.signing()
        now = int(time.time())
        header = {"alg": ALGORITHM, "typ": _TYPE, "kid": key.kid}
        times = {"iat": now, "nbf": now, "exp": now + int(life.total_seconds())}
        named = {"iss": self.issuer, "aud": self.audience, "jti": str(uuid4())}
        return jwt.encode(
            header,
            {**claims, **named, **times, "scope": " ".join(sorted(scopes))},
            key,
            algorithms=[ALGORITHM],
        )

    def _check(self, token: str) -> _Believed:
        try:
            header: Any = jws.extract_compact(token.encode("ascii")).headers()
        except (JoseError, ValueError, TypeError, AttributeError, RecursionError) as error:
            # Whatever a stranger can put into a header ends here.
            raise TokenRejected("the token is malformed") from error
        # The algorithm is ours to name and never the token's: `none`, or an HMAC keyed with the public
        # key, would otherwise be anybody's signature.
        if not isinstance(header, dict) or header.get("alg") != ALGORITHM:
            raise TokenRejected("the token is not signed as it must be")
        if str(header.get("typ", "")).lower().removeprefix("application/") != _TYPE:
            raise TokenRejected("this is not an access token")
        kid = header.get("kid")
        key = self.keys.verifying(kid) if isinstance(kid, str) else None
        if key is None:
            raise TokenRejected("the token was signed with an unknown key")
        try:
            claims = jwt.decode(token, key, algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError) as error:
            raise TokenRejected("the signature does not verify") from error
        return self._believe(claims)

    def _believe(self, claims: Mapping[str, Any]) -> _Believed:
        if claims.get("iss") != self.issuer:
            raise TokenRejected("the token is from another issuer")
        audience = claims.get("aud")
        if self.audience not in (audience if isinstance(audience, list) else [audience]):
            raise TokenRejected("the token is for another audience")
        now = time.time()
        expires_at, not_before = claims.get("exp"), claims.get("nbf", 0)
        if not isinstance(expires_at, int) or not isinstance(not_before, int):
            raise TokenRejected("the token is malformed")
        if now >= expires_at + _LEEWAY:
            raise TokenRejected("the token has expired")
        if now < not_before - _LEEWAY:
            raise TokenRejected("the token is not valid yet")
        return _Believed(_principal(claims), expires_at)

    def _recall(self, digest: bytes) -> _Believed | None:
        with self._changing:
            known = self._believed.get(digest)
            if known is None:
                return None
            if time.time() >= known.expires_at + _LEEWAY:
                del self._believed[digest]
                return None
            self._believed.move_to_end(digest)
            return known

    def _remember(self, digest: bytes, believed: _Believed) -> None:
        with self._changing:
            self._believed[digest] = believed
            while len(self._believed) > _REMEMBERED:
                self._believed.popitem(last=False)

    def _is_active(self, client_id: str) -> bool:
        now = time.monotonic()
        looked_at, active = self._clients.get(client_id, (0.0, False))
        if looked_at and now - looked_at <= _CLIENT_LOOKED_UP_EVERY:
            return active
        column = tables.oauth_client.c
        with self.database.reading() as session:
            row = session.execute(
                select(column.revoked_at).where(column.client_id == client_id)
            ).one_or_none()
        active = row is not None and row.revoked_at is None
        with self._changing:
            if len(self._clients) > _REMEMBERED:
                self._clients.clear()
            self._clients[client_id] = (now, active)
        return active


def _principal(claims: Mapping[str, Any]) -> Principal:
    """Who the claims name. The scopes must be such as that holder may have at all."""
    try:
        partner, member = (_uuid(claims.get(name)) for name in ("partner_id", "member_id"))
        names, client_id = claims["scope"].split(), claims["client_id"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TokenRejected("the token is malformed") from error
    if not isinstance(client_id, str) or (partner and member):
        raise TokenRejected("the token is malformed")
    known = {scope.value for scope in Scope}
    scopes = frozenset(Scope(name) for name in names if name in known)
    if member is not None:
        allowed = frozenset({Scope.MEMBER_SELF})
    else:
        allowed = NETWORK_SCOPES if partner is None else PARTNER_SCOPES
    if not scopes <= allowed:
        raise TokenRejected("the token claims more than its holder may have")
    return Principal(
        client_id=None if member is not None else client_id,
        partner_id=None if partner is None else PartnerId(PartyId(partner)),
        member_id=None if member is None else MemberId(member),
        scopes=scopes,
    )


def _uuid(value: Any) -> UUID | None:
    return None if value is None else UUID(value)
