"""How often a caller may come: a token bucket for each."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

# Callers remembered. Who is forgotten starts with a full bucket, so many addresses win an attacker nothing in memory.
MOST_CALLERS = 10_000


class RateLimit:
    """Token buckets that hold `burst` requests and refill by `rate` a second; a rate of 0 limits nothing."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst = rate, float(burst)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller -> tokens, when

    def take(self, caller: str) -> int:
        """Take one request's token; returns 0, or the whole seconds after which there is one again."""
        if not self.rate:
            return 0
        now = self._clock()
        tokens, then = self._buckets.get(caller, (self.burst, now))
        tokens = min(self.burst, tokens + (now - then) * self.rate)
        taken = tokens >= 1
        self._buckets[caller] = (tokens - taken, now)
        self._buckets.move_to_end(caller)
        if len(self._buckets) > MOST_CALLERS:
            self._buckets.popitem(last=False)
        return 0 if taken else max(1, math.ceil((1 - tokens) / self.rate))
