"""Webhook bodies as Alertmanager posts them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from receiver.model.alert import fingerprint

FIRST = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def an_alert(
    labels: dict[str, str],
    *,
    started: dt.datetime = FIRST,
    ended: dt.datetime | None = None,
    summary: str = "it is bad",
) -> dict[str, Any]:
    return {
        "status": "resolved" if ended else "firing",
        "labels": labels,
        "annotations": {"summary": summary},
        "startsAt": started.isoformat(),
        "endsAt": ended.isoformat() if ended else "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": fingerprint(labels),
    }


def a_body(
    name: str,
    severity: str = "critical",
    *,
    started: dt.datetime = FIRST,
    ended: dt.datetime | None = None,
    instances: int = 1,
    summary: str = "",
    alertmanager: int = 1,
) -> dict[str, Any]:
    """Return the webhook body of one group with one alert for each of *instances*."""
    summary = summary or f"{name} is bad"
    alerts = [
        an_alert(
            {"alertname": name, "severity": severity, "instance": f"host-{n}"},
            started=started,
            ended=ended,
            summary=summary,
        )
        for n in range(instances)
    ]
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{name}"}}',
        "truncatedAlerts": 0,
        "receiver": "receiver",
        "status": "resolved" if ended else "firing",
        "alerts": alerts,
        "groupLabels": {"alertname": name},
        "commonLabels": {"alertname": name, "severity": severity},
        "commonAnnotations": {"summary": summary},
        "externalURL": f"http://alertmanager-{alertmanager}:9093",
    }
