"""`coalition member profile`, `export` and `erase`: the person behind a member."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from coalition import clock
from coalition.cli import console
from coalition.cli.naming import member_named
from coalition.erasing import erase_member
from coalition.exporting import export_member
from coalition.profiles import FIELDS, get_profile, update_profile
from coalition.programme import get_programme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_AnyFunction = TypeVar("_AnyFunction", bound="Callable[..., Any]")
_FIELDS: Final = {
    "name": "At most 200 characters.",
    "email": "An e-mail address.",
    "phone": "With its country, or as the programme's region has it.",
    "birth_date": "A day such as 1990-12-31.",
    "address": "Lines; at most 500 characters.",
    "locale": "A language tag such as de-AT.",
}
_EXPORT: Final = timedelta(minutes=10)
"""How long the export of one member may take."""


def _fields(function: _AnyFunction) -> _AnyFunction:
    for name, help_ in reversed(_FIELDS.items()):
        function = click.option(f"--{name.replace('_', '-')}", help=help_)(function)
    return function


@click.command()
@click.argument("who", metavar="MEMBER")
@_fields
@click.option(
    "--remove", multiple=True, type=click.Choice(FIELDS), help="Take this away; give it as often as needed."
)
@console.json_option
def profile(who: str, remove: tuple[str, ...], as_json: bool, **given: str | None) -> None:
    """Show what a member says of itself; or change it on the member's behalf.

    It is stored only sealed, and partners never see it. These are for writing to the person, and find nobody:
    what a member is found by is linked with `coalition member link`. What is not named stays as it is.

    \b
    Examples:
      coalition member profile card:4006381333931
      coalition member profile card:4006381333931 --name "Ada Lovelace" --birth-date 1815-12-10 --remove phone
    """  # noqa: D301 - click's mark of lines to keep
    named = {field: value for field, value in given.items() if value is not None}
    if set(named) & set(remove):
        raise click.UsageError("The same field can't be given and removed.")
    changes = named | dict.fromkeys(remove)
    with console.open_database() as database:
        if changes:
            with database.unit_of_work() as session:
                today = clock.now(session).astimezone(get_programme(session).tz).date()
                update_profile(session, member_named(session, who), changes, today=today)
        with database.reading() as session:
            found = get_profile(session, member_named(session, who))
    shown = {field: getattr(found, field) for field in FIELDS}
    if as_json:
        console.print_json(shown)
        return
    for field, value in shown.items():
        click.echo(f"{field.replace('_', ' ')}: {'-' if value is None else value}")


@click.command()
@click.argument("who", metavar="MEMBER")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write, for its owner's eyes alone; it must not exist. Standard output if not given.",
)
def export(who: str, output: Path | None) -> None:
    """Write all that is held about a member as JSON, to give to the person.

    One record for the member and one for each that was merged into it: profile, identifiers, and every row of
    the ledger that is the member's. What would tell of other people or of partners' business is left out.

    Example: coalition member export email:ada@example.org --output ada.json
    """
    with console.open_database() as database, database.reading(patience=_EXPORT) as session:
        pieces = export_member(session, member_named(session, who))
        if output is None:
            for piece in pieces:
                click.echo(piece, nl=False)
            return
        _write_privately(output, pieces)
    click.echo(f"wrote {output}: {output.stat().st_size:,} bytes", err=True)


def _write_privately(file: Path, pieces: Iterable[str]) -> None:
    """Whole or not at all."""
    if file.exists():
        raise click.UsageError(f"{file} exists")
    half_made = file.with_name(f"{file.name}.partial")
    half_made.unlink(missing_ok=True)
    half_made.touch(mode=0o600, exist_ok=False)
    try:
        with half_made.open("w", encoding="utf-8") as stream:
            stream.writelines(pieces)
        half_made.rename(file)
    finally:
        half_made.unlink(missing_ok=True)


@click.command()
@click.argument("who", metavar="MEMBER")
@click.option("--yes", is_flag=True, help="Do not ask.")
@console.json_option
def erase(who: str, yes: bool, as_json: bool) -> None:
    """Erase the person behind a member, for good: nobody can undo it.

    The key to its personal data is destroyed, and the data and identifiers with it, of all records that
    were merged into it. Its transactions stay, with every statement made from them, and name nobody; nothing
    is posted to it any more. Again for the same id changes nothing.

    What is in the way is named: a pool to leave, holds that are open, points that are left or owed. Settle
    these first. Available points are spent, or go by `coalition member transfer` or `coalition member
    adjust`; pending ones mature first, or are taken back by `coalition transaction reverse` of their issue.
    What earlier backups still hold, the guide to operating tells.

    Example: coalition member erase email:ada@example.org
    """
    with console.open_database() as database:
        with database.reading() as session:
            member_id = member_named(session, who)
        if not yes:
            click.confirm(f"Erase the person behind member {member_id} for good?", abort=True, err=True)
        with database.unit_of_work() as session:
            erasure = erase_member(session, member_id)
    if as_json:
        console.print_json(
            {
                "member": str(erasure.member_id),
                "records": [str(one) for one in erasure.records],
                "erased_at": erasure.erased_at.isoformat(),
                "replayed": erasure.replayed,
            }
        )
    else:
        was = "was erased before, at" if erasure.replayed else "is erased since"
        click.echo(f"member {member_id} {was} {erasure.erased_at.isoformat()}")
