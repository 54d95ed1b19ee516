"""A partner's statement as a file: the very bytes that the night wrote."""

from __future__ import annotations

import datetime as dt
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from graphql import GraphQLError
from starlette.responses import Response

from schema.queries.settlement import READS_SETTLEMENT, statement_for
from schema.web.faults import RequestFault
from schema.web.files import FileEndpoint

if TYPE_CHECKING:
    from starlette.requests import Request

    from schema.context import Context

_MEDIA: Final = {"csv": "text/csv; charset=utf-8", "json": "application/json; charset=utf-8"}
_FILE: Final = re.compile(r"(\d{4}-\d{2}-\d{2})\.(csv|json)")


class StatementDownload(FileEndpoint):
    """`GET /statements/{businessDate}.{csv|json}`, and `?partner=CODE` for finance."""

    def file(self, request: Request, context: Context) -> Response:
        """The file."""
        with context:
            if not context.viewer.has(*READS_SETTLEMENT):
                raise RequestFault(
                    HTTPStatus.FORBIDDEN, "FORBIDDEN", "The token lacks the scope settlement:read."
                )
            date, kind = _asked(request)
            try:
                found = statement_for(context, date, request.query_params.get("partner"))
            except GraphQLError as error:
                raise RequestFault(HTTPStatus.BAD_REQUEST, "BAD_ARGUMENT", error.message) from error
        if found is None:
            raise _not_found()
        name = f"statement-{found.party.code}-{date.isoformat()}.{kind}"
        return Response(
            found.as_csv if kind == "csv" else found.as_json,
            headers={
                "Cache-Control": "no-store",
                "Content-Disposition": f'attachment; filename="{name}"',
                "ETag": f'"{found.run.digest}"',
            },
            media_type=_MEDIA[kind],
        )


def _asked(request: Request) -> tuple[dt.date, str]:
    match = _FILE.fullmatch(request.path_params["file"])
    if match is None:
        raise _not_found()
    try:
        return dt.date.fromisoformat(match[1]), match[2]
    except ValueError as error:
        raise _not_found() from error


def _not_found() -> RequestFault:
    return RequestFault(HTTPStatus.NOT_FOUND, "NOT_FOUND", "There is no such statement.")
