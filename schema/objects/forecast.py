"""The forecast: what will expire and mature."""

import datetime as dt

import strawberry

from coalition.amounts import Points
from coalition.ids import PartnerId
from schema.context import Info
from schema.objects.money import Money
from schema.objects.partners import Partner, partner_of
from settlement import forecast


@strawberry.type(description="What falls due in one month of one issuer's points, as things stand now.")
class ForecastMonth:
    """A row of the forecast."""

    issuer_id: strawberry.Private[PartnerId]
    month: dt.date | None = strawberry.field(
        description="Its first day, in the programme's zone; null: points that never expire. Points lapse"
        " as a day begins and count in the month of their last day: what lapses on 1 April is of March"
        " (ExpiringPoints.on)."
    )
    expiring: Points = strawberry.field(
        description="Available, pending and held points that lapse in it if nobody spends them."
    )
    breakage: Money = strawberry.field(
        description="What the network would then return to their funders: β times f of each point."
    )
    maturing: Points = strawberry.field(description="Pending points that become spendable in it.")

    @strawberry.field(description="Whose points.")
    def issuer(self, info: Info) -> Partner | None:
        """The issuer."""
        return partner_of(info, self.issuer_id)

    @classmethod
    def of(cls, row: forecast.Forecast, currency: str) -> "ForecastMonth":
        """As the API shows it."""
        return cls(
            issuer_id=row.issuer_id,
            month=row.month,
            expiring=row.expiring,
            breakage=Money(amount=row.breakage, currency=currency),
            maturing=row.maturing,
        )
