"""How many points an amount of money earns: a function of values."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final

from coalition.amounts import MAX_POINTS, Points
from coalition.errors import PointsInvalid


class EarnRounding(StrEnum):
    """What happens to the part of a point that an amount earns."""

    DOWN = "down"
    """Dropped."""
    HALF_EVEN = "half_even"
    """The nearest whole point; from the middle, the even one."""
    UP = "up"
    """Made a whole point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarnRule:
    """A partner's base rule: so many points for each such amount of money spent."""

    points: Decimal
    amount: Decimal
    """In the programme's currency; above zero."""
    rounding: EarnRounding = EarnRounding.DOWN


_ROUND: Final[dict[EarnRounding, Callable[[Fraction], int]]] = {
    EarnRounding.DOWN: math.floor,
    EarnRounding.HALF_EVEN: round,
    EarnRounding.UP: math.ceil,
}


def points_for(rule: EarnRule, amount: Decimal) -> Points:
    """The points that an amount of money (not negative) earns, rounded once.

    Raises:
        PointsInvalid: more than one transaction may move.
    """
    assert amount >= 0, "an amount spent is not negative"
    # A fraction and not a decimal quotient: 1 point per 3.00 has no finite decimal, and what is
    # rounded must be the exact value.
    points = _ROUND[rule.rounding](Fraction(rule.points) * Fraction(amount) / Fraction(rule.amount))
    if points > MAX_POINTS:
        raise PointsInvalid(points=points, field=("input", "amount"))
    return Points(points)
