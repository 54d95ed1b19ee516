"""`coalition client`: let programs in, give them new secrets, shut them out, and fetch tokens."""

import os
from datetime import timedelta

import click
from sqlalchemy.orm import Session

from coalition.cli import console
from coalition.cli.naming import member_named
from coalition.config import get_settings
from coalition.db import Database
from coalition.errors import CoalitionError, InvalidInput
from partners.clients import (
    Client,
    CreateClient,
    NewClient,
    authenticate,
    create_client,
    list_clients,
    parse_scopes,
    revoke_client,
    rotate_secret,
)
from partners.directory import get_partner_by_code, get_partners
from partners.keys import LONGEST_TOKEN_LIFE, rotate_keys
from partners.scopes import NETWORK_SCOPES, PARTNER_SCOPES
from partners.tokens import LIFE, Tokens

_PAGE = 500
_SECRET_VARIABLE = "COALITION_CLIENT_SECRET"  # noqa: S105 - its name
_COLUMNS = {
    "clientId": "Client id",
    "partner": "Partner",
    "name": "Name",
    "scopes": "Scopes",
    "state": "State",
}


class ClientRejected(CoalitionError):
    """The client does not exist, was revoked, or has another secret."""

    code = "CLIENT_REJECTED"
    summary = "No client that could still be used has that id and that secret."


@click.group()
def client() -> None:
    """Let programs in, give them new secrets, shut them out, and fetch tokens.

    A client is a program that acts for one partner, or for the operator and finance of the network.
    """


@client.command()
@click.argument("name")
@click.option("--partner", "code", help="Whose tills it serves. Without it: the network's own.")
@click.option(
    "--scope", "scopes", multiple=True, help="What it may do; repeat it. A partner's: all, if not given."
)
@console.json_option
def create(name: str, code: str | None, scopes: tuple[str, ...], as_json: bool) -> None:
    """Let the program NAME in, and print its secret: this once, it is stored as a hash only.

    \b
    Examples:
      coalition client create "Grocer's tills" --partner grocer
      coalition client create "Kiosk" --partner grocer --scope members:read --scope points:redeem
      coalition client create "Operations" --scope programme:admin
      coalition client create "Finance" --scope settlement:read
    """  # noqa: D301 - click's mark of lines to keep
    if code is None and not scopes:
        raise click.UsageError(
            f"Name the --scope of a client of the network: {', '.join(sorted(NETWORK_SCOPES))}."
        )
    with console.open_database() as database, database.unit_of_work() as session:
        partner_id = None if code is None else get_partner_by_code(session, code).partner_id
        command = CreateClient(name=name, scopes=scopes or sorted(PARTNER_SCOPES), partner_id=partner_id)
        made = create_client(session, command)
    _show_secret(made, code, as_json=as_json)


@client.command(name="list")
@click.option("--partner", "code", help="Only this partner's.")
@console.json_option
def list_(code: str | None, as_json: bool) -> None:
    """List clients by id, those that were revoked too."""
    found: list[Client] = []
    with console.open_database() as database, database.reading() as session:
        only = None if code is None else get_partner_by_code(session, code).partner_id
        while page := list_clients(
            session, limit=_PAGE, after=found[-1].client_id if found else None, partner_id=only
        ):
            found += page
        partners = get_partners(session, {each.partner_id for each in found if each.partner_id is not None})
    codes = {partner.partner_id: partner.code for partner in partners.values()}
    rows = [_row(each, codes[each.partner_id] if each.partner_id else None) for each in found]
    console.print_result(rows, columns=_COLUMNS, as_json=as_json)


@client.command()
@click.argument("client_id")
@console.json_option
def rotate(client_id: str, as_json: bool) -> None:
    """Give the client CLIENT_ID a new secret, and print it: this once.

    The old secret is good for nothing from this moment on; tokens that were fetched with it live out
    their five minutes.
    """
    with console.open_database() as database, database.unit_of_work() as session:
        made = rotate_secret(session, client_id)
        code = _code(session, made.client)
    _show_secret(made, code, as_json=as_json)


@client.command()
@click.argument("client_id")
@console.json_option
def revoke(client_id: str, as_json: bool) -> None:
    """Shut the client CLIENT_ID out for good. Its tokens are refused within two seconds."""
    with console.open_database() as database, database.unit_of_work() as session:
        revoked = revoke_client(session, client_id)
        row = _row(revoked, _code(session, revoked))
    if as_json:
        console.print_json(row)
    else:
        click.echo(f"client {client_id} is revoked")


