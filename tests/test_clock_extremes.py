"""Times that no calendar has, or that are far away, are formatted and parsed without an unexpected error."""

from __future__ import annotations

import math
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

import pytest

from receiver.cli.terminal import render_timestamp, render_until
from receiver.clock import format_iso_time, is_tomorrow, parse_time, to_datetime
from receiver.integrations.slack import mrkdwn
from receiver.web.api.serializers import format_timestamp

NOW = 1_795_435_200.0
YEAR_1, YEAR_10000 = -62_135_596_800.0, 253_402_300_800.0
ZONES = [UTC, ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Pacific/Pago_Pago"), ZoneInfo("Europe/Berlin"), None]
TIMES = [
    YEAR_1,
    YEAR_1 - 1,
    -1.5,
    0.0,
    YEAR_10000 - 1e-6,
    YEAR_10000,
    1e18,
    -1e18,
    math.inf,
    -math.inf,
    math.nan,
]


@pytest.mark.parametrize("timestamp", TIMES)
@pytest.mark.parametrize("zone", ZONES)
def test_any_timestamp_has_a_date_in_every_zone(timestamp: float, zone: tzinfo | None) -> None:
    assert 1 <= to_datetime(timestamp, zone).year <= 9999
    assert not is_tomorrow(timestamp, NOW, zone)
    assert not is_tomorrow(NOW, timestamp, zone)


@pytest.mark.parametrize("timestamp", TIMES)
def test_any_timestamp_is_formatted(timestamp: float) -> None:
    assert (
        len(format_iso_time(timestamp)) == len(format_timestamp(timestamp)) == len("2026-11-23T12:00:00.000Z")
    )
    assert mrkdwn.format_timestamp(timestamp).startswith("<!date^")


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-14:00"]
)
@pytest.mark.parametrize("zone", ZONES)
def test_a_time_in_an_answer_of_the_api_is_shown_by_the_command_line(text: str, zone: tzinfo | None) -> None:
    assert "9999" in render_timestamp(text, zone) or text.startswith("0001")
    render_until(text, NOW, zone)


@pytest.mark.parametrize("day", ["0001-01-01", "1000-05-05", "1883-11-18", "2026-03-29", "9999-12-31"])
@pytest.mark.parametrize("time", ["00:00", "00:00:00.123456", "02:30:00.7", "23:59:59.999999", "00:00+14:00"])
@pytest.mark.parametrize("zone", [*ZONES, ZoneInfo("America/Los_Angeles")])
def test_a_person_may_type_any_date(day: str, time: str, zone: tzinfo | None) -> None:
    """A time that the zone lacks, or a year that datetime lacks, is refused as unreadable at most."""
    try:
        timestamp = parse_time(f"{day}T{time}", NOW, zone)
    except ValueError:
        assert day.startswith(("0001", "9999"))
    else:
        assert abs(timestamp - to_datetime(timestamp).timestamp()) < 2 * 86400
