"""What every mutation answers."""

import strawberry

from schema.cost import FEW
from schema.refusals import UserError


@strawberry.interface(description="What every mutation answers.")
class Payload:
    """Refusals are data."""

    replayed: bool = strawberry.field(
        description="Whether this wish was granted before, under this key: the answer is the one of then."
    )
    user_errors: list[UserError] = strawberry.field(
        description="Why the network says no; empty where the wish was granted. Where it is not, nothing"
        " has moved.",
        directives=[FEW],
    )
