"""Idempotency keys: what a caller may name its wish by."""

from __future__ import annotations

from typing import Final

from coalition.errors import InvalidInput

MAX_KEY: Final = 255


def check_key(key: str) -> None:
    """Refuse a key that cannot be stored and found again.

    Raises:
        InvalidInput: it is empty, longer than 255 characters, or has unprintable ones.
    """
    if not 1 <= len(key) <= MAX_KEY or not key.isprintable():
        raise InvalidInput(
            f"idempotencyKey must be 1 to {MAX_KEY} printable characters", field=("input", "idempotencyKey")
        )
