"""Any body that PagerDuty signs is accepted: a 4xx would make PagerDuty stop sending."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from tests.fuzz.mutations import FUZZED, bodies
from tests.fuzz.oracle import LoggedErrors
from tests.mocks.pagerduty_webhooks import sign
from tests.rig import ROUTING, Rig

SECRET = "pagerduty-secret"


def an_event(event_type: str, incident_id: str, **data: Any) -> dict[str, Any]:
    return {
        "event": {
            "id": "01BZ",
            "event_type": event_type,
            "occurred_at": "2026-11-23T12:00:00Z",
            "agent": {"id": "PAGENT", "type": "user_reference", "summary": "Alice"},
            "data": {"id": incident_id, "type": "incident", "status": "triggered", "assignees": [], **data},
        }
    }


def test_every_signed_event_is_accepted(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.environ |= {
        "PAGERDUTY_WEBHOOK_SECRET": SECRET,
        "PAGERDUTY_API_URL": rig.pagerduty.url,
        "PAGERDUTY_API_TOKEN": "rest-token",
    }
    rig.configure(ROUTING)
    rig.fires("DiskFull")
    errors, [paged] = LoggedErrors(caplog), rig.pagerduty.opened()
    kinds = ("acknowledged", "unacknowledged", "resolved", "reassigned", "responder.added", "annotated")
    originals = [an_event(f"incident.{kind}", paged.id, incident={"id": paged.id}) for kind in kinds]
    originals += json.loads(json.dumps([an_event("service.updated", "P1"), an_event("pagey.ping", "P1")]))

    @FUZZED
    @given(bodies(originals))
    def post(body: bytes) -> None:
        headers = {"X-PagerDuty-Signature": sign(SECRET, body)}
        answer = rig.client.post("/webhooks/pagerduty", data=body, headers=headers)
        errors.assert_none(answer)
        assert answer.status_code == 202
        rig.works()
        errors.assert_none()

    post()
