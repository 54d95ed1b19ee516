"""Any object by its global id, for whoever may see it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final
from uuid import UUID

import strawberry

from coalition import global_ids
from coalition.errors import ClientUnknown, WindowUnknown
from coalition.ids import AgreementId, FundingPlanId, PartyId
from coalition.windows import find_window
from partners import clients
from partners.scopes import Scope
from schema.context import Context, Info
from schema.ids import hold_in, member_in, transaction_in
from schema.objects.clients import Client
from schema.objects.holds import visible_hold
from schema.objects.nodes import Node
from schema.objects.partners import Agreement, FundingPlan
from schema.objects.settlement import SettlementRun, SettlementWindow
from schema.queries.history import visible_transaction
from schema.queries.network import visible_member, visible_partner
from schema.queries.settlement import READS_SETTLEMENT
from schema.viewer import READS_HISTORY
from settlement import reads


def _agreement(context: Context, agreement_id: UUID) -> Node | None:
    found = context.loaded.agreements.get(AgreementId(agreement_id))
    if found is None or not context.viewer.sees_terms_of(found.partner_id):
        return None
    return Agreement.of(found)


def _client(context: Context, client_id: str) -> Node | None:
    if not context.viewer.has(Scope.PROGRAMME_ADMIN) or not client_id.isprintable():
        return None
    try:
        return Client.of(clients.get_client(context.session, client_id))
    except ClientUnknown:
        return None


def _funding_plan(context: Context, plan_id: UUID) -> Node | None:
    if not context.viewer.has(Scope.PROGRAMME_ADMIN):
        return None
    found = context.loaded.plans.get(FundingPlanId(plan_id))
    return None if found is None else FundingPlan.of(found)


def _partner(context: Context, partner_id: UUID) -> Node | None:
    return visible_partner(context, context.loaded.partners.get(PartyId(partner_id)))


def _run(context: Context, run_id: UUID) -> Node | None:
    # It holds every partner's lines.
    viewer = context.viewer
    if not (viewer.is_operator or viewer.is_finance):
        return None
    found = reads.find_run(context.session, run_id)
    return None if found is None else SettlementRun.of(found)


def _window(context: Context, business_date: str) -> Node | None:
    if not context.viewer.has(*READS_SETTLEMENT):
        return None
    try:
        return SettlementWindow.of(find_window(context.session, dt.date.fromisoformat(business_date)))
    except (ValueError, WindowUnknown):
        return None


def _by_uuid(find: Callable[[Context, UUID], Node | None]) -> Callable[[Context, str], Node | None]:
    def found(context: Context, rest: str) -> Node | None:
        try:
            return find(context, UUID(rest))
        except ValueError:
            return None

    return found


_BY_PART: Final[Mapping[str, Callable[[Context, str], Any]]] = {
    "Agreement": _by_uuid(_agreement),
    "Client": _client,
    "FundingPlan": _by_uuid(_funding_plan),
    "Partner": _by_uuid(_partner),
    "SettlementRun": _by_uuid(_run),
    "SettlementWindow": _window,
}
"""Types whose global id is the type and one part: how the viewer finds the object by that part."""

_BY_ID: Final[Mapping[str, Callable[[Context, str], Any]]] = {
    "Hold": lambda context, it: visible_hold(context, hold_in(it)),
    "Member": lambda context, it: visible_member(context, member_in(it)),
    "Transaction": lambda context, it: visible_transaction(context, transaction_in(it)),
}
"""A member's own, whose ids have parts of their own; all want a scope that reads history."""


def node_types() -> frozenset[str]:
    """The types that `node` finds: every type that implements Node."""
    return frozenset(_BY_PART) | frozenset(_BY_ID)


@strawberry.type
class NodeQueries:
    """Relay's `node`."""

    @strawberry.field(
        description="An object by its global id. Null where there is none, or none that you may see."
    )
    def node(
        self,
        info: Info,
        id: Annotated[
            strawberry.ID, strawberry.argument(description="The `id` of an object as the API gave it.")
        ],
    ) -> Node | None:
        """Any object."""
        kind, rest = global_ids.read(str(id)) or ("", "")
        found: Node | None = None
        if kind in _BY_PART:
            found = _BY_PART[kind](info.context, rest)
        elif kind in _BY_ID and info.context.viewer.has(*READS_HISTORY):
            found = _BY_ID[kind](info.context, str(id))
        return found
