"""`coalition member export`: what is held about the person behind a member."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from coalition.cli import console
from coalition.cli.naming import member_named
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
