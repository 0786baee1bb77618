"""Test alerts, as the body of Alertmanager's webhook and as the body of its `POST /api/v2/alerts`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from receiver.clock import format_iso_time
from receiver.model.alert import fingerprint

RECEIVER = "receiver-fire"
# The `endsAt` of a firing alert in Alertmanager's webhooks.
_NEVER = "0001-01-01T00:00:00Z"


@dataclass(frozen=True)
class TestAlert:
    """One alert at the time *now*: firing, or just resolved."""

    labels: dict[str, str]
    annotations: dict[str, str]
    now: float
    is_resolved: bool = False

    def render_webhook(self) -> dict[str, Any]:
        """Return the body of a webhook, version 4.

        The same labels give the same alert in the same group, so a resolved alert resolves the earlier one.
        """
        status = "resolved" if self.is_resolved else "firing"
        group = {"alertname": self.labels["alertname"]}
        alert = {
            "status": status,
            "labels": self.labels,
            "annotations": self.annotations,
            "startsAt": format_iso_time(self.now),
            "endsAt": format_iso_time(self.now) if self.is_resolved else _NEVER,
            "generatorURL": "",
            "fingerprint": fingerprint(self.labels),
        }
        return {
            "version": "4",
            "groupKey": f"{{}}:{{alertname={json.dumps(group['alertname'], ensure_ascii=False)}}}",
            "truncatedAlerts": 0,
            "receiver": RECEIVER,
            "status": status,
            "alerts": [alert],
            "groupLabels": group,
            "commonLabels": self.labels,
            "commonAnnotations": self.annotations,
            "externalURL": "",
        }

    def render_post(self) -> list[dict[str, Any]]:
        """Return the body for Alertmanager's `POST /api/v2/alerts`.

        Without `startsAt` Alertmanager uses the current time, or keeps the start that it has:
        https://github.com/prometheus/alertmanager/blob/main/api/v2/api.go
        """
        alert: dict[str, Any] = {"labels": self.labels, "annotations": self.annotations}
        if self.is_resolved:
            alert["endsAt"] = format_iso_time(self.now)
        return [alert]
