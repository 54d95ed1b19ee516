"""`coalition programme`: open the programme, look at it, set its limits and a sandbox's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from coalition import clock, lapsing
from coalition import programme as programmes
from coalition.amounts import Points
from coalition.cli import console


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


@programme.command(name="consent-limit")
@click.argument("points", type=click.IntRange(min=0))
@console.json_option
def consent_limit(points: int, as_json: bool) -> None:
    """Set what a partner may take from a member a day without the member's confirmation."""
    with console.open_database() as database, database.unit_of_work() as session:
        programmes.set_consent_limit(session, points=Points(points))
        _show(programmes.get_programme(session), as_json=as_json)


@programme.command(name="set")
@click.option("--hold-time", type=click.IntRange(min=1), help="Seconds a hold lasts where no time is named.")
@click.option("--longest-hold", type=click.IntRange(min=1), help="Seconds a partner may ask for at most.")
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
    type=click.IntRange(min=0),
    help="Seconds after that in which a till that was offline can present it; its points are held so long.",
)
@console.json_option
def set_(
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
    of_vouchers = (voucher_limit, voucher_time, voucher_grace)
    others = (hold_time, longest_hold, late_days, transfer_limit, adjustment_limit)
    if all(limit is None for limit in others + of_vouchers):
        raise click.UsageError("Name at least one limit; `coalition programme set --help` lists them.")
    with console.open_database() as database, database.unit_of_work() as session:
        stands = programmes.get_programme(session)
        if hold_time is not None or longest_hold is not None:
            programmes.set_hold_limits(
                session,
                hold_time=stands.hold_time if hold_time is None else timedelta(seconds=hold_time),
                longest=stands.longest_hold if longest_hold is None else timedelta(seconds=longest_hold),
            )
        if late_days is not None:
            programmes.set_late_days(session, days=late_days)
        if transfer_limit is not None:
            programmes.set_transfer_limit(session, points=Points(transfer_limit))
        if adjustment_limit is not None:
            programmes.set_adjustment_limit(session, points=Points(adjustment_limit))
        if any(limit is not None for limit in of_vouchers):
            programmes.set_voucher_limits(
                session,
                points=stands.voucher_limit_points if voucher_limit is None else Points(voucher_limit),
                good_for=stands.voucher_time if voucher_time is None else timedelta(seconds=voucher_time),
                grace=stands.voucher_grace if voucher_grace is None else timedelta(seconds=voucher_grace),
            )
        _show(programmes.get_programme(session), as_json=as_json)


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
