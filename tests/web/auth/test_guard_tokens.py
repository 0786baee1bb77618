"""Which credentials are accepted."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

import pytest

from receiver.web.app import create_app
from tests.rig import ROUTING, Rig


@pytest.fixture
def guarded(rig: Rig) -> Rig:
    rig.environ |= {"RECEIVER_WEBHOOK_TOKEN": "hook-old,hook-new", "RECEIVER_API_TOKEN": "api-token"}
    rig.configure(ROUTING)
    rig.client = create_app(rig.services, rate_limits=None).test_client()
    return rig


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{name}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("headers", [bearer("hook-old"), bearer("hook-new"), basic("anyone", "hook-new")])
def test_every_webhook_token_is_accepted_as_basic_and_bearer(guarded: Rig, headers: dict[str, str]) -> None:
    response = guarded.client.post("/webhooks/alertmanager", json=guarded.payload(), headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, bearer(""), bearer("hook"), bearer("api-token"), basic("hook-new", ""), bearer("hook-old,hook-new")],
)
def test_no_other_credentials_are_accepted_for_webhooks(guarded: Rig, headers: dict[str, str]) -> None:
    response = guarded.client.post("/webhooks/alertmanager", json=guarded.payload(), headers=headers)
    assert response.status_code == 401
    assert "RECEIVER_WEBHOOK_TOKEN" in response.json["error"]["message"]


@pytest.mark.parametrize("path", ["/api/v1/incidents", "/metrics", "/", "/incidents/a", "/runbooks/a"])
def test_api_metrics_and_pages_require_the_api_token(guarded: Rig, path: str) -> None:
    assert guarded.client.get(path).status_code == 401
    assert guarded.client.get(path, headers=bearer("hook-old")).status_code == 401
    assert guarded.client.get(path, headers=bearer("api-token")).status_code in (200, 404)
    assert guarded.client.get(path, headers=basic("me", "api-token")).status_code in (200, 404)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_checks_need_no_token(guarded: Rig, path: str) -> None:
    assert guarded.client.get(path).status_code in (200, 503)


def test_no_response_contains_a_secret(guarded: Rig) -> None:
    read: Callable[[str], str] = lambda path: guarded.client.get(path, headers=bearer("api-token")).text  # noqa: E731
    incident = guarded.client.post(
        "/webhooks/alertmanager", json=guarded.payload(guarded.alert("DiskFull")), headers=bearer("hook-old")
    ).json["incidents"][0]
    guarded.works()
    pages = "".join(
        read(path) for path in ("/", "/metrics", f"/api/v1/incidents/{incident}", f"/incidents/{incident}")
    )
    for secret in ("hook-old", "api-token", "xoxb-test", guarded.environ["PAGERDUTY_ONCALL_KEY"]):
        assert secret not in pages
    assert "xoxb" not in repr(guarded.services.settings)
