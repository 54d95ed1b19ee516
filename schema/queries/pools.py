"""One household pool."""

from typing import Annotated

import strawberry

from partners.scopes import Scope
from schema.context import Info
from schema.objects.pools import Pool, visible_pool
from schema.viewer import Requires


@strawberry.type
class PoolQueries:
    """Pools."""

    @strawberry.field(
        description="A household pool by its id, to who is in it or was invited, and to the operator. Null"
        " where there is none, or none of yours.",
        extensions=[Requires(Scope.MEMBER_SELF, Scope.PROGRAMME_ADMIN)],
    )
    def pool(
        self,
        info: Info,
        id: Annotated[
            strawberry.ID, strawberry.argument(description="The pool, as createPool or Member.pool gave it.")
        ],
    ) -> Pool | None:
        """One pool."""
        return visible_pool(info.context, str(id))
