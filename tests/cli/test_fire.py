"""`receiver fire ALERTNAME`: a test alert to the receiver, or to Alertmanager."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
import pytest

from receiver.integrations.alertmanager import webhook
from receiver.model.alert import fingerprint
from tests.cli.invoke import receiver
from tests.cli.stub import Stub

HOOK = "POST /webhooks/alertmanager"
POST = "POST /api/v2/alerts"
ID = "x1qepmtzfr3f-1m84ss6xd"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        stub.set_response(HOOK, answer(new=1))
        yield stub


def answer(**counts: int) -> dict[str, Any]:
    nothing = {"alerts": 1, "new": 0, "duplicates": 0, "resolved": 0, "rejected": 0}
    return nothing | counts | {"incidents": [ID]}


def test_the_body_is_that_of_alertmanager(stub: Stub) -> None:
    result = receiver("fire", "DiskFull", "--label", "instance=web-1", RECEIVER_URL=stub.url)
    assert result.exit_code == 0
    labels = {"alertname": "DiskFull", "severity": "warning", "instance": "web-1"}
    body = stub.requests[0].body
    assert (body["version"], body["status"], body["receiver"]) == ("4", "firing", "receiver-fire")
    assert body["groupKey"] == '{}:{alertname="DiskFull"}'
    assert body["alerts"][0]["labels"] == labels
    assert body["alerts"][0]["fingerprint"] == fingerprint(labels)
    assert body["alerts"][0]["endsAt"] == "0001-01-01T00:00:00Z"
    assert "test alert" in body["alerts"][0]["annotations"]["summary"]


@pytest.mark.parametrize("name", ["DiskFull", 'Say "hi"\\', "Größe", "<!channel>"])
@pytest.mark.parametrize("flags", [(), ("--resolve",)])
def test_the_receiver_parses_the_body_without_repair(stub: Stub, name: str, flags: tuple[str, ...]) -> None:
    receiver("fire", name, *flags, RECEIVER_URL=stub.url)
    body = stub.requests[0].body
    # The time of receipt is the time of sending by the sender's clock: `fire` uses the real one.
    received_at = datetime.fromisoformat(body["alerts"][0]["startsAt"]).timestamp()
    batch = webhook.parse_webhook(msgspec.json.encode(body), "", received_at)
    assert (batch.total, batch.rejected, batch.repaired) == (1, 0, 0)
    alert = batch.groups[0].alerts[0]
    assert (alert.name, alert.is_firing) == (name, not flags)


def test_the_same_labels_with_resolve_are_the_same_alert_in_the_same_group(stub: Stub) -> None:
    arguments = ("fire", "DiskFull", "--severity", "critical", "--label", "b=2", "--label", "a=1")
    receiver(*arguments, RECEIVER_URL=stub.url)
    receiver(*arguments, "--resolve", RECEIVER_URL=stub.url)
    first, second = (request.body for request in stub.requests)
    assert (second["status"], second["alerts"][0]["status"]) == ("resolved", "resolved")
    assert second["groupKey"] == first["groupKey"]
    assert second["alerts"][0]["fingerprint"] == first["alerts"][0]["fingerprint"]


def test_annotations_and_labels_can_be_set(stub: Stub) -> None:
    arguments = (
        "--annotation",
        "summary=a=b",
        "--annotation",
        "runbook=DiskFull",
        "--label",
        "severity=page",
    )
    receiver("fire", "DiskFull", *arguments, RECEIVER_URL=stub.url)
    alert = stub.requests[0].body["alerts"][0]
    assert alert["annotations"] == {"summary": "a=b", "runbook": "DiskFull"}
    assert alert["labels"]["severity"] == "page"


def test_an_empty_severity_is_omitted(stub: Stub) -> None:
    receiver("fire", "DiskFull", "--severity", "", RECEIVER_URL=stub.url)
    assert stub.requests[0].body["alerts"][0]["labels"] == {"alertname": "DiskFull"}


def test_warnings_of_the_receiver_are_shown(stub: Stub) -> None:
    stub.set_response(HOOK, answer(new=1) | {"warnings": ['unknown severity "wobbly"\x1b[2J: odd', 7]})
    result = receiver("fire", "DiskFull", "--severity", "wobbly", RECEIVER_URL=stub.url)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-2:] == ['warning: unknown severity "wobbly"[2J: odd', "warning: 7"]
    assert stub.requests[0].body["alerts"][0]["labels"]["severity"] == "wobbly"


def test_the_first_of_several_tokens_is_used(stub: Stub) -> None:
    receiver("fire", "DiskFull", RECEIVER_URL=stub.url, RECEIVER_WEBHOOK_TOKEN=" one ,two")
    assert stub.requests[0].headers["Authorization"] == "Bearer one"


def test_for_a_new_incident_its_id_and_the_command_to_end_it_are_shown(stub: Stub) -> None:
    result = receiver(
        "fire", "DiskFull", "--label", "path=/my disk", "--severity", "info", RECEIVER_URL=stub.url
    )
    assert result.stdout == (
        f"DiskFull fires: incident {ID}.\nSee `receiver show {ID}`; end it with "
        "`receiver fire DiskFull --severity info --label 'path=/my disk' --resolve`.\n"
    )


@pytest.mark.parametrize(
    ("flags", "counts", "expected"),
    [
        ((), {"duplicates": 1}, "DiskFull fires already, so no one is notified again: incident"),
        (("--resolve",), {"resolved": 1}, f"DiskFull is resolved: incident {ID}."),
        (
            ("--resolve",),
            {"duplicates": 1},
            "Nothing changed: no alert fires with just these labels (alertname=DiskFull",
        ),
    ],
)
def test_the_counts_of_the_response_are_shown_as_text(
    stub: Stub, flags: tuple[str, ...], counts: dict[str, int], expected: str
) -> None:
    stub.set_response(HOOK, answer(**counts))
    result = receiver("fire", "DiskFull", *flags, RECEIVER_URL=stub.url)
    assert result.exit_code == 0
    assert expected in result.stdout


@pytest.mark.parametrize(
    ("response", "status", "expected"),
    [
        ({"error": {"type": "unauthorized", "message": "no"}}, 401, "set RECEIVER_WEBHOOK_TOKEN"),
        ({"error": {"type": "unavailable", "message": "the store is away"}}, 503, "the store is away"),
        (answer(rejected=1), 200, "the receiver could not read DiskFull"),
        (b"<html>", 200, "is RECEIVER_URL right?"),
        (b"", 302, "status 302"),
    ],
)
def test_a_refusal_is_a_one_line_error(stub: Stub, response: Any, status: int, expected: str) -> None:
    stub.set_response(HOOK, response, status=status, Location="http://127.0.0.1:1/")
    result = receiver("fire", "DiskFull", RECEIVER_URL=stub.url)
    assert result.exit_code == 1
    assert expected in result.stderr
    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    "arguments",
    [["X", "--label", "a"], ["X", "--label", "alertname=Y"], [""], ["X", "--label", "a=1", "--label", "a=2"]],
)
def test_an_invalid_alert_is_a_usage_error(stub: Stub, arguments: list[str]) -> None:
    assert receiver("fire", *arguments, RECEIVER_URL=stub.url).exit_code == 2
    assert stub.requests == []


def test_a_firing_alert_is_sent_to_alertmanager_without_an_end(stub: Stub) -> None:
    stub.set_response(POST, status=200)
    result = receiver("fire", "DiskFull", "--via", "alertmanager", ALERTMANAGER_URL=f"{stub.url}/")
    assert result.exit_code == 0
    assert "Alertmanager has DiskFull" in result.stdout
    (alert,) = stub.requests[0].body
    assert alert["labels"] == {"alertname": "DiskFull", "severity": "warning"}
    assert "endsAt" not in alert


def test_a_resolved_alert_is_sent_to_alertmanager_with_its_end(stub: Stub) -> None:
    stub.set_response(POST, status=200)
    result = receiver("fire", "DiskFull", "--resolve", "--via", "alertmanager", ALERTMANAGER_URL=stub.url)
    assert "the end of DiskFull" in result.stdout
    assert stub.requests[0].body[0]["endsAt"].endswith("Z")


@pytest.mark.parametrize(("severity", "is_warned"), [("wobbly", True), ("page", False), ("", False)])
def test_an_unknown_severity_sent_to_alertmanager_is_a_warning(
    stub: Stub, severity: str, is_warned: bool
) -> None:
    stub.set_response(POST, status=200)
    flags = ("--severity", severity, "--via", "alertmanager")
    result = receiver("fire", "DiskFull", *flags, ALERTMANAGER_URL=stub.url)
    assert result.exit_code == 0
    assert ('warning: unknown severity "wobbly", unless `severities`' in result.stdout) is is_warned


def test_a_login_in_alertmanagers_url_is_used_and_not_shown(stub: Stub) -> None:
    address = stub.url.replace("//", "//ana:p%40ss@")
    stub.set_response(POST, "bad label name", status=400)
    result = receiver("fire", "DiskFull", "--via", "alertmanager", ALERTMANAGER_URL=address)
    assert result.exit_code == 1
    assert f"Alertmanager at {stub.url} did not take the alert: status 400, bad label name" in result.stderr
    assert stub.requests[0].headers["Authorization"] == "Basic YW5hOnBAc3M="


def test_alertmanager_needs_a_url() -> None:
    result = receiver("fire", "DiskFull", "--via", "alertmanager")
    assert result.exit_code == 1
    assert "ALERTMANAGER_URL is not set" in result.stderr


def test_the_help_shows_the_default_severity_and_how_to_end_the_alert() -> None:
    text = receiver("fire", "--help").stdout
    assert "warning" in text
    assert "receiver fire TestAlert --resolve" in text
