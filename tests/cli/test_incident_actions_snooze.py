"""`receiver snooze ID --for DURATION`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.incidents_on_show import ID, a_row, a_whole, format_time
from tests.cli.invoke import receiver
from tests.cli.stub import Stub

ANSWER = f"POST /api/v1/incidents/{ID}/snooze"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


def snoozed(**changes: Any) -> dict[str, Any]:
    return a_whole(state="acknowledged", acknowledged_by="ana", snoozed_until=format_time(3600)) | changes


def test_the_output_shows_the_end_of_the_snooze(stub: Stub) -> None:
    stub.set_response(ANSWER, snoozed())
    result = receiver("snooze", ID, "--for", "1h", RECEIVER_URL=stub.url, USER="ana")
    assert result.exit_code == 0
    assert stub.requests[0].body == {"by": "ana", "via": "command line", "for": "1h"}
    assert result.stdout.startswith(f"DiskFull (critical, {ID}) is snoozed by ana until 2026-11-23 ")
    assert result.stdout.endswith("; the escalation waits till then.\n")


def test_a_prefix_of_an_id_is_enough(stub: Stub) -> None:
    stub.set_response("GET /api/v1/incidents", {"incidents": [a_row()], "next_cursor": None})
    stub.set_response(ANSWER, snoozed())
    assert receiver("snooze", ID[:5], "--for", "1h", RECEIVER_URL=stub.url).exit_code == 0


def test_a_resolved_incident_can_not_be_snoozed(stub: Stub) -> None:
    stub.set_response(ANSWER, a_whole(state="resolved", resolved_by="bob"))
    result = receiver("snooze", ID, "--for", "1h", RECEIVER_URL=stub.url)
    assert "is resolved by bob: nothing to snooze" in result.stdout


@pytest.mark.parametrize(
    "arguments", [[], ["--for", ""], ["--for", "soon"], ["--for", "0"], ["--for", "-1h"]]
)
@pytest.mark.parametrize("command", ["snooze", "silence"])
def test_a_duration_is_required(stub: Stub, command: str, arguments: list[str]) -> None:
    result = receiver(command, ID, *arguments, RECEIVER_URL=stub.url)
    assert result.exit_code == 2
    assert "--for" in result.stderr
    assert stub.requests == []


def test_the_receivers_error_message_is_shown(stub: Stub) -> None:
    message = "for is '9y', expected a time like 30m or 2h, a year at most"
    stub.set_response(ANSWER, {"error": {"type": "bad_request", "message": message}}, status=400)
    result = receiver("snooze", ID, "--for", "9y", RECEIVER_URL=stub.url)
    assert result.exit_code == 1
    assert result.stderr == f"Error: the receiver says: {message}\n"


def test_help_has_an_example() -> None:
    assert "receiver snooze 3f9k --for 1h" in receiver("snooze", "--help").stdout
