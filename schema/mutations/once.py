"""A wish that is no posting, done once however often it is sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from coalition.vault import blind_request
from partners import operations

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from schema.context import Context, Outcome


def once(
    context: Context, wish: Any, work: Callable[[Session], dict[str, Any]], *, forget: bool = False
) -> Outcome[tuple[dict[str, Any], bool]]:
    """Do it in one database transaction unless this caller had it done under its key.

    The request is the whole input under its type's name, so that a key used for another mutation conflicts.
    Where the input has personal data, what is kept of the request cannot be guessed from its fingerprint;
    nothing is, with `forget`. Returns what the work stored, and whether it was stored before.
    """
    asked = dataclasses.asdict(wish)
    key = str(asked.pop("idempotency_key"))
    operation = type(wish).__name__

    def act(session: Session) -> tuple[dict[str, Any], bool]:
        blind = blind_request(session, asked) if _is_personal(asked) else None
        kept = (asked,) if blind is None else blind.requests
        request, *former = ({"operation": operation, "input": one} for one in kept)
        return operations.once(
            session,
            caller=context.viewer.name,
            key=key,
            name=operation,
            request=request,
            former=former,
            blinded_by=None if blind is None else blind.blinded_by,
            forget=forget,
            work=lambda: work(session),
        )

    return context.execute(act, context.attempt(operation.removesuffix("Input")))


_PERSONAL: Final = frozenset({"identifier", "identifiers", "profile", "reason", "note", "name"})
"""What somebody is known by, and what may be told of somebody in free words."""


def _is_personal(asked: object) -> bool:
    """Whether it holds such a thing, at any depth."""
    if isinstance(asked, dict):
        return any((name in _PERSONAL and value) or _is_personal(value) for name, value in asked.items())
    return isinstance(asked, list) and any(_is_personal(one) for one in asked)
