"""When points lapse: an agreement's rule, and the last day that it gives an issue. Functions of values."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from coalition.errors import InvalidInput

_MAX_MONTHS: Final = 1_200
_LAST_DATE: Final = date(8999, 12, 31)
"""A sandbox's clock goes no further either: from there all terms still end within the calendar."""
_SHORTEST_MONTH: Final = 28  # days
_YEAR: Final = 365
_MONTHS: Final = 12


class ExpiryRule(StrEnum):
    """From what the last day of points is counted."""

    TERM = "term"
    """So many months after the issue; without months: never."""
    END_OF_MONTH = "end_of_month"
    """The end of the month in which that term ends."""
    END_OF_QUARTER = "end_of_quarter"
    """The end of the calendar quarter in which that term ends."""
    END_OF_YEAR = "end_of_year"
    """The end of the calendar year in which that term ends."""
    FIXED_DATE = "fixed_date"
    """A date, and that day of each year after it: the first that points which mature before it reach."""
    INACTIVITY = "inactivity"
    """So many months after the issue, counted again from each activity of the member's."""


class Activity(StrEnum):
    """What keeps points alive that lapse by inactivity."""

    ANY = "any"
    """An issue, a redemption, or a capture."""
    ISSUE = "issue"
    REDEEM = "redeem"
    """A redemption or a capture."""


class ActivityWhere(StrEnum):
    """Whose business the activity must be at."""

    ANYWHERE = "anywhere"
    AT_ISSUER = "at_issuer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """The rule of one agreement."""

    expiry_rule: ExpiryRule = ExpiryRule.TERM
    expiry_months: int | None = 24
    expiry_date: date | None = None
    """Of FIXED_DATE."""
    activity: Activity | None = None
    """Of INACTIVITY."""
    activity_where: ActivityWhere | None = None
    """Of INACTIVITY."""

    @property
    def never(self) -> bool:
        """Whether points of these terms live for good."""
        return self.expiry_rule is ExpiryRule.TERM and self.expiry_months is None

    def in_words(self) -> str:
        """As people say it."""
        if self.never:
            return "never"
        after = f"{self.expiry_months} months"
        match self.expiry_rule:
            case ExpiryRule.FIXED_DATE:
                return f"on {self.expiry_date} and each year from then"
            case ExpiryRule.INACTIVITY:
                assert self.activity is not None, "inactivity is of an activity"
                here = " at the issuer" if self.activity_where is ActivityWhere.AT_ISSUER else ""
                return f"{after} after the last activity ({self.activity.value}){here}"
            case ExpiryRule.TERM:
                return f"after {after}"
            case rule:
                return f"at the {rule.value.replace('_', ' ')}, after {after}"


def last_day(expiry: Expiry, issued_on: date, *, maturity_days: int) -> date | None:
    """The last day on which points of an issue can be spent, unless something extends it; None: no last one.

    Days are of the programme's zone. Months are the calendar's; one that is too short for the day ends on its
    own last day.
    """
    if expiry.never:
        return None
    if expiry.expiry_rule is ExpiryRule.FIXED_DATE:
        assert expiry.expiry_date is not None, "a fixed date has a date"
        return _anniversary(
            expiry.expiry_date, at_least=date.fromordinal(issued_on.toordinal() + maturity_days)
        )
    assert expiry.expiry_months is not None, "a term has months"
    day = add_months(issued_on, expiry.expiry_months)
    whole = _PERIODS.get(expiry.expiry_rule)
    return day if whole is None else _end_of(day, months=whole)


def check_expiry(expiry: Expiry, *, maturity_days: int) -> Expiry:
    """The rule, if it makes sense: its parts belong together, and points mature before they lapse.

    Raises:
        InvalidInput: it does not.
    """
    _check_parts(expiry)
    rule, months = expiry.expiry_rule, expiry.expiry_months
    if rule is ExpiryRule.FIXED_DATE:
        if expiry.expiry_date is not None and expiry.expiry_date > _LAST_DATE:
            raise _wrong("expiryDate", f"expiryDate must be {_LAST_DATE} at the latest")
        if maturity_days >= _YEAR:
            raise _wrong("maturityDays", "points would pend for longer than from one such date to the next")
        return expiry
    if months is None:
        return expiry
    least = 0 if rule in _PERIODS else 1
    if not least <= months <= _MAX_MONTHS:
        raise _wrong("expiryMonths", f"expiryMonths must be from {least} to {_MAX_MONTHS:,}")
    # So that points are spendable before they lapse, in every month of the calendar.
    if maturity_days > max(months * _SHORTEST_MONTH - 1, 0):
        raise _wrong("maturityDays", "points would expire before they mature")
    return expiry


def _check_parts(expiry: Expiry) -> None:
    rule, months = expiry.expiry_rule, expiry.expiry_months
    if (rule is ExpiryRule.FIXED_DATE) != (expiry.expiry_date is not None):
        raise _wrong("expiryDate", "expiryDate goes with the rule FIXED_DATE, and with no other")
    if (rule is ExpiryRule.INACTIVITY) != (expiry.activity is not None):
        raise _wrong("activity", "activity goes with the rule INACTIVITY, and with no other")
    if (expiry.activity is None) != (expiry.activity_where is None):
        raise _wrong("activityWhere", "activity and activityWhere go together")
    if rule is ExpiryRule.FIXED_DATE and months is not None:
        raise _wrong("expiryMonths", "a fixed date has no months")
    if months is None and rule not in {ExpiryRule.TERM, ExpiryRule.FIXED_DATE}:
        raise _wrong("expiryMonths", f"the rule {rule.name} needs months")


_PERIODS: Final = {ExpiryRule.END_OF_MONTH: 1, ExpiryRule.END_OF_QUARTER: 3, ExpiryRule.END_OF_YEAR: _MONTHS}


def add_months(day: date, months: int) -> date:
    """The same day so many months later, or the last of a month that is too short for it."""
    years, month = divmod(day.month - 1 + months, _MONTHS)
    return _clamped(day.year + years, month + 1, day.day)


def _end_of(day: date, *, months: int) -> date:
    """The last day of the period of so many months, counted from January, in which a day lies."""
    month = (day.month - 1) // months * months + months
    return _clamped(day.year, month, 31)


def _anniversary(first: date, *, at_least: date) -> date:
    """The first, or the same day of the first later year that reaches another day."""
    if first >= at_least:
        return first
    same_year = _clamped(at_least.year, first.month, first.day)
    return same_year if same_year >= at_least else _clamped(at_least.year + 1, first.month, first.day)


def _clamped(year: int, month: int, day: int) -> date:
    return date(year, month, min(day, monthrange(year, month)[1]))


def _wrong(field: str, message: str) -> InvalidInput:
    return InvalidInput(message, field=("input", field))
