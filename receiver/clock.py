"""The clock, the only module that reads it, and parsing and formatting of durations and times of day.

A time is a float of seconds since 1970 in UTC, everywhere in the receiver.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from datetime import time as time_of_day
from math import floor

Clock = Callable[[], float]
# Larger differences between the clocks of hosts are reported. They delay nothing.
CLOCKS_AGREE_WITHIN_S = 2.0
# Prometheus' own order and units: https://prometheus.io/docs/prometheus/latest/querying/basics/#time-durations
_UNITS_S = {"y": 365 * 86400.0, "w": 7 * 86400.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile("".join(rf"(?:(\d{{1,9}}){unit})?" for unit in _UNITS_S), re.ASCII)


def now() -> float:
    """Return the current time of the wall clock, in seconds since 1970."""
    return time.time()


# datetime has the years 1 to 9999. A day less: a time zone, rounding or a further day may lead out of them.
EARLIEST = datetime(1, 1, 2, tzinfo=UTC).timestamp()
LATEST = datetime(9999, 12, 30, tzinfo=UTC).timestamp()


def to_datetime(timestamp: float, zone: tzinfo | None = UTC) -> datetime:
    """Return *timestamp* in *zone* (None: the local one). It may come from outside: one that datetime lacks
    becomes the nearest that it has, and NaN the latest.
    """
    return datetime.fromtimestamp(max(EARLIEST, min(LATEST, timestamp)), zone)


def format_iso_time(timestamp: float) -> str:
    """Return *timestamp* as ISO 8601 in UTC with milliseconds: `2026-11-23T12:00:00.000Z`."""
    return to_datetime(timestamp).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_duration(text: str) -> float:
    """Return the seconds of a duration in Prometheus format (`5m`, `1h30m`, `0`).

    Raises ValueError, with a message for people, for anything else.
    """
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"{text!r} is no duration like 30s, 5m or 1h30m")
    numbers = zip(match.groups(), _UNITS_S.values(), strict=True)
    return sum(int(number or 0) * size_s for number, size_s in numbers)


def format_duration(seconds: float) -> str:
    """Return *seconds* as text with two units at most: `4m`, `1h 5m`, `2d 3h`."""
    left = max(0, round(seconds))
    parts: list[tuple[int, str]] = []
    for unit in ("d", "h", "m", "s"):
        number, left = divmod(left, int(_UNITS_S[unit]))
        if number or parts:
            parts.append((number, unit))
    return " ".join(f"{number}{unit}" for number, unit in parts[:2] if number) or "0s"


_TIME_OF_DAY = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", re.ASCII)


def parse_time(text: str, now: float, zone: tzinfo | None) -> float:
    """Return the time that *text* means at *now*: `14:00`, `2026-11-23T14:00`, or one with a UTC offset.

    A time of day means its next occurrence. A date with a time that occurs twice (when clocks go back) means
    the first occurrence after *now*. Raises ValueError for anything else.
    """
    found = _TIME_OF_DAY.fullmatch(text)
    if found is None:
        return _parse_timestamp(text, now, zone)
    of_day = time_of_day(int(found[1]), int(found[2]))
    today = _to_wall(now, zone).date()
    # Include yesterday: when clocks go back at midnight, its last hour occurs again.
    days = (today + timedelta(days=n) for n in (-1, 0, 1, 2))
    times = (timestamp for day in days for timestamp in find_timestamps(datetime.combine(day, of_day), zone))
    return next(timestamp for timestamp in times if timestamp > now)


def find_timestamps(wall: datetime, zone: tzinfo | None) -> tuple[float, ...]:
    """Return the one or two times at which the clock of *zone* shows *wall*, a datetime without a zone.

    For a *wall* in the gap of a clock change it is the first time after the gap.
    """
    first, second = (wall.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    # A float is exact to the microsecond only in the present centuries; a gap is at least a second long.
    if abs(_to_wall(first, zone) - wall) >= timedelta(seconds=1):
        return (_find_change(zone, second, first),)
    return (first,) if first == second else (first, second)


def is_tomorrow(timestamp: float, now: float, zone: tzinfo | None) -> bool:
    """Return whether *timestamp* is on the day after that of *now*."""
    return to_datetime(timestamp, zone).date() == to_datetime(now, zone).date() + timedelta(days=1)


def _parse_timestamp(text: str, now: float, zone: tzinfo | None) -> float:
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is not None:
        return parsed.timestamp()
    try:
        times = find_timestamps(parsed, zone)
    except (OverflowError, OSError) as error:
        raise ValueError(f"{text!r} is too far away") from error
    return next((each for each in times if each > now), times[-1])


def _to_wall(timestamp: float, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(timestamp, zone).replace(tzinfo=None, fold=0)


def _find_change(zone: tzinfo | None, before: float, after: float) -> float:
    """Return the first whole second between *before* and *after* that has the UTC offset of *after*."""

    def find_offset(timestamp: int) -> timedelta | None:
        return datetime.fromtimestamp(timestamp, zone).astimezone(zone).utcoffset()

    seconds, offset = range(floor(before) + 1, floor(after) + 1), find_offset(floor(after))
    return float(seconds[bisect_left(seconds, True, key=lambda second: find_offset(second) == offset)])
