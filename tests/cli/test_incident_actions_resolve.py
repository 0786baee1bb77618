"""`receiver resolve ID`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.incidents_on_show import ID, a_whole
from tests.cli.invoke import receiver
from tests.cli.stub import Stub

ANSWER = f"POST /api/v1/incidents/{ID}/resolve"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


def test_the_output_shows_what_still_fires(stub: Stub) -> None:
    stub.set_response(ANSWER, a_whole(state="resolved", resolved_by="ana", firing=2))
    result = receiver("resolve", ID, "--by", "ana", RECEIVER_URL=stub.url)
    assert result.exit_code == 0
    assert "is resolved by ana; 2 alerts still fire, and only a new one opens a new incident" in result.stdout
    assert stub.requests[0].body == {"by": "ana", "via": "command line"}


def test_the_person_who_resolved_before_is_named(stub: Stub) -> None:
    stub.set_response(ANSWER, a_whole(state="resolved", resolved_by="bob", firing=0))
    assert receiver("resolve", ID, "--by", "ana", RECEIVER_URL=stub.url).stdout.endswith(
        "is resolved by bob.\n"
    )


def test_an_automatically_resolved_incident_names_no_person(stub: Stub) -> None:
    stub.set_response(ANSWER, a_whole(state="resolved", resolved_by=None, firing=0))
    assert receiver("resolve", ID, "--by", "ana", RECEIVER_URL=stub.url).stdout.endswith("is resolved.\n")
