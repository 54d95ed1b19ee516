"""`coalition proof`: the proof that a transaction is in its settlement window."""

from __future__ import annotations

import click

from coalition.cli import console, naming
from coalition.errors import CoalitionError
from coalition.ledger import TransactionRef
from coalition.proving import VERIFIER, prove_inclusion


class WindowNotSealed(CoalitionError):
    """The window has no root yet."""

    code = "WINDOW_NOT_SEALED"
    summary = "The window {business_date} is not sealed yet; the night does it, or `coalition settle`."


def _print_script(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        click.echo(VERIFIER.read_text(encoding="utf-8"), nl=False)
        ctx.exit()


@click.command()
@click.argument("transaction", type=naming.TRANSACTION)
@click.option(
    "--script",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_script,
    help="Print verify_proof.py, and nothing else.",
)
@console.json_option
def proof(transaction: TransactionRef, *, as_json: bool) -> None:
    """Prove that TRANSACTION is in its settlement window, whose Merkle root is published.

    Prints the proof as JSON, for whoever acted: it tells what that partner knows of the transaction, and
    hashes. Anyone checks it with verify_proof.py, which needs Python and nothing of ours; the server has it
    at /verify_proof.py, too.

    \b
    Example:
      coalition proof --script > verify_proof.py
      coalition proof 5daf46cc-…/2026-03-02/6dffad72-… > proof.json
      coalition report windows        # has the roots; a partner keeps its own copy of them
      python3 verify_proof.py proof.json --root 85c18d4b45c4…
    """  # noqa: D301 - click's mark of lines to keep
    del as_json  # it is JSON anyway
    with console.open_database() as database, database.reading() as session:
        found = prove_inclusion(session, transaction)
    if found is None:
        raise WindowNotSealed(business_date=transaction.business_date)
    click.echo(found.document())
