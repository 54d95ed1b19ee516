"""The composition root: everything that varies by deployment is chosen here, once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from coalition.db import Database, needs
from coalition.errors import CoalitionError
from coalition.proving import VERIFIER
from partners import oauth
from partners.tokens import Principal, Tokens
from schema import graph
from schema.context import Context
from schema.web import explorer
from schema.web.authentication import Authentication
from schema.web.downloads import StatementDownload
from schema.web.exports import MemberExport
from schema.web.faults import RETRY_AFTER_SECONDS
from schema.web.observing import Metrics, Observing
from schema.web.throttle import Throttle
from schema.web.view import GraphQLView
from settlement import scheduler

if TYPE_CHECKING:
    from starlette.requests import Request

    from coalition.config import Settings

log = logging.getLogger(__name__)


def create_app(settings: Settings, *, database: Database | None = None, nightly: bool = False) -> Starlette:
    """The whole server as an ASGI application.

    Args:
        settings: What the deployment decides.
        database: One that is open already, and that its opener closes; else the settings' own is opened
            now, and closed when the server ends.
        nightly: Whether this server takes part in settling each night.
    """
    db = database or Database.connect(settings)
    tokens = Tokens(db, issuer=settings.issuer_url, audience=settings.audience)
    throttle = Throttle(rate=settings.requests_per_second, burst=settings.requests_at_once)
    token_throttle = Throttle(rate=settings.tokens_per_second, burst=settings.tokens_at_once)
    metrics = Metrics(
        rate_limited={"requests": lambda: throttle.turned_away, "tokens": lambda: token_throttle.turned_away}
    )
    # No more threads than connections: one that got no connection would only wait for it.
    workers = ThreadPoolExecutor(settings.pool_size, thread_name_prefix="request")

    def make_context(principal: Principal, request_id: str) -> Context:
        return Context(db, principal, request_id, tokens)

    authenticate = Authentication(tokens, throttle)
    view = GraphQLView(
        graph.core_schema(graph.build()),
        authenticate=authenticate,
        make_context=make_context,
        workers=workers,
    )
    download = StatementDownload(authenticate=authenticate, make_context=make_context, workers=workers)

    export = MemberExport(authenticate=authenticate, make_context=make_context, workers=workers)

    async def verifier(_: Request) -> Response:
        # Partners check with it what we say: for anyone, without a token.
        return FileResponse(VERIFIER, media_type="text/x-python")

    async def alive(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_: Request) -> Response:
        try:
            await asyncio.get_running_loop().run_in_executor(workers, _ask, db)
        except CoalitionError as error:
            return JSONResponse(
                {"ready": False, "code": error.code, "message": error.message},
                status_code=503,
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        return JSONResponse({"ready": True})

    async def counted(_: Request) -> Response:
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            async with scheduler.running(db, settings) if nightly else contextlib.nullcontext():
                yield
        finally:
            workers.shutdown()
            if database is None:
                db.close()

    return Starlette(
        routes=[
            Route("/graphql", view.__call__, methods=["GET", "POST"]),
            Route("/statements/{file}", download.__call__, methods=["GET"]),
            Route("/members/{id}/export", export.__call__, methods=["GET"]),
            Route("/verify_proof.py", verifier, methods=["GET"]),
            Route("/healthz", alive, methods=["GET"]),
            Route("/readyz", ready, methods=["GET"]),
            Route("/metrics", counted, methods=["GET"]),
            *explorer.routes(db, workers),
            *oauth.routes(tokens, wait=token_throttle.wait),
        ],
        middleware=[Middleware(Observing, metrics=metrics)],
        exception_handlers={HTTPException: _plain_http_error, Exception: _unexpected},
        lifespan=lifespan,
    )


def _ask(db: Database) -> None:
    with db.reading() as session:
        needs.check(session)


async def _plain_http_error(request: Request, error: Exception) -> Response:
    """Routing's own errors (404, 405) in the same shape as all others."""
    assert isinstance(error, HTTPException)
    body = {
        "errors": [{"message": error.detail, "extensions": {"code": error.detail.upper().replace(" ", "_")}}],
        "extensions": {"requestId": request.state.request_id},
    }
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    """A fault of ours: logged whole, shown as an id."""
    request_id = getattr(request.state, "request_id", "")
    log.error("unexpected exception", exc_info=error, extra={"request_id": request_id})
    body = {
        "errors": [
            {
                "message": f"Something went wrong here. The request's id is {request_id}.",
                "extensions": {"code": "INTERNAL"},
            }
        ],
        "extensions": {"requestId": request_id},
    }
    return JSONResponse(body, status_code=500, headers={"X-Request-Id": request_id})
