"""What a field costs, declared in the SDL: one unit per object, times the length of a list."""

from __future__ import annotations

import strawberry
from strawberry.schema_directive import Location


@strawberry.schema_directive(
    name="cost",
    locations=[Location.FIELD_DEFINITION],
    description="What resolving this field costs, in units; a field that answers an object costs 1, others"
    " 0.",
)
class Cost:
    """A field that costs other than its kind does."""

    weight: int = strawberry.directive_field(name="weight")


@strawberry.schema_directive(
    name="costPerLine",
    locations=[Location.FIELD_DEFINITION],
    description="What a batch costs more for each of its lines, whatever is asked of them.",
)
class CostPerLine:
    """A batch is as much work where nothing is asked of its lines."""

    weight: int = strawberry.directive_field(name="weight")


@strawberry.schema_directive(
    name="listSize",
    locations=[Location.FIELD_DEFINITION],
    description="How long a list is reckoned to be, and which arguments bound it. What lies below costs so"
    " many times.",
)
class ListSize:
    """A field that answers a list, or a page of one."""

    assumed_size: int = strawberry.directive_field(name="assumedSize")
    slicing_arguments: list[str] | None = strawberry.directive_field(name="slicingArguments", default=None)


PAGE_SIZE = 20
"""How many a page has where the caller says nothing."""
PAGE = ListSize(assumed_size=PAGE_SIZE, slicing_arguments=["first", "last"])
"""A connection."""
ONE = ListSize(assumed_size=1)
"""A list that holds one thing at most."""
BATCH = ListSize(assumed_size=1_000, slicing_arguments=["input.lines"])
"""What a batch answers: as many as it has lines."""
FEW = ListSize(assumed_size=10)
"""A plain list, of which there are few."""
PARTS = ListSize(assumed_size=100, slicing_arguments=["first"])
"""A plain list that can be long: so many of it at once."""
FEW_PARTS = ListSize(assumed_size=10, slicing_arguments=["first"])
"""Likewise, of which there are few but where the caller itself made more."""
WRITES = Cost(weight=10)
"""A mutation: a database transaction of its own."""
WRITES_LINE = CostPerLine(weight=1)
"""A line of a batch."""
OF_LINE = Cost(weight=0)
"""What a batch knows of a line when it was posted: the line has paid for it, and not for what lies below."""
