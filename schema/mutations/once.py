"""A wish that is no posting, done once however often it is sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from partners import operations

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from schema.context import Context, Outcome


def once(
    context: Context, wish: Any, work: Callable[[Session], dict[str, Any]]
) -> Outcome[tuple[dict[str, Any], bool]]:
    """Do it in one database transaction unless this caller had it done under its key.

    The request is the whole input under its type's name, so that a key used for another mutation conflicts.
    Returns what the work stored, and whether it was stored before.
    """
    asked = dataclasses.asdict(wish)
    key = str(asked.pop("idempotency_key"))
    request = {"operation": type(wish).__name__, "input": asked}
    return context.execute(
        lambda session: operations.once(
            session, caller=context.viewer.name, key=key, request=request, work=lambda: work(session)
        ),
        context.attempt(type(wish).__name__.removesuffix("Input")),
    )
