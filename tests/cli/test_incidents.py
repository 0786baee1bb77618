"""`receiver incidents` with a stub of the receiver."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from receiver.cli.api_client import parse_response
from receiver.cli.incidents import format_open_row
from receiver.cli.terminal import measure_width, render_table
from receiver.web.api.responses import IncidentRow
from tests.cli.incidents_on_show import ID, OPENED_AT, a_row
from tests.cli.invoke import receiver
from tests.cli.stub import Stub

LIST = "GET /api/v1/incidents"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


def render_row(now: float, width: int | None = None, **changes: object) -> str:
    row = parse_response(a_row(**changes), IncidentRow)
    return render_table([format_open_row(row, now)], width)


def test_open_incidents_are_a_table_with_the_next_step() -> None:
    table = render_row(OPENED_AT + 108)
    head, line = table.split("\n")
    assert head.split() == ["ID", "SEVERITY", "ALERT", "FIRING", "OPENED", "STATE", "SUMMARY"]
    assert line.split("  ") == [
        ID,
        "critical",
        "DiskFull",
        "2 of 3",
        "1m 48s ago",
        "open, next: Team Lead in 3m 12s",
        "The disk of web-1 is full",
    ]


def test_a_step_that_is_due_is_shown_as_now() -> None:
    table = render_row(OPENED_AT, next_step="on-call#2", next_step_at=a_row()["opened_at"])
    assert "open, next: On-call (again) now" in table


def test_a_step_that_waits_for_the_end_of_a_silence_is_shown_as_paused() -> None:
    table = render_row(OPENED_AT, next_step_at=None)
    assert "open, next: Team Lead (paused)" in table


def test_an_acknowledged_incident_shows_who_acknowledged_it_instead() -> None:
    table = render_row(OPENED_AT, state="acknowledged", acknowledged_by="ana")
    assert "acknowledged by ana" in table
    assert "next" not in table


def test_the_summary_is_cut_to_the_width_of_the_terminal() -> None:
    table = render_row(OPENED_AT, width=140, summary="磁盘已满" * 50)
    assert max(measure_width(line) for line in table.split("\n")) <= 140
    assert table.endswith("…")


def test_open_incidents_are_requested_with_the_token(stub: Stub) -> None:
    stub.set_response(LIST, {"incidents": [a_row()], "next_cursor": None})
    result = receiver("incidents", RECEIVER_URL=stub.url, RECEIVER_API_TOKEN="first, second")
    assert result.exit_code == 0
    assert "DiskFull" in result.stdout
    assert stub.requests[0].query["state"] == "open"
    assert stub.requests[0].headers["Authorization"] == "Bearer first"


def test_the_flag_all_requests_every_state(stub: Stub) -> None:
    stub.set_response(LIST, {"incidents": [a_row(state="resolved")], "next_cursor": None})
    assert receiver("incidents", "--all", RECEIVER_URL=stub.url).exit_code == 0
    assert "state" not in stub.requests[0].query


def test_all_pages_are_requested(stub: Stub) -> None:
    pages = [
        {"incidents": [a_row(id="a")], "next_cursor": "c&1"},
        {"incidents": [a_row(id="b")], "next_cursor": None},
    ]
    stub.set_response(LIST, *pages)
    result = receiver("incidents", "--json", RECEIVER_URL=stub.url)
    assert [row["id"] for row in json.loads(result.stdout)["incidents"]] == ["a", "b"]
    assert stub.requests[1].query["cursor"] == "c&1"


def test_without_open_incidents_the_output_says_so(stub: Stub) -> None:
    stub.set_response(LIST, {"incidents": [], "next_cursor": None})
    assert receiver("incidents", RECEIVER_URL=stub.url).stdout == "No open incidents.\n"


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x9b31m", "\u202e", "\r", "\x07", "\ud800"])
@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_control_characters_of_an_alert_are_not_printed(
    stub: Stub, evil: str, flags: tuple[str, ...]
) -> None:
    stub.set_response(
        LIST, {"incidents": [a_row(alertname=f"A{evil}B", summary=f"x{evil}y")], "next_cursor": None}
    )
    result = receiver("incidents", *flags, RECEIVER_URL=stub.url)
    assert result.exit_code == 0
    assert evil not in result.stdout


def test_an_unreachable_receiver_is_a_one_line_error() -> None:
    with Stub() as gone:
        url = gone.url
    result = receiver("incidents", RECEIVER_URL=url)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert f"no receiver answers at {url}: connection refused" in result.stderr


@pytest.mark.parametrize(
    ("environ", "hint"),
    [
        ({}, "set RECEIVER_API_TOKEN"),
        ({"RECEIVER_API_TOKEN": "s3cret-t0ken"}, "refuses the one in RECEIVER_API_TOKEN"),
    ],
)
def test_a_401_names_the_variable_to_set(stub: Stub, environ: dict[str, str], hint: str) -> None:
    stub.set_response(LIST, {"error": {"type": "unauthorized", "message": "send a token"}}, status=401)
    result = receiver("incidents", RECEIVER_URL=stub.url, **environ)
    assert result.exit_code == 1
    assert hint in result.stderr
    assert "s3cret-t0ken" not in result.output


@pytest.mark.parametrize("body", [b"<html>", [], {"incidents": 5}, {"incidents": ["x"]}, b"[" * 100_000])
def test_the_response_of_another_server_is_an_error(stub: Stub, body: object) -> None:
    stub.set_response(LIST, body)
    result = receiver("incidents", RECEIVER_URL=stub.url)
    assert result.exit_code == 1
    assert "is no receiver: set RECEIVER_URL" in result.stderr


def test_a_row_of_another_version_is_reported_instead_of_a_traceback(stub: Stub) -> None:
    stub.set_response(LIST, {"incidents": [a_row(firing="two")], "next_cursor": None})
    result = receiver("incidents", RECEIVER_URL=stub.url)
    assert result.exit_code == 1
    assert "another version" in result.stderr


def test_an_unavailable_redis_is_reported_with_the_receivers_message(stub: Stub) -> None:
    stub.set_response(
        LIST, {"error": {"type": "unavailable", "message": "the store can't take it now"}}, status=503
    )
    assert "the store can't take it now" in receiver("incidents", RECEIVER_URL=stub.url).stderr


@pytest.mark.parametrize("url", ["localhost:9080", "file:///etc/passwd", "http://"])
def test_an_invalid_url_is_an_error(url: str) -> None:
    result = receiver("incidents", RECEIVER_URL=url)
    assert result.exit_code == 1
    assert "RECEIVER_URL is no usable address" in result.stderr


def test_a_storm_is_shown_first(stub: Stub) -> None:
    stub.set_response(LIST, {"incidents": [a_row()], "next_cursor": None})
    one = {
        "id": "storm-1",
        "target_key": "channel:#alerts-critical",
        "total": 97,
        "open": 90,
        "ended_at": None,
    }
    stub.set_response("GET /api/v1/storms", {"storms": [one]})
    lines = receiver("incidents", RECEIVER_URL=stub.url).output.splitlines()
    assert lines[0] == "Storm of #alerts-critical: 97 incidents, 90 open (storm-1)"
    assert lines[1].startswith("ID ")
