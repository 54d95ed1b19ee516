"""Transactions: one by name, or a page of those that the viewer may see."""

from collections.abc import Callable
from typing import Annotated, Any, Final

import strawberry

from coalition import history
from coalition.errors import InvalidInput
from coalition.ids import MemberId, PartyId
from coalition.keys import MAX_KEY
from coalition.ledger import TransactionRef
from partners.scopes import Scope
from schema.context import Context, Info
from schema.cost import PAGE, Cost
from schema.ids import transaction_in
from schema.inputs import (
    NOBODY,
    TransactionBy,
    TransactionByKey,
    TransactionByReceipt,
    TransactionFilter,
)
from schema.objects.nodes import After, Before, Connection, First, Last, asked_page, connection
from schema.objects.transactions import Transaction
from schema.viewer import Requires

READS_HISTORY: Final = (Scope.MEMBERS_READ, Scope.PROGRAMME_ADMIN, Scope.MEMBER_SELF)
_POSTS: Final = (Scope.POINTS_ISSUE, Scope.POINTS_REDEEM, Scope.POINTS_REVERSE)
_LONGEST: Final = 64


def visible_transaction(context: Context, ref: TransactionRef | None) -> Transaction | None:
    """The transaction, if it is the viewer's to see; one statement finds both or neither out."""
    viewer = context.viewer
    if ref is None or not (viewer.is_operator or viewer.partner_id or viewer.member_id):
        return None
    found = history.find_transaction(
        context.session, ref, partner_id=viewer.partner_id, member_id=viewer.member_id
    )
    if found is None:
        return None
    context.loaded.remember([found])
    return Transaction.of_ref(found.ref)


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


def _by_receipt(context: Context, by: TransactionByReceipt) -> TransactionRef | None:
    partner_id = context.viewer.partner_id
    if partner_id is None:
        return None
    return history.find_by_receipt(
        context.session, partner_id=partner_id, kind=str(by.kind.value), receipt=by.receipt.receipt()
    )


def _by_key(context: Context, by: TransactionByKey) -> TransactionRef | None:
    partner_id, key = context.viewer.partner_id, str(by.idempotency_key)
    if partner_id is None or not key.isprintable() or len(key) > MAX_KEY:
        return None
    # By whatever it was named then, since blocked, replaced or unlinked.
    member_id = by.member.named(context.session, partner_id=partner_id).member_id
    return history.find_by_key(context.session, member_id=member_id, partner_id=partner_id, key=key)


@strawberry.type
class HistoryQueries:
    """Transactions."""

    @strawberry.field(
        description="One transaction, for a till that lost its answer: by id, or by your own receipt line or"
        " key. Null where there is none, or none of yours.",
        extensions=[Requires(*READS_HISTORY, *_POSTS)],
    )
    def transaction(
        self,
        info: Info,
        by: Annotated[
            TransactionBy, strawberry.argument(description="What you know of it: one of the three names it.")
        ],
    ) -> Transaction | None:
        """One transaction."""
        context = info.context
        finders: tuple[tuple[Any, Callable[[Any], TransactionRef | None]], ...] = (
            (by.receipt, lambda given: _by_receipt(context, given)),
            (by.key, lambda given: _by_key(context, given)),
            (by.id, lambda given: transaction_in(str(given))),
        )
        for given, find in finders:
            if given is not strawberry.UNSET and given is not None:
                return visible_transaction(context, find(given))
        return None

    @strawberry.field(
        description="Transactions, the newest first: a partner's own, a member's own, or to the operator"
        " all.",
        extensions=[Requires(*READS_HISTORY)],
        directives=[PAGE, Cost(weight=2)],
    )
    def transactions(  # noqa: PLR0917 - Relay's arguments
        self,
        info: Info,
        filter: Annotated[
            TransactionFilter | None,
            strawberry.argument(description="Which are wanted; all that you may see, where nothing is said."),
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Transaction]:
        """A page of transactions."""
        return transactions_page(info, filter, first=first, after=after, last=last, before=before)
