"""OAuth clients: programs that act for a partner, or for the operator and finance of the network."""

import hashlib
import hmac
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from coalition.errors import ClientUnknown, InvalidInput
from coalition.ids import PartnerId
from partners import tables
from partners.checks import check_text
from partners.directory import get_partner
from partners.scopes import NETWORK_SCOPES, PARTNER_SCOPES, Scope

_table = tables.oauth_client

_SECRET_BYTES: Final = 32  # 256 bits: no guess succeeds, so a plain hash is enough to store
_ID_BYTES: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A program that may fetch tokens."""

    client_id: str
    partner_id: PartnerId | None
    """None: the operator's or finance's."""
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    secret_rotated_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateClient:
    """The operator's wish to let a program in."""

    name: str
    scopes: Collection[str]
    partner_id: PartnerId | None = None
    by: str | None = None
    """The client that asks for it, and gets its secret; None: the command line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewClient:
    """A client and its secret, which is shown this once and stored as a hash only."""

    client: Client
    secret: str = field(repr=False)


def create_client(session: Session, command: CreateClient) -> NewClient:
    """Let a program in.

    Raises:
        InvalidInput: the name is malformed, or the holder may not have one of the scopes.
        PartnerUnknown: there is no such partner.
    """
    name = check_text(command.name, field="name")
    scopes = _checked_scopes(command.scopes, of_partner=command.partner_id is not None)
    holder = "network"
    if command.partner_id is not None:
        holder = get_partner(session, command.partner_id).code
    secret = _new_secret()
    now = datetime.now(UTC)
    adding = insert(_table).values(
        client_id=f"{holder}-{secrets.token_hex(_ID_BYTES)}",
        partner_id=command.partner_id,
        name=name,
        scopes=sorted(scopes),
        secret_hash=_hashed(secret),
        created_at=now,
        secret_rotated_at=now,
        secret_given_to=command.by,
    )
    row = session.execute(adding.returning(*_table.c)).mappings().one()
    return NewClient(client=_client(row), secret=secret)


def rotate_secret(session: Session, client_id: str, *, by: str | None = None) -> NewClient:
    """Give a client a new secret. The old one is good for nothing from this moment on.

    Tokens that were fetched with it live out their few minutes. `by` is the client that asks and gets the
    secret, None the command line: clients that had another's secret are no second person beside it. One that
    rotates its own stays whose it was.

    Raises:
        ClientUnknown: there is no such client, or it was revoked.
    """
    secret = _new_secret()
    changed = (
        update(_table)
        .where(_table.c.client_id == client_id, _table.c.revoked_at.is_(None))
        .values(secret_hash=_hashed(secret), secret_rotated_at=datetime.now(UTC))
    )
    if by != client_id:
        changed = changed.values(secret_given_to=by)
    row = session.execute(changed.returning(*_table.c)).mappings().one_or_none()
    if row is None:
        raise ClientUnknown(client_id=client_id)
    return NewClient(client=_client(row), secret=secret)


def revoke_client(session: Session, client_id: str) -> Client:
    """Shut a client out for good; its tokens are refused within two seconds. Again changes nothing.

    Raises:
        ClientUnknown: there is no such client.
    """
    ended = (
        update(_table)
        .where(_table.c.client_id == client_id, _table.c.revoked_at.is_(None))
        .values(revoked_at=datetime.now(UTC))
    )
    session.execute(ended)
    return get_client(session, client_id)


def get_client(session: Session, client_id: str) -> Client:
    """The client of that id, revoked or not.

    Raises:
        ClientUnknown: there is none.
    """
    row = session.execute(select(*_table.c).where(_table.c.client_id == client_id)).mappings().one_or_none()
    if row is None:
        raise ClientUnknown(client_id=client_id)
    return _client(row)


def list_clients(
    session: Session,
    *,
    limit: int,
    after: str | None = None,
    before: str | None = None,
    backwards: bool = False,
    partner_id: PartnerId | None = None,
) -> list[Client]:
    """A page of clients by id, of one partner or of all; revoked ones too.

    `backwards` takes the last in place of the first; they come in the order of their ids all the same.
    """
    page = select(*_table.c)
    if partner_id is not None:
        page = page.where(_table.c.partner_id == partner_id)
    if after is not None:
        page = page.where(_table.c.client_id > after)
    if before is not None:
        page = page.where(_table.c.client_id < before)
    order = _table.c.client_id.desc() if backwards else _table.c.client_id
    found = [_client(row) for row in session.execute(page.order_by(order).limit(limit)).mappings()]
    return found[::-1] if backwards else found


def authenticate(session: Session, *, client_id: str, secret: str) -> Client | None:
    """The client, if that is its secret and it was not revoked.

    An unknown client takes as long as a wrong secret, so that an answer's time tells neither.
    """
    row = session.execute(select(*_table.c).where(_table.c.client_id == client_id)).mappings().one_or_none()
    stored = bytes(32) if row is None else row["secret_hash"]
    matches = hmac.compare_digest(stored, _hashed(secret))
    if row is None or not matches or row["revoked_at"] is not None:
        return None
    return _client(row)


def parse_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """The scopes of these names.

    Raises:
        InvalidInput: one of them does not exist.
    """
    known = {scope.value for scope in Scope}
    wanted = set(names)
    if unknown := sorted(wanted - known):
        raise InvalidInput(f"there is no scope {unknown[0]!r}", field=("input", "scopes"))
    return frozenset(map(Scope, wanted))


def _checked_scopes(names: Collection[str], *, of_partner: bool) -> frozenset[Scope]:
    scopes = parse_scopes(names)
    if not scopes:
        raise InvalidInput("a client has at least one scope", field=("input", "scopes"))
    if excess := sorted(scopes - (PARTNER_SCOPES if of_partner else NETWORK_SCOPES)):
        holder = "a partner's client" if of_partner else "a client of the network"
        raise InvalidInput(f"{holder} may not have the scope {excess[0]}", field=("input", "scopes"))
    return scopes


def _new_secret() -> str:
    return secrets.token_urlsafe(_SECRET_BYTES)


def _hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _client(row: Mapping[Any, Any]) -> Client:
    return Client(
        client_id=row["client_id"],
        partner_id=row["partner_id"],
        name=row["name"],
        scopes=frozenset(map(Scope, row["scopes"])),
        created_at=row["created_at"],
        secret_rotated_at=row["secret_rotated_at"],
        revoked_at=row["revoked_at"],
    )
