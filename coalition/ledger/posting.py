"""The typed door to the kernel's functions: one call, one round trip, refusals as named errors."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson
import psycopg

from coalition.amounts import Points
from coalition.db.engine import driver_of
from coalition.errors import CoalitionError, DatabaseUnavailable, from_kernel
from coalition.ids import MemberId, TransactionId

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_REFUSED: Final = "CO001"
_TERMS_SUPERSEDED: Final = "CO002"
_TRIES: Final = 3


class TermsSuperseded(Exception):
    """The caller priced by an agreement that is not the one in force; look it up again and retry.

    Never reaches a user: it is how a cache of agreements learns that it is stale.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """A member's points in the whole network."""

    available: Points
    """Spendable now."""
    pending: Points
    """Issued, and not matured: the return period has not passed."""
    held: Points
    """Authorised for a redemption and not captured."""
    deficit: Points
    """Owed, because an issue was reversed after its points were spent."""
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionRef:
    """Where a transaction stands in the journal: its member, its window and its own id."""

    member_id: MemberId
    business_date: date
    transaction_id: TransactionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """What the kernel answers to a wish that it granted."""

    ref: TransactionRef
    replayed: bool
    """This wish was granted before; the answer is the one it got then."""
    points: Points
    recorded_at: datetime
    late: bool
    """It occurred before its window opened."""
    balance: Balance

    @property
    def member_id(self) -> MemberId:
        """The member whose points moved."""
        return self.ref.member_id

    @property
    def business_date(self) -> date:
        """The window in which it was recorded."""
        return self.ref.business_date

    @property
    def transaction_id(self) -> TransactionId:
        """The transaction's own id, within its member and window."""
        return self.ref.transaction_id


def call(session: Session, statement: str, arguments: Sequence[object]) -> list[tuple[Any, ...]]:
    """Run one kernel function on the session's own connection and return its rows.

    Straight through psycopg, as SQLAlchemy's share of a posting's time is larger than the posting's own
    (docs/decisions/0003). The session's transaction holds all the same.

    Raises:
        CoalitionError: the kernel refused; nothing has moved.
        TermsSuperseded: the caller's agreement is not in force.
    """
    try:
        return driver_of(session).execute(statement, arguments).fetchall()
    except psycopg.DatabaseError as error:
        raise refusal_of(error) or error from error


def call_again(session: Session, statement: str, arguments: Sequence[object]) -> list[tuple[Any, ...]]:
    """As `call`, and once more where what the function saw had changed by the time it had its locks.

    Somebody joined or left a pool, say, or was merged, while the function waited for that.

    Raises:
        CoalitionError: the kernel refused; nothing has moved.
        DatabaseUnavailable: it changed each time.
    """
    for _ in range(_TRIES):
        alone: contextlib.AbstractContextManager[object] = (
            contextlib.nullcontext() if driver_of(session).autocommit else session.begin_nested()
        )
        try:
            with alone:
                return call(session, statement, arguments)
        except TermsSuperseded:
            continue
    raise DatabaseUnavailable("Others change the same thing at this moment; try again shortly.")


def refusal_of(error: psycopg.Error) -> CoalitionError | TermsSuperseded | None:
    """The refusal that a database error carries, or None where it is a fault."""
    if error.sqlstate == _REFUSED:
        return from_kernel(error.diag.message_primary or "", orjson.loads(error.diag.message_detail or "{}"))
    if error.sqlstate == _TERMS_SUPERSEDED:
        return TermsSuperseded()
    return None


def posting_of(row: tuple[Any, ...]) -> Posting:
    """A row of the kernel's `posting` type."""
    (
        member_id,
        business_date,
        transaction_id,
        replayed,
        points,
        recorded_at,
        late,
        available,
        pending,
        held,
        deficit,
    ) = row
    return Posting(
        ref=TransactionRef(member_id=member_id, business_date=business_date, transaction_id=transaction_id),
        replayed=replayed,
        points=points,
        recorded_at=recorded_at,
        late=late,
        balance=Balance(available=available, pending=pending, held=held, deficit=deficit, as_of=recorded_at),
    )


def fingerprint(kind: str, request: Mapping[str, object]) -> bytes:
    """SHA-256 of what was asked, in one spelling: the same wish has the same fingerprint.

    Keys are sorted and values written as JSON (dates by RFC 3339, decimals and UUIDs as strings), so that
    the order in which a client wrote its fields does not make it another request.
    """
    wish = {"kind": kind, **request}
    return hashlib.sha256(
        orjson.dumps(wish, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)
    ).digest()
