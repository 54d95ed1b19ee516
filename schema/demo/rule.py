"""When and where households spend points: a rule drawn from a seed, so that a replay is the same replay."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

ONE_BASKET_IN: Final = 4
AT_LEAST: Final = 100
STEP: Final = 50
QUARTERS: Final = (1, 2, 4)
ONE_MISTAKE_IN: Final = 250

STATED: Final = (
    f"After one basket in {ONE_BASKET_IN}, drawn from the seed, the household and the basket, a household "
    f"with {AT_LEAST} points or more spends a quarter, a half or all of what it has, in steps of {STEP}, "
    "at a partner where it did not just shop. What one partner may not take without the member's own "
    f"confirmation, the member confirms. One issue in {ONE_MISTAKE_IN} is a till's mistake and is reversed "
    "at once."
)
"""The rule in words, for the help and the documentation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What a household does after a basket, if it has the points."""

    partner: str
    quarters: int
    """Of its available points, how many quarters."""

    def points(self, available: int) -> int:
        """How many points it spends; 0 where it has too few."""
        if available < AT_LEAST:
            return 0
        return available * self.quarters // 4 // STEP * STEP


def spending(
    *, seed: int, household: int, basket: int, shopped_at: Sequence[str], partners: Sequence[str]
) -> Spending | None:
    """What the household does after this basket, if anything."""
    drawn = _draw(f"{seed}/spend/{household}/{basket}")
    drawn, chance = divmod(drawn, ONE_BASKET_IN)
    others = [partner for partner in partners if partner not in shopped_at]
    if chance or not others:
        return None
    drawn, which = divmod(drawn, len(others))
    return Spending(partner=others[which], quarters=QUARTERS[drawn % len(QUARTERS)])


def is_mistake(*, seed: int, basket: int, partner: str) -> bool:
    """Does the till undo this issue at once?"""
    return _draw(f"{seed}/mistake/{basket}/{partner}") % ONE_MISTAKE_IN == 0


def _draw(what: str) -> int:
    return int.from_bytes(hashlib.blake2b(what.encode(), digest_size=8).digest())
