"""Relay: objects that can be fetched again by id, and lists in pages."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Generic, TypeVar

import strawberry

from coalition.errors import InvalidInput
from coalition.paging import Page, PageRequest, cursor_of, page_request

T = TypeVar("T")

First = Annotated[
    int | None,
    strawberry.argument(description="How many from the start, 1 to 100; 20 where nothing is said."),
]
After = Annotated[str | None, strawberry.argument(description="Only what comes after this cursor.")]
Last = Annotated[int | None, strawberry.argument(description="How many from the end, 1 to 100.")]
Before = Annotated[str | None, strawberry.argument(description="Only what comes before this cursor.")]


MOST_PARTS: Final = 100
"""How many of a list that is no connection are answered at once."""
FirstParts = Annotated[int, strawberry.argument(description="How many, 1 to 100; 100 where nothing is said.")]
SkippedParts = Annotated[
    int,
    strawberry.argument(description="So many from the start are left out: for those after the first 100."),
]


@strawberry.interface(description="An object that `node` fetches again by its id.")
class Node:
    """What has a global id."""

    id: strawberry.ID = strawberry.field(description="Opaque, unique over all types, and lasting.")


@strawberry.type(description="Where a page stands in its list (Relay).")
class PageInfo:
    """Relay's page information."""

    has_next_page: bool = strawberry.field(description="Whether more come after this page.")
    has_previous_page: bool = strawberry.field(description="Whether more come before this page.")
    start_cursor: str | None = strawberry.field(description="The cursor of the page's first edge.")
    end_cursor: str | None = strawberry.field(description="The cursor of the page's last edge.")


@strawberry.type(description="One place in a list.")
class Edge(Generic[T]):
    """A node and its cursor."""

    cursor: str = strawberry.field(description="Where it stands; opaque.")
    node: T = strawberry.field(description="What stands there.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    """Relay's connection, with its nodes at hand for those who need no cursors."""

    edges: list[Edge[T]] = strawberry.field(description="What is on the page, with cursors.")
    nodes: list[T] = strawberry.field(description="What is on the page.")
    page_info: PageInfo = strawberry.field(description="Where the page stands.")


def asked_page(
    *, first: int | None, after: str | None, last: int | None, before: str | None, key_length: int = 1
) -> PageRequest:
    """What Relay's arguments ask for; InvalidInput where they make no sense."""
    return page_request(first=first, after=after, last=last, before=before, key_length=key_length)


def connection(page: Page[Any], keys: list[tuple[str, ...]], nodes: list[Any]) -> Any:
    """The page as a connection: one key and one node for each of its items."""
    cursors = [cursor_of(key) for key in keys]
    return Connection(
        edges=[Edge(cursor=cursor, node=node) for cursor, node in zip(cursors, nodes, strict=True)],
        nodes=nodes,
        page_info=PageInfo(
            has_next_page=page.has_next,
            has_previous_page=page.has_previous,
            start_cursor=cursors[0] if cursors else None,
            end_cursor=cursors[-1] if cursors else None,
        ),
    )


def part_of(found: Sequence[T], *, first: int, skip: int) -> Sequence[T]:
    """So many of a list that only grows at its end; InvalidInput where that makes no sense."""
    if not 1 <= first <= MOST_PARTS:
        raise InvalidInput(f"first must be from 1 to {MOST_PARTS}", field=("first",))
    if skip < 0:
        raise InvalidInput("skip must not be negative", field=("skip",))
    return found[skip : skip + first]
