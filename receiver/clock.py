"""The only reader of the clock, and durations as people write them.

A moment is a float of seconds since 1970 in UTC, everywhere in the receiver.
"""

from __future__ import annotations

import re
import time

# Hosts' clocks that differ by more are said to differ. Nothing is late for it.
CLOCKS_AGREE_WITHIN_S = 2.0

_UNITS_S = {
    "y": 365 * 86400.0,
    "w": 7 * 86400.0,
    "d": 86400.0,
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 0.001,
}
# Prometheus' own order and units: https://prometheus.io/docs/prometheus/latest/querying/basics/#time-durations
_DURATION = re.compile(
    r"(?:(\d{1,9})y)?(?:(\d{1,9})w)?(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?(?:(\d{1,9})ms)?",
    re.ASCII,
)


def now() -> float:
    """Return this moment by the wall clock, in seconds since 1970."""
    return time.time()


def parse_duration(text: str) -> float:
    """Return the seconds in a duration written Prometheus' way (`5m`, `1h30m`, `0`).

    Raises ValueError with a sentence for anything else.
    """
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"{text!r} is no duration like 30s, 5m or 1h30m")
    return sum(
        int(number) * _UNITS_S[unit] for number, unit in zip(match.groups(), _UNITS_S, strict=True) if number
    )


def format_duration(seconds: float) -> str:
    """Return *seconds* as people say it, two units at most: `4m`, `1h 5m`, `2d 3h`."""
    left = max(0, round(seconds))
    if left == 0:
        return "0s"
    parts = []
    for unit in ("d", "h", "m", "s"):
        size = int(_UNITS_S[unit])
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts)
