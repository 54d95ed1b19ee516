"""The scalars of the API: whole points, exact decimals, dates, and times with a zone. No floats."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Final

import strawberry
from strawberry.types.scalar import ScalarDefinition

from coalition.amounts import Points, decimal_in

_MOST = 2**63 - 1
_LONGEST = 40
"""Characters; longer than any value that a column could hold, and short enough to convert at once."""


def _points(value: object) -> Points:
    if isinstance(value, int) and not isinstance(value, bool):
        return _countable(value)
    if (
        isinstance(value, str)
        and len(value) <= _LONGEST
        and value.isascii()
        and value.removeprefix("-").isdigit()
    ):
        return _countable(int(value))
    raise ValueError(f"Points must be a whole number, as an Int or a String of digits; got {_shown(value)}.")


def _countable(number: int) -> Points:
    """More than 64 bits hold is as wrong as the most that they do, and refused as that wherever it goes."""
    return Points(max(-_MOST, min(number, _MOST)))


def _decimal(value: object) -> Decimal:
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str) and len(value) <= _LONGEST and (number := decimal_in(value)) is not None:
        return number
    raise ValueError(
        'Decimal must be an exact number, as a String such as "12.50" or an Int, never a Float;'
        f" got {_shown(value)}."
    )


def _date(value: object) -> dt.date:
    if isinstance(value, str) and len(value) == len("2026-01-31"):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            pass
    raise ValueError(f'Date must be a calendar date such as "2026-01-31"; got {_shown(value)}.')


def _time(value: object) -> dt.datetime:
    if isinstance(value, str) and len(value) <= _LONGEST and "T" in value.upper():
        try:
            moment = dt.datetime.fromisoformat(value.upper())
        except ValueError:
            pass
        else:
            if moment.tzinfo is not None:
                return moment
    raise ValueError(
        f'DateTime must be RFC 3339 with a zone, such as "2026-01-31T18:30:00+01:00"; got {_shown(value)}.'
    )


def decimal_text(value: Decimal) -> str:
    """The number in plain digits, never as an exponent."""
    return f"{value:f}"


def time_text(moment: dt.datetime) -> str:
    """The moment in UTC, RFC 3339."""
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _scalar(
    name: str, description: str, serialize: Any, parse: Any, specified_by: str | None = None
) -> ScalarDefinition:
    return strawberry.scalar(
        name=name,
        description=description,
        specified_by_url=specified_by,
        serialize=serialize,
        parse_value=parse,
    )


SCALARS: Final[dict[object, ScalarDefinition]] = {
    Points: _scalar(
        "Points",
        "A whole number of points, 64 bits, answered as a String of digits (Int is 32 bits)."
        " Taken as a String of digits or as an Int; never a fraction.",
        str,
        _points,
    ),
    Decimal: _scalar(
        "Decimal",
        'An exact decimal number, answered as a String such as "12.50".'
        " Taken as a String or an Int, never a Float.",
        decimal_text,
        _decimal,
    ),
    dt.date: _scalar("Date", 'A calendar date, such as "2026-01-31".', dt.date.isoformat, _date),
    dt.datetime: _scalar(
        "DateTime",
        "A moment, RFC 3339, always with a zone; answered in UTC.",
        time_text,
        _time,
        "https://www.rfc-editor.org/rfc/rfc3339",
    ),
}
"""What the schema's configuration maps: Python's type to the scalar."""
