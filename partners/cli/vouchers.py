"""`coalition voucher`: what a till does with a voucher while it is offline."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import IO, Any

import click
from joserfc.errors import JoseError

from coalition.cli import console
from coalition.errors import CoalitionError
from partners.vouchers import VoucherRejected, check


class VoucherNotGood(CoalitionError):
    """A till must not take it."""

    code = "VOUCHER_NOT_GOOD"
    summary = "Do not take it: {why}."


@click.group()
def voucher() -> None:
    """Check members' vouchers as a till does, without the network and without a database.

    A member makes a voucher with issueVoucher; its points are held from then on. The till that took it
    presents it with redeemVoucher when it is online again.
    """


@voucher.command()
@click.argument("token", metavar="VOUCHER")
@click.option("--partner", "partner_code", required=True, help="Your own code: a voucher is for one partner.")
@click.option(
    "--keys",
    "keys_file",
    type=click.File(),
    required=True,
    help="The network's published keys, as the till had them when it was last online.",
)
@click.option(
    "--at",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S"]),
    help="When the purchase is made (UTC); now where nothing is said.",
)
@console.json_option
def verify(token: str, partner_code: str, keys_file: IO[str], at: datetime | None, as_json: bool) -> None:
    """Say whether VOUCHER may be taken, and for how many points.

    Checks the signature, the partner and the time. Whether another till of yours took it already is for you
    to know: keep the ids of those that you took, and take none twice. Exit code 1: do not take it.

    \b
    Example:
      curl -s https://points.example/oauth/jwks.json > keys.json      # while online, daily
      coalition voucher verify eyJhbGciOi… --partner bakery --keys keys.json
    """  # noqa: D301 - click's mark of lines to keep
    try:
        keys: Any = json.load(keys_file)
        found = check(
            token.strip(),
            keys=keys,
            partner_code=partner_code,
            at=at.replace(tzinfo=UTC) if at else datetime.now(UTC),
        )
    except VoucherRejected as rejected:
        raise VoucherNotGood(why=str(rejected)) from rejected
    except (ValueError, KeyError, TypeError, AttributeError, JoseError) as error:
        raise click.UsageError("--keys must name a JSON Web Key Set, as the network publishes it") from error
    facts = {
        "voucher": found.voucher_id,
        "points": found.points,
        "goodFrom": found.good_from.isoformat(),
        "redeemBy": found.redeem_by.isoformat(),
    }
    if as_json:
        console.print_json(facts)
    else:
        click.echo(
            f"take it for up to {found.points:,} points, until {found.redeem_by:%Y-%m-%d %H:%M:%S} UTC"
        )
        click.echo(f"its id, to be taken once: {found.voucher_id}")
