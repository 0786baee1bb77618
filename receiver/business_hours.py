"""Business hours: when the next business day begins, and whether a time is within business hours.

Times of day are in the time zone of the hours. A time that a clock change skips means the first moment
after the gap; a time that occurs twice means the first occurrence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from receiver.clock import find_moments

# More than a year, so that any configured business day occurs.
_SEARCHED_DAYS = 400
_MIDNIGHT = datetime.min.time()
_COUNTRY = re.compile(r"([a-z]{2})(?:-([^-].{0,40}))?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class BusinessHours:
    """The business hours: `days` are 0 (Monday) to 6, `start` and `end` minutes since midnight.

    `timezone` is a zoneinfo name; `holidays` a country code like `US`, a subdivision like `DE-BY`, or
    empty.
    """

    timezone: str = "UTC"
    days: frozenset[int] = frozenset(range(5))
    start: int = 9 * 60
    end: int = 17 * 60
    holidays: str = ""

    @property
    def zone(self) -> tzinfo:
        return ZoneInfo(self.timezone)


def next_business_day_start(hours: BusinessHours, after: float) -> float:
    """Return the first time strictly after *after* at which a business day begins.

    Raises ValueError when there is none in 400 days, as with empty `days`.
    """
    moment = next((at for at in _list_business_day_starts(hours, after) if at > after), None)
    if moment is None:
        raise ValueError("business hours without a business day")
    return moment


def is_business_time(hours: BusinessHours, at: float) -> bool:
    """Tell whether *at* is within business hours; the end is exclusive."""
    day = datetime.fromtimestamp(at, hours.zone).date()
    if not is_business_day(hours, day):
        return False
    opening, closing = _moment_of(hours.zone, day, hours.start), _moment_of(hours.zone, day, hours.end)
    return opening <= at < closing


def is_business_day(hours: BusinessHours, day: date) -> bool:
    """Tell whether *day* is a business day: in `days` and not a public holiday."""
    return day.weekday() in hours.days and day not in _find_holidays(hours.holidays, day.year)


def find_country(code: str) -> str | None:
    """Return *code* (`us`, `DE-BY`) as the `holidays` library spells it; None where it has no such code."""
    found = _COUNTRY.fullmatch(code)
    if found is None:
        return None
    import holidays

    country = found[1].upper()
    parts = holidays.list_supported_countries(include_aliases=True).get(country)
    if parts is None or found[2] is None:
        return None if parts is None else country
    part = next((name for name in parts if name.upper() == found[2].upper()), None)
    return f"{country}-{part}" if part else None


def _list_business_day_starts(hours: BusinessHours, since: float) -> Iterator[float]:
    """Yield the start of each business day, from the day of *since* on, in order."""
    zone = hours.zone
    first = datetime.fromtimestamp(since, zone).date()
    for day in (first + timedelta(days=n) for n in range(_SEARCHED_DAYS)):
        if not is_business_day(hours, day):
            continue
        moment = _moment_of(zone, day, hours.start)
        # Samoa skipped 30 December 2011: such a day has no start.
        if datetime.fromtimestamp(moment, zone).date() == day:
            yield moment


def _moment_of(zone: tzinfo, day: date, minutes: int) -> float:
    """Return when the clock of *zone* first shows *minutes* since midnight on *day*."""
    return find_moments(datetime.combine(day, _MIDNIGHT) + timedelta(minutes=minutes), zone)[0]


@lru_cache(maxsize=64)
def _find_holidays(code: str, year: int) -> frozenset[date]:
    """Return the public holidays of *year*; *code* is a result of `find_country`, or empty."""
    if not code:
        return frozenset()
    import holidays  # imported here, because few processes need it

    country, _, part = code.partition("-")
    return frozenset(holidays.country_holidays(country, subdiv=part or None, years=year))
