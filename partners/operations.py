"""Idempotency of what is not a posting: an operator's mutations, and enrolment.

The scope of a key is its caller. The answer is stored in the operation's own transaction and kept for
good, so that a retry gets it again and two at once have one effect.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from coalition.errors import IdempotencyConflict
from coalition.keys import check_key
from coalition.ledger import fingerprint
from coalition.ledger.posting import call
from partners import tables

_table = tables.operation

_FORGOTTEN_AT_ONCE: Final = 1_000
_NAME: Final = "operation"

# The separator cannot stand in either part, so that no two pairs spell the same.
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:caller || E'\\n' || :key, 4711))")


def once(
    session: Session,
    *,
    caller: str,
    key: str,
    name: str,
    request: Mapping[str, object],
    former: Sequence[Mapping[str, object]] = (),
    blinded_by: int | None = None,
    forget: bool = False,
    work: Callable[[], dict[str, Any]],
) -> tuple[dict[str, Any], bool]:
    """Do the work unless this caller had it done under this key; returns its result, and whether it was.

    A request that tells of a person comes blinded, by a key of the vault's index: `former` are the same
    request by another key, while that one is being replaced. Once a key is gone, what it blinded is forgotten
    (`forget_requests`), and of such an operation the key, and what is done (`name`), alone count. So it
    is once the person was erased, and from the start with `forget`, of the erasure itself.

    The result is JSON (ids of what was made) and holds no secret: a replay would show it again. The
    session is a unit of work, since the answer must be stored with the effect or not at all.

    Raises:
        InvalidInput: the key cannot be stored.
        IdempotencyConflict: the caller used the key for a different request.
    """
    check_key(key)
    asked = fingerprint("operation", request)
    # The lock in a statement of its own: one that waited would not see what the holder stored.
    session.execute(_LOCK, {"caller": caller, "key": key})
    stored = session.execute(
        select(_table.c.fingerprint, _table.c.result).where(_table.c.caller == caller, _table.c.key == key)
    ).one_or_none()
    if stored is not None:
        known = {None, asked, *(fingerprint("operation", one) for one in former)}
        if stored.fingerprint not in known or stored.result.get(_NAME, name) != name:
            raise IdempotencyConflict
        return stored.result, True
    result = work() | {_NAME: name}
    kept = None if forget and blinded_by is not None else asked
    session.execute(
        insert(_table).values(caller=caller, key=key, fingerprint=kept, result=result, blinded_by=blinded_by)
    )
    return result, False


def find_results(session: Session, *, caller: str, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    """What came of what this caller had done under each of these keys, where anything was."""
    rows = session.execute(
        select(_table.c.key, _table.c.result).where(_table.c.caller == caller, _table.c.key.in_(keys))
    )
    return {row.key: row.result for row in rows}


def forget_requests(session: Session, generation: int) -> int:
    """Forget some of what was asked that index keys before this generation blinded; returns how much."""
    [(forgotten,)] = call(session, "SELECT ledger.forget_requests(%s, %s)", (generation, _FORGOTTEN_AT_ONCE))
    return int(forgotten)
