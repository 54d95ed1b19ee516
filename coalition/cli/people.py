"""`coalition member export` and `erase`: the person behind a member."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from coalition.cli import console
from coalition.cli.naming import member_named
from coalition.erasing import erase_member
from coalition.exporting import export_member

if TYPE_CHECKING:
    from collections.abc import Iterable

_EXPORT: Final = timedelta(minutes=10)
"""How long the export of one member may take."""


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
    these first, for instance with `coalition member transfer` or `coalition member adjust`. What earlier
    backups still hold, the guide to operating tells.

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
