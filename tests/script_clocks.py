"""Stand-ins for the server clock that scripts read from Redis, so that tests can set it."""

from __future__ import annotations

import math
from collections.abc import Callable

from receiver.storage.script_clock import ScriptClock


class SharedClock(ScriptClock):
    """All hosts and Redis have the same clock: the time handed in is used as it is."""

    def format_time(self, timestamp: float) -> str:
        rounded = math.ceil(timestamp * 1000) / 1000
        return f"{rounded if rounded >= timestamp else rounded + 0.001:.3f}"  # rounded up, never early

    def format_after(self, now: float, seconds: float = 0.0) -> str:
        return repr(now + seconds)

    def parse_time(self, text: bytes, now: float) -> float:
        return float(text)

    def parse_wake(self, text: str) -> float:
        return float(text)


class SkewedClock(ScriptClock):
    """For processes whose *clock* differs from Redis' own clock, *redis_clock*."""

    def __init__(self, clock: Callable[[], float], redis_clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self._redis_clock = redis_clock

    def format_time(self, timestamp: float) -> str:
        remaining = timestamp - self._clock()
        due = math.ceil((self._redis_clock() + remaining) * 1000 - 1e-3) / 1000
        return f"{max(due, self._redis_clock() + 0.001) if remaining > 0 else due:.6f}"

    def format_after(self, now: float, seconds: float = 0.0) -> str:
        return f"{self._redis_clock() + seconds:.6f}"

    def parse_time(self, text: bytes, now: float) -> float:
        return now + (float(text) - self._redis_clock())

    def parse_wake(self, text: str) -> float:
        return self._clock() + (float(text) - self._redis_clock())


SHARED_CLOCK = SharedClock()
