"""The endpoint `/graphql`: HTTP to GraphQL and back.

The event loop only reads and writes; everything else of a request, its database calls included, runs in
one visit to a worker thread. It is a view of our own, at a third of what the framework's costs, and it
answers whatever it is sent with a status and a code.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import orjson
import psycopg
from graphql import ExecutionResult, GraphQLError, GraphQLSchema, OperationType, execute
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from starlette.requests import Request
from starlette.responses import Response

from coalition.config import SettingsError
from coalition.db.engine import unavailable
from coalition.db.needs import misses_something
from coalition.errors import CoalitionError, DatabaseUnavailable
from schema.context import UNSTORABLE, cannot_be_stored
from schema.web.authentication import bearer_of
from schema.web.documents import DocumentRefused, Documents
from schema.web.faults import RequestFault, database_unavailable, setting_missing
from schema.web.limits import MAX_COST
from schema.web.request import (
    GRAPHQL_JSON,
    PLAIN_JSON,
    GraphQLRequest,
    body_of,
    from_address,
    from_body,
    negotiated,
)

if TYPE_CHECKING:
    from partners.tokens import Principal
    from schema.context import Context

log = logging.getLogger(__name__)

PARTIAL_SUCCESS: Final = 294  # GraphQL over HTTP, "Partial success"
_MAX_COERCION_ERRORS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back, and what the log tells of it."""

    status: int
    body: Mapping[str, Any]
    media: str = PLAIN_JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """As Starlette sends it."""
        return Response(
            orjson.dumps(self.body),
            status_code=self.status,
            headers={"Cache-Control": "no-store", **self.headers},
            media_type=f"{self.media}; charset=utf-8",
        )


class GraphQLView:
    """Serves one schema."""

    def __init__(
        self,
        schema: GraphQLSchema,
        *,
        authenticate: Callable[[Request], Principal],
        make_context: Callable[[Principal, str], Context],
        workers: Executor,
    ) -> None:
        self._schema = schema
        self._documents = Documents(schema)
        self._authenticate = authenticate
        self._make_context = make_context
        self._workers = workers

    async def __call__(self, request: Request) -> Response:
        """Answer one HTTP request."""
        request_id: str = request.state.request_id
        try:
            media = negotiated(request.headers)
            bearer_of(request)  # without a token nothing is read
            body = await body_of(request) if request.method == "POST" else None
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._workers, self._answer, request, media, body)
        except RequestFault as fault:
            answer = turned_away(fault, request_id)
        return answer.response()

    def _answer(self, request: Request, media: str, body: bytes | None) -> Answer:
        """All that is done for a request, in a worker thread."""
        request_id: str = request.state.request_id
        try:
            principal = self._authenticate(request)
            asked = from_address(request) if body is None else from_body(body)
            request.state.operation = asked.operation_name
            return self._executed(request, asked, principal, media)
        except RequestFault as fault:
            return turned_away(fault, request_id)
        except DocumentRefused as refused:
            return _request_error(refused.status, refused.errors, media, request_id)
        except DatabaseUnavailable as error:
            return turned_away(database_unavailable(error.message), request_id)
        except (DBAPIError, psycopg.Error, PoolExhausted) as error:
            if (lost := unavailable(error)) is None:
                raise
            return turned_away(database_unavailable(lost.message), request_id)
        except SettingsError as error:
            return without_setting(error, request_id)

    def _executed(self, request: Request, asked: GraphQLRequest, principal: Principal, media: str) -> Answer:
        request_id: str = request.state.request_id
        document = self._documents.get(asked.query)
        operation = document.operation(asked.operation_name)
        if operation.node.name is not None:
            request.state.operation = operation.node.name.value
        if request.method == "GET" and operation.node.operation is not OperationType.QUERY:
            raise RequestFault(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "METHOD_NOT_ALLOWED",
                "Send mutations by POST.",
                headers={"Allow": "POST"},
            )
        try:
            cost = operation.cost(asked.variables)
        except GraphQLError as error:
            return _request_error(HTTPStatus.UNPROCESSABLE_ENTITY, [error], media, request_id)
        with self._make_context(principal, request_id) as context:
            result = execute(
                self._schema,
                document.ast,
                context_value=context,
                variable_values=dict(asked.variables),
                operation_name=asked.operation_name,
                max_coercion_errors=_MAX_COERCION_ERRORS,
                is_awaitable=_never,
            )
            assert isinstance(result, ExecutionResult), "no resolver is asynchronous"
            for found in result.errors or ():
                # Resolvers' errors are collected and not raised: the context must see a lost connection, to
                # heal it. What moved before has its own idempotency key: the caller sends the whole again.
                if (cause := _cause(found)) is not None and _is_operational(cause):
                    raise cause
        return _answer_of(result, media, request_id, {"requested": cost, "limit": MAX_COST})


