"""`coalition transaction` and `coalition member history`: the journal, as the operator reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from coalition import history
from coalition.cli import console
from coalition.cli.naming import TRANSACTION, member_named
from coalition.errors import TransactionUnknown
from coalition.global_ids import spell_reference
from coalition.history import Transactions
from coalition.ledger.tables import KINDS
from coalition.paging import PageRequest
from coalition.programme import get_programme
from partners.cli import journal
from partners.cli.parameters import party_id
from partners.cli.receipts import by_receipt, which_one
from partners.cli.reversing import reverse

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from sqlalchemy.orm import Session

    from coalition.ids import MemberId
    from coalition.ledger import TransactionRef

_AnyFunction = TypeVar("_AnyFunction", bound="Callable[..., Any]")
_DAY = click.DateTime(["%Y-%m-%d"])


def _filters(function: _AnyFunction) -> _AnyFunction:
    """What all lists of transactions have; the commands get it as they came."""
    for option in (
        console.json_option,
        click.option("--after", type=TRANSACTION, metavar="TRANSACTION", help="Those that come after it."),
        console.most_option(),
        click.option("--window", type=_DAY, help="Only those of the window of this business date."),
        click.option("--store", help="Only those at the store of this code."),
        click.option(
            "--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only these; give it as often."
        ),
        click.option("--until", type=_DAY, help="The last day on which they occurred."),
        click.option(
            "--since", type=_DAY, help="The first day on which they occurred, in the programme's zone."
        ),
        click.option("--partner", help="Only what the partner of this code did; `network`: by itself."),
    ):
        function = option(function)
    return function


@click.command(name="history")
@click.argument("who", metavar="MEMBER")
@_filters
def member_history(who: str, after: TransactionRef | None, most: int, as_json: bool, **wanted: Any) -> None:
    """List a member's transactions, the newest first: what moved its points, where, and what was left.

    MEMBER is an id, or an identifier such as card:4006381333931. What somebody did who was merged into the
    member stands in that record's own history: name it by its id. The next page is what comes --after the
    last line of this one. `coalition transaction show` shows one in full.

    \b
    Examples:
      coalition member history card:4006381333931
      coalition member history email:ada@example.org --partner grocer --kind issue --kind reverse_issue
      coalition member history card:4006381333931 --since 2026-03-01 --until 2026-03-31 --json
    """  # noqa: D301 - click's mark of lines to keep
    with console.open_database() as database, database.reading() as session:
        _list(session, member_named(session, who), after, most, as_json=as_json, **wanted)


@click.group()
def transaction() -> None:
    """Look at transactions, whoever's they are, and undo them.

    TRANSACTION is MEMBER/DATE/ID, as the lists, `coalition audit` and other commands print it; or the id that
    the API gave a partner.
    """


@transaction.command(name="list")
@click.option("--member", "who", help="Only this member's: an id or KIND:VALUE.")
@_filters
def list_(who: str | None, after: TransactionRef | None, most: int, as_json: bool, **wanted: Any) -> None:
    """List transactions, the newest first.

    \b
    Examples:
      coalition transaction list --partner grocer --store berlin-1 --since 2026-03-02
      coalition transaction list --window 2026-03-02 --kind reverse_issue --most 1000 --json
    """  # noqa: D301 - click's mark of lines to keep
    with console.open_database() as database, database.reading() as session:
        member_id = None if who is None else member_named(session, who)
        _list(session, member_id, after, most, as_json=as_json, **wanted)


@transaction.command()
@click.argument("which", metavar="[TRANSACTION]", type=TRANSACTION, required=False)
@console.json_option
def show(which: TransactionRef | None, as_json: bool, **receipt: Any) -> None:
    """Show a transaction in full: its legs, whose points they were and who pays for them, what undid it.

    The legs sum to zero. Each tells whose lot it is of: who issued it, who pays (by the parts of its funding
    plan), the prices it was issued with (s, f, c2 per point), and when it expires. Then what it undid and
    what undid it, and where it stands: its number in the member's chain, and its leaf in the window's Merkle
    tree once that is sealed (`coalition proof` proves it).

    \b
    Examples:
      coalition transaction show 5daf46cc-…/2026-03-02/6dffad72-…
      coalition transaction show --partner grocer --receipt berlin-1 till-4 2026-0815
    """  # noqa: D301 - click's mark of lines to keep
    with console.open_database() as database, database.reading() as session:
        found = history.find_transaction(session, which_one(session, which, **receipt))
        if found is None:
            raise TransactionUnknown
        shown = journal.whole(session, found)
        zone = get_programme(session).tz
    if as_json:
        console.print_json(shown)
    else:
        _print(shown, zone)


by_receipt(show)


transaction.add_command(reverse)


def _list(
    session: Session,
    member_id: MemberId | None,
    after: TransactionRef | None,
    most: int,
    *,
    partner: str | None,
    since: datetime | None,
    until: datetime | None,
    kinds: tuple[str, ...],
    store: str | None,
    window: datetime | None,
    as_json: bool,
) -> None:
    wanted = Transactions(
        partner_id=None if partner is None else party_id(session, partner),
        member_id=member_id,
        since=since.date() if since else None,
        until=until.date() if until else None,
        kinds=kinds or None,
        store=store,
        business_date=window.date() if window else None,
    )
    key = None
    if after is not None:
        last = history.find_transaction(session, after, member_id=member_id)
        if last is None:
            raise TransactionUnknown
        key = history.key_of(last, wanted)
    page = history.list_transactions(session, wanted, PageRequest(size=most, after=key))
    shown = journal.rows(session, page.items)
    if as_json:
        console.print_json(shown)
        return
    console.print_table(journal.as_lines(shown), columns=journal.COLUMNS)
    if page.has_next:
        console.tell_of_more("--after", spell_reference(page.items[-1].ref))


def _print(shown: dict[str, Any], zone: ZoneInfo) -> None:
    click.echo(f"transaction {shown['transaction']}")
    click.echo(journal.headline(shown))
    reimbursed = shown["reimbursement"]
    facts = {
        "money spent": shown["amount"],
        "receipt": shown["receipt"] and journal.receipt_line(shown["receipt"]),
        "key": shown["key"],
        "why": shown["reason"],
        "done in the partner's name by": shown["operator"],
        "the network pays per point": reimbursed
        and f"{reimbursed['ofOthers']} ({reimbursed['ofItsOwn']} for the partner's own)",
        "undoes": shown["reverses"] and f"{shown['undonePoints']:,} points of {shown['reverses']}",
        "hold": shown["hold"],
        "other member": shown["counterpart"],
        "can still be undone": None
        if shown["reversiblePoints"] is None
        else f"{shown['reversiblePoints']:,} points",
        "available after it": f"{shown['availableAfter']:,}",
    }
    for name, fact in facts.items():
        if fact is not None:
            click.echo(f"  {name}: {fact}")
    console.print_table(
        journal.entry_lines(shown["entries"], zone), columns=journal.ENTRIES, title="Legs; they sum to zero"
    )
    if shown["reversedBy"]:
        console.print_table(
            shown["reversedBy"],
            columns={"points": "Of its points", "transaction": "Transaction"},
            title="What undid it",
        )
    chain = shown["chain"]
    click.echo(f"number {chain['sequence']:,} of the member's chain, digest {chain['digest']}")
    if chain["root"] is None:
        click.echo("its window is not sealed yet")
    else:
        click.echo(f"leaf {chain['leaf']:,} of {chain['leaves']:,} under its window's root {chain['root']}")
