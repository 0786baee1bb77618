"""Redis' own clock as tests move it, in the place of the one that scripts ask Redis for."""

from __future__ import annotations

import math
from collections.abc import Callable

from receiver.storage.timestamps import Moments


class SharedClock(Moments):
    """All clocks are one, and every moment is the one that is handed in."""

    def at(self, moment: float) -> str:
        rounded = math.ceil(moment * 1000) / 1000
        return f"{rounded if rounded >= moment else rounded + 0.001:.3f}"  # never before its time

    def after(self, now: float, seconds: float = 0.0) -> str:
        return repr(now + seconds)

    def parse(self, text: bytes, now: float) -> float:
        return float(text)

    def parse_wake(self, text: str) -> float:
        return float(text)


class SkewedClock(Moments):
    """Processes whose *clock* differs from Redis' own, *redis_clock*."""

    def __init__(self, clock: Callable[[], float], redis_clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self._redis_clock = redis_clock

    def at(self, moment: float) -> str:
        left = moment - self._clock()
        due = math.ceil((self._redis_clock() + left) * 1000 - 1e-3) / 1000
        return f"{max(due, self._redis_clock() + 0.001) if left > 0 else due:.6f}"

    def after(self, now: float, seconds: float = 0.0) -> str:
        return f"{self._redis_clock() + seconds:.6f}"

    def parse(self, text: bytes, now: float) -> float:
        return now + (float(text) - self._redis_clock())

    def parse_wake(self, text: str) -> float:
        return self._clock() + (float(text) - self._redis_clock())


SHARED_CLOCK = SharedClock()
