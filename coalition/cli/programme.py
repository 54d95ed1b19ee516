"""`coalition programme`: open the programme, look at it, set its limits and a sandbox's clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import click

from coalition import clock, lapsing
from coalition import programme as programmes
from coalition.amounts import Points
from coalition.cli import console

_DAY: Final = 86_400
_YEAR: Final = 365 * _DAY


@click.group()
def programme() -> None:
    """Open the programme, look at it, set its limits, set a sandbox's clock.

    One database holds one programme: its time zone, its currency, and one clock.
    """


@programme.command(name="open")
@click.argument("name")
@click.option("--mode", type=click.Choice(["production", "sandbox"]), default="production", show_default=True)
@click.option("--zone", default="Europe/Berlin", show_default=True, help="IANA time zone of business dates.")
@click.option("--currency", default="EUR", show_default=True, help="ISO 4217 currency of settlement.")
@click.option(
    "--consent-limit",
    type=click.IntRange(min=0),
    default=5_000,
    show_default=True,
    help="Points that one partner may take from one member a day without the member's confirmation.",
)
@click.option(
    "--starts-at",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"]),
    help="Sandbox only: where its clock stands at first (UTC).",
)
@console.json_option
def open_(
    name: str,
    mode: programmes.Mode,
    zone: str,
    currency: str,
    consent_limit: int,
    starts_at: datetime | None,
    as_json: bool,
) -> None:
    """Open the programme NAME in this database, with its first settlement window.

    Example: coalition programme open "Three Rivers" --zone Europe/Berlin --currency EUR
    """
    command = programmes.OpenProgramme(
        name=name,
        mode=mode,
        zone=zone,
        currency=currency,
        consent_limit_points=Points(consent_limit),
        starts_at=starts_at.replace(tzinfo=UTC) if starts_at else None,
    )
    with console.open_database() as database, database.unit_of_work() as session:
        _show(programmes.open_programme(session, command), as_json=as_json)


@programme.command()
@console.json_option
def show(as_json: bool) -> None:
    """Show the programme of this database."""
    with console.open_database() as database, database.reading() as session:
        _show(programmes.get_programme(session), as_json=as_json)


@programme.command(name="set")
@click.option(
    "--consent-limit",
    type=click.IntRange(min=0),
    help="Points that one partner may take from one member a day without the member's confirmation.",
)
@click.option(
    "--hold-time", type=click.IntRange(1, _YEAR), help="Seconds a hold lasts where no time is named."
)
@click.option("--longest-hold", type=click.IntRange(1, _YEAR), help="Seconds a partner may ask for at most.")
@click.option(
    "--late-days", type=click.IntRange(min=0), help="Days after which what occurred is not taken any more."
)
@click.option(
    "--transfer-limit", type=click.IntRange(min=0), help="Points a member may give to others a day."
)
@click.option(
    "--adjustment-limit",
    type=click.IntRange(min=0),
    help="Points one operator may adjust without a second person.",
)
@click.option(
    "--voucher-limit", type=click.IntRange(min=0), help="Points a member may have in vouchers at a time."
)
@click.option(
    "--voucher-time", type=click.IntRange(1, 3_600), help="Seconds a voucher is good where no time is named."
)
@click.option(
    "--voucher-grace",
    type=click.IntRange(0, 30 * _DAY),
    help="Seconds after that in which a till that was offline can present it; its points are held so long.",
)
@console.json_option
def set_(
    consent_limit: int | None,
    hold_time: int | None,
    longest_hold: int | None,
    late_days: int | None,
    transfer_limit: int | None,
    adjustment_limit: int | None,
    voucher_limit: int | None,
    voucher_time: int | None,
    voucher_grace: int | None,
    as_json: bool,
) -> None:
    """Set limits of the programme; what is not named stays. A day is a settlement window.

    Open holds keep their time, and what was posted stays posted.

    Example: coalition programme set --hold-time 900 --transfer-limit 10000
    """
    command = programmes.SetLimits(
        consent_limit_points=_points(consent_limit),
        hold_seconds=hold_time,
        longest_hold_seconds=longest_hold,
        late_days=late_days,
        transfer_limit_points=_points(transfer_limit),
        adjustment_limit_points=_points(adjustment_limit),
        voucher_limit_points=_points(voucher_limit),
        voucher_seconds=voucher_time,
        voucher_grace_seconds=voucher_grace,
    )
    if command == programmes.SetLimits():
        raise click.UsageError("Name at least one limit; `coalition programme set --help` lists them.")
    with console.open_database() as database, database.unit_of_work() as session:
        _show(programmes.set_limits(session, command), as_json=as_json)


@programme.command(name="clock")
@click.argument("to", type=click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"]))
@console.json_option
def set_clock(to: datetime, as_json: bool) -> None:
    """Set a sandbox's clock forward to TO (UTC), where it stands until it is set again.

    Points mature and expire, and windows are over, by this clock. Production's is the wall clock.
    """
    with console.open_database() as database:
        with database.unit_of_work() as session:
            clock.set_clock(session, to=to.replace(tzinfo=UTC))
        lapsing.lapse_pooled_holds(database)  # for the minutes that a server would have looked in
        with database.reading() as session:
            _show(programmes.get_programme(session), as_json=as_json)


def _points(typed: int | None) -> Points | None:
    return None if typed is None else Points(typed)


def _show(shown: programmes.Programme, *, as_json: bool) -> None:
    facts = {
        "name": shown.name,
        "mode": shown.mode,
        "zone": shown.zone,
        "currency": shown.currency,
        "consentLimitPoints": shown.consent_limit_points,
        "holdSeconds": int(shown.hold_time.total_seconds()),
        "longestHoldSeconds": int(shown.longest_hold.total_seconds()),
        "lateDays": shown.late_days,
        "transferLimitPoints": shown.transfer_limit_points,
        "adjustmentLimitPoints": shown.adjustment_limit_points,
        "voucherLimitPoints": shown.voucher_limit_points,
        "voucherSeconds": int(shown.voucher_time.total_seconds()),
        "voucherGraceSeconds": int(shown.voucher_grace.total_seconds()),
        "clock": shown.clock_at.isoformat() if shown.clock_at else None,
    }
    if as_json:
        console.print_json(facts)
        return
    facts["clock"] = facts["clock"] or "the wall clock"
    console.print_table(
        [{"what": what, "value": str(value)} for what, value in facts.items()],
        columns={"what": "Programme", "value": shown.name},
    )
