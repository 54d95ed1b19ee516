"""What a partner's agreement makes of an issue: its points, and when they mature and lapse.

Functions of values. The mutation and the quote both ask them, so they cannot disagree.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from coalition.amounts import MAX_POINTS, Points
from coalition.errors import InvalidInput, PointsInvalid
from partners.agreements import Agreement
from partners.checks import check_decimal
from partners.earning import points_for
from partners.expiry import Expiry, last_day

_AMOUNT_BELOW: Final = 1_000_000_000_000
_AMOUNT_PLACES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What an issue gives the member."""

    points: Points
    matures_at: datetime | None
    """None: spendable at once."""
    expires_at: datetime | None
    """None: never."""


def check_points(points: int) -> Points:
    """The number, if one transaction may move it.

    Raises:
        PointsInvalid: it may not.
    """
    if not 1 <= points <= MAX_POINTS:
        raise PointsInvalid(points=points)
    return Points(points)


def check_amount(amount: Decimal) -> Decimal:
    """The money spent, if it can be stored exactly.

    Raises:
        InvalidInput: it is negative, too large, or has more than 4 places.
    """
    return check_decimal(amount, field="amount", places=_AMOUNT_PLACES, below=_AMOUNT_BELOW)


def evaluate(
    agreement: Agreement, *, points: int | None, amount: Decimal | None, occurred_at: datetime, zone: ZoneInfo
) -> Evaluation:
    """What these terms make of points, or of money spent.

    Raises:
        InvalidInput: money was given, and the agreement has no rule for it.
        PointsInvalid: the money would earn more than one transaction may move.
    """
    if amount is None:
        assert points is not None, "an issue is given as points or as money"
        earned = Points(points)
    elif (rule := agreement.earn_rule) is None:
        raise InvalidInput(
            "The agreement has no rule for what money earns; give points.", field=("input", "amount")
        )
    else:
        earned = points_for(rule, amount)
    return Evaluation(
        points=earned,
        matures_at=_matures_at(agreement, occurred_at),
        expires_at=_expires_at(agreement, occurred_at, zone),
    )


def local_date(moment: datetime, zone: ZoneInfo) -> date:
    """The calendar day of a moment in the programme's zone."""
    return moment.astimezone(zone).date()


def last_date(expires_at: datetime, zone: ZoneInfo) -> date:
    """The last calendar day of points that lapse at a moment: the day before, where a day begins with it."""
    return local_date(expires_at - timedelta(microseconds=1), zone)


def _matures_at(agreement: Agreement, occurred_at: datetime) -> datetime | None:
    if agreement.maturity_days == 0:
        return None
    return occurred_at + timedelta(days=agreement.maturity_days)


def _expires_at(agreement: Agreement, occurred_at: datetime, zone: ZoneInfo) -> datetime | None:
    issued_on = local_date(occurred_at, zone)
    # So many times 24 hours may end in the calendar's next day, or the one before, where the clocks change.
    matures_on = issued_on
    if agreement.maturity_days:
        matures_on = local_date(occurred_at + timedelta(days=agreement.maturity_days), zone)
    return _end_of_points(agreement.expiry, issued_on, maturity_days=(matures_on - issued_on).days, zone=zone)


# Remembered, since a batch asks the same of a thousand lines.
@lru_cache(maxsize=4_096)
def _end_of_points(expiry: Expiry, issued_on: date, *, maturity_days: int, zone: ZoneInfo) -> datetime | None:
    last = last_day(expiry, issued_on, maturity_days=maturity_days)
    # The whole of the last day counts: points lapse as the next one begins there.
    return None if last is None else datetime.combine(last + timedelta(days=1), time.min, tzinfo=zone)
