"""`receiver silence ID --for DURATION`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.incidents_on_show import ID, a_silence, a_whole, format_time
from tests.cli.invoke import receiver
from tests.cli.stub import Stub

ANSWER = f"POST /api/v1/incidents/{ID}/silence"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


def test_the_output_shows_the_end_of_the_silence(stub: Stub) -> None:
    stub.set_response(
        ANSWER,
        a_whole(silences=[a_silence(until=format_time(60)), a_silence(number=2, until=format_time(7200))]),
    )
    result = receiver("silence", ID, "--for", "2h", RECEIVER_URL=stub.url, USER="ana")
    assert result.exit_code == 0
    assert stub.requests[0].body == {"by": "ana", "via": "command line", "for": "2h"}
    assert result.stdout.startswith(
        f"DiskFull (critical, {ID}) is silenced in Alertmanager until 2026-11-23 "
    )


def test_a_reason_can_be_given(stub: Stub) -> None:
    stub.set_response(ANSWER, a_whole(silences=[a_silence()]))
    receiver("silence", ID, "--for", "2h", "--comment", "disk is ordered", RECEIVER_URL=stub.url)
    assert stub.requests[0].body["comment"] == "disk is ordered"


def test_an_unreachable_alertmanager_is_a_one_line_error(stub: Stub) -> None:
    message = "Alertmanager could not be reached (no_answer); nothing is silenced"
    stub.set_response(ANSWER, {"error": {"type": "bad_gateway", "message": message}}, status=502)
    result = receiver("silence", ID, "--for", "2h", RECEIVER_URL=stub.url)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"Error: the receiver says: {message}\n"


def test_a_resolved_incident_can_not_be_silenced(stub: Stub) -> None:
    message = "the incident is resolved: none of its alerts fires"
    stub.set_response(ANSWER, {"error": {"type": "conflict", "message": message}}, status=409)
    result = receiver("silence", ID, "--for", "2h", RECEIVER_URL=stub.url)
    assert (result.exit_code, result.stderr) == (1, f"Error: the receiver says: {message}\n")


def test_help_has_an_example() -> None:
    assert "receiver silence 3f9k --for 2h" in receiver("silence", "--help").stdout
