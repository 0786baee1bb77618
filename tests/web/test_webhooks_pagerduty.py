"""PagerDuty's webhook: what is accepted; a request with a valid signature is never refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from receiver.errors import StoreError
from receiver.storage.keys import TASKS
from tests.mocks.pagerduty_webhooks import sign
from tests.rig import ROUTING, Rig
from tests.support.log_lines import count_lines, written_log

HOOK = "/webhooks/pagerduty"
SECRET = "wXfZ-secret"


def an_event(event_type: str = "incident.acknowledged", **data: Any) -> bytes:
    data = {"id": "PGR0VU2", "type": "incident", "status": "acknowledged", **data}
    event = {"id": "01BZ", "event_type": event_type, "agent": {"summary": "Alice"}, "data": data}
    return json.dumps({"event": event}).encode()


@pytest.fixture
def signed_rig(rig: Rig) -> Rig:
    rig.environ["PAGERDUTY_WEBHOOK_SECRET"] = SECRET
    rig.configure(ROUTING)
    return rig


def post(rig: Rig, body: bytes, *, name: str = "w1", secret: str = SECRET, **headers: str) -> tuple[int, Any]:
    signed = {"X-PagerDuty-Signature": sign(secret, body), "X-Webhook-Id": name, **headers}
    response = rig.client.post(HOOK, data=body, headers=signed)
    return response.status_code, response.json


def list_jobs(rig: Rig) -> list[dict[str, Any]]:
    """Return the jobs that wait for a worker."""
    claims = rig.services.work_queue.claim(TASKS, "test", rig.clock(), 100)
    found = [rig.services.job_queue.find_job(one.removeprefix("job-")) for one in claims.entries]
    return [payload for kind, payload in filter(None, found) if kind == "pagerduty"]


def test_a_signed_event_is_enqueued_before_it_is_accepted(signed_rig: Rig) -> None:
    assert post(signed_rig, an_event()) == (202, {"outcome": "taken"})
    [payload] = list_jobs(signed_rig)
    assert payload["event_type"] == "incident.acknowledged"
    assert (payload["incident_id"], payload["by"]) == ("PGR0VU2", "Alice")


@pytest.mark.parametrize("signature", ["", "v1=", "v1=" + "0" * 64, "v0=x", "garbage", "v1=\xfc"])
def test_a_forged_event_is_refused(signed_rig: Rig, signature: str) -> None:
    status, response = post(signed_rig, an_event(), **{"X-PagerDuty-Signature": signature})
    assert (status, response["error"]["type"]) == (401, "unauthorized")
    assert SECRET not in str(response)
    assert list_jobs(signed_rig) == []


def test_a_body_that_was_changed_is_refused(signed_rig: Rig) -> None:
    headers = {"X-PagerDuty-Signature": sign(SECRET, an_event())}
    changed = an_event("incident.resolved")
    assert signed_rig.client.post(HOOK, data=changed, headers=headers).status_code == 401


def test_an_event_without_a_signature_is_refused(signed_rig: Rig) -> None:
    assert signed_rig.client.post(HOOK, data=an_event()).status_code == 401


def test_refused_events_are_one_log_line_a_minute_with_the_reason_and_without_a_secret(
    signed_rig: Rig,
) -> None:
    with written_log() as log:
        for _ in range(50):
            post(signed_rig, an_event(), secret="wrong-secret")
    assert count_lines(log) == {("request refused", ""): 1}
    assert "not signed with PAGERDUTY_WEBHOOK_SECRET" in log.getvalue()

    assert sign("wrong-secret", an_event()) not in log.getvalue()


def test_without_a_secret_everything_is_refused(rig: Rig) -> None:
    assert post(rig, an_event(), secret="")[0] == 401
    assert post(rig, an_event(), secret=SECRET)[0] == 401


def test_tokens_are_not_valid_here(signed_rig: Rig) -> None:
    signed_rig.environ["RECEIVER_WEBHOOK_TOKEN"] = "t"
    signed_rig.configure(ROUTING)
    headers = {"Authorization": "Bearer t"}
    assert signed_rig.client.post(HOOK, data=an_event(), headers=headers).status_code == 401
    assert post(signed_rig, an_event())[0] == 202


def test_while_the_secret_is_replaced_both_signatures_are_valid(signed_rig: Rig) -> None:
    body = an_event()
    both = f"{sign('new', body)}, {sign(SECRET, body)}"
    assert post(signed_rig, body, **{"X-PagerDuty-Signature": both})[0] == 202


def test_a_repeat_of_a_webhook_is_accepted_and_not_enqueued_again(signed_rig: Rig) -> None:
    assert post(signed_rig, an_event(), name="w1")[1] == {"outcome": "taken"}
    assert post(signed_rig, an_event(status="triggered"), name="w1") == (202, {"outcome": "repeated"})
    assert post(signed_rig, an_event("incident.resolved"), name="w2")[1] == {"outcome": "taken"}
    assert len(list_jobs(signed_rig)) == 2


def test_a_webhook_without_an_id_is_recognised_by_its_body(signed_rig: Rig) -> None:
    assert post(signed_rig, an_event(), name="")[1] == {"outcome": "taken"}
    assert post(signed_rig, an_event(), name="")[1] == {"outcome": "repeated"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"event": {"event_type": "pagey.ping"}}',
        an_event("incident.triggered"),
        an_event("incident.priority_updated"),
        an_event("incident.annotated"),
        an_event("incident.something.new"),
        an_event("service.updated"),
        an_event(id=None),
        an_event("incident.acknowledged", id="../x"),
    ],
)
def test_every_signed_event_is_accepted_also_of_unused_types(signed_rig: Rig, body: bytes) -> None:
    assert post(signed_rig, body) == (202, {"outcome": "ignored"})
    assert list_jobs(signed_rig) == []


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "x"])
def test_the_content_type_does_not_matter(signed_rig: Rig, content_type: str) -> None:
    assert post(signed_rig, an_event(), **{"Content-Type": content_type})[0] == 202


def test_a_body_longer_than_pagerdutys_limit_is_not_read(signed_rig: Rig) -> None:
    assert post(signed_rig, b" " * (1024 * 1024 + 1))[0] == 413


def test_while_redis_is_unavailable_the_response_makes_pagerduty_retry(
    signed_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def enqueue(*_: Any, **__: Any) -> bool:
        raise StoreError("redis is away")

    monkeypatch.setattr(signed_rig.services.job_queue, "enqueue", enqueue)
    status, response = post(signed_rig, an_event())
    assert (status, response["error"]["type"]) == (503, "unavailable")
    assert post(signed_rig, an_event("incident.triggered"))[0] == 202
