"""A test alert, in the form Alertmanager sends it and in the form Alertmanager takes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from receiver.model.alert import fingerprint

RECEIVER = "receiver-fire"
# What a firing alert ends at in Alertmanager's webhooks.
_NEVER = "0001-01-01T00:00:00Z"


@dataclass(frozen=True)
class TestAlert:
    """One alert at the moment *now*: it fires, or it has just ended."""

    labels: dict[str, str]
    annotations: dict[str, str]
    now: float
    is_resolved: bool = False

    def render_webhook(self) -> dict[str, Any]:
        """Return the body of a webhook, version 4.

        Same labels give the same alert in the same group, so that a second one resolves the first.
        """
        status = "resolved" if self.is_resolved else "firing"
        group = {"alertname": self.labels["alertname"]}
        alert = {
            "status": status,
            "labels": self.labels,
            "annotations": self.annotations,
            "startsAt": _format_timestamp(self.now),
            "endsAt": _format_timestamp(self.now) if self.is_resolved else _NEVER,
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

        Without startsAt it takes the moment itself, or keeps the start that it knows:
        https://github.com/prometheus/alertmanager/blob/main/api/v2/api.go
        """
        alert: dict[str, Any] = {"labels": self.labels, "annotations": self.annotations}
        if self.is_resolved:
            alert["endsAt"] = _format_timestamp(self.now)
        return [alert]


def _format_timestamp(timestamp: float) -> str:
    text = datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
