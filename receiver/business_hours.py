"""Business hours: when the next business day begins.

Times of day are in the time zone of the hours. A time that a clock change skips means the first moment
after the gap; a time that occurs twice means the first occurrence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from receiver.clock import find_timestamps

# More than a year, so that any configured business day occurs.
_SEARCHED_DAYS = 400
_MIDNIGHT = datetime.min.time()
_COUNTRY = re.compile(r"([a-z]{2})(?:-([^-].{0,40}))?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class BusinessHours:
    """The business hours: `days` are 0 (Monday) to 6, `start` and `end` minutes since midnight.

    `timezone` is a zoneinfo name; `holidays` a country code like `US`, a part like `DE-BY`, or empty.
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
    zone = hours.zone
    today = datetime.fromtimestamp(after, zone).date()
    for day in (today + timedelta(days=n) for n in range(_SEARCHED_DAYS)):
        if not is_business_day(hours, day):
            continue
        wall = datetime.combine(day, _MIDNIGHT) + timedelta(minutes=hours.start)
        starts_at = find_timestamps(wall, zone)[0]
        # Samoa skipped 30 December 2011: such a day has no start.
        if starts_at > after and datetime.fromtimestamp(starts_at, zone).date() == day:
            return starts_at
    raise ValueError("business hours without a business day")


def is_business_day(hours: BusinessHours, day: date) -> bool:
    """Return whether *day* is a business day: in `days` and not a public holiday."""
    return day.weekday() in hours.days and day not in _find_holidays(hours.holidays, day.year)


def find_country(code: str) -> str | None:
    """Return *code* (`us`, `DE-BY`) as the `holidays` library spells it; None where it has no such code."""
    found = _COUNTRY.fullmatch(code)
    if found is None:
        return None
    import holidays

    country, wanted = found[1].upper(), found[2]
    parts = holidays.list_supported_countries(include_aliases=True).get(country)
    if wanted is None:
        return None if parts is None else country
    return next((f"{country}-{name}" for name in parts or () if name.upper() == wanted.upper()), None)


@lru_cache(maxsize=64)
def _find_holidays(code: str, year: int) -> frozenset[date]:
    """Return the public holidays of *year*; *code* is a result of `find_country`, or empty."""
    if not code:
        return frozenset()
    import holidays  # imported here, because few processes need it

    country, _, part = code.partition("-")
    return frozenset(holidays.country_holidays(country, subdiv=part or None, years=year))
