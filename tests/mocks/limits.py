"""What vendors take before they answer 429, counted by the clock they are given."""

from __future__ import annotations

import math
from collections import defaultdict, deque


class BurstLimit:
    """So many a second on average, and a burst of some more; each key by itself."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._left: dict[str, tuple[float, float]] = {}

    def acquire(self, key: str, now: float) -> int:
        """Return 0 when it is taken, else the seconds for Retry-After."""
        left, at = self._left.get(key, (float(self._burst), now))
        left = min(float(self._burst), left + max(0.0, now - at) * self._rate)
        is_taken = left >= 1 - 1e-6
        self._left[key] = (left - is_taken, now)
        return 0 if is_taken else max(1, math.ceil((1 - left) / self._rate))


class WindowLimit:
    """So many in any *per_s* seconds; each key by itself."""

    def __init__(self, count: int, per_s: float) -> None:
        self._count = count
        self._per_s = per_s
        self._taken: defaultdict[str, deque[float]] = defaultdict(deque)

    def acquire(self, key: str, now: float) -> int:
        """Return 0 when it is taken, else the seconds for Retry-After."""
        taken = self._taken[key]
        while taken and taken[0] <= now - self._per_s:
            taken.popleft()
        if len(taken) >= self._count:
            return max(1, math.ceil(taken[0] + self._per_s - now))
        taken.append(now)
        return 0
