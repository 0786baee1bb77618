"""`receiver ack ID`, and what it has in common with `unack` and `resolve`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.incidents_on_show import ID, a_row, a_whole
from tests.cli.invoke import receiver
from tests.cli.stub import Stub

ANSWER = f"POST /api/v1/incidents/{ID}/acknowledge"
LIST = "GET /api/v1/incidents"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


def acknowledged(by: str) -> dict[str, object]:
    return a_whole(state="acknowledged", acknowledged_by=by, next_step=None, next_step_at=None)


def test_the_incident_is_acknowledged(stub: Stub) -> None:
    stub.set_response(ANSWER, acknowledged("ana"))
    result = receiver("ack", ID, RECEIVER_URL=stub.url, RECEIVER_API_TOKEN="t0ken", USER="ana")
    assert result.exit_code == 0
    assert result.stdout == f"DiskFull (critical, {ID}) is acknowledged by ana; the escalation has stopped.\n"
    assert stub.requests[0].body == {"by": "ana", "via": "command line"}
    assert stub.requests[0].headers["Authorization"] == "Bearer t0ken"


def test_a_name_can_be_given(stub: Stub) -> None:
    stub.set_response(ANSWER, acknowledged("Ana, from the train"))
    receiver("ack", ID, "--by", " Ana,\nfrom the train", RECEIVER_URL=stub.url, USER="root")
    assert stub.requests[0].body == {"by": "Ana, from the train", "via": "command line"}


def test_without_a_user_the_actor_is_the_cli(stub: Stub) -> None:
    stub.set_response(ANSWER, acknowledged("cli"))
    receiver("ack", ID, RECEIVER_URL=stub.url)
    assert stub.requests[0].body == {"by": "cli", "via": "command line"}


def test_an_empty_name_is_refused(stub: Stub) -> None:
    assert receiver("ack", ID, "--by", " ", RECEIVER_URL=stub.url).exit_code == 2
    assert stub.requests == []


def test_the_person_who_acknowledged_before_is_named(stub: Stub) -> None:
    stub.set_response(ANSWER, acknowledged("bob"))
    result = receiver("ack", ID, RECEIVER_URL=stub.url, USER="ana")
    assert "is already acknowledged by bob" in result.stdout


def test_a_resolved_incident_can_not_be_acknowledged(stub: Stub) -> None:
    stub.set_response(ANSWER, a_whole(state="resolved", resolved_by="bob", next_step=None))
    assert "is resolved by bob: nothing to acknowledge" in receiver("ack", ID, RECEIVER_URL=stub.url).stdout


def test_a_prefix_of_an_id_is_enough(stub: Stub) -> None:
    stub.set_response(LIST, {"incidents": [a_row()], "next_cursor": None})
    stub.set_response(ANSWER, acknowledged("ana"))
    assert receiver("ack", ID[:5], RECEIVER_URL=stub.url).exit_code == 0


def test_an_unknown_incident_is_reported(stub: Stub) -> None:
    stub.set_response(LIST, {"incidents": [], "next_cursor": None})
    result = receiver("ack", "nowhere", RECEIVER_URL=stub.url)
    assert result.exit_code == 1
    assert "no incident 'nowhere'" in result.stderr


def test_help_has_an_example() -> None:
    assert "receiver ack 3f9k" in receiver("ack", "--help").stdout
