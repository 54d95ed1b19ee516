"""What answers with a file: by a token as the API does, on a worker's thread, with the API's faults."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from coalition.config import SettingsError
from coalition.errors import DatabaseUnavailable
from schema.web.faults import RequestFault, database_unavailable
from schema.web.view import turned_away, without_setting

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from starlette.requests import Request
    from starlette.responses import Response

    from partners.tokens import Principal
    from schema.context import Context


class FileEndpoint(ABC):
    """One kind of file, as an ASGI route's endpoint."""

    def __init__(
        self,
        *,
        authenticate: Callable[[Request], Principal],
        make_context: Callable[[Principal, str], Context],
        workers: Executor,
    ) -> None:
        self._authenticate = authenticate
        self._make_context = make_context
        self._workers = workers

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, self._answer, request)

    def _answer(self, request: Request) -> Response:
        request_id: str = request.state.request_id
        try:
            return self.file(request, self._make_context(self._authenticate(request), request_id))
        except RequestFault as fault:
            return turned_away(fault, request_id).response()
        except DatabaseUnavailable as error:
            return turned_away(database_unavailable(error.message), request_id).response()
        except SettingsError as error:
            return without_setting(error, request_id).response()

    @abstractmethod
    def file(self, request: Request, context: Context) -> Response:
        """The file that is asked for, if the viewer may have it; the context is not entered yet.

        Raises:
            RequestFault: there is none, or not for this viewer.
            DatabaseUnavailable: the database is down.
            SettingsError: this server's settings do not do for it.
        """
