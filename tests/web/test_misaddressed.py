"""Alertmanager webhooks at a wrong path: answered with the right path, and reported in a notice."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from prometheus_client import REGISTRY

from receiver.web.app import create_app
from receiver.web.auth.guard import RateLimits
from receiver.web.misaddressed import MAX_READ
from tests.rig import ROUTING, Rig
from tests.story.outage import NOTICES, in_channel

HOOK = "/webhooks/alertmanager"
HOOK_TOKEN = {"Authorization": "Bearer hook-token"}
WRONG = [
    "/",
    "/webhook",
    "/webhooks",
    "/webhooks/",
    "/webhooks/alertmanagr",
    "/webhooks/alertmanager/eu",
    "/webhooks/pagerduty",
    "/webhooks/slack/interactions",
    "/webhooks/slack/commands/",
    "/alertmanager",
    "/api/v1/alerts",
    "/api/v1/incidents",
    "/api/v1/incidents/abc/acknowledge",
    "/api/v1/maintenance",
    "/api/v1/deliveries/abc/retry",
    "/api/v2/alerts",
    "/incidents/abc",
    "/incidents/abc/acknowledge",
    "/maintenance",
    "/routing/fire",
    "/sign-in",
    "/metrics",
    "/readyz",
    "/healthz",
    "/static/style.css",
]


@pytest.fixture
def rig(rig: Rig) -> Rig:
    rig.configure(NOTICES + ROUTING)
    return rig


@pytest.fixture
def guarded(rig: Rig) -> Rig:
    rig.environ |= {
        "RECEIVER_WEBHOOK_TOKEN": "hook-token",
        "RECEIVER_API_TOKEN": "api-token",
        "PUBLIC_URL": "https://ops.example",
    }
    rig.configure(NOTICES + ROUTING)
    rig.client = create_app(rig.services, rate_limits=RateLimits(rig.clock)).test_client()
    return rig


def list_notices(rig: Rig) -> list[str]:
    rig.passes("2m")
    return [message.text for message in in_channel(rig, "#monitoring")]


def count(code: str = "404") -> float:
    return REGISTRY.get_sample_value("receiver_webhooks_total", {"code": code}) or 0.0


def body(rig: Rig, **fields: Any) -> dict[str, Any]:
    return rig.payload(rig.alert("DiskFull", host="s3cret-host"), **fields)


def at(path: str) -> dict[str, str]:
    """Return the path for the test client, which would parse `//a` as a host name."""
    path, _, query = path.partition("?")
    return {"PATH_INFO": path, "QUERY_STRING": query}


# --- a doubled slash ---


@pytest.mark.parametrize(
    "path",
    [
        f"{HOOK}/",
        f"{HOOK}//",
        f"/{HOOK}",
        "/webhooks//alertmanager",
        f"{HOOK}/?source=eu",
        "//webhooks/alertmanager/",
    ],
)
def test_a_webhook_with_a_doubled_slash_is_accepted(rig: Rig, path: str) -> None:
    response = rig.client.post("/", json=body(rig), environ_overrides=at(path))
    assert response.status_code == 200
    assert response.json["new"] == 1
    assert rig.shows(response.json["incidents"][0])["source"] == ("eu" if "source" in path else "")


def test_a_doubled_slash_does_not_bypass_the_token(guarded: Rig) -> None:
    assert guarded.client.post(f"{HOOK}/", json=body(guarded)).status_code == 401
    assert guarded.client.post(f"{HOOK}/", json=body(guarded), headers=HOOK_TOKEN).status_code == 200


@pytest.mark.parametrize(
    "path", ["/webhooks/pagerduty", "/webhooks/slack/interactions", "/webhooks/slack/commands"]
)
def test_a_doubled_slash_is_accepted_for_the_other_webhooks_too(rig: Rig, path: str) -> None:
    for spelt in (f"{path}/", f"/{path}", path.replace("webhooks/", "webhooks//")):
        assert rig.client.post("/", data=b"x", environ_overrides=at(spelt)).status_code == 401


# --- another path ---


@pytest.mark.parametrize("path", WRONG)
def test_at_any_other_path_the_response_names_the_right_one(rig: Rig, path: str) -> None:
    before = count()
    response = rig.client.post(path, json=body(rig))
    assert response.status_code == 404
    assert response.json["error"]["type"] == "not_found"
    assert f"http://localhost{HOOK}" in response.json["error"]["message"]
    assert "s3cret" not in response.text
    assert count() == before + 1
    rig.services.rejected_webhooks.save_notices()
    (text,) = list_notices(rig)
    assert "its alerts are lost" in text
    assert HOOK in text
    assert "s3cret" not in text
    assert rig.client.get("/api/v1/incidents").json["incidents"] == []


def test_one_notice_an_hour_is_saved_and_each_webhook_is_counted(rig: Rig) -> None:
    before = count()
    for _ in range(5):
        assert rig.client.post("/webhook", json=body(rig)).status_code == 404
        rig.services.rejected_webhooks.save_notices()
        rig.passes("5m")
    assert count() == before + 5
    assert len(list_notices(rig)) == 1


def test_a_refused_webhook_does_not_suppress_the_notice(rig: Rig) -> None:
    assert rig.client.post(HOOK, data=b"nonsense").status_code == 400
    rig.services.rejected_webhooks.save_notices()
    rig.passes("5m")
    assert rig.client.post("/webhook", json=body(rig)).status_code == 404
    rig.services.rejected_webhooks.save_notices()
    assert len(list_notices(rig)) == 2


def test_the_wrong_path_is_logged_without_anything_that_looks_like_a_token(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.client.post("/services/T000/aB3dE6gH9jK2mN5pQ8sT1vW4", json=body(rig))
    (record,) = [record for record in caplog.records if record.getMessage() == "webhook at a wrong address"]
    assert record.fields["path"] == "'/services/T000/***'" or "***" in record.fields["path"]
    assert "aB3dE6gH9jK2mN5pQ8sT1vW4" not in str(record.fields)


def test_the_right_address_is_below_public_url_if_the_request_was(guarded: Rig) -> None:
    for host, url in (
        ("ops.example", "https://ops.example"),
        ("10.0.0.1:9080", "http://10.0.0.1:9080"),
        ("a b", ""),
    ):
        response = guarded.client.post("/webhook", json=body(guarded), headers={**HOOK_TOKEN, "Host": host})
        assert response.status_code == 404
        assert f"{url}{HOOK}" in response.json["error"]["message"]
        assert "a b" not in response.text


# --- with tokens ---


@pytest.mark.parametrize(
    "path", [path for path in WRONG if path not in ("/readyz", "/healthz", "/static/style.css")]
)
def test_a_wrong_path_without_the_token_is_401(guarded: Rig, path: str) -> None:
    before = count()
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert guarded.client.post(path, json=body(guarded), headers=headers).status_code == 401
    assert count() == before
    assert list_notices(guarded) == []


@pytest.mark.parametrize("path", WRONG)
def test_with_the_webhook_token_the_response_names_the_path_and_a_notice_is_saved(
    guarded: Rig, path: str
) -> None:
    response = guarded.client.post(path, json=body(guarded), headers=HOOK_TOKEN)
    assert response.status_code == 404
    assert HOOK in response.json["error"]["message"]
    guarded.services.rejected_webhooks.save_notices()
    (text,) = list_notices(guarded)
    assert f"https://ops.example{HOOK}" in text


def test_a_wrong_path_is_not_counted_as_a_wrong_token(guarded: Rig) -> None:
    here = {"REMOTE_ADDR": "192.0.2.1"}
    for _ in range(50):
        response = guarded.client.post("/", json=body(guarded), headers=HOOK_TOKEN, environ_base=here)
        assert response.status_code == 404


def test_without_the_token_no_body_is_read(guarded: Rig) -> None:
    class Unread(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise AssertionError("read")

        readinto = read

    response = guarded.client.post(
        "/webhook", input_stream=Unread(), environ_overrides={"wsgi.input_terminated": True}, buffered=False
    )
    assert response.status_code == 401


# --- requests that are no webhooks ---


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"nonsense",
        b"[]",
        b'{"alerts": []}',
        b'{"version": "4"}',
        b'{"version": 4, "alerts": []}',
        b'{"version": "3", "alerts": []}',
        b'{"version": "4", "alerts": [',
        b"[" * 50_000,
        b"\xff\xfe{\x00}\x00",
    ],
)
def test_a_request_that_is_no_webhook_is_a_plain_404(rig: Rig, sent: bytes) -> None:
    for path, status in (("/webhooks/nobody", 404), ("/webhooks/pagerduty", 401), ("/incidents/x", 405)):
        response = rig.client.post(path, data=sent, content_type="application/json")
        assert response.status_code == status
        assert HOOK not in response.text
    assert list_notices(rig) == []


def test_a_page_in_a_browser_cannot_cause_a_notice(rig: Rig) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        response = rig.client.post("/", json=body(rig), headers=headers)
        assert response.status_code == 403
    assert list_notices(rig) == []


@pytest.mark.parametrize("size", [0, 100, 300_000])
def test_the_route_still_reads_the_whole_body(rig: Rig, size: int) -> None:
    """The inspected part of a body is available again, also of one larger than the API accepts."""
    incident = rig.fires("DiskFull")
    sent = json.dumps({"by": "alice"}).encode() + b" " * size
    response = rig.client.post(f"/api/v1/incidents/{incident}/acknowledge", data=sent)
    assert response.status_code == (200 if size < 65_000 else 413)


@pytest.mark.parametrize("agent", ["Alertmanager/0.28.1", "curl/8"])
def test_at_most_a_mebibyte_of_a_large_body_is_inspected(rig: Rig, agent: str) -> None:
    alerts = [rig.alert("DiskFull", host=f"host-{n}") for n in range(20_000)]
    fields = {"alerts": alerts, **{k: v for k, v in body(rig).items() if k != "alerts"}}
    if agent.startswith("Alert"):
        fields["version"] = fields.pop("version")  # after the alerts, as Alertmanager writes it
    else:
        fields = {"version": "4", **fields}

    class Counting(io.BytesIO):
        asked = 0

        def read(self, size: int | None = -1) -> bytes:
            found = super().read(size)
            self.asked += len(found)
            return found

    stream = Counting(json.dumps(fields).encode())
    overrides = {"wsgi.input": stream, "CONTENT_LENGTH": str(len(stream.getvalue()))}
    response = rig.client.post(
        "/webhook", headers={"User-Agent": agent}, environ_overrides=overrides, buffered=False
    )
    assert response.status_code == 404
    assert HOOK in response.json["error"]["message"]
    assert stream.asked <= MAX_READ < len(stream.getvalue()) / 4
    response.close()


def test_a_large_body_without_alerts_is_no_webhook(rig: Rig) -> None:
    sent = b'{"version": "4", "text": "' + b"x" * 2 * MAX_READ + b'"}'
    response = rig.client.post("/webhooks/nobody", data=sent, headers={"User-Agent": "Alertmanager/0.28.1"})
    assert response.status_code == 404
    assert HOOK not in response.text


# --- alerts of Alertmanager's API v2 ---

ARRAY = [{"labels": {"alertname": "A", "severity": "critical"}, "annotations": {}}]


@pytest.mark.parametrize("path", [one for one in WRONG if one != "/api/v2/alerts"])
def test_an_array_at_any_other_path_is_lost_and_said(rig: Rig, path: str) -> None:
    before = count()
    response = rig.client.post(path, json=ARRAY)
    assert response.status_code == 404
    assert "http://localhost/api/v2/alerts" in response.json["error"]["message"]
    assert count() == before + 1
    rig.services.rejected_webhooks.save_notices()
    assert any("/api/v2/alerts" in notice for notice in list_notices(rig))


def test_a_large_array_at_another_path_is_recognised_by_its_head(rig: Rig) -> None:
    large = [{**ARRAY[0], "annotations": {"summary": "x" * MAX_READ}}, *ARRAY]
    assert rig.client.post("/alerts", json=large).status_code == 404
    rig.services.rejected_webhooks.save_notices()
    assert any("/api/v2/alerts" in notice for notice in list_notices(rig))


@pytest.mark.parametrize("body", [[], [1], [{}], [{"labels": 1}], ["labels"]])
def test_another_array_is_no_alert(rig: Rig, body: list[Any]) -> None:
    rig.client.post("/alerts", json=body)
    rig.services.rejected_webhooks.save_notices()
    assert list_notices(rig) == []


def test_an_array_needs_the_webhooks_token(guarded: Rig) -> None:
    assert guarded.client.post("/api/v2/alerts", json=ARRAY).status_code == 401
    wrong = {"Authorization": "Bearer api-token"}
    assert guarded.client.post("/api/v2/alerts", json=ARRAY, headers=wrong).status_code == 401
    assert guarded.client.post("/api/v2/alerts", json=ARRAY, headers=HOOK_TOKEN).status_code == 200
    assert guarded.client.get("/api/v2/alerts").status_code == 401
    assert guarded.client.get("/api/v2/alerts", headers=HOOK_TOKEN).status_code == 405
    assert guarded.client.post("/alerts", json=ARRAY).status_code == 401


def test_a_browser_of_another_site_cannot_send_an_array(rig: Rig) -> None:
    headers = {"Origin": "https://evil.example"}
    assert rig.client.post("/api/v2/alerts", json=ARRAY, headers=headers).status_code == 403
