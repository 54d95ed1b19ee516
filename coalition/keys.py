"""Idempotency keys: what a caller may name its wish by."""

from __future__ import annotations

from typing import Final

from coalition.errors import InvalidInput

MAX_KEY: Final = 255


def check_key(key: str, *, longest: int = MAX_KEY) -> None:
    """Refuse a key that cannot be stored and found again.

    Raises:
        InvalidInput: it is empty, longer than that, or has unprintable characters.
    """
    if not 1 <= len(key) <= longest or not key.isprintable():
        raise InvalidInput(
            f"idempotencyKey must be 1 to {longest} printable characters", field=("input", "idempotencyKey")
        )
