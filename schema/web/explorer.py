"""The explorer: GraphiQL, served from here with all that it needs, and never in production."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from coalition.errors import DatabaseUnavailable, ProgrammeNotOpen
from coalition.programme import get_programme
from schema.web.faults import database_unavailable
from schema.web.view import turned_away

if TYPE_CHECKING:
    from starlette.requests import Request

    from coalition.db import Database

PATH: Final = "/explorer"

_ASSETS: Final = Path(__file__).parent / "explorer_assets"
_MEDIA: Final = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".txt": "text/plain"}
_FILES: Final = frozenset(file.name for file in _ASSETS.iterdir())
_HEADERS: Final = {
    # Nothing from elsewhere, nothing inline, and nobody may put the page into a frame of theirs.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def offered(database: Database) -> bool:
    """Whether there is an explorer: in a sandbox and in a demo.

    Raises:
        DatabaseUnavailable: the programme could not be asked.
    """
    try:
        with database.reading() as session:
            return get_programme(session).mode != "production"
    except ProgrammeNotOpen:
        return False


def routes(database: Database, workers: Executor) -> list[Route]:
    """The page and its files."""

    async def page(request: Request) -> Response:
        return await file_named("index.html", request)

    async def file(request: Request) -> Response:
        return await file_named(request.path_params["file"], request)

    async def file_named(name: str, request: Request) -> Response:
        try:
            shown = await asyncio.get_running_loop().run_in_executor(workers, offered, database)
        except DatabaseUnavailable as error:
            return turned_away(database_unavailable(error.message), request.state.request_id).response()
        if not shown or name not in _FILES:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        found = _ASSETS / name
        return FileResponse(found, headers=_HEADERS, media_type=_MEDIA[found.suffix])

    return [Route(PATH, page, methods=["GET"]), Route(PATH + "/{file}", file, methods=["GET"])]
