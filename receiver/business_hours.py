"""Business hours: when the next business day begins, and whether one is on.

Times of day are the wall clock's in the hours' own zone. Where a change of the clocks skips one,
the first moment after the gap stands in for it; one that comes twice means the first time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from receiver.clock import find_moments

# A year with all its holidays, and some days more.
_SEARCHED_DAYS = 400
_MIDNIGHT = datetime.min.time()
_COUNTRY = re.compile(r"([a-z]{2})(?:-([^-].{0,40}))?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class BusinessHours:
    """When somebody is at work: *days* are 0 (Monday) to 6, *start* and *end* minutes since midnight.

    *timezone* is a name zoneinfo knows; *holidays* a country code like `US`, one of its parts like
    `DE-BY`, or empty.
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
    """Return the first moment strictly after *after* at which a business day begins.

    Raises ValueError when there is none in 400 days, as with no *days* at all.
    """
    moment = next((at for at in _list_business_day_starts(hours, after) if at > after), None)
    if moment is None:
        raise ValueError("business hours without a business day")
    return moment


def is_business_time(hours: BusinessHours, at: float) -> bool:
    """Tell whether *at* lies within business hours; the end itself does not."""
    day = datetime.fromtimestamp(at, hours.zone).date()
    if not is_business_day(hours, day):
        return False
    opening, closing = _moment_of(hours.zone, day, hours.start), _moment_of(hours.zone, day, hours.end)
    return opening <= at < closing


def is_business_day(hours: BusinessHours, day: date) -> bool:
    """Tell whether somebody works on *day*."""
    return day.weekday() in hours.days and day not in _find_holidays(hours.holidays, day.year)


def find_country(code: str) -> str | None:
    """Return *code* (`us`, `DE-BY`) as the list of holidays spells it; None where that has none."""
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
    """Yield when each business day begins, from that of *since* on, in order."""
    zone = hours.zone
    first = datetime.fromtimestamp(since, zone).date()
    for day in (first + timedelta(days=n) for n in range(_SEARCHED_DAYS)):
        if not is_business_day(hours, day):
            continue
        moment = _moment_of(zone, day, hours.start)
        # Samoa went without the 30th of December 2011: no such day, no opening.
        if datetime.fromtimestamp(moment, zone).date() == day:
            yield moment


def _moment_of(zone: tzinfo, day: date, minutes: int) -> float:
    """Return when the clock of *zone* first shows so many *minutes* since midnight of *day*."""
    return find_moments(datetime.combine(day, _MIDNIGHT) + timedelta(minutes=minutes), zone)[0]


@lru_cache(maxsize=64)
def _find_holidays(code: str, year: int) -> frozenset[date]:
    """Return the public holidays of a year; *code* is one that `find_country` gave, or empty."""
    if not code:
        return frozenset()
    import holidays  # here, as few processes need it

    country, _, part = code.partition("-")
    return frozenset(holidays.country_holidays(country, subdiv=part or None, years=year))
