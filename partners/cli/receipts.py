"""How commands name a transaction: by its id, or by the receipt line that a partner posted it for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coalition.errors import TransactionUnknown
from coalition.history import find_by_receipt
from coalition.receipts import Receipt
from partners.directory import get_partner_by_code

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from coalition.ledger import TransactionRef


def by_receipt(command: click.Command) -> click.Command:
    """Have a command name its TRANSACTION by a partner's receipt line too, as the API does."""
    command.params += [
        click.Option(
            ["--partner", "code"], help="With --receipt: the code of the partner whose receipt it is."
        ),
        click.Option(
            ["--receipt"],
            nargs=3,
            metavar="STORE TERMINAL NUMBER",
            help="In place of TRANSACTION: what the partner posted for a line of this receipt.",
        ),
        click.Option(
            ["--line"], type=click.IntRange(min=0), default=1, show_default=True, help="Which line."
        ),
        click.Option(["--revision"], type=click.IntRange(min=0), default=0, show_default=True),
        click.Option(
            ["--redeemed", "redeemed"],
            is_flag=True,
            help="The redemption of that line; the issue if not given. One line can have both.",
        ),
    ]
    return command


def which_one(
    session: Session,
    which: TransactionRef | None,
    *,
    code: str | None,
    receipt: tuple[str, str, str] | None,
    line: int,
    revision: int,
    redeemed: bool,
) -> TransactionRef:
    """The transaction that a command names, by its id or by its receipt line.

    Raises:
        PartnerUnknown: no partner has that code.
        TransactionUnknown: nothing was posted for that line.
    """
    if (which is None) == (receipt is None) or (receipt is None) != (code is None):
        raise click.UsageError("Name TRANSACTION, or --partner and --receipt.")
    if which is not None:
        return which
    assert receipt is not None
    assert code is not None
    store, terminal, number = receipt
    found = find_by_receipt(
        session,
        partner_id=get_partner_by_code(session, code).partner_id,
        kind="redeem" if redeemed else "issue",
        receipt=Receipt(store=store, terminal=terminal, number=number, line=line, revision=revision),
    )
    if found is None:
        raise TransactionUnknown
    return found
