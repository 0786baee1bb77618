"""Any webhook body: never a 5xx, and no alert is lost that was answered with 200."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.integrations.alertmanager.webhook import parse_webhook
from tests.fuzz.mutations import FUZZED, bodies
from tests.fuzz.oracle import LoggedErrors
from tests.rig import Rig

HOOK = "/webhooks/alertmanager"
PAYLOADS = Path(__file__).parents[1] / "integrations" / "alertmanager" / "payloads"


def read_payloads() -> list[Any]:
    found = []
    for path in sorted(PAYLOADS.glob("*.json")):
        try:
            found.append(json.loads(path.read_bytes()))
        except ValueError:
            continue
    return found


def count_readable(body: bytes) -> int | None:
    """Return how many alerts are readable; None if the body is no plain JSON."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    alerts = content.get("alerts") if isinstance(content, dict) else content
    if not isinstance(alerts, list):
        return None
    return sum(isinstance(alert, dict) and isinstance(alert.get("labels"), dict) for alert in alerts)


def test_no_webhook_body_causes_an_error_and_no_alert_is_lost(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    errors = LoggedErrors(caplog)

    @FUZZED
    @given(
        bodies(read_payloads()), st.sampled_from(["", "?source=eu", "?source=%00%ff", "?source=" + "a" * 999])
    )
    def post(body: bytes, query: str) -> None:
        answer = rig.client.post(HOOK + query, data=body)
        errors.assert_none(answer)
        assert answer.status_code in (200, 400)
        readable = count_readable(body)
        if answer.status_code == 400:
            assert not readable
            assert len(answer.json["error"]["message"]) > 10
            return
        counts = answer.json
        assert (
            counts["new"] + counts["duplicates"] + counts["resolved"] + counts["rejected"] == counts["alerts"]
        )
        if readable is not None:
            assert counts["alerts"] - counts["rejected"] == readable
        _assert_all_found(rig, body, counts["incidents"])
        errors.assert_none()
        rig.works()
        errors.assert_none()

    post()


def _assert_all_found(rig: Rig, body: bytes, incidents: list[str]) -> None:
    """Find every firing alert of *body* in an incident, in the API and on the page."""
    ingested = set()
    for incident in incidents:
        answer = rig.client.get(f"/api/v1/incidents/{incident}")
        assert answer.status_code == 200
        ingested |= {alert["fingerprint"] for alert in answer.json["alerts"]}
        assert rig.client.get(f"/incidents/{incident}").status_code == 200
    groups = parse_webhook(body, "", rig.clock()).groups
    firing = {alert.fingerprint for group in groups for alert in group.alerts if alert.is_firing}
    assert firing <= ingested
