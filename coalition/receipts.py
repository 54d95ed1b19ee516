"""The receipt line that a posting belongs to: a partner's natural key for what it posts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from coalition.errors import InvalidInput

MAX_TEXT: Final = 64
MAX_NUMBER: Final = 2_147_483_647


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One line of one receipt. Unique per partner and kind, over all members.

    A receipt that was wholly reversed may be posted again with the next revision.

    Raises:
        InvalidInput: a part is empty, too long, negative, or too large.
    """

    store: str
    terminal: str
    number: str
    line: int = 1
    revision: int = 0

    def __post_init__(self) -> None:
        for name, text in (("store", self.store), ("terminal", self.terminal), ("number", self.number)):
            if not 1 <= len(text) <= MAX_TEXT or not text.isprintable():
                raise InvalidInput(
                    f"receipt.{name} must be 1 to {MAX_TEXT} printable characters",
                    field=("input", "receipt", name),
                )
        for name, count in (("line", self.line), ("revision", self.revision)):
            if not 0 <= count <= MAX_NUMBER:
                raise InvalidInput(
                    f"receipt.{name} must be from 0 to {MAX_NUMBER:,}", field=("input", "receipt", name)
                )

    def as_arguments(self) -> tuple[object, ...]:
        """Its parts in the order in which the kernel's functions take them."""
        return (self.store, self.terminal, self.number, self.line, self.revision)

    def as_request(self) -> dict[str, object]:
        """Its parts by name, for a request's fingerprint."""
        return {
            "store": self.store,
            "terminal": self.terminal,
            "number": self.number,
            "line": self.line,
            "revision": self.revision,
        }


NO_RECEIPT: Final = (None, None, None, None, None)
