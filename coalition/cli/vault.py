"""`coalition vault`: the keys that personal data is sealed under."""

from __future__ import annotations

import click

from coalition.cli import OpenGroup, console
from coalition.vault import keys
from coalition.vault.respelling import being_replaced, waiting
from coalition.vault.rotating import rotate as rotate_keys
from coalition.vault.rotating import wrapped_by


class _VaultGroup(OpenGroup):
    """What also forgets requests, which another room keeps, is added by that room."""

    entry_points = "coalition.commands.vault"


@click.group(cls=_VaultGroup)
def vault() -> None:
    """The keys that personal data is sealed under.

    Names, phone numbers, e-mail addresses and partners' references stand in the database only as ciphertext
    under a key per member. The keys of the settings wrap those, and are nowhere in the database: keep them
    apart from its backups, and keep them, for without them nobody reads any of it again.
    """


@vault.command()
def key() -> None:
    """Print a new key for COALITION_VAULT_KEYS: 256 random bits in base64.

    \b
    Example:
      coalition vault key > /etc/coalition/vault.keys && chmod 600 /etc/coalition/vault.keys
      export COALITION_VAULT_KEYS_FILE=/etc/coalition/vault.keys
    """  # noqa: D301 - click's mark of lines to keep
    click.echo(keys.new_secret())


@vault.command()
@console.json_option
def status(*, as_json: bool) -> None:
    """Show which key-encryption keys are in use, by their ids; a key itself is never shown."""
    with console.open_database() as database, database.reading() as session:
        ring = keys.ring(session)
        counts = wrapped_by(session)
        left = waiting(session) if being_replaced(session) else None
    held = [one.key_id for one in ring.keys]
    rows = [
        {
            "key": key_id,
            "wraps": counts.get(key_id, 0),
            "inSettings": key_id in held,
            "current": key_id == ring.current.key_id,
        }
        for key_id in dict.fromkeys([*held, *counts])
    ]
    if as_json:
        console.print_json({"keys": rows, "indexRotation": None if left is None else {"left": left}})
        return
    console.print_table(
        rows,
        columns={"key": "Key", "wraps": "Wraps", "inSettings": "In the settings", "current": "Current"},
    )
    if left is not None:
        click.echo(
            f"the index key is being replaced, and {left:,} identifiers are left:"
            " `coalition vault rotate-index` goes on"
        )


@vault.command()
@console.json_option
def rotate(*, as_json: bool) -> None:
    """Wrap every member's key again by the settings' first key, while the network goes on.

    Killed, it is run again and goes on where it was. Values are not sealed again: a member's key stays.

    \b
    To replace a key:
      1. coalition vault key, and put it second in COALITION_VAULT_KEYS(_FILE), after the old one
      2. restart every server: each now reads what the new one will wrap
      3. put the new one first, everywhere, and restart every server
      4. coalition vault rotate
      5. coalition vault status: the old key wraps 0; then take it out and restart

    Whoever knows the key of the blind index can try phone numbers against the database: `rotate-index`
    replaces that one.
    """  # noqa: D301 - click's mark of lines to keep
    with console.open_database() as database:
        with database.reading() as session:
            current = keys.ring(session).current.key_id
            waiting = sum(count for key_id, count in wrapped_by(session).items() if key_id != current)
        with console.progress("Rewrapping", total=waiting, quiet=as_json) as advance:
            done = rotate_keys(database, advance=advance)
    if as_json:
        console.print_json({"key": current, "rewrapped": done})
    else:
        click.echo(f"{done:,} keys were wrapped again by {current}")
