"""The SDL is what a partner's developer reads: nothing of it is left unsaid."""

from collections.abc import Iterator
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    build_schema,
    is_specified_directive,
    is_specified_scalar_type,
)

from schema import graph


def parts_of(kind: Any) -> Iterator[tuple[str, str | None]]:
    """What a type consists of, by the rest of its path."""
    if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
        for name, field in kind.fields.items():
            yield f".{name}", field.description
            for argument_name, argument in field.args.items():
                yield f".{name}({argument_name})", argument.description
    elif isinstance(kind, GraphQLInputObjectType):
        for name, part in kind.fields.items():
            yield f".{name}", part.description
    elif isinstance(kind, GraphQLEnumType):
        for name, value in kind.values.items():
            yield f".{name}", value.description


def spoken_of(sdl: str) -> Iterator[tuple[str, str | None]]:
    """Each thing that can have a description, by its path, and what it says."""
    schema = build_schema(sdl)
    for name, kind in schema.type_map.items():
        if name.startswith("__") or is_specified_scalar_type(kind):
            continue
        yield name, kind.description
        for path, says in parts_of(kind):
            yield f"{name}{path}", says
    for directive in schema.directives:
        # Strawberry takes no text for a directive's arguments: the directive's own says what they are.
        if not is_specified_directive(directive) and directive.name != "oneOf":  # GraphQL's own
            yield f"@{directive.name}", directive.description


def test_everything_in_the_sdl_says_what_it_is() -> None:
    found = dict(spoken_of(graph.sdl(graph.build())))
    assert len(found) > 1_000
    assert [path for path, says in found.items() if not (says or "").strip()] == []


def test_the_text_of_an_input_is_more_than_its_name() -> None:
    found = dict(spoken_of(graph.sdl(graph.build())))
    inputs = {path: says or "" for path, says in found.items() if path.endswith("(input)")}
    assert len(inputs) == len(set(inputs.values())) > 40
    assert [path for path, says in inputs.items() if len(says.split()) < 6] == []


def test_a_missing_text_is_found_wherever_it_is() -> None:
    bare = """
        directive @cost(weight: Int!) on FIELD_DEFINITION
        "q" type Query { "f" f(a: In, "b" b: Int): E!  g: Int }
        input In { x: Int }
        enum E { A "b" B }
    """
    missing = {path for path, says in spoken_of(bare) if not says}
    assert missing == {"@cost", "Query.f(a)", "Query.g", "In", "In.x", "E", "E.A"}
