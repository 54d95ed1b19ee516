"""The path of the field at fault, which leads somewhere in the input that was given.

A refusal names its field by what most inputs call it. Where an input has that elsewhere the door says so
(`placed`); and what an input does not have at all is cut off before it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from graphql import GraphQLInputObjectType, GraphQLList, get_nullable_type

from coalition.errors import CoalitionError

if TYPE_CHECKING:
    from graphql import GraphQLArgument, GraphQLSchema


@contextmanager
def placed(*at: str, instead_of: tuple[str, ...] = ("member",)) -> Iterator[None]:
    """Say of a refusal's field that this input has it there, and not where most have it."""
    usual = ("input", *instead_of)
    try:
        yield
    except CoalitionError as refusal:
        if refusal.path[: len(usual)] == usual:
            refusal.path = ("input", *at, *refusal.path[len(usual) :])
        raise


def tell_paths_that_lead_somewhere(core: GraphQLSchema) -> None:
    """Have what answers with user errors tell no path that its arguments do not have."""
    for root in (core.query_type, core.mutation_type):
        for field in root.fields.values() if root else ():
            if "input" in field.args and field.resolve is not None:
                field.resolve = _telling(field.resolve, field.args)


def _telling(resolve: Callable[..., Any], arguments: dict[str, GraphQLArgument]) -> Callable[..., Any]:
    def resolved(source: Any, info: Any, **given: Any) -> Any:
        payload = resolve(source, info, **given)
        for told in (payload, *getattr(payload, "lines", ())):
            for error in told.user_errors:
                error.field = _as_far_as_it_leads(error.field or [], arguments)
        return payload

    return resolved


def _as_far_as_it_leads(path: list[str], arguments: dict[str, GraphQLArgument]) -> list[str] | None:
    """The path, or the part of it that there is; None where that is no field of an input."""
    kind: Any = None
    for length, step in enumerate(path):
        if length == 0 and step in arguments:
            kind = arguments[step].type
        elif isinstance(kind, GraphQLList) and step.isdecimal():
            kind = kind.of_type
        elif isinstance(kind, GraphQLInputObjectType) and step in kind.fields:
            kind = kind.fields[step].type
        else:
            path = path[:length]
            break
        kind = get_nullable_type(kind)
    return path if len(path) > 1 else None
