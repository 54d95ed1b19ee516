"""`coalition serve`: the API, the authorisation server and the nightly settlement in one process."""

from __future__ import annotations

import contextlib
import gc
import logging
from typing import TYPE_CHECKING

import click
import uvicorn

from coalition.config import get_settings
from coalition.db import Database
from coalition.errors import DatabaseUnavailable
from coalition.vault import keys
from schema import graph
from schema.app import create_app
from schema.web import explorer
from schema.web.observing import logging_as_json

if TYPE_CHECKING:
    from collections.abc import Iterator

_GRACE = 10  # seconds that requests in flight have to end in, once the server is told to stop
_MAX_HEADERS = 32_768


class Server(uvicorn.Server):
    """A server that tells where it listens, once it does, so that port 0 is of use."""

    def __init__(self, config: uvicorn.Config, *, issuer: str, with_explorer: bool) -> None:
        super().__init__(config)
        self._issuer = issuer
        self._with_explorer = with_explorer

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Listen, then say so."""
        await super().startup(sockets)  # type: ignore[arg-type]
        for server in self.servers if self.started else ():
            for socket in server.sockets:
                host, port = socket.getsockname()[:2]
                base = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
                _tell(base, issuer=self._issuer, with_explorer=self._with_explorer)


def _tell(base: str, *, issuer: str, with_explorer: bool) -> None:
    click.echo(f"GraphQL     {base}/graphql")
    click.echo(f"Tokens      {base}/oauth/token")
    if with_explorer:
        click.echo(f"Explorer    {base}{explorer.PATH}")
    click.echo(f"Statements  {base}/statements/{{businessDate}}.csv")
    click.echo(f"Health      {base}/healthz {base}/readyz {base}/metrics")
    if issuer != base:
        click.echo(f"Issuer      {issuer}: clients are told to come there (COALITION_ISSUER_URL)")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any free one."
)
@click.option(
    "--nightly/--no-nightly",
    default=True,
    show_default=True,
    help="Take part in settling each night, and in ending pools' holds that are over.",
)
@click.option("--quiet", is_flag=True, help="No log line for each request.")
@click.option("--print-schema", is_flag=True, help="Print the GraphQL schema (SDL) and end.")
def serve(*, host: str, port: int, nightly: bool, quiet: bool, print_schema: bool) -> None:
    """Serve the GraphQL API and the tokens for it, until Ctrl-C or SIGTERM.

    The log goes to standard error, a JSON object a line, each with the request's id. Behind a proxy that ends
    TLS, set COALITION_ISSUER_URL to the address that clients use. Several servers may run on one database;
    the night is settled once however many there are.

    \b
    Examples:
      coalition serve
      coalition serve --host 0.0.0.0 --port 8080
      coalition serve --print-schema > schema.graphql
    """  # noqa: D301 - click's mark of lines to keep
    if print_schema:
        click.echo(graph.sdl(graph.build()), nl=False)
        return
    if quiet:
        logging.getLogger("coalition.access").setLevel(logging.WARNING)
    settings = get_settings()
    # Closed here and not by the application: so also where it never came to start.
    with logging_as_json(), Database.connect(settings) as database, _stopping_quietly():
        _check_keys(database)
        app = create_app(settings, database=database, nightly=nightly)
        server = Server(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                server_header=False,
                h11_max_incomplete_event_size=_MAX_HEADERS,
                timeout_graceful_shutdown=_GRACE,
                lifespan="on",
                ws="none",
            ),
            issuer=settings.issuer_url,
            with_explorer=_explorer_offered(database),
        )
        # What is there by now stays: the collector of circles need not look through it in each round.
        gc.freeze()
        server.run()
    if not server.started:
        raise click.ClickException(f"could not listen on {host}:{port}")


def _check_keys(database: Database) -> None:
    """Rather no server than one that finds out with the first phone number that it has no key."""
    try:
        with database.reading() as session:
            keys.check(session)
    except DatabaseUnavailable:
        return  # it is away, or has no tables yet


def _explorer_offered(database: Database) -> bool:
    # Without its database, or its tables, the server starts all the same, and answers 503 until there is one.
    try:
        return explorer.offered(database)
    except DatabaseUnavailable:
        return False


@contextlib.contextmanager
def _stopping_quietly() -> Iterator[None]:
    """Ctrl-C is how one ends a server: no traceback, and what was opened is closed."""
    with contextlib.suppress(KeyboardInterrupt):
        yield
