"""The keys that sign access tokens: one current, one next, and those retired a short while ago.

All of them are published, the next one long before it signs, so that rotating interrupts nobody who
keeps a copy of the set.
"""

import re
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from joserfc.jwk import ECKey
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.orm import Session

from coalition.db import Database
from partners import tables

_table = tables.signing_key

CURVE: Final = "P-256"
ALGORITHM: Final = "ES256"

LONGEST_TOKEN_LIFE: Final = timedelta(hours=1)
# A server may sign with a key until it looks again, and a token may then live as long as any.
_RETIRED_FOR: Final = LONGEST_TOKEN_LIFE + timedelta(minutes=5)
_LOOK_EVERY: Final = 30.0  # seconds
_LOOK_FOR_UNKNOWN_EVERY: Final = 3.0  # seconds: strangers' key ids must not become a query each

# What `auto_kid` makes: a thumbprint (RFC 7638). Anything else in a token is a stranger's text.
_KID: Final = re.compile(r"[A-Za-z0-9_-]{43}")

_ONE_AT_A_TIME: Final = text("SELECT pg_advisory_xact_lock(7305137150463300)")


@dataclass(frozen=True, slots=True)
class _Keys:
    """The set as it was when it was looked up."""

    current: ECKey
    by_id: dict[str, ECKey]
    looked_at: float = field(default_factory=time.monotonic)


def ensure_keys(session: Session) -> None:
    """Make the first keys, unless there are some; several servers may start at once."""
    session.execute(_ONE_AT_A_TIME)
    if not session.execute(select(_table.c.kid).where(_table.c.state == "current")).all():
        _add(session, state="current")
    if not session.execute(select(_table.c.kid).where(_table.c.state == "next")).all():
        _add(session, state="next")


def rotate_keys(session: Session) -> str:
    """Retire the current key, sign with the next one from now on, and make another; returns its id.

    Servers take it up within half a minute; what the retired key signed verifies until it expires.
    """
    ensure_keys(session)
    retired = update(_table).where(_table.c.state == "current")
    session.execute(retired.values(state="retired", retired_at=func.now()))
    promoted = update(_table).where(_table.c.state == "next").values(state="current")
    kid: str = session.execute(promoted.returning(_table.c.kid)).scalar_one()
    _add(session, state="next")
    return kid


class KeyRing:
    """A process's copy of the keys, looked up anew now and then."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys: _Keys | None = None
        self._looking = threading.Lock()

    def signing(self) -> ECKey:
        """The key to sign with; made if the database has none yet."""
        return self._at_most_old(_LOOK_EVERY).current

    def verifying(self, kid: str) -> ECKey | None:
        """The key of that id, if tokens that it signed are to be believed."""
        found = self._at_most_old(_LOOK_EVERY).by_id.get(kid)
        if found is None:
            found = self._at_most_old(_LOOK_FOR_UNKNOWN_EVERY).by_id.get(kid)
        return found

    def that_ever_signed(self, kid: str) -> ECKey | None:
        """The key of that id, however long ago it was retired: for what is presented long after."""
        found = self._at_most_old(_LOOK_EVERY).by_id.get(kid)
        if found is None and _KID.fullmatch(kid):
            with self._database.reading() as session:
                jwk = session.execute(
                    select(_table.c.private_jwk).where(_table.c.kid == kid)
                ).scalar_one_or_none()
            found = None if jwk is None else ECKey.import_key(jwk)
        return found

    def public(self) -> dict[str, list[dict[str, Any]]]:
        """The public halves as a JWK Set (RFC 7517)."""
        keys = self._at_most_old(_LOOK_EVERY).by_id.values()
        return {"keys": [key.as_dict(private=False) for key in keys]}

    def _at_most_old(self, seconds: float) -> _Keys:
        known = self._keys
        if known is None or time.monotonic() - known.looked_at > seconds:
            with self._looking:
                # Another thread may have looked while this one waited.
                if self._keys is known:
                    self._keys = self._look()
                known = self._keys
        assert known is not None, "a look gives keys or raises"
        return known

    def _look(self) -> _Keys:
        with self._database.reading() as session:
            found = _load(session)
        if found is None:
            with self._database.unit_of_work() as session:
                ensure_keys(session)
                found = _load(session)
        assert found is not None, "keys were just made"
        return found


def _load(session: Session) -> _Keys | None:
    recent = func.now() - _RETIRED_FOR
    rows = session.execute(
        select(_table.c.kid, _table.c.private_jwk, _table.c.state)
        .where((_table.c.state != "retired") | (_table.c.retired_at > recent))
        .order_by(_table.c.created_at, _table.c.kid)
    ).all()
    by_id = {row.kid: ECKey.import_key(row.private_jwk) for row in rows}
    current = [row.kid for row in rows if row.state == "current"]
    return _Keys(by_id[current[0]], by_id) if current else None


def _add(session: Session, *, state: str) -> None:
    key = ECKey.generate_key(CURVE, {"use": "sig", "alg": ALGORITHM}, private=True, auto_kid=True)
    session.execute(insert(_table).values(kid=key.kid, private_jwk=key.as_dict(private=True), state=state))
