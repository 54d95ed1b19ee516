"""The commands about the database itself: migrate, backup, restore."""

from pathlib import Path

import click

from coalition.cli import console
from coalition.config import get_settings
from coalition.db import backup as copies
from coalition.db import migrating
from coalition.db.owner import as_owner


@click.command()
@click.option("--to", "revision", metavar="REVISION", help="The revision to reach; the newest if not given.")
@click.option(
    "--down", is_flag=True, help="Take migrations back: the last one, or down to --to (`base`: all)."
)
@click.option("--sql", "as_sql", is_flag=True, help="Print the SQL and run nothing; needs no database.")
@console.json_option
def migrate(revision: str | None, down: bool, as_sql: bool, as_json: bool) -> None:
    """Make the tables, or bring them up to date.

    Runs as the owner of the database (COALITION_MIGRATION_URL), in one transaction: all of it
    holds, or nothing. Run it again whenever you like; with nothing to do it does nothing.

    The owner need not be a superuser nor may create roles: where a role is missing, the SQL that
    an administrator must run is printed, and the exit code is 4.
    """
    if as_sql:
        click.echo(migrating.sql(to=revision or (migrating.BASE if down else migrating.HEAD), down=down))
        return
    with as_owner(get_settings()) as owner:
        done = migrating.migrate(owner, to=revision or ("-1" if down else migrating.HEAD), down=down)
    if as_json:
        console.print_json({"before": done.before, "after": done.after})
    elif done.before == done.after:
        click.echo(f"The database is at {done.after or 'its beginning'}; there was nothing to do.")
    else:
        click.echo(
            f"Migrated from {done.before or 'an empty database'} to {done.after or 'an empty database'}."
        )


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Write over FILE.")
@console.json_option
def backup(file: Path, force: bool, as_json: bool) -> None:
    """Write the whole database to FILE.

    It is copied as of one moment, while it is in use. FILE is in pg_dump's custom format;
    `coalition restore FILE` reads it.
    """
    if file.exists() and not force:
        raise click.UsageError(f"{file} exists; --force writes over it")
    with as_owner(get_settings()) as owner:
        done = copies.backup(owner, file, programs=get_settings().postgres_bin)
    if as_json:
        console.print_json({"file": file, "bytes": done.size, "revision": done.revision})
    else:
        click.echo(f"Wrote {file}: {done.size:,} bytes, schema revision {done.revision}.")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Drop what the database holds first, in the same transaction.")
@console.json_option
def restore(file: Path, replace: bool, as_json: bool) -> None:
    """Fill an empty database from a backup.

    FILE is what `coalition backup` wrote. In one transaction: the database then holds what FILE
    holds, or what it held before. End `coalition serve` first where --replace is used, and prove
    the result with `coalition audit`.
    """
    with as_owner(get_settings()) as owner:
        done = copies.restore(owner, file, replace=replace, programs=get_settings().postgres_bin)
    if as_json:
        console.print_json({"file": file, "revision": done.revision})
    else:
        click.echo(f"Restored {file}: schema revision {done.revision}. Prove it with `coalition audit`.")
