"""The mock PagerDuty: other tests rely on it, so it must be as strict as PagerDuty."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.builders import ROUTING_KEY
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.pagerduty_rules import find_errors


@pytest.fixture
def pagerduty() -> Iterator[MockPagerDuty]:
    with MockPagerDuty() as mock:
        yield mock


def an_event(action: str = "trigger", **changes: Any) -> dict[str, Any]:
    payload = {"summary": "s", "source": "h", "severity": "error"} if action == "trigger" else None
    event = {
        "routing_key": ROUTING_KEY,
        "event_action": action,
        "dedup_key": "k",
        **({"payload": payload} if payload else {}),
    }
    return {**event, **changes}


def post(
    pagerduty: MockPagerDuty, body: bytes | dict[str, Any], path: str = "/v2/enqueue"
) -> tuple[int, Any]:
    webhook = http.client.HTTPConnection("127.0.0.1", int(pagerduty.url.rpartition(":")[2]), timeout=5)
    try:
        webhook.request("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode())
        answer = webhook.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        webhook.close()


def test_a_valid_event_gets_pagerdutys_response(pagerduty: MockPagerDuty) -> None:
    assert post(pagerduty, an_event()) == (
        202,
        {"status": "success", "message": "Event processed", "dedup_key": "k"},
    )


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"routing_key": None}, "routing_key"),
        ({"routing_key": "short"}, "routing_key"),
        ({"routing_key": "-" * 32}, "routing_key"),
        ({"event_action": "triggered"}, "event_action"),
        ({"dedup_key": ""}, "dedup_key"),
        ({"dedup_key": "k" * 256}, "dedup_key"),
        ({"payload": None}, "payload"),
        ({"payload": {"summary": "", "source": "h", "severity": "info"}}, "summary"),
        ({"payload": {"summary": "s" * 1025, "source": "h", "severity": "info"}}, "summary"),
        ({"payload": {"summary": "s", "source": "", "severity": "info"}}, "source"),
        ({"payload": {"summary": "s", "source": "h", "severity": "none"}}, "severity"),
        (
            {"payload": {"summary": "s", "source": "h", "severity": "info", "timestamp": "soon"}},
            "timestamp",
        ),
        (
            {"payload": {"summary": "s", "source": "h", "severity": "info", "custom_details": "x"}},
            "custom_details",
        ),
        ({"links": [{"text": "no href"}]}, "links"),
        ({"links": [{"href": "javascript:x"}]}, "links"),
        ({"images": [{"src": "http://plain.example/x.png"}]}, "images"),
        ({"client_url": "x"}, "client_url"),
    ],
)
def test_an_invalid_event_is_refused(changes: dict[str, Any], what: str) -> None:
    [error] = find_errors(an_event(**changes))
    assert what in error


def test_a_refused_event_has_no_effect(pagerduty: MockPagerDuty) -> None:
    status, answer = post(pagerduty, an_event(routing_key="short"))
    assert (status, answer["status"], answer["message"]) == (400, "invalid event", "Event object is invalid")
    assert answer["errors"] == ["Length of 'routing_key' is incorrect (should be 32 characters)"]
    assert pagerduty.events == []
    assert [request.status for request in pagerduty.requests] == [400]


def test_an_event_that_is_too_long_or_no_json_is_refused(pagerduty: MockPagerDuty) -> None:
    assert post(pagerduty, b"{")[0] == 400
    assert post(pagerduty, an_event(client="x" * 512_000))[0] == 400
    assert post(pagerduty, an_event(), path="/v1/enqueue")[0] == 404


def test_a_trigger_joins_the_open_incident_and_opens_another_after_a_resolve(
    pagerduty: MockPagerDuty,
) -> None:
    for action in ("trigger", "acknowledge", "trigger", "resolve", "trigger"):
        post(pagerduty, an_event(action))

    first, second = pagerduty.opened()
    assert [event.action for event in first.history] == ["trigger", "acknowledge", "trigger", "resolve"]
    assert (first.state, second.state) == ("resolved", "triggered")
    assert pagerduty.still_open() == [second]
    assert pagerduty.incidents[ROUTING_KEY, "k"] == [first, second]


def test_a_dedup_key_belongs_to_its_routing_key(pagerduty: MockPagerDuty) -> None:
    post(pagerduty, an_event())
    post(pagerduty, an_event(routing_key="f" * 32))
    assert len(pagerduty.opened()) == 2
    assert len(pagerduty.opened("f" * 32)) == 1


def test_an_event_without_an_open_incident_is_dropped(pagerduty: MockPagerDuty) -> None:
    assert post(pagerduty, an_event("resolve"))[0] == 202
    assert post(pagerduty, an_event("acknowledge"))[0] == 202
    assert [event.action for event in pagerduty.dropped] == ["resolve", "acknowledge"]
    assert pagerduty.opened() == []


def test_tests_can_wait_for_an_event(pagerduty: MockPagerDuty) -> None:
    post(pagerduty, an_event())
    pagerduty.wait_until(lambda mock: mock.opened(ROUTING_KEY))
    with pytest.raises(AssertionError, match="not so within"):
        pagerduty.wait_until(lambda mock: len(mock.opened()) > 1, timeout_s=0.01)


def test_changes_are_sent_as_signed_webhooks_in_order(pagerduty: MockPagerDuty) -> None:
    pagerduty.webhooks.secrets = ("old", "new")
    post(pagerduty, an_event())
    [incident] = pagerduty.opened()
    pagerduty.acknowledges(incident, by="Alice")
    post(pagerduty, an_event("resolve"))
    took: list[tuple[bytes, dict[str, str]]] = []

    assert pagerduty.webhooks.deliver(lambda *sent: took.append(sent) or 202) == [202, 202, 202]

    events = [json.loads(body)["event"] for body, _ in took]
    assert [event["event_type"].rpartition(".")[2] for event in events] == [
        "triggered",
        "acknowledged",
        "resolved",
    ]
    assert [event["agent"]["summary"] for event in events] == ["Events API v2", "Alice", "Events API v2"]
    for body, headers in took:
        mac = hmac.new(b"new", body, hashlib.sha256).hexdigest()
        assert f"v1={mac}" in headers["X-PagerDuty-Signature"].split(", ")


def test_a_webhook_is_repeated_after_a_5xx_and_dropped_after_a_4xx(pagerduty: MockPagerDuty) -> None:
    post(pagerduty, an_event())
    post(pagerduty, an_event("acknowledge"))
    assert pagerduty.webhooks.deliver(lambda *_: 503) == [503]
    names = [webhook.headers["X-Webhook-Id"] for webhook in pagerduty.webhooks.waiting]
    assert pagerduty.webhooks.deliver(lambda *_: 404) == [404, 404]
    assert [webhook.headers["X-Webhook-Id"] for webhook in pagerduty.webhooks.dropped] == names
    assert pagerduty.webhooks.dropped[0].answers == [503, 404]


def test_an_event_that_changes_nothing_sends_no_webhook(pagerduty: MockPagerDuty) -> None:
    for action in ("trigger", "trigger", "acknowledge", "acknowledge", "resolve", "resolve"):
        post(pagerduty, an_event(action))
    bodies = [webhook.event_type for webhook in pagerduty.webhooks.waiting]
    assert bodies == ["incident.triggered", "incident.acknowledged", "incident.resolved"]
