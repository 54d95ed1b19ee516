"""`coalition partner store`: publish a partner's stores, and look at them."""

from __future__ import annotations

import csv
from datetime import date
from typing import TYPE_CHECKING, Final, TextIO

import click

from coalition.cli import console
from partners.cli.parameters import operator
from partners.directory import get_partner_by_code
from partners.stores import MOST_AT_ONCE, PublishStores, Store, list_stores, publish_stores

if TYPE_CHECKING:
    from collections.abc import Iterable

_COLUMNS: Final = {"code": "Code", "name": "Name", "since": "Since", "closed": "Closed"}
_PAGE: Final = 1_000


@click.group()
def store() -> None:
    """Publish a partner's stores, and look at them.

    A partner that has published any posts from these alone: a receipt that names another store is refused
    (STORE_UNKNOWN). One that has published none may name any.
    """


@store.command()
@click.argument("partner")
@click.argument("codes", nargs=-1, metavar="CODE[=NAME]...")
@click.option(
    "--file", "opened", type=click.File(encoding="utf-8-sig"), help="CSV: code, name, since, closed."
)
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d"]), help="First day of those named; always, if not given."
)
@click.option("--closed", type=click.DateTime(["%Y-%m-%d"]), help="Last day of those named.")
@console.by_option
@console.json_option
def publish(
    partner: str,
    codes: tuple[str, ...],
    opened: TextIO | None,
    since: date | None,
    closed: date | None,
    by: str,
    as_json: bool,
) -> None:
    """Add stores of PARTNER, or change what is known of them; others stay as they are.

    \b
    Examples:
      coalition partner store publish grocer 0001=North 0002=Harbour
      coalition partner store publish grocer --file stores.csv
      coalition partner store publish grocer 0002=Harbour --closed 2026-06-30
    """  # noqa: D301 - click's mark of lines to keep
    named = [
        Store(code=code, name=name or code, since=_day(since), closed=_day(closed))
        for code, _, name in (text.partition("=") for text in codes)
    ]
    try:
        wanted = [*named, *(_stores(opened) if opened else ())]
    except UnicodeDecodeError as error:
        raise click.UsageError(f"the file is not in UTF-8: {error.reason} at byte {error.start:,}") from error
    if not wanted:
        raise click.UsageError("name at least one store, or give --file")
    done: list[Store] = []
    with console.open_database() as database, database.unit_of_work() as session:
        partner_id = get_partner_by_code(session, partner).partner_id
        for first in range(0, len(wanted), MOST_AT_ONCE):
            part = wanted[first : first + MOST_AT_ONCE]
            done += publish_stores(
                session, PublishStores(partner_id=partner_id, stores=part, published_by=operator(by))
            )
    console.print_result(map(_row, done), columns=_COLUMNS, as_json=as_json)


@store.command(name="list")
@click.argument("partner")
@console.json_option
def list_(partner: str, as_json: bool) -> None:
    """List the stores of PARTNER by code."""
    rows: list[dict[str, object]] = []
    with console.open_database() as database, database.reading() as session:
        partner_id = get_partner_by_code(session, partner).partner_id
        after = None
        while page := list_stores(session, partner_id, limit=_PAGE, after=after):
            rows += map(_row, page)
            after = page[-1].code
    console.print_result(rows, columns=_COLUMNS, as_json=as_json)


def _stores(opened: TextIO) -> Iterable[Store]:
    reader = csv.DictReader(opened)
    if not {"code", "name"} <= set(reader.fieldnames or ()):
        raise click.UsageError("the file's first line must name its columns, code and name among them")
    for line in reader:
        try:
            since, closed = _date(line.get("since")), _date(line.get("closed"))
        except ValueError as error:
            raise click.UsageError(f"line {reader.line_num}: {error}") from error
        yield Store(code=line["code"], name=line["name"] or line["code"], since=since, closed=closed)


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _day(moment: date | None) -> date | None:
    return None if moment is None else date(moment.year, moment.month, moment.day)


def _row(store: Store) -> dict[str, object]:
    return {
        "code": store.code,
        "name": store.name,
        "since": store.since and store.since.isoformat(),
        "closed": store.closed and store.closed.isoformat(),
    }
