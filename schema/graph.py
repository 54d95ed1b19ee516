"""The schema: all queries, all mutations, all types."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import strawberry
from graphql import GraphQLNonNull
from strawberry.schema.config import StrawberryConfig

from schema.coercion import make_inputs_directly
from schema.mutations.adjustments import AdjustmentMutations
from schema.mutations.batches import BatchMutations
from schema.mutations.clients import ClientMutations
from schema.mutations.guards import GuardMutations
from schema.mutations.holds import HoldMutations
from schema.mutations.identifiers import IdentifierMutations
from schema.mutations.members import MemberMutations
from schema.mutations.merges import MergeMutations
from schema.mutations.operator import OperatorMutations
from schema.mutations.people import PeopleMutations
from schema.mutations.points import PointsMutations
from schema.mutations.pools import PoolMutations
from schema.mutations.programme import ProgrammeMutations
from schema.mutations.transfers import TransferMutations
from schema.mutations.vouchers import VoucherMutations
from schema.paths import tell_paths_that_lead_somewhere
from schema.queries.access import AccessQueries
from schema.queries.adjustments import AdjustmentQueries
from schema.queries.guards import GuardQueries
from schema.queries.history import HistoryQueries
from schema.queries.network import NetworkQueries
from schema.queries.nodes import NodeQueries
from schema.queries.pools import PoolQueries
from schema.queries.quotes import QuoteQueries
from schema.queries.settlement import SettlementQueries
from schema.refusals import REFUSAL_TYPES
from schema.scalars import SCALARS

if TYPE_CHECKING:
    from graphql import GraphQLSchema


@strawberry.type(description="What can be asked. Each answer is of one moment.")
class Query(
    NetworkQueries,
    NodeQueries,
    HistoryQueries,
    QuoteQueries,
    SettlementQueries,
    AccessQueries,
    AdjustmentQueries,
    PoolQueries,
    GuardQueries,
):
    """All queries."""


@strawberry.type(
    description="What can be done. Each takes one input with an idempotency key, a batch one with each line;"
    " a refusal is data. Several in one document are done one after the other, each by itself: one that is"
    " null has an error that says why, and those beside it stand."
)
class Mutation(
    PointsMutations,
    BatchMutations,
    HoldMutations,
    VoucherMutations,
    TransferMutations,
    AdjustmentMutations,
    PoolMutations,
    MemberMutations,
    MergeMutations,
    PeopleMutations,
    OperatorMutations,
    ClientMutations,
    GuardMutations,
    ProgrammeMutations,
    IdentifierMutations,
):
    """All mutations."""


@functools.cache
def build() -> strawberry.Schema:
    """The schema: one for the process, since it holds nothing of an application's."""
    schema = strawberry.Schema(
        query=Query,
        mutation=Mutation,
        types=REFUSAL_TYPES,
        config=StrawberryConfig(scalar_map=SCALARS),
    )
    make_inputs_directly(schema, core_schema(schema))
    _let_each_mutation_fail_alone(core_schema(schema))
    tell_paths_that_lead_somewhere(core_schema(schema))
    return schema


def _let_each_mutation_fail_alone(core: GraphQLSchema) -> None:
    """Make the fields of Mutation nullable, whatever their resolvers promise.

    A null where none may be takes the whole `data` with it (GraphQL, section 6.4.4): of two mutations in one
    document, what the first had done would not be told where the second may not be asked for.
    """
    assert core.mutation_type is not None
    for field in core.mutation_type.fields.values():
        if isinstance(field.type, GraphQLNonNull):
            field.type = field.type.of_type


def core_schema(schema: strawberry.Schema) -> GraphQLSchema:
    """What graphql-core executes."""
    core: GraphQLSchema = schema._schema  # noqa: SLF001 - the framework has no public name for it
    return core


def sdl(schema: strawberry.Schema) -> str:
    """The schema in GraphQL's own language, as it is committed in schema.graphql."""
    return schema.as_str() + "\n"
