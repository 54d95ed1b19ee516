"""How many points an amount of money earns: a function of values."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
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


def _half_even(whole: int, rest: int, per: int) -> int:
    return whole + (2 * rest > per or (2 * rest == per and whole % 2 == 1))


# From the whole points, and the rest of which so many make one.
_ROUND: Final[dict[EarnRounding, Callable[[int, int, int], int]]] = {
    EarnRounding.DOWN: lambda whole, _rest, _per: whole,
    EarnRounding.HALF_EVEN: _half_even,
    EarnRounding.UP: lambda whole, rest, _per: whole + (rest > 0),
}


def points_for(rule: EarnRule, amount: Decimal) -> Points:
    """The points that an amount of money (not negative) earns, rounded once.

    Raises:
        PointsInvalid: more than one transaction may move.
    """
    assert amount >= 0, "an amount spent is not negative"
    # Integers and not a decimal quotient: 1 point per 3.00 has no finite decimal, and what is
    # rounded must be the exact value.
    (gives, gives_per), (money, money_per) = rule.points.as_integer_ratio(), amount.as_integer_ratio()
    takes, takes_per = rule.amount.as_integer_ratio()
    per = gives_per * money_per * takes
    whole, rest = divmod(gives * money * takes_per, per)
    points = _ROUND[rule.rounding](whole, rest, per)
    if points > MAX_POINTS:
        raise PointsInvalid(points=points, field=("input", "amount"))
    return Points(points)


def share_of(points: int, money: Decimal, whole: Decimal) -> int:
    """Of so many points that stand for the whole money, those of a part of it, rounded down."""
    assert 0 <= money <= whole, "a part is no more than the whole"
    (part, part_per), (all_, all_per) = money.as_integer_ratio(), whole.as_integer_ratio()
    return points * part * all_per // (part_per * all_)
