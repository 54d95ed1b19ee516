"""Why a request is not answered as asked: the top-level errors, each with its status and its code."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from graphql import GraphQLError

RETRY_AFTER_SECONDS: Final = 2


class RequestFault(Exception):
    """A request that is turned away before anything is executed."""

    def __init__(
        self, status: HTTPStatus, code: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    def as_errors(self) -> list[dict[str, Any]]:
        """In the shape of GraphQL's errors."""
        return [{"message": self.message, "extensions": {"code": self.code}}]


class Forbidden(GraphQLError):
    """The token does not carry the scope that the field wants."""

    def __init__(self, message: str) -> None:
        super().__init__(message, extensions={"code": "FORBIDDEN"})


class BadArgument(GraphQLError):
    """A query's argument that makes no sense."""

    def __init__(self, message: str) -> None:
        super().__init__(message, extensions={"code": "BAD_ARGUMENT"})


def unauthenticated(message: str, *, error: str | None = None) -> RequestFault:
    """401 as RFC 6750 wants it: the scheme, and an error only where a token was shown."""
    challenge = 'Bearer realm="coalition"'
    if error is not None:
        challenge += f', error="{error}", error_description="{_quotable(message)}"'
    return RequestFault(
        HTTPStatus.UNAUTHORIZED, "UNAUTHENTICATED", message, headers={"WWW-Authenticate": challenge}
    )


def database_unavailable(message: str) -> RequestFault:
    """503: nothing has moved that the caller was not told of; it may send the same again."""
    return RequestFault(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "DATABASE_UNAVAILABLE",
        message,
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def setting_missing() -> RequestFault:
    """503: this server's settings do not do; which is missing is its operator's to know, and is logged."""
    return RequestFault(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "SETTING_MISSING",
        "This server lacks a setting that it needs for this; its operator can tell which."
        " Nothing has moved that you were not told of.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def _quotable(message: str) -> str:
    # RFC 6750, section 3: %x20-21 / %x23-5B / %x5D-7E.
    return "".join(sign for sign in message if " " <= sign <= "~" and sign not in '"\\')
