"""Points and money: whole points, exact decimals, and where a rounding happens."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, NewType

Points = NewType("Points", int)
"""A whole number of points; 64 bits in the database."""

PARTS_PER_MILLION: Final = 1_000_000
MAX_POINTS: Final = Points(1_000_000_000)
"""The most points that one transaction may move: a typing error at a till stays below a member's lifetime."""

# Decimal() would take 1_000, other digits than ours, NaN, and exponents that no arithmetic ends with.
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")

# ISO 4217 currencies whose minor unit is not two decimals, of those a programme is likely to settle in.
_MINOR_UNITS: Final = {
    "BHD": 3,
    "CLP": 0,
    "ISK": 0,
    "JOD": 3,
    "JPY": 0,
    "KRW": 0,
    "KWD": 3,
    "OMR": 3,
    "TND": 3,
}


def minor_units(currency: str) -> int:
    """How many decimals the currency's minor unit has (ISO 4217)."""
    return _MINOR_UNITS.get(currency, 2)


def decimal_in(text: str) -> Decimal | None:
    """The number that a text spells; None: it spells none."""
    return Decimal(text) if _DECIMAL.fullmatch(text) else None


def round_money(amount: Decimal, currency: str) -> Decimal:
    """The amount in whole minor units of the currency, half-even.

    Called once per obligation line and never per point: a million half-cents rounded one by one
    drift by thousands; rounded once, both sides carry the same figure and the nets close.
    """
    return amount.quantize(Decimal(1).scaleb(-minor_units(currency)), rounding=ROUND_HALF_EVEN)
