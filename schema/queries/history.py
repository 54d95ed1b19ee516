"""Transactions: one by name, or a page of those that the viewer may see; and the holds that are open."""

from collections.abc import Callable
from typing import Annotated, Any, Final

import strawberry

from coalition import history, holding
from coalition.keys import MAX_KEY
from coalition.ledger import TransactionRef
from partners import directory
from partners.scopes import Scope
from schema.context import Context, Info
from schema.cost import PAGE, Cost
from schema.ids import transaction_in
from schema.inputs import (
    TransactionBy,
    TransactionByKey,
    TransactionByReceipt,
    TransactionFilter,
)
from schema.objects.holds import Hold, holds_page
from schema.objects.nodes import After, Before, Connection, First, Last, asked_page
from schema.objects.transaction_pages import transactions_page
from schema.objects.transactions import Transaction
from schema.viewer import READS_HISTORY, Requires

_POSTS: Final = (Scope.POINTS_ISSUE, Scope.POINTS_REDEEM, Scope.POINTS_REVERSE)


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


def _by_receipt(context: Context, by: TransactionByReceipt) -> TransactionRef | None:
    partner_id = context.viewer.partner_id
    if partner_id is None:
        return None
    return by.find(context.session, partner_id=partner_id)


def _by_key(context: Context, by: TransactionByKey) -> TransactionRef | None:
    partner_id, key = context.viewer.partner_id, str(by.idempotency_key)
    if partner_id is None or not key.isprintable() or len(key) > MAX_KEY:
        return None
    # By whatever it was named then, since blocked, replaced or unlinked.
    member_id = by.member.named(context.session, partner_id=partner_id).member_id
    return history.find_by_key(context.session, member_id=member_id, partner_id=partner_id, key=key)


@strawberry.type
class HistoryQueries:
    """Transactions and open holds."""

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

    @strawberry.field(
        description="Holds that are open, over all members, the newest first: what a partner set aside and"
        " can still capture or void, a member's own, or to the operator all. Those that ended are"
        " Member.holds.",
        extensions=[Requires(*READS_HISTORY)],
        directives=[PAGE, Cost(weight=5)],
    )
    def open_holds(  # noqa: PLR0917 - Relay's arguments
        self,
        info: Info,
        partner: Annotated[
            str | None,
            strawberry.argument(
                description="Only this partner's, by its code; a partner sees its own in any case."
            ),
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Hold]:
        """A page of holds."""
        context = info.context
        asked = asked_page(first=first, after=after, last=last, before=before, key_length=holding.KEY_LENGTH)
        whose = context.viewer.partner_id
        if whose is None and partner is not None:
            whose = directory.get_partner_by_code(context.session, partner).partner_id
        page = holding.list_holds(
            context.session, context.viewer.member_id, asked, partner_id=whose, state="open"
        )
        return holds_page(context, page)
