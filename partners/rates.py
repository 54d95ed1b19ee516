"""How often one caller may ask: a token bucket for each, in this process's memory.

Per process: with several servers a caller has as many buckets. It keeps one caller from starving the
others of a server; it is no quota that a partner could be billed by.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_REMEMBERED: Final = 10_000
"""Buckets kept: a few megabytes. Who is forgotten, the one unseen for longest first, starts anew and full."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class Rates:
    """The buckets of one kind of caller; any thread may use them."""

    def __init__(
        self,
        *,
        per_second: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
        remembered: int = _REMEMBERED,
    ) -> None:
        """`per_second` 0: no limit. `burst`: how many at once, after a rest."""
        self._per_second = per_second
        self._burst = float(burst)
        self._clock = clock
        self._remembered = remembered
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._changing = threading.Lock()
        self.turned_away = 0
        """How many requests were refused since the process began."""

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, caller: str) -> int:
        """Count a request of the caller's: 0 lets it pass, more is the whole seconds until one would.

        A request that is refused costs nothing: who waits as told gets in.
        """
        if not self._per_second:
            return 0
        with self._changing:
            now = self._clock()
            bucket = self._buckets.get(caller)
            if bucket is None:
                bucket = self._buckets[caller] = _Bucket(self._burst, now)
                if len(self._buckets) > self._remembered:
                    self._buckets.popitem(last=False)
            else:
                self._buckets.move_to_end(caller)
                gained = (now - bucket.filled_at) * self._per_second
                bucket.tokens = min(self._burst, bucket.tokens + gained)
                bucket.filled_at = now
            if bucket.tokens >= 1:
                bucket.tokens -= 1
                return 0
            self.turned_away += 1
            return max(1, math.ceil((1 - bucket.tokens) / self._per_second))
