"""`coalition transaction reverse`: the operator undoes a transaction in its partner's name."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from coalition import history
from coalition.cli import console
from coalition.cli.naming import TRANSACTION
from coalition.errors import TransactionUnknown
from partners import on_behalf
from partners.cli import journal
from partners.cli.parameters import DECIMAL
from partners.cli.receipts import by_receipt, which_one

if TYPE_CHECKING:
    from coalition.ledger import TransactionRef


@click.command()
@click.argument("which", metavar="[TRANSACTION]", type=TRANSACTION, required=False)
@click.option("--points", type=click.IntRange(min=1), help="Undo so many of its points.")
@click.option(
    "--amount",
    type=DECIMAL,
    help="Or what so much of its money had earned, or that money's share of a redemption's points.",
)
@click.option("--reason", help="Why, in your words. The partner and the member read it.")
@click.option("--key", help="The same key again is the same reversal; made up if not given.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@console.by_option
@console.json_option
def reverse(
    which: TransactionRef | None,
    points: int | None,
    amount: Decimal | None,
    reason: str | None,
    key: str | None,
    yes: bool,
    by: str,
    as_json: bool,
    **receipt: Any,
) -> None:
    """Undo an issue, a redemption or a capture in its partner's name: a part of it, or all that is left.

    It is a transaction of its own, at the prices that the other was made at, and settled with the partner as
    if its till had sent it. All that the partner would be refused is refused. How much of a spent issue comes
    back, the partner's return policy says. `coalition transaction show` tells who did it, and why.

    What is about to be undone is shown first, and asked about.

    \b
    Examples:
      coalition transaction reverse 5daf46cc-…/2026-03-02/6dffad72-… --reason "till sent it twice"
      coalition transaction reverse --partner grocer --receipt berlin-1 till-4 2026-0815 --amount 12.50
    """  # noqa: D301 - click's mark of lines to keep
    if points is not None and amount is not None:
        raise click.UsageError("Give --points, --amount, or neither for all that is left.")
    with console.open_database() as database:
        with database.reading() as session:
            ref = which_one(session, which, **receipt)
            found = history.find_transaction(session, ref)
            if found is None:
                raise TransactionUnknown
            before = journal.whole(session, found)
        if not yes:
            click.echo(journal.headline(before), err=True)
            click.confirm(f"Undo {_part(before, points, amount)} of it?", abort=True, err=True)
        with database.unit_of_work() as session:
            wish = on_behalf.Reverse(
                reference=ref, key=key or str(uuid4()), by=by, points=points, amount=amount, reason=reason
            )
            done = on_behalf.reverse(session, wish)
            posted = history.find_transaction(session, done.ref)
            assert posted is not None, "it was just posted, or under this key before"
            shown = journal.whole(session, posted) | {"replayed": done.replayed}
    if as_json:
        console.print_json(shown)
        return
    missing = shown["undonePoints"] - shown["points"]
    click.echo(f"{shown['undonePoints']:,} points are undone: {shown['transaction']}")
    if missing > 0:
        click.echo(f"{missing:,} of them were not there any more; the partner's return policy says what now")


by_receipt(reverse)


def _part(before: dict[str, Any], points: int | None, amount: Decimal | None) -> str:
    if points is not None:
        return f"{points:,} points"
    if amount is not None:
        return f"what {amount} of the money earned"
    return f"all {before['reversiblePoints'] or 0:,} points that are left"
