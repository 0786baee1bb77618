"""`receiver unack ID`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.incidents_on_show import ID, a_whole
from tests.cli.invoke import receiver
from tests.cli.stub import Stub

ANSWER = f"POST /api/v1/incidents/{ID}/unacknowledge"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


def test_the_escalation_goes_on(stub: Stub) -> None:
    stub.set_response(ANSWER, a_whole(next_step_at="2999-01-01T00:00:00Z"))
    result = receiver("unack", ID, "--by", "ana", RECEIVER_URL=stub.url)
    assert result.exit_code == 0
    assert f"DiskFull (critical, {ID}) is not acknowledged; next: Team Lead in" in result.stdout
    assert stub.requests[0].body == {"by": "ana", "via": "command line"}


def test_without_an_escalation_no_next_step_is_shown(stub: Stub) -> None:
    stub.set_response(ANSWER, a_whole(next_step=None, next_step_at=None))
    assert receiver("unack", ID, RECEIVER_URL=stub.url).stdout.endswith("is not acknowledged.\n")


def test_a_resolved_incident_can_not_be_unacknowledged(stub: Stub) -> None:
    stub.set_response(ANSWER, a_whole(state="resolved", next_step=None))
    assert "is resolved: nothing to take back" in receiver("unack", ID, RECEIVER_URL=stub.url).stdout
