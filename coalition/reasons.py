"""Reasons in somebody's own words."""

from __future__ import annotations

from typing import Final

from coalition.errors import InvalidInput

LONGEST: Final = 200


def check_reason(reason: str | None) -> None:
    """See that a reason, where one is given, can be stored and shown.

    Raises:
        InvalidInput: it is empty, longer than 200 characters, or has some that do not print.
    """
    if reason is not None and not (1 <= len(reason) <= LONGEST and reason.isprintable()):
        raise InvalidInput(f"reason must be 1 to {LONGEST} printable characters", field=("input", "reason"))
