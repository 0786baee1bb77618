"""When a business day begins: weekends, holidays, and the days on which clocks change."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.business_hours import (
    BusinessHours,
    find_country,
    is_business_day,
    next_business_day_start,
)
from tests.sampling import count_examples

EVERY_DAY = frozenset(range(7))


def at(text: str, zone: str = "UTC", fold: int = 0) -> float:
    """Return the timestamp of a local time such as `2026-11-23 09:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def local(moment: float, zone: str = "UTC") -> str:
    return datetime.fromtimestamp(moment, ZoneInfo(zone)).strftime("%a %Y-%m-%d %H:%M")


def minutes(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)


ORDINARY = [
    pytest.param("2026-11-20 18:30", "", "Mon 2026-11-23 09:00", id="friday evening to monday"),
    pytest.param("2026-11-23 08:59", "", "Mon 2026-11-23 09:00", id="early on the day itself"),
    pytest.param("2026-11-23 09:00", "", "Tue 2026-11-24 09:00", id="strictly after an opening"),
    pytest.param("2026-11-23 12:00", "", "Tue 2026-11-24 09:00", id="amid business hours"),
    pytest.param("2026-01-16 18:30", "US", "Tue 2026-01-20 09:00", id="monday is a US holiday"),
    pytest.param("2026-01-16 18:30", "DE", "Mon 2026-01-19 09:00", id="but none in Germany"),
    pytest.param("2026-12-24 18:30", "US", "Mon 2026-12-28 09:00", id="christmas on a friday"),
    pytest.param("2027-12-30 18:00", "US", "Mon 2028-01-03 09:00", id="new year observed the year before"),
    pytest.param("2026-06-03 18:00", "DE-BY", "Fri 2026-06-05 09:00", id="corpus christi in Bavaria"),
    pytest.param("2026-06-03 18:00", "DE-BE", "Thu 2026-06-04 09:00", id="and not in Berlin"),
]


@pytest.mark.parametrize(("after", "holidays", "expected"), ORDINARY)
def test_the_next_business_day_begins(after, holidays, expected):
    zone = "America/New_York"
    hours = BusinessHours(zone, holidays=holidays)
    assert local(next_business_day_start(hours, at(after, zone)), zone) == expected


CLOCK_CHANGES = [
    # zone, start, after, expected start of business and its time in UTC
    pytest.param(
        "Europe/Berlin", "09:00", "2026-03-28 12:00", "2026-03-29 07:00", id="Berlin, the spring sunday"
    ),
    pytest.param(
        "Europe/Berlin", "09:00", "2026-10-24 12:00", "2026-10-25 08:00", id="Berlin, the autumn sunday"
    ),
    pytest.param(
        "Europe/Berlin", "02:00", "2026-03-28 12:00", "2026-03-29 01:00", id="Berlin, the gap's first minute"
    ),
    pytest.param(
        "Europe/Berlin", "02:30", "2026-03-28 12:00", "2026-03-29 01:00", id="Berlin, no 02:30 that day"
    ),
    pytest.param(
        "Europe/Berlin", "03:00", "2026-03-28 12:00", "2026-03-29 01:00", id="Berlin, the gap's end"
    ),
    pytest.param("Europe/Berlin", "02:30", "2026-10-24 12:00", "2026-10-25 00:30", id="Berlin, 02:30 twice"),
    pytest.param(
        "America/New_York", "02:30", "2026-03-07 12:00", "2026-03-08 07:00", id="New York, no 02:30"
    ),
    pytest.param(
        "America/New_York", "01:30", "2026-10-31 12:00", "2026-11-01 05:30", id="New York, 01:30 twice"
    ),
    pytest.param("America/New_York", "09:00", "2026-03-07 12:00", "2026-03-08 13:00", id="New York, spring"),
    pytest.param("America/New_York", "09:00", "2026-10-31 12:00", "2026-11-01 14:00", id="New York, autumn"),
    pytest.param("Asia/Kolkata", "09:00", "2026-03-28 12:00", "2026-03-29 03:30", id="Kolkata, half an hour"),
    pytest.param("Asia/Kolkata", "02:30", "2026-10-24 12:00", "2026-10-24 21:00", id="Kolkata, no change"),
    pytest.param(
        "Australia/Lord_Howe", "02:15", "2026-10-03 12:00", "2026-10-03 15:30", id="Lord Howe, no 02:15"
    ),
    pytest.param(
        "Australia/Lord_Howe", "01:45", "2026-04-04 12:00", "2026-04-04 14:45", id="Lord Howe, 01:45 twice"
    ),
    pytest.param(
        "Australia/Lord_Howe", "09:00", "2026-10-03 12:00", "2026-10-03 22:00", id="Lord Howe, spring"
    ),
]


@pytest.mark.parametrize(("zone", "start", "after", "expected"), CLOCK_CHANGES)
def test_a_business_day_starts_by_the_wall_clock_when_that_changes(zone, start, after, expected):
    hours = BusinessHours(zone, EVERY_DAY, start=minutes(start), end=24 * 60)
    opening = next_business_day_start(hours, at(after, zone))
    assert local(opening) == local(at(expected))
    assert local(next_business_day_start(hours, opening), zone)[4:14] == str(
        datetime.fromtimestamp(opening, ZoneInfo(zone)).date() + timedelta(days=1)
    )


def test_a_start_time_that_occurs_twice_opens_the_business_day_once():
    zone = "Europe/Berlin"
    hours = BusinessHours(zone, EVERY_DAY, start=150, end=24 * 60)
    first = next_business_day_start(hours, at("2026-10-24 12:00", zone))
    between = at("2026-10-25 02:10", zone, fold=1)
    assert first < between
    assert local(next_business_day_start(hours, between), zone) == "Mon 2026-10-26 02:30"


def test_a_date_that_a_zone_skipped_is_no_business_day():
    """Samoa had no 30th December 2011: the 31st followed the 29th."""
    zone = "Pacific/Apia"
    opening = next_business_day_start(BusinessHours(zone), at("2011-12-29 12:00", zone))
    assert local(opening, zone) == "Mon 2012-01-02 09:00"


def test_hours_without_a_day_are_refused_rather_than_searched_for_ever():
    with pytest.raises(ValueError, match="without a business day"):
        next_business_day_start(BusinessHours(days=frozenset()), 0.0)


def test_a_business_day_whose_start_is_in_a_clock_gap_begins_at_the_end_of_the_gap():
    zone = "Europe/Berlin"
    hours = BusinessHours(zone, EVERY_DAY, start=150, end=17 * 60)
    gap = at("2026-03-29 03:00", zone)
    assert next_business_day_start(hours, gap - 1) == gap


COUNTRIES = [
    ("US", "US"),
    ("us", "US"),
    ("no", "NO"),
    ("de-by", "DE-BY"),
    ("DE-augsburg", "DE-Augsburg"),
    ("DE-XX", None),
    ("XX", None),
    ("Texas", None),
    ("DE-", None),
    ("", None),
    ("../US", None),
]


@pytest.mark.parametrize(("code", "expected"), COUNTRIES)
def test_a_country_is_found_if_the_holiday_list_has_it(code, expected):
    assert find_country(code) == expected


ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/St_Johns",
)
HOURS = st.builds(
    lambda zone, days, start, holidays: BusinessHours(zone, frozenset(days), start, 24 * 60, holidays),
    st.sampled_from(ZONES),
    st.sets(st.integers(0, 6), min_size=1),
    st.integers(0, 24 * 60 - 1),
    st.sampled_from(["", "US", "DE-BY"]),
)
MOMENTS = st.floats(at("2015-01-01 00:00"), at("2035-01-01 00:00"))


@settings(max_examples=count_examples(300), deadline=None)
@given(HOURS, MOMENTS)
def test_the_next_start_is_the_first_start_of_a_business_day_after_the_given_time(hours, after):
    opening = next_business_day_start(hours, after)
    assert opening > after
    wall = datetime.fromtimestamp(opening, hours.zone)
    assert is_business_day(hours, wall.date())
    nominal = datetime.combine(wall.date(), datetime.min.time()) + timedelta(minutes=hours.start)
    if wall.replace(tzinfo=None) != nominal:
        # The clock jumped over the start: one second earlier it showed a time before the start.
        before = datetime.fromtimestamp(opening - 1, hours.zone).replace(tzinfo=None)
        assert before < nominal < wall.replace(tzinfo=None)
    # There is no other start in between: from any time in between, this one is the next.
    for share in (0.0, 0.3, 0.9):
        assert next_business_day_start(hours, after + share * (opening - after - 0.001)) == opening


@settings(max_examples=count_examples(60), deadline=None)
@given(HOURS, MOMENTS)
def test_each_business_day_opens_once(hours, after):
    days = []
    for _ in range(5):
        after = next_business_day_start(hours, after)
        days.append(datetime.fromtimestamp(after, hours.zone).date())
    assert days == sorted(set(days))
    skipped = {days[0] + timedelta(days=n) for n in range((days[-1] - days[0]).days)} - set(days)
    assert not any(is_business_day(hours, day) for day in skipped)
