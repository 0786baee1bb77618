"""Incidents as the API returns them, with sensible defaults."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

ID = "x1qepmtzfr3f-1m84ss6xd"
OPENED_AT = 1_795_435_380.0  # 2026-11-23 12:03:00 UTC


def format_time(after_s: float = 0.0) -> str:
    """Return the time *after_s* seconds after the incident opened, in the format of the API."""
    text = datetime.fromtimestamp(OPENED_AT + after_s, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def a_row(**changes: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "state": "open",
        "severity": "critical",
        "alertname": "DiskFull",
        "summary": "The disk of web-1 is full",
        "receiver": "receiver",
        "group_key": '{}:{alertname="DiskFull"}',
        "group_labels": {"alertname": "DiskFull"},
        "route": "#alerts-critical",
        "channel": "#alerts-critical",
        "firing": 2,
        "total": 3,
        "opened_at": format_time(),
        "updated_at": format_time(1),
        "acknowledged_by": None,
        "next_step": "team-lead",
        "next_step_at": format_time(300),
    } | changes


def a_whole(**changes: Any) -> dict[str, Any]:
    return (
        a_row()
        | {
            "acknowledged_at": None,
            "resolved_at": None,
            "resolved_by": None,
            "snoozed_until": None,
            "suppressed": None,
            "links": [],
            "silences": [],
            "alerts": [an_alert_row("resolved", "web-3"), an_alert_row("firing", "web-1")],
            "timeline": [an_event("opened", "2 alerts on #alerts-critical")],
            "escalation": {
                "policy": "critical",
                "steps": [
                    a_step("on-call", "notified", notified_at=format_time(1)),
                    a_step("team-lead", "waiting", due_at=format_time(300)),
                    a_step("manager", "later"),
                ],
            },
            "deliveries": [
                a_delivery("page:on-call", "pagerduty:on-call", simulated=True),
                a_delivery(
                    "message", "slack:#alerts-critical", state="failed", reason="not_in_channel", attempts=3
                ),
            ],
        }
        | changes
    )


def an_alert_row(status: str, instance: str) -> dict[str, Any]:
    return {
        "fingerprint": "0123456789abcdef",
        "status": status,
        "severity": "critical",
        "starts_at": format_time(-60),
        "ends_at": format_time(30) if status == "resolved" else None,
        "labels": {"alertname": "DiskFull", "instance": instance},
        "annotations": {"summary": f"The disk of {instance} is full"},
        "generator_url": "",
        "links": [],
    }


def a_history_row(**changes: Any) -> dict[str, Any]:
    return a_row() | {"resolved_at": None, "duration_s": None, "acknowledged_after_s": None} | changes


def an_event(what: str, text: str, **changes: Any) -> dict[str, Any]:
    return {"at": format_time(), "what": what, "text": text, "by": None, "via": None} | changes


def a_silence(**changes: Any) -> dict[str, Any]:
    return {
        "number": 1,
        "silence_id": "0f3c",
        "matchers": [{"name": "alertname", "value": "DiskFull"}],
        "by": "ana",
        "comment": "disk is ordered",
        "until": format_time(3600),
        "until_resolved": False,
        "ended_at": None,
    } | changes


def a_step(name: str, state: str, **changes: Any) -> dict[str, Any]:
    return {"step": name, "responder": name, "state": state, "due_at": None, "notified_at": None} | changes


def a_delivery(key: str, target: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": key,
        "target": target,
        "state": "delivered",
        "attempts": 1,
        "at": format_time(1),
        "retry_at": None,
        "reason": None,
        "detail": None,
        "simulated": False,
        "link": None,
        "note": None,
    } | changes
