"""Times of day as people write them, and the moments they mean on the wall clock of a time zone.

On the night clocks go forward a time in the gap is never shown: the first moment after the gap stands in
for it. On the night they go back an hour is shown twice: https://peps.python.org/pep-0495/
A zone of None is that of this machine.
"""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta, tzinfo

_TIME_OF_DAY = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", re.ASCII)


def parse_time(text: str, now: float, zone: tzinfo | None) -> float:
    """Return the moment that *text* means at *now*: `14:00`, `2026-11-23T14:00`, or one with its own zone.

    A time of day is the next one, whichever of the two where it comes twice; a day's time that comes twice
    is the first that is still ahead. Raises ValueError for anything else.
    """
    found = _TIME_OF_DAY.fullmatch(text)
    if found is None:
        return _parse_moment(text, now, zone)
    of_day = time(int(found[1]), int(found[2]))
    today = _to_wall(now, zone).date()
    # Clocks that go back at midnight show the end of yesterday again.
    days = (today + timedelta(days=n) for n in (-1, 0, 1, 2))
    moments = (moment for day in days for moment in find_moments(datetime.combine(day, of_day), zone))
    return next(moment for moment in moments if moment > now)


def find_moments(wall: datetime, zone: tzinfo | None) -> tuple[float, ...]:
    """Return when the clock of *zone* shows *wall*, which has no zone itself: once, or twice.

    For a time in a gap it is the first moment after it.
    """
    first, second = (_to_moment(wall, zone, fold) for fold in (0, 1))
    if _to_wall(first, zone) != wall:
        return (_find_change(zone, second, first),)
    return (first,) if first == second else (first, second)


def is_tomorrow(moment: float, now: float, zone: tzinfo | None) -> bool:
    """Tell whether *moment* is on the day after that of *now*."""
    return _to_wall(moment, zone).date() == _to_wall(now, zone).date() + timedelta(days=1)


def _parse_moment(text: str, now: float, zone: tzinfo | None) -> float:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        return moment.timestamp()
    try:
        moments = find_moments(moment, zone)
    except (OverflowError, OSError) as error:
        raise ValueError(f"{text!r} is too far away") from error
    return next((each for each in moments if each > now), moments[-1])


def _to_moment(wall: datetime, zone: tzinfo | None, fold: int) -> float:
    return wall.replace(tzinfo=zone, fold=fold).timestamp()


def _to_wall(moment: float, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(moment, zone).replace(tzinfo=None, fold=0)


def _find_change(zone: tzinfo | None, before: float, after: float) -> float:
    """Return the first whole second with the offset of *after*; *before* has the one it replaced."""
    low, high = int(before), int(after)
    offset = _find_offset(high, zone)
    while high - low > 1:
        middle = (low + high) // 2
        if _find_offset(middle, zone) == offset:
            high = middle
        else:
            low = middle
    return float(high)


def _find_offset(moment: float, zone: tzinfo | None) -> timedelta | None:
    return datetime.fromtimestamp(moment, zone).astimezone(zone).utcoffset()