@client.command()
@click.argument("client_id")
@click.option("--scope", "scopes", multiple=True, help="For less than all that the client may do; repeat it.")
@console.json_option
def token(client_id: str, scopes: tuple[str, ...], as_json: bool) -> None:
    """Print an access token for the client CLIENT_ID, without a server.

    The secret is read from COALITION_CLIENT_SECRET, or asked for: on the command line others could see
    it. The token is good for five minutes.

    \b
    Example:
      curl -H "Authorization: Bearer $(coalition client token grocer-0a1b2c3d4e5f)" ...
    """  # noqa: D301 - click's mark of lines to keep
    secret = os.environ.get(_SECRET_VARIABLE) or click.prompt("Secret", hide_input=True, err=True)
    wanted = parse_scopes(scopes)
    with console.open_database() as database:
        with database.reading() as session:
            known = authenticate(session, client_id=client_id, secret=secret)
        if known is None:
            raise ClientRejected
        if not wanted <= known.scopes:
            raise InvalidInput("the client may not have that scope", field=("scope",))
        signed = _tokens(database).issue(
            client_id=known.client_id, partner_id=known.partner_id, scopes=wanted or known.scopes
        )
    _show_token(signed, LIFE, as_json=as_json)


@client.command(name="member-token")
@click.argument("who", metavar="MEMBER")
@click.option(
    "--minutes",
    type=click.IntRange(1, int(LONGEST_TOKEN_LIFE.total_seconds() // 60)),
    default=int(LIFE.total_seconds() // 60),
    show_default=True,
    help="How long it is good for.",
)
@console.json_option
def member_token(who: str, minutes: int, as_json: bool) -> None:
    """Print an access token for a member: its own balance, history and consents.

    MEMBER is an id, or an identifier such as card:4006381333931. Whoever can run this command can act
    for any member: it stands in for the members' own login.
    """
    life = timedelta(minutes=minutes)
    with console.open_database() as database:
        with database.reading() as session:
            member = member_named(session, who)
        signed = _tokens(database).mint_member_token(member, life=life)
    _show_token(signed, life, as_json=as_json)


@client.command(name="rotate-keys")
@console.json_option
def rotate_keys_(as_json: bool) -> None:
    """Sign tokens with the next key from now on, and retire the current one.

    Running servers take it up within half a minute, and tokens that the retired key signed stay good
    until they expire. The new key has been published since the last rotation; leave at least five
    minutes between two, for those who keep a copy of the key set.
    """
    with console.open_database() as database, database.unit_of_work() as session:
        kid = rotate_keys(session)
    if as_json:
        console.print_json({"currentKey": kid})
    else:
        click.echo(f"tokens are signed with the key {kid}")


def _tokens(database: Database) -> Tokens:
    settings = get_settings()
    return Tokens(database, issuer=settings.issuer_url, audience=settings.audience)


def _show_token(signed: str, life: timedelta, *, as_json: bool) -> None:
    if as_json:
        seconds = int(life.total_seconds())
        console.print_json({"access_token": signed, "token_type": "Bearer", "expires_in": seconds})
    else:
        click.echo(signed)


def _show_secret(made: NewClient, code: str | None, *, as_json: bool) -> None:
    row = _row(made.client, code)
    if as_json:
        console.print_json(row | {"secret": made.secret})
        return
    click.echo(f"client id  {made.client.client_id}")
    click.echo(f"secret     {made.secret}")
    click.echo("Keep the secret now: it is not shown again.", err=True)


def _code(session: Session, shown: Client) -> str | None:
    """The code of the partner that it acts for."""
    if shown.partner_id is None:
        return None
    return get_partners(session, [shown.partner_id])[shown.partner_id].code


def _row(shown: Client, code: str | None) -> dict[str, object]:
    row: dict[str, object] = {
        "clientId": shown.client_id,
        "partnerId": str(shown.partner_id) if shown.partner_id else None,
        "name": shown.name,
        "scopes": " ".join(sorted(shown.scopes)),
        "state": "revoked" if shown.revoked_at else "active",
        "createdAt": shown.created_at.isoformat(),
        "secretRotatedAt": shown.secret_rotated_at.isoformat(),
        "revokedAt": shown.revoked_at.isoformat() if shown.revoked_at else None,
    }
    return row | {"partner": code}
