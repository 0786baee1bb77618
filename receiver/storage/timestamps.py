"""Moments on the agenda: they go by Redis' own clock, which the scripts read (TIME), and by no other.

Hosts' clocks differ. So no moment of a process's own clock is ever kept where another process compares it
with its own: a script is told how many seconds from now something is due or a lease ends, and adds that to
Redis' TIME. What comes back is told as seconds from now, too.

https://redis.io/docs/latest/commands/time/
"""

from __future__ import annotations

import math
from collections.abc import Callable

from receiver import clock as wall

_FROM_NOW = "in "


class Moments:
    """Moments of one process's *clock* as scripts take and give them."""

    def __init__(self, clock: Callable[[], float] = wall.now) -> None:
        self._clock = clock

    def at(self, moment: float) -> str:
        """Return a moment of this process's clock, never before its time: rounded up to the millisecond."""
        return _from_now(moment - self._clock())

    def after(self, now: float, seconds: float = 0.0) -> str:  # noqa: ARG002  # now is for clocks handed in
        """Return the moment *seconds* after *now*, which is this very moment."""
        return _from_now(seconds)

    def parse(self, text: bytes, now: float) -> float:
        """Return a moment that a script gave as one of this process's clock, which showed *now* then."""
        return now + parse_from_now(text.decode())

    def parse_wake(self, text: str) -> float:
        """Return a moment that was just published as one of this process's clock; raises ValueError."""
        return self._clock() + parse_from_now(text)

    def parse_ahead_s(self, text: bytes, now: float) -> float:
        """Return by how many seconds *now* is ahead of Redis' clock, which showed *text*."""
        return now - float(text)


def parse_from_now(text: str) -> float:
    """Return the seconds in `in SECONDS`; raises ValueError."""
    if not text.startswith(_FROM_NOW):
        raise ValueError(f"{text!r} is no moment from now")
    return float(text.removeprefix(_FROM_NOW))


def _from_now(seconds: float) -> str:
    return f"{_FROM_NOW}{round_up(seconds):.3f}"


def round_up(seconds: float) -> float:
    """Return seconds from now in whole milliseconds, never less; what lies ahead is at least one away, or who
    comes by Redis' clock would find it not due by its own.

    A millionth is lost in the difference of two moments, and no reason for another millisecond.
    """
    rounded = math.ceil(seconds * 1000 - 1e-3) / 1000
    return max(rounded, 0.001) if seconds > 0 else rounded


BY_WALL_CLOCK = Moments()
