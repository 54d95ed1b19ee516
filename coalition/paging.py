"""Pages by keyset: a cursor is the key of a row, so that a page costs the same wherever it begins.

Offsets are never used: rows that arrive while someone pages would shift them, and far pages would cost most.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import orjson

from coalition.errors import InvalidInput

T = TypeVar("T")

DEFAULT_SIZE: Final = 20
LARGEST_SIZE: Final = 100
_LONGEST_CURSOR: Final = 400

Key = tuple[str, ...]
"""The columns of a row's key as texts, in the order by which the rows are sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """Which part of a list is wanted: so many rows strictly between two keys."""

    size: int = DEFAULT_SIZE
    after: Key | None = None
    before: Key | None = None
    backwards: bool = False
    """The last rows of that part in place of the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Some rows of a list, in the list's order."""

    items: Sequence[T]
    has_next: bool
    has_previous: bool


def page_request(
    *, first: int | None, after: str | None, last: int | None, before: str | None, key_length: int
) -> PageRequest:
    """What Relay's four arguments ask for.

    Raises:
        InvalidInput: a size is not within 1..100, both sizes are given, or a cursor is none of ours.
    """
    if first is not None and last is not None:
        raise InvalidInput("give first or last, not both", field=("last",))
    for name, size in (("first", first), ("last", last)):
        if size is not None and not 1 <= size <= LARGEST_SIZE:
            raise InvalidInput(f"{name} must be from 1 to {LARGEST_SIZE}", field=(name,))
    return PageRequest(
        size=first or last or DEFAULT_SIZE,
        after=None if after is None else key_in(after, name="after", length=key_length),
        before=None if before is None else key_in(before, name="before", length=key_length),
        backwards=last is not None,
    )


def page_of(request: PageRequest, fetch: Callable[[int], Sequence[T]]) -> Page[T]:
    """The page, of which `fetch` gets one row more than it has: whether that came is how we know of more.

    `fetch` returns rows in the list's order, also when they were sought backwards.
    """
    rows = fetch(request.size + 1)
    more = len(rows) > request.size
    if request.backwards:
        items = rows[-request.size :]
        return Page(items=items, has_next=request.before is not None, has_previous=more)
    return Page(items=rows[: request.size], has_next=more, has_previous=request.after is not None)


def cursor_of(key: Key) -> str:
    """The key as clients hold it: opaque to them."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).rstrip(b"=").decode()


def key_in(cursor: str, *, name: str, length: int) -> Key:
    """The key in a cursor.

    Raises:
        InvalidInput: it is no cursor of such a list.
    """
    key: object = None
    if len(cursor) <= _LONGEST_CURSOR:
        with contextlib.suppress(ValueError):  # not ASCII, not base64, or not JSON: all of them are
            key = orjson.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    if not isinstance(key, list) or len(key) != length or not all(isinstance(part, str) for part in key):
        raise InvalidInput(f"{name} is not a cursor of this list", field=(name,))
    return tuple(key)
