"""`receiver maintenance`, and the maintenance line of `receiver incidents`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from receiver import clock
from receiver.clock import now
from tests.cli.invoke import receiver
from tests.cli.stub import Stub

PATH = "/api/v1/maintenance"
NONE = {"until": None, "since": None, "by": None, "comment": None}


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


def in_force(for_s: float = 7199.0) -> dict[str, Any]:
    until = datetime.fromtimestamp(now() + for_s).astimezone().isoformat()
    return NONE | {"until": until, "by": "ana", "comment": "new disks"}


def test_maintenance_starts_for_a_duration(stub: Stub) -> None:
    stub.set_response(f"POST {PATH}", in_force())
    result = receiver(
        "maintenance", "--for", "2h", "--comment", "new disks", RECEIVER_URL=stub.url, USER="ana"
    )
    assert result.exit_code == 0
    assert stub.requests[0].body == {"by": "ana", "via": "command line", "for": "2h", "comment": "new disks"}
    assert result.stdout.startswith("MAINTENANCE until 2")
    assert "(in 1h 59m) by ana (new disks): nobody is paged." in result.stdout


def test_a_time_of_day_means_its_next_occurrence_in_the_local_time_zone(stub: Stub) -> None:
    stub.set_response(f"POST {PATH}", in_force())
    assert receiver("maintenance", "--until", "14:00", RECEIVER_URL=stub.url).exit_code == 0
    until = datetime.fromisoformat(stub.requests[0].body["until"])
    assert (until.hour, until.minute) == (14, 0)
    assert 0 < until.timestamp() - now() <= 86400 + 3600
    assert until.utcoffset() == until.astimezone().utcoffset()


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the local time zone to Berlin, 2026-10-25 02:40 before its clocks go back to 02:00."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    monkeypatch.setattr(clock, "now", lambda: datetime(2026, 10, 25, 0, 40, tzinfo=UTC).timestamp())
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "until", "shown"),
    [
        (
            "02:30",
            "2026-10-25T02:30:00+01:00",
            "2026-10-25 02:30:00 (in 50m)",
        ),  # in the repeated hour
        ("02:50", "2026-10-25T02:50:00+02:00", "2026-10-25 02:50:00 (in 10m)"),
        ("01:30", "2026-10-26T01:30:00+01:00", "2026-10-26 01:30:00, tomorrow (in 23h 50m)"),
        ("2026-10-25T02:30", "2026-10-25T02:30:00+01:00", "2026-10-25 02:30:00 (in 50m)"),
    ],
)
@pytest.mark.usefixtures("in_berlin")
def test_a_time_means_its_next_occurrence_in_the_night_clocks_go_back(
    stub: Stub, text: str, until: str, shown: str
) -> None:
    stub.set_response(f"POST {PATH}", NONE | {"until": until, "by": "ana"})
    result = receiver("maintenance", "--until", text, RECEIVER_URL=stub.url)
    assert stub.requests[0].body["until"] == until
    assert f"MAINTENANCE until {shown} by ana" in result.stdout


def test_a_time_with_a_utc_offset_is_sent_unchanged(stub: Stub) -> None:
    stub.set_response(f"POST {PATH}", in_force())
    receiver("maintenance", "--until", "2026-11-23T14:00:00+09:00", RECEIVER_URL=stub.url)
    sent = datetime.fromisoformat(stub.requests[0].body["until"])
    assert sent == datetime.fromisoformat("2026-11-23T14:00:00+09:00")


def test_maintenance_is_ended(stub: Stub) -> None:
    stub.set_response(f"DELETE {PATH}", NONE)
    result = receiver("maintenance", "--end", RECEIVER_URL=stub.url, USER="ana")
    assert stub.requests[0].query == {"by": "ana", "via": "command line"}
    assert result.stdout == "Maintenance is over: paging goes on.\n"


def test_without_a_flag_maintenance_is_shown(stub: Stub) -> None:
    stub.set_response(f"GET {PATH}", NONE, in_force())
    assert receiver("maintenance", RECEIVER_URL=stub.url).stdout == "No maintenance.\n"
    assert receiver("maintenance", RECEIVER_URL=stub.url).stdout.startswith("MAINTENANCE until ")


def test_json_is_that_of_the_api(stub: Stub) -> None:
    stub.set_response(f"GET {PATH}", NONE)
    assert '"until": null' in receiver("maintenance", "--json", RECEIVER_URL=stub.url).stdout


@pytest.mark.parametrize("arguments", [["--for", "1h", "--end"], ["--for", "1h", "--until", "14:00"]])
def test_conflicting_flags_are_refused(stub: Stub, arguments: list[str]) -> None:
    assert receiver("maintenance", *arguments, RECEIVER_URL=stub.url).exit_code == 2
    assert stub.requests == []


@pytest.mark.parametrize("text", ["soon", "25:00", "14:00:00:00", "2026-99-01"])
def test_an_invalid_time_is_refused(stub: Stub, text: str) -> None:
    result = receiver("maintenance", "--until", text, RECEIVER_URL=stub.url)
    assert result.exit_code == 2
    assert "is no time" in result.stderr


def test_the_incidents_command_shows_maintenance_first(stub: Stub) -> None:
    stub.set_response("GET /api/v1/incidents", {"incidents": [], "next_cursor": None})
    stub.set_response(f"GET {PATH}", in_force())
    output = receiver("incidents", RECEIVER_URL=stub.url).stdout
    assert output.startswith("MAINTENANCE until ")
    assert output.endswith("No open incidents.\n")


def test_incidents_of_a_receiver_without_maintenance_are_listed(stub: Stub) -> None:
    stub.set_response("GET /api/v1/incidents", {"incidents": [], "next_cursor": None})
    assert receiver("incidents", RECEIVER_URL=stub.url).stdout == "No open incidents.\n"
