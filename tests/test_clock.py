"""Times of day as people type them, above all in the nights when clocks change."""

from __future__ import annotations

import bisect
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest

from receiver.clock import is_tomorrow, parse_time
from tests.sampling import is_exhaustive, sample

BERLIN = "Europe/Berlin"
NEW_YORK = "America/New_York"
LORD_HOWE = "Australia/Lord_Howe"  # its clocks change by half an hour

# Zone, the day, and the first and last minute that the clock skips or shows twice.
NIGHTS = [
    pytest.param(BERLIN, "2026-03-29", ("02:00", "02:59"), id="Berlin, spring"),
    pytest.param(BERLIN, "2026-10-25", ("02:00", "02:59"), id="Berlin, autumn"),
    pytest.param(NEW_YORK, "2026-03-08", ("02:00", "02:59"), id="New York, spring"),
    pytest.param(NEW_YORK, "2026-11-01", ("01:00", "01:59"), id="New York, autumn"),
    pytest.param(LORD_HOWE, "2026-10-04", ("02:00", "02:29"), id="Lord Howe, spring"),
    pytest.param(LORD_HOWE, "2026-04-05", ("01:30", "01:59"), id="Lord Howe, autumn"),
]


def at(text: str, zone: str, fold: int = 0) -> float:
    """Return the timestamp of a local time such as `2026-11-23 09:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def shown(moment: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(moment, zone).strftime("%H:%M")


def minutes(first: str, last: str) -> list[str]:
    """Return every minute of a day from *first* to *last*."""
    start, end = (datetime.fromisoformat(f"2026-01-01 {text}") for text in (first, last))
    count = (end - start) // timedelta(minutes=1) + 1
    return [(start + timedelta(minutes=n)).strftime("%H:%M") for n in range(count)]


def find_times_shown(zone: tzinfo, since: float, changing: tuple[str, str]) -> dict[str, list[float]]:
    """Return, for each time of day, the timestamps from *since* on at which the clock shows it.

    Found by reading the clock every minute. The skipped times of day count as shown when the clock jumps over
    them.
    """
    found: dict[str, list[float]] = defaultdict(list)
    before = shown(since - 60, zone)
    for moment in (since + 60 * n for n in range(52 * 60)):
        now = shown(moment, zone)
        found[now].append(moment)
        if before < changing[0] and now > changing[1]:
            for skipped in minutes(*changing):
                found[skipped].append(moment)
        before = now
    return found


@pytest.mark.parametrize(("zone_name", "day", "changing"), NIGHTS)
def test_a_time_of_day_means_its_next_occurrence_at_every_minute_of_the_night(
    zone_name: str, day: str, changing: tuple[str, str]
) -> None:
    zone, midnight = ZoneInfo(zone_name), at(f"{day} 00:00", zone_name)
    moments = find_times_shown(zone, midnight, changing)
    assert len(moments) == 24 * 60
    # The minutes that are skipped or shown twice, some minutes around those, and some of the rest of the day.
    texts = minutes(*changing) + minutes("00:50", "01:10") + minutes("02:50", "03:10")
    texts += minutes("00:00", "23:59")[::90]
    texts = texts if is_exhaustive() else sample(texts, 40, f"{zone_name} {day}")
    wrong = []
    for now in (midnight + 60 * n for n in range(5 * 60)):
        for text in texts:
            expected = moments[text][bisect.bisect_right(moments[text], now)]
            if parse_time(text, now, zone) != expected:
                wrong.append((shown(now, zone), text))
    assert wrong == []


@pytest.mark.parametrize(("zone_name", "day", "changing"), NIGHTS)
def test_the_current_minute_means_its_next_occurrence(
    zone_name: str, day: str, changing: tuple[str, str]
) -> None:
    zone, midnight = ZoneInfo(zone_name), at(f"{day} 00:00", zone_name)
    moments = find_times_shown(zone, midnight, changing)
    for now in (midnight + 60 * n + 30 for n in range(5 * 60)):
        text = shown(now, zone)
        assert parse_time(text, now, zone) == next(each for each in moments[text] if each > now)


EXAMPLES = [
    # now and its fold, the typed text, the expected time and its fold, whether that is tomorrow
    pytest.param(("2026-10-25 02:10", 1), "02:30", ("2026-10-25 02:30", 1), False, id="the second 02:30"),
    pytest.param(("2026-10-25 02:40", 0), "02:30", ("2026-10-25 02:30", 1), False, id="02:30 comes again"),
    pytest.param(("2026-10-25 01:50", 0), "02:30", ("2026-10-25 02:30", 0), False, id="the first 02:30"),
    pytest.param(("2026-10-25 02:40", 1), "02:30", ("2026-10-26 02:30", 0), True, id="both are over"),
    pytest.param(("2026-10-24 23:00", 0), "02:30", ("2026-10-25 02:30", 0), True, id="the evening before"),
    pytest.param(("2026-03-29 01:50", 0), "02:30", ("2026-03-29 03:00", 0), False, id="there is no 02:30"),
    pytest.param(("2026-03-29 03:10", 0), "02:30", ("2026-03-30 02:30", 0), True, id="after the gap"),
    pytest.param(("2026-10-25 02:40", 0), "2026-10-25T02:30", ("2026-10-25 02:30", 1), False, id="with its day"),
    pytest.param(("2026-10-25 01:00", 0), "2026-10-25T02:30", ("2026-10-25 02:30", 0), False, id="with its day, first"),
    pytest.param(("2026-03-28 12:00", 0), "2026-03-29 02:30", ("2026-03-29 03:00", 0), True, id="with its day, in the gap"),
    pytest.param(("2026-10-25 04:00", 0), "2026-10-25T02:30", ("2026-10-25 02:30", 1), False, id="over, and said so"),
    pytest.param(("2026-11-23 13:59", 0), "14:00", ("2026-11-23 14:00", 0), False, id="an ordinary day"),
    pytest.param(("2026-11-23 14:00", 0), "14:00", ("2026-11-24 14:00", 0), True, id="just now is tomorrow"),
    pytest.param(("2026-11-23 14:00", 0), "9:05", ("2026-11-24 09:05", 0), True, id="one digit"),
    pytest.param(("2026-12-31 23:00", 0), "01:00", ("2027-01-01 01:00", 0), True, id="the end of a year"),
]  # fmt: skip


@pytest.mark.parametrize(("now", "text", "expected", "tomorrow"), EXAMPLES)
def test_times_typed_in_berlin(
    now: tuple[str, int], text: str, expected: tuple[str, int], tomorrow: bool
) -> None:
    typed_at, zone = at(now[0], BERLIN, now[1]), ZoneInfo(BERLIN)
    moment = parse_time(text, typed_at, zone)
    assert moment == at(expected[0], BERLIN, expected[1])
    assert is_tomorrow(moment, typed_at, zone) is tomorrow


def test_a_time_with_a_utc_offset_means_exactly_that_time() -> None:
    now = at("2026-10-25 02:40", BERLIN)
    assert parse_time("2026-10-25T02:30+01:00", now, ZoneInfo(BERLIN)) == at("2026-10-25 02:30", BERLIN, 1)
    assert parse_time("2026-10-25T00:30:00Z", now, ZoneInfo(NEW_YORK)) == at("2026-10-25 00:30", "UTC")


def test_clocks_that_go_back_at_midnight_show_the_end_of_yesterday_again() -> None:
    """Until 2011 the clocks of St. John's went back from 00:01 to 23:01."""
    zone = "America/St_Johns"
    now = at("2010-11-07 00:00", zone) + 30
    assert parse_time("23:30", now, ZoneInfo(zone)) == at("2010-11-06 23:30", zone, fold=1)
    assert now < at("2010-11-06 23:30", zone, fold=1) < now + 3600


@pytest.mark.parametrize(
    "text", ["", "soon", "25:00", "14:60", "14", "14:00:00:00", "2026-99-01", "١٤:٠٠", "0001-01-01"]
)
def test_text_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_time(
            text, at("2026-11-23 12:00", BERLIN), None if text.startswith("0001") else ZoneInfo(BERLIN)
        )


@pytest.fixture(params=[BERLIN, NEW_YORK, LORD_HOWE])
def machine_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ZoneInfo]:
    """Set the time zone of this machine for one test."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield ZoneInfo(request.param)
    monkeypatch.undo()
    time.tzset()


def test_the_time_zone_of_the_machine_works_as_any_other(machine_zone: ZoneInfo) -> None:
    for param in NIGHTS:
        zone_name, day, _ = param.values
        if zone_name != str(machine_zone):
            continue
        for now in (at(f"{day} 00:00", zone_name) + 300 * n for n in range(5 * 12)):
            for text in minutes("00:30", "03:59")[::5]:
                assert parse_time(text, now, None) == parse_time(text, now, machine_zone)
