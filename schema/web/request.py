"""What a client asked, read from HTTP: clean refusals for all that is no GraphQL request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import orjson

from schema.web.faults import RequestFault

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.requests import Request

MAX_BODY: Final = 1_048_576
"""Bytes: what a batch of a thousand lines takes, with room for long receipts and keys."""
GRAPHQL_JSON: Final = "application/graphql-response+json"
PLAIN_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphQLRequest:
    """A well-formed request."""

    query: str
    variables: Mapping[str, Any]
    operation_name: str | None


def negotiated(headers: Headers) -> str:
    """The media type of the answer: the client's first choice of the two that there are.

    A client that does not care gets GraphQL's own, as the specification's "legacy watershed" has it.

    Raises:
        RequestFault: it takes neither (406).
    """
    accept = ",".join(headers.getlist("accept"))
    if not accept.strip():
        return GRAPHQL_JSON
    best, best_quality = None, 0.0
    for item in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        offered = {
            GRAPHQL_JSON: GRAPHQL_JSON,
            PLAIN_JSON: PLAIN_JSON,
            "application/*": GRAPHQL_JSON,
            "*/*": GRAPHQL_JSON,
        }.get(kind)
        quality = _quality(parameters)
        if offered is not None and _charset_fits(parameters) and quality > best_quality:
            best, best_quality = offered, quality
    if best is None:
        raise RequestFault(
            HTTPStatus.NOT_ACCEPTABLE,
            "NOT_ACCEPTABLE",
            f"The answer can be {GRAPHQL_JSON} or {PLAIN_JSON}, in UTF-8.",
        )
    return best


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def _charset_fits(parameters: list[str]) -> bool:
    charsets = [
        parameter[len("charset=") :].strip('"')
        for parameter in parameters
        if parameter.startswith("charset=")
    ]
    return all(charset in {"utf-8", "utf8"} for charset in charsets)


async def body_of(request: Request) -> bytes:
    """The body, read only as far as it may be long.

    Raises:
        RequestFault: it is not JSON by its header (415), or too long (413).
    """
    kind, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    if kind != PLAIN_JSON or not _charset_fits(parameters):
        raise RequestFault(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", f"Send {PLAIN_JSON}, in UTF-8."
        )
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:12]) > MAX_BODY:
        raise _too_long()
    chunks: list[bytes] = []
    length = 0
    async for chunk in request.stream():
        length += len(chunk)
        if length > MAX_BODY:
            raise _too_long()
        chunks.append(chunk)
    return b"".join(chunks)


def from_body(body: bytes) -> GraphQLRequest:
    """The request in a POST's body.

    Raises:
        RequestFault: it is not JSON (400), or not a request (422).
    """
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # Only where it went wrong: the parser's message may quote the body.
        raise RequestFault(
            HTTPStatus.BAD_REQUEST,
            "JSON_INVALID",
            f"The body is not JSON in UTF-8 (line {error.lineno}, column {error.colno}).",
        ) from error
    if isinstance(given, list):
        raise RequestFault(
            HTTPStatus.UNPROCESSABLE_ENTITY, "NO_BATCHES", "Send one request at a time, as a JSON object."
        )
    if not isinstance(given, dict):
        raise RequestFault(
            HTTPStatus.UNPROCESSABLE_ENTITY, "REQUEST_INVALID", "The body must be a JSON object."
        )
    return _checked(given)


def from_address(request: Request) -> GraphQLRequest:
    """The request in a GET's address.

    Raises:
        RequestFault: it is not a request.
    """
    given: dict[str, Any] = {name: request.query_params.get(name) for name in ("query", "operationName")}
    for name in ("variables", "extensions"):
        if (text := request.query_params.get(name)) is not None:
            try:
                given[name] = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                raise RequestFault(HTTPStatus.BAD_REQUEST, "JSON_INVALID", f"{name} is not JSON.") from error
    return _checked(given)


def _checked(given: dict[str, Any]) -> GraphQLRequest:
    query, variables, name = given.get("query"), given.get("variables"), given.get("operationName")
    if not isinstance(query, str) or not query.strip():
        raise _malformed("query must be a String that holds the document.")
    if variables is not None and not isinstance(variables, dict):
        raise _malformed("variables must be an object, or null.")
    if name is not None and not isinstance(name, str):
        raise _malformed("operationName must be a String, or null.")
    if not isinstance(given.get("extensions"), dict | None):
        raise _malformed("extensions must be an object, or null.")
    return GraphQLRequest(query=query, variables=variables or {}, operation_name=name or None)


def _malformed(message: str) -> RequestFault:
    return RequestFault(HTTPStatus.UNPROCESSABLE_ENTITY, "REQUEST_INVALID", message)


def _too_long() -> RequestFault:
    return RequestFault(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "BODY_TOO_LONG", f"The body is longer than {MAX_BODY} bytes."
    )
