"""A page of those transactions that the viewer may see."""

from typing import Final

from coalition import history
from coalition.errors import InvalidInput
from coalition.ids import MemberId, PartyId
from schema.context import Context, Info
from schema.inputs import NOBODY, TransactionFilter
from schema.objects.nodes import Connection, asked_page, connection
from schema.objects.transactions import Transaction
from schema.viewer import READS_HISTORY

_LONGEST: Final = 64


def transactions_page(
    info: Info,
    wanted: TransactionFilter | None,
    *,
    member_id: MemberId | None = None,
    first: int | None,
    after: str | None,
    last: int | None,
    before: str | None,
) -> Connection[Transaction]:
    """A page of what the viewer may see."""
    context = info.context
    page = asked_page(first=first, after=after, last=last, before=before, key_length=history.KEY_LENGTH)
    asked = _asked(context, wanted, member_id)
    found = history.list_transactions(context.session, asked, page)
    context.loaded.remember(found.items)
    made: Connection[Transaction] = connection(
        found,
        [history.key_of(one, asked) for one in found.items],
        [Transaction.of_ref(one.ref) for one in found.items],
    )
    return made


def _asked(
    context: Context, wanted: TransactionFilter | None, member_id: MemberId | None
) -> history.Transactions:
    viewer = context.viewer
    wanted = wanted or TransactionFilter()
    if wanted.member is not None:
        named = wanted.member.resolve(
            context.session, partner_id=viewer.partner_id or PartyId(NOBODY), in_use=False
        )
        # Another member's history within one's own: nobody's.
        member_id = named if member_id in (None, named) else NOBODY
    if not viewer.has(*READS_HISTORY):
        member_id = NOBODY  # a till's token comes here by the member of what it posted
    if viewer.member_id is not None:
        member_id = viewer.member_id if member_id in (None, viewer.member_id) else NOBODY
    if wanted.store is not None and not (wanted.store.isprintable() and len(wanted.store) <= _LONGEST):
        raise InvalidInput(
            f"store must be at most {_LONGEST} printable characters", field=("filter", "store")
        )
    return history.Transactions(
        partner_id=viewer.partner_id,
        member_id=member_id,
        since=wanted.since,
        until=wanted.until,
        kinds=None if wanted.kinds is None else [str(kind.value) for kind in wanted.kinds],
        store=wanted.store,
        business_date=wanted.window,
    )
