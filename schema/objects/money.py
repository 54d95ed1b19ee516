"""Money: an exact amount of one currency."""

from decimal import Decimal

import strawberry


@strawberry.type(description="An exact amount of one currency.")
class Money:
    """Amount and currency, never apart."""

    amount: Decimal = strawberry.field(
        description="In the currency's units, to its minor unit where it is settled."
    )
    currency: str = strawberry.field(description="ISO 4217.")
