"""`coalition vault rotate-index`: the key by which members are found without being named.

It stands in this room because requests that it blinded are kept here.
"""

import click

from coalition.cli import console
from coalition.vault.keys import SealBroken
from coalition.vault.respelling import replace_index_key, waiting
from partners.operations import forget_requests


@click.command(name="rotate-index")
@console.json_option
def rotate_index(*, as_json: bool) -> None:
    """Replace the key of the blind index, while the network goes on.

    Phones, addresses and partners' references are looked up by a digest under this key. Phone numbers are
    few: whoever knows the key and has the database or a backup can try them all. Replace it when it may be
    known to somebody, with the settings' key that wrapped it (`coalition vault rotate`), and destroy backups.

    Every identifier is spelt by a new key; until that is done it is found by either, and never linked twice.
    Killed, it is run again and goes on where it was. The old key is destroyed at the end, and so are the
    digests of requests that told of a person: of these a retry still gets its answer, and another request
    under its key gets that answer too.
    """
    with console.open_database() as database:
        with database.reading() as session:
            total = waiting(session)
        with console.progress("Spelling", total=total, quiet=as_json) as advance:
            try:
                done = replace_index_key(database, forget=forget_requests, advance=advance)
            except SealBroken as broken:
                raise click.ClickException(str(broken)) from broken
    if as_json:
        console.print_json({"respelt": done})
    else:
        click.echo(f"{done:,} identifiers are spelt by a new key; the old one is destroyed")
