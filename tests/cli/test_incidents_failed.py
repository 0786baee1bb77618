"""`receiver failed` and `receiver retry`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.incidents_on_show import ID, format_time
from tests.cli.invoke import receiver
from tests.cli.stub import Stub

LIST = "GET /api/v1/deliveries"
FIRST, SECOND = f"{ID}.4813494d", f"{ID}.00c0ffee"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


def a_failure(**changes: Any) -> dict[str, Any]:
    return {
        "id": FIRST,
        "incident": ID,
        "alertname": "DiskFull",
        "severity": "critical",
        "target": "slack:#alerts-critical",
        "what": "message",
        "state": "failed",
        "reason": "is_archived",
        "detail": None,
        "attempts": 1,
        "failed_at": format_time(),
    } | changes


def set_failures(stub: Stub, *rows: dict[str, Any]) -> None:
    stub.set_response(LIST, {"deliveries": list(rows), "next_cursor": None})
    for row in rows:
        stub.set_response(f"POST /api/v1/deliveries/{row['id']}/retry", row | {"state": "pending"})


def posts(stub: Stub) -> list[str]:
    return [asked.path for asked in stub.requests if asked.method == "POST"]


def test_permanent_failures_are_listed_with_their_reasons(stub: Stub) -> None:
    set_failures(stub, a_failure(reason="invalid_routing_key", detail="HTTP 400: Invalid routing key"))
    result = receiver("failed", RECEIVER_URL=stub.url, RECEIVER_API_TOKEN="t0ken")
    assert result.exit_code == 0
    for text in (FIRST, "DiskFull", "slack:#alerts-critical", "invalid_routing_key: HTTP 400"):
        assert text in result.stdout
    assert stub.requests[0].query["state"] == "failed"
    assert stub.requests[0].headers["Authorization"] == "Bearer t0ken"


def test_without_permanent_failures_the_output_says_so(stub: Stub) -> None:
    set_failures(stub)
    assert receiver("failed", RECEIVER_URL=stub.url).stdout == "Nothing has failed permanently.\n"


def test_json_is_that_of_the_api(stub: Stub) -> None:
    set_failures(stub, a_failure())
    result = receiver("failed", "--json", RECEIVER_URL=stub.url)
    assert json.loads(result.stdout) == {"deliveries": [a_failure()], "next_cursor": None}


def test_one_delivery_is_retried_by_its_key(stub: Stub) -> None:
    set_failures(stub, a_failure(), a_failure(id=SECOND, what="page:on-call"))
    result = receiver("retry", FIRST, "--by", "ana", RECEIVER_URL=stub.url)
    assert result.exit_code == 0
    assert posts(stub) == [f"/api/v1/deliveries/{FIRST}/retry"]
    assert stub.requests[-1].body == {"by": "ana", "via": "command line"}
    assert "1 delivery is sent again." in result.stdout


def test_all_deliveries_of_an_incident_are_retried_by_its_id(stub: Stub) -> None:
    set_failures(
        stub, a_failure(), a_failure(id=SECOND), a_failure(id="other-1.00000000", incident="other-1")
    )
    receiver("retry", ID, RECEIVER_URL=stub.url)
    assert len(posts(stub)) == 2


def test_all_deliveries_are_retried(stub: Stub) -> None:
    set_failures(stub, a_failure(), a_failure(id="other-1.00000000", incident="other-1"))
    result = receiver("retry", "--all", RECEIVER_URL=stub.url)
    assert len(posts(stub)) == 2
    assert "2 deliveries are sent again." in result.stdout


def test_an_ambiguous_prefix_retries_nothing(stub: Stub) -> None:
    set_failures(
        stub,
        a_failure(id="other-1.00000000", incident="other-1"),
        a_failure(id="other-2.0000000a", incident="b"),
    )
    result = receiver("retry", "other", RECEIVER_URL=stub.url)
    assert result.exit_code == 2
    assert posts(stub) == []


def test_a_delivery_that_is_not_listed_can_not_be_retried(stub: Stub) -> None:
    set_failures(stub, a_failure())
    result = receiver("retry", "nothing", RECEIVER_URL=stub.url)
    assert result.exit_code == 1
    assert posts(stub) == []


@pytest.mark.parametrize("arguments", [(), (FIRST, "--all")])
def test_either_an_id_or_all_is_required(stub: Stub, arguments: tuple[str, ...]) -> None:
    set_failures(stub, a_failure())
    assert receiver("retry", *arguments, RECEIVER_URL=stub.url).exit_code == 2
    assert stub.requests == []
