"""The rate limits of vendors, after which they respond with 429; counted by the clock of the test."""

from __future__ import annotations

import math
from collections import defaultdict, deque


class BurstLimit:
    """A token bucket for each key: *rate* requests per second on average, and a burst of *burst* requests."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens: dict[str, tuple[float, float]] = {}

    def acquire(self, key: str, now: float) -> int:
        """Return 0 if the request is accepted, otherwise the seconds for Retry-After."""
        tokens, at = self._tokens.get(key, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + max(0.0, now - at) * self._rate)
        is_accepted = tokens >= 1 - 1e-6
        self._tokens[key] = (tokens - is_accepted, now)
        return 0 if is_accepted else max(1, math.ceil((1 - tokens) / self._rate))


class WindowLimit:
    """At most *count* requests in any *per_s* seconds for each key."""

    def __init__(self, count: int, per_s: float) -> None:
        self._count = count
        self._per_s = per_s
        self._accepted: defaultdict[str, deque[float]] = defaultdict(deque)

    def acquire(self, key: str, now: float) -> int:
        """Return 0 if the request is accepted, otherwise the seconds for Retry-After."""
        accepted = self._accepted[key]
        while accepted and accepted[0] <= now - self._per_s:
            accepted.popleft()
        if len(accepted) >= self._count:
            return max(1, math.ceil(accepted[0] + self._per_s - now))
        accepted.append(now)
        return 0
