"""`receiver history [ALERTNAME]`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta, timezone

import pytest

from receiver.cli.api_client import parse_response
from receiver.cli.incidents import format_history_row
from receiver.cli.terminal import render_table
from receiver.web.api.responses import HistoryRow
from tests.cli.incidents_on_show import ID, a_history_row, format_time
from tests.cli.invoke import receiver
from tests.cli.stub import Stub

LIST = "GET /api/v1/history"
SOMEWHERE = timezone(timedelta(hours=2), "EET")


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


def cells(**changes: object) -> list[str]:
    row = parse_response(a_history_row(**changes), HistoryRow)
    table = render_table([format_history_row(row, SOMEWHERE)])
    return [cell.strip() for cell in table.split("\n")[1].split("  ") if cell.strip()]


def test_a_row_has_the_duration_and_who_acknowledged_after_what_time() -> None:
    assert cells(
        state="resolved",
        resolved_at=format_time(690),
        duration_s=690.0,
        acknowledged_by="ana",
        acknowledged_after_s=90.0,
    ) == [
        ID,
        "critical",
        "DiskFull",
        "2026-11-23 14:03:00",
        "11m 30s",
        "after 1m 30s by ana",
        "The disk of web-1 is full",
    ]


def test_an_open_incident_is_marked_as_open() -> None:
    assert "still open" in cells()
    assert "still acknowledged" in cells(state="acknowledged")


def test_the_last_week_is_requested_by_default(stub: Stub) -> None:
    stub.set_response(LIST, {"incidents": [a_history_row()], "next_cursor": None})
    result = receiver("history", RECEIVER_URL=stub.url, RECEIVER_API_TOKEN="t0ken")
    assert result.exit_code == 0
    assert ID in result.stdout
    assert stub.requests[0].query == {"since": "7d", "limit": "200"}
    assert stub.requests[0].headers["Authorization"] == "Bearer t0ken"


def test_a_name_and_a_time_can_be_given(stub: Stub) -> None:
    stub.set_response(LIST, {"incidents": [], "next_cursor": None})
    since = "2026-11-01T00:00:00+02:00"
    result = receiver("history", "DiskFull", "--since", since, RECEIVER_URL=stub.url)
    assert stub.requests[0].query == {"alertname": "DiskFull", "since": since, "limit": "200"}
    assert result.stdout == "No incidents since then.\n"


def test_all_pages_are_shown(stub: Stub) -> None:
    stub.set_response(
        LIST,
        {"incidents": [a_history_row(id="newer")], "next_cursor": "1.000_a"},
        {"incidents": [a_history_row(id="older")], "next_cursor": None},
    )
    result = receiver("history", "--json", RECEIVER_URL=stub.url)
    assert [row["id"] for row in json.loads(result.stdout)["incidents"]] == ["newer", "older"]
    assert stub.requests[1].query["cursor"] == "1.000_a"
    assert stub.requests[1].query["since"] == "7d"


def test_a_time_that_the_receiver_refuses_is_reported(stub: Stub) -> None:
    message = "since is 'x', expected a duration like 7d"
    stub.set_response(LIST, {"error": {"type": "bad_request", "message": message}}, status=400)
    result = receiver("history", "--since", "x", RECEIVER_URL=stub.url)
    assert result.exit_code == 1
    assert result.stderr == f"Error: the receiver says: {message}\n"


def test_a_receiver_without_a_history_is_reported(stub: Stub) -> None:
    result = receiver("history", RECEIVER_URL=stub.url)
    assert result.exit_code == 1
    assert "no such thing" in result.stderr
