"""Times in the work queues and leases, which use Redis' own clock only (TIME).

The clocks of hosts differ. So a process never stores a time of its own clock that another process compares
with its clock. A script gets the seconds from now until something is due or a lease ends, and adds them to
Redis' TIME. It returns times as seconds from now, too.

https://redis.io/docs/latest/commands/time/
"""

from __future__ import annotations

import math
from collections.abc import Callable

from receiver import clock as wall

_FROM_NOW = "in "


class ScriptClock:
    """Converts times of one process's *clock* (Unix times) into the scripts' form `in SECONDS`, and back."""

    def __init__(self, clock: Callable[[], float] = wall.now) -> None:
        self._clock = clock

    def format_time(self, timestamp: float) -> str:
        """Return *timestamp* of this process's clock for a script, rounded up to the millisecond."""
        return _from_now(timestamp - self._clock())

    def format_after(self, now: float, seconds: float = 0.0) -> str:  # noqa: ARG002  # now is for test clocks
        """Return for a script the time *seconds* after *now*, which must be the present time."""
        return _from_now(seconds)

    def parse_time(self, text: bytes, now: float) -> float:
        """Return a time from a script as a time of this process's clock, which showed *now* at the call."""
        return now + _parse_from_now(text.decode())

    def parse_wake(self, text: str) -> float:
        """Return a time that was just published as a time of this process's clock. Raises ValueError."""
        return self._clock() + _parse_from_now(text)


def _parse_from_now(text: str) -> float:
    if not text.startswith(_FROM_NOW):
        raise ValueError(f"{text!r} is no time from now")
    return float(text.removeprefix(_FROM_NOW))


def _from_now(seconds: float) -> str:
    return f"{_FROM_NOW}{round_up(seconds):.3f}"


def round_up(seconds: float) -> float:
    """Round seconds from now up to milliseconds; a future time is at least one millisecond ahead. So an entry
    that is due by Redis' clock is also due by the clock of the process.

    A floating-point error of a microsecond does not add another millisecond.
    """
    rounded = math.ceil(seconds * 1000 - 1e-3) / 1000
    return max(rounded, 0.001) if seconds > 0 else rounded


BY_WALL_CLOCK = ScriptClock()
