"""How much a document may ask: its depth, fields, aliases and cost, known before anything is validated.

Each fragment is measured once, however often it is spread, so that the work grows with the document's
length and not with what its fragments unfold to. (The usual limiters walk each spread: 750 bytes of
fragments that spread each other keep them busy for seconds.) What unfolds to too much is turned away here,
so that validation, which compares fields in pairs, only ever sees what is small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    is_composite_type,
    is_interface_type,
    is_object_type,
)
from graphql.language import DocumentNode

from schema.cost import BATCH, Cost, CostPerLine, ListSize

MAX_TOKENS: Final = 2_000
MAX_DEPTH: Final = 16
MAX_FIELDS: Final = 300
MAX_ALIASES: Final = 30
MAX_COST: Final = 5_000
LARGEST_PAGE: Final = 100
MAX_INLINE: Final = MAX_TOKENS // 12
"""So many lines of a batch can be written into a document; a line has at least so many tokens."""


def refusal(code: str, message: str) -> GraphQLError:
    """The error of a limit."""
    return GraphQLError(message, extensions={"code": code})


@dataclass(frozen=True, slots=True)
class Measure:
    """What a selection unfolds to."""

    depth: int = 0
    fields: int = 0
    aliases: int = 0
    cost: int = 0

    def beside(self, other: Measure) -> Measure:
        """Both selections together."""
        return Measure(
            max(self.depth, other.depth),
            self.fields + other.fields,
            self.aliases + other.aliases,
            self.cost + other.cost,
        )


NOTHING: Final = Measure()


def check(measure: Measure) -> None:
    """Turn away what is too much.

    Raises:
        GraphQLError: with the limit, in the order depth, fields, aliases, cost.
    """
    for code, what, found, limit in (
        ("TOO_DEEP", "levels deep", measure.depth, MAX_DEPTH),
        ("TOO_MANY_FIELDS", "fields long, its fragments unfolded", measure.fields, MAX_FIELDS),
        ("TOO_MANY_ALIASES", "aliases long, its fragments unfolded", measure.aliases, MAX_ALIASES),
        ("TOO_COSTLY", "units of cost", measure.cost, MAX_COST),
    ):
        if found > limit:
            shown = found if found < 10**9 else "more than a thousand million"
            raise refusal(code, f"The operation is {shown} {what}; {limit} is the limit.")


class Meter:
    """Measures one document's operations; made for one document, as it remembers its fragments."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._known: dict[str, Measure] = {}
        self._measuring: set[str] = set()
        self._variables: Mapping[str, Any] = {}
        self.depends_on_variables = False
        """Whether a page's length was given as a variable: then the cost is each request's own."""

    def measure(
        self, operation: OperationDefinitionNode, variables: Mapping[str, Any] | None = None
    ) -> Measure:
        """What the operation unfolds to; without its variables, pages are reckoned at their default."""
        self._known = {}
        self._variables = {} if variables is None else {**_defaults(operation), **variables}
        root = {
            OperationType.QUERY: self._schema.query_type,
            OperationType.MUTATION: self._schema.mutation_type,
        }.get(operation.operation)
        return self._selection(operation.selection_set, root, 0)

    def fragments(self) -> list[Measure]:
        """What each fragment of the document unfolds to, spread or not."""
        return [self._fragment(name, 0) for name in self._fragments]

    def _selection(self, selection: SelectionSetNode, parent: Any, level: int) -> Measure:
        # A document this deep is turned away whatever it costs, and recursion stays shallow.
        if level > MAX_DEPTH * 2:
            return Measure(depth=MAX_DEPTH + 1)
        total = NOTHING
        for node in selection.selections:
            match node:
                case FieldNode():
                    part = self._field(node, parent, level)
                case FragmentSpreadNode():
                    part = self._fragment(node.name.value, level)
                case InlineFragmentNode():
                    inner = self._type(node.type_condition.name.value) if node.type_condition else parent
                    part = _counted(self._selection(node.selection_set, inner, level + 1))
                case _:
                    part = NOTHING
            total = total.beside(part)
        return total

    def _fragment(self, name: str, level: int) -> Measure:
        if name in self._measuring or name not in self._fragments:
            return Measure(fields=1)  # a cycle, or unknown: validation says so
        if name not in self._known:
            fragment = self._fragments[name]
            self._measuring.add(name)
            self._known[name] = self._selection(
                fragment.selection_set, self._type(fragment.type_condition.name.value), level + 1
            )
            self._measuring.discard(name)
        return _counted(self._known[name])

    def _field(self, node: FieldNode, parent: Any, level: int) -> Measure:
        field = None
        if is_object_type(parent) or is_interface_type(parent):
            field = parent.fields.get(node.name.value)
        kind = get_named_type(field.type) if field else _meta_type(node, self._schema)
        own, times = self._weight(node, field, kind)
        below = self._selection(node.selection_set, kind, level + 1) if node.selection_set else NOTHING
        return Measure(
            depth=below.depth + 1,
            fields=below.fields + 1,
            aliases=below.aliases + (node.alias is not None),
            cost=own + times * below.cost,
        )

    def _weight(self, node: FieldNode, field: Any, kind: Any) -> tuple[int, int]:
        """The field's own cost, and how many times what lies below it counts."""
        own = 1 if is_composite_type(kind) and not kind.name.startswith("__") else 0
        if field is None:
            return own, 1
        definition = field.extensions.get("strawberry-definition")
        times = 1
        lines = 0
        for directive in definition.directives if definition else ():
            if isinstance(directive, Cost):
                own = directive.weight
            elif isinstance(directive, CostPerLine):
                lines += directive.weight * self._length(node, BATCH)
            elif isinstance(directive, ListSize):
                times = self._length(node, directive)
        return own + lines, times

    def _length(self, node: FieldNode, size: ListSize) -> int:
        if size == BATCH:
            return min(self._longest_list(), size.assumed_size)
        for argument in node.arguments or ():
            if argument.name.value in (size.slicing_arguments or ()):
                return min(max(self._number(argument.value, size.assumed_size), 1), LARGEST_PAGE)
        return size.assumed_size

    def _longest_list(self) -> int:
        """No shorter than a list that is given: in the variables, or in the document, which is short."""
        self.depends_on_variables = True
        given = [
            part
            for value in self._variables.values()
            for part in (value, value.get("lines") if isinstance(value, Mapping) else None)
        ]
        return max(MAX_INLINE, *(len(part) for part in given if isinstance(part, list)), 0)

    def _number(self, value: Any, otherwise: int) -> int:
        if isinstance(value, IntValueNode) and len(value.value) < len("1000000000"):
            return int(value.value)
        if isinstance(value, VariableNode):
            self.depends_on_variables = True
            given = self._variables.get(value.name.value, otherwise)
            return given if isinstance(given, int) else otherwise
        return otherwise

    def _type(self, name: str) -> Any:
        return self._schema.type_map.get(name)


def _defaults(operation: OperationDefinitionNode) -> dict[str, Any]:
    """The numbers that the operation gives its variables where the request says nothing."""
    return {
        one.variable.name.value: int(one.default_value.value)
        for one in operation.variable_definitions or ()
        if isinstance(one.default_value, IntValueNode) and len(one.default_value.value) < len("1000000000")
    }


def _counted(inner: Measure) -> Measure:
    """A fragment counts as a field itself, or many that hold nothing would cost nothing."""
    return Measure(inner.depth, inner.fields + 1, inner.aliases, inner.cost)


def _meta_type(node: FieldNode, schema: GraphQLSchema) -> GraphQLObjectType | None:
    name = {"__schema": "__Schema", "__type": "__Type"}.get(node.name.value)
    found = schema.type_map.get(name) if name else None
    return found if isinstance(found, GraphQLObjectType) else None
