"""Documents ready to run: parsed, measured and validated once, and kept while they are used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from threading import Lock
from typing import Any, Final

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    parse,
    specified_rules,
    validate,
)
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from schema.web.limits import MAX_DEPTH, MAX_TOKENS, Measure, Meter, check, refusal

# Built once: a rule class made anew for each request would be another rule to every cache.
# (The specified ones hold the limit on nested introspection.)
_RULES: Final = (*specified_rules, OneOfInputValidationRule)
_MAX_ERRORS: Final = 10
_LONGEST_KEPT: Final = 16_384
_KEPT: Final = 512


class DocumentRefused(Exception):
    """A document that will not be run, with why."""

    def __init__(self, status: HTTPStatus, errors: list[GraphQLError]) -> None:
        super().__init__(errors[0].message)
        self.status = status
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a document, and what it costs."""

    schema: GraphQLSchema
    document: DocumentNode
    node: OperationDefinitionNode
    measure: Measure
    depends_on_variables: bool

    def cost(self, variables: Mapping[str, Any]) -> int:
        """What it costs with these variables.

        Raises:
            GraphQLError: too much.
        """
        if not self.depends_on_variables:
            return self.measure.cost
        measure = Meter(self.schema, self.document).measure(self.node, variables)
        check(measure)
        return measure.cost


@dataclass(frozen=True, slots=True)
class Document:
    """A valid document."""

    ast: DocumentNode
    operations: Mapping[str | None, Operation]

    def operation(self, name: str | None) -> Operation:
        """The operation to run.

        Raises:
            DocumentRefused: there is none of that name, or several and no name was given.
        """
        if name is None and len(self.operations) == 1:
            return next(iter(self.operations.values()))
        found = self.operations.get(name) if name is not None else None
        if found is None:
            why = "operationName must name one of the document's operations."
            raise DocumentRefused(HTTPStatus.UNPROCESSABLE_ENTITY, [refusal("OPERATION_UNKNOWN", why)])
        return found


class Documents:
    """A bounded cache of documents by their text; safe for threads."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._kept: OrderedDict[str, Document] = OrderedDict()
        self._lock = Lock()

    def get(self, text: str) -> Document:
        """The document, from the cache or made.

        Raises:
            DocumentRefused: it can't be parsed (400), or is too much or invalid (422).
        """
        with self._lock:
            if (found := self._kept.get(text)) is not None:
                self._kept.move_to_end(text)
                return found
        document = self._made(text)
        if len(text) <= _LONGEST_KEPT:
            with self._lock:
                self._kept[text] = document
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return document

    def _made(self, text: str) -> Document:
        try:
            ast = parse(text, max_tokens=MAX_TOKENS)
        except GraphQLError as error:
            raise _unparsable(error) from error
        except RecursionError as error:
            raise _too_deep() from error
        operations = self._measured(ast)
        errors = validate(self._schema, ast, rules=_RULES, max_errors=_MAX_ERRORS, hide_suggestions=False)
        if errors:
            raise DocumentRefused(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                [_coded(error, "GRAPHQL_VALIDATION_FAILED") for error in errors],
            )
        return Document(ast, operations)

    def _measured(self, ast: DocumentNode) -> dict[str | None, Operation]:
        operations: dict[str | None, Operation] = {}
        try:
            for node in ast.definitions:
                if isinstance(node, OperationDefinitionNode):
                    meter = Meter(self._schema, ast)
                    measure = meter.measure(node)
                    check(measure)
                    name = node.name.value if node.name else None
                    operations[name] = Operation(self._schema, ast, node, measure, meter.depends_on_variables)
            # A fragment that no operation spreads is validated too.
            for measure in Meter(self._schema, ast).fragments():
                check(measure)
        except GraphQLError as error:
            raise DocumentRefused(HTTPStatus.UNPROCESSABLE_ENTITY, [error]) from error
        except RecursionError as error:
            raise _too_deep() from error
        return operations


def _unparsable(error: GraphQLError) -> DocumentRefused:
    if "more than" in error.message and "tokens" in error.message:
        return DocumentRefused(
            HTTPStatus.BAD_REQUEST,
            [refusal("TOO_LONG", f"The document is longer than {MAX_TOKENS} tokens.")],
        )
    if "nested too deeply" in error.message:
        return _too_deep()
    return DocumentRefused(HTTPStatus.BAD_REQUEST, [_coded(error, "GRAPHQL_PARSE_FAILED")])


def _too_deep() -> DocumentRefused:
    return DocumentRefused(
        HTTPStatus.BAD_REQUEST,
        [refusal("TOO_DEEP", f"The document is nested deeper than {MAX_DEPTH} levels.")],
    )


def _coded(error: GraphQLError, code: str) -> GraphQLError:
    error.extensions = {**(error.extensions or {}), "code": code}
    return error
