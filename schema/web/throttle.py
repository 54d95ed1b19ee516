"""How often a caller may ask: a rate and a burst for each, counted in this process alone.

The generic cell rate algorithm (ITU-T I.371): of each caller one number is kept, the moment at which its
burst will be whole again. So memory is a number for each who asked within the last burst.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from http import HTTPStatus
from threading import Lock
from typing import Final

from schema.web.faults import RequestFault

_SWEPT_FROM: Final = 10_000  # callers remembered before those whose burst is whole are forgotten


class Throttle:
    """Lets each caller have `burst` requests at once and `rate` a second for long."""

    def __init__(self, *, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / rate
        self._tolerance = burst / rate
        self._clock = clock
        self._lock = Lock()
        self._whole_at: dict[str, float] = {}
        self._sweep_from = _SWEPT_FROM
        self.turned_away = 0
        """How often a caller was told to wait since the process began."""

    def wait(self, caller: str) -> float:
        """How many seconds the caller must wait; 0: it may go on, and is counted."""
        now = self._clock()
        with self._lock:
            whole_at = max(self._whole_at.get(caller, now), now) + self._interval
            missing = whole_at - now - self._tolerance
            # Sums of many small numbers: a billionth of a second is no reason to turn anybody away.
            if missing > 1e-9:  # noqa: PLR2004 - said above
                self.turned_away += 1
                return missing
            self._whole_at[caller] = whole_at
            if len(self._whole_at) > self._sweep_from:
                self._whole_at = {one: at for one, at in self._whole_at.items() if at > now}
                self._sweep_from = max(_SWEPT_FROM, 2 * len(self._whole_at))
        return 0.0

    def admit(self, caller: str) -> None:
        """Count a request of the caller's.

        Raises:
            RequestFault: it asks too often (429), with the whole seconds after which it may ask again.
        """
        if (seconds := self.wait(caller)) > 0:
            raise RequestFault(
                HTTPStatus.TOO_MANY_REQUESTS,
                "RATE_LIMITED",
                "You ask too often; send the same again after the time in Retry-After.",
                headers={"Retry-After": str(math.ceil(seconds))},
            )
