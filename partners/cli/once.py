"""What the operator has done at the command line, once under its key and with who had it done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from coalition.vault import blind_request
from partners import operations
from partners.on_behalf import COMMAND_LINE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy.orm import Session


def once_blindly(
    session: Session,
    name: str,
    asked: Mapping[str, Any],
    *,
    key: str | None,
    by: str,
    work: Callable[[], dict[str, Any]],
    forget: bool = False,
) -> tuple[dict[str, Any], bool]:
    """As `operations.once`, of what tells of somebody: whom it is about may be named by a phone number.

    Without a key it is a wish of its own. `by` is kept with the result.
    """
    blind = blind_request(session, asked)
    request, *former = ({name: one} for one in blind.requests)
    return operations.once(
        session,
        caller=COMMAND_LINE,
        key=key or str(uuid4()),
        name=name,
        request=request,
        former=former,
        blinded_by=blind.blinded_by,
        forget=forget,
        work=lambda: work() | {"by": by},
    )
