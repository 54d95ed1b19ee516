"""All that is held about a member, as a file: sent while it is read, however long it is."""

from __future__ import annotations

import contextlib
import datetime as dt
from http import HTTPStatus
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Final

from starlette.responses import Response, StreamingResponse

from coalition.errors import MemberMerged, MemberUnknown
from coalition.exporting import export_member
from schema.ids import member_in
from schema.web.faults import RETRY_AFTER_SECONDS, RequestFault
from schema.web.files import FileEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

    from schema.context import Context

_PATIENCE: Final = dt.timedelta(minutes=10)
AT_ONCE: Final = 2
"""So many exports a server process sends at a time: each has a connection until its reader took all of it."""

_PIECES_AT_ONCE: Final = 200
"""Rows, more or less: each that is sent costs the server a change of threads."""


class MemberExport(FileEndpoint):
    """`GET /members/{id}/export`, by the member itself or the operator; `id` is the member's global id."""

    _places = BoundedSemaphore(AT_ONCE)

    def file(self, request: Request, context: Context) -> Response:
        """The file."""
        viewer = context.viewer
        if not viewer.sees_whole_members():
            raise RequestFault(
                HTTPStatus.FORBIDDEN, "FORBIDDEN", "This is the member's own to read, or the operator's."
            )
        member_id = member_in(request.path_params["id"])
        if member_id is None or not viewer.may_know_member(member_id):
            raise _not_found()
        with contextlib.ExitStack() as opened:
            opened.enter_context(self.place())
            session = opened.enter_context(context.database.reading(patience=_PATIENCE))
            try:
                pieces = export_member(session, member_id)
            except (MemberUnknown, MemberMerged) as error:
                raise _not_found() from error
            return StreamingResponse(
                _closing(pieces, opened.pop_all()),
                headers={
                    "Cache-Control": "no-store",
                    "Content-Disposition": f'attachment; filename="member-{member_id}.json"',
                },
                media_type="application/json",
            )

    @classmethod
    @contextlib.contextmanager
    def place(cls) -> Iterator[None]:
        """One of the places of exports under way.

        Raises:
            RequestFault: all are taken (429).
        """
        if not cls._places.acquire(blocking=False):
            raise RequestFault(
                HTTPStatus.TOO_MANY_REQUESTS,
                "RATE_LIMITED",
                "This server sends no more exports at once; ask again after the time in Retry-After.",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        try:
            yield
        finally:
            cls._places.release()


def _closing(pieces: Iterator[str], opened: contextlib.ExitStack) -> Iterator[str]:
    with opened:
        waiting: list[str] = []
        for number, piece in enumerate(pieces, start=1):
            waiting.append(piece)
            if number % _PIECES_AT_ONCE == 0:
                yield "".join(waiting)
                waiting.clear()
        yield "".join(waiting)


def _not_found() -> RequestFault:
    return RequestFault(HTTPStatus.NOT_FOUND, "NOT_FOUND", "There is no such member.")