def turned_away(fault: RequestFault, request_id: str) -> Answer:
    """The answer to a request that was not executed."""
    body = {"errors": fault.as_errors(), "extensions": {"requestId": request_id}}
    return Answer(status=fault.status, body=body, headers=fault.headers)


def without_setting(error: SettingsError, request_id: str) -> Answer:
    """The answer where this server's settings do not do, such as without the key of what is to be read."""
    log.error("a request was turned away: %s", error, extra={"request_id": request_id})
    return turned_away(setting_missing(), request_id)


def _request_error(status: HTTPStatus, errors: list[GraphQLError], media: str, request_id: str) -> Answer:
    """The answer to a GraphQL request error: no `data`.

    A client that takes `application/json` alone cannot tell our 4xx from that of something in between, so it
    gets 200 (GraphQL over HTTP, "application/json").
    """
    body = {"errors": [error.formatted for error in errors], "extensions": {"requestId": request_id}}
    return Answer(status=status if media == GRAPHQL_JSON else HTTPStatus.OK, body=body, media=media)


def _answer_of(result: ExecutionResult, media: str, request_id: str, cost: dict[str, int]) -> Answer:
    errors = result.errors or []
    if result.data is None and errors and all(error.path is None for error in errors):
        for error in errors:
            error.extensions = {"code": "VARIABLES_INVALID", **(error.extensions or {})}
        return _request_error(HTTPStatus.UNPROCESSABLE_ENTITY, errors, media, request_id)
    body: dict[str, Any] = {"data": result.data}
    if errors:
        body["errors"] = [_shown(error, request_id) for error in errors]
    body["extensions"] = {"requestId": request_id, "cost": cost}
    # Clients of application/json are used to 200 whenever there is data.
    partial = bool(errors) and media == GRAPHQL_JSON
    return Answer(status=PARTIAL_SUCCESS if partial else HTTPStatus.OK, body=body, media=media)


def _shown(error: GraphQLError, request_id: str) -> dict[str, Any]:
    """The error as the client sees it: what we raised for it to see, and nothing of any other."""
    shown: dict[str, Any] = dict(error.formatted)
    cause = _cause(error)
    if isinstance(cause, CoalitionError):
        shown["message"] = cause.message
        shown["extensions"] = {"code": cause.code}
    elif cause is not None and cannot_be_stored(cause):
        shown["message"] = UNSTORABLE
        shown["extensions"] = {"code": "BAD_ARGUMENT"}
    elif cause is not None:
        log.error("unexpected exception in a resolver", exc_info=cause, extra={"request_id": request_id})
        shown["message"] = f"Something went wrong here. The request's id is {request_id}."
        shown["extensions"] = {"code": "INTERNAL"}
    elif "code" not in shown.get("extensions", {}):
        shown["extensions"] = {**shown.get("extensions", {}), "code": "BAD_ARGUMENT"}
    return shown


def _cause(error: GraphQLError) -> Exception | None:
    """What a resolver raised; None where GraphQL itself, or we in its name, said no."""
    cause = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause


def _is_operational(cause: Exception) -> bool:
    """Whether who operates the server is to mend it: neither what was asked is at fault, nor our code."""
    return (
        isinstance(cause, DatabaseUnavailable | SettingsError)
        or unavailable(cause) is not None
        or misses_something(cause)
    )


def _never(_: Any) -> TypeGuard[Awaitable[Any]]:
    return False
