"""Rendering of the PagerDuty events of storms: one page counts all incidents of a batch. Pure."""

from __future__ import annotations

from typing import Any

from receiver.integrations.pagerduty.event import (
    MAX_NAME,
    MAX_SUMMARY,
    SEVERITIES,
    format_iso_time,
    render_action,
    sanitize_line,
    sanitize_link,
)
from receiver.storms.model import StormNotification, StormSummary

Json = dict[str, Any]
_MAX_NAMES_IN_TITLE = 3
_MAX_NAMES = 50
_MAX_CHANNELS = 3


def render_storm_event(notification: StormNotification) -> Json:
    """Return the event for a Page, an AcknowledgePage or a ResolvePage; TypeError for anything else."""
    return render_action(notification.action, lambda key: _render_trigger(notification, key))


def render_storm_summary(summary: StormSummary) -> str:
    """Return the page's title: `37 incidents in #alerts-critical: 20 HighCPU, 12 DiskFull, 5 others`."""
    number = "1 incident" if summary.total == 1 else f"{summary.total} incidents"
    channels = [sanitize_line(name, MAX_NAME) for name in summary.channels[:_MAX_CHANNELS]]
    where = f" in {', '.join(channels)}" if channels else ""
    more = "" if len(summary.channels) <= _MAX_CHANNELS else " and others"
    rendered = [f"{number} {_name(name)}" for name, number in summary.names[:_MAX_NAMES_IN_TITLE]]
    rest = sum(number for _, number in summary.names[_MAX_NAMES_IN_TITLE:])
    rendered += [f"{rest} other{'s' if rest > 1 else ''}"] if rest else []
    return sanitize_line(f"{number}{where}{more}: {', '.join(rendered)}", MAX_SUMMARY)


def _render_trigger(notification: StormNotification, dedup_key: str) -> Json:
    storm, summary = notification.storm, notification.summary
    event: Json = {
        "event_action": "trigger",
        "dedup_key": dedup_key,
        "payload": {
            "summary": render_storm_summary(summary),
            "source": "receiver",
            "severity": SEVERITIES[summary.severity],
            "timestamp": format_iso_time(storm.began_at),
            "class": "storm",
            "custom_details": {
                "incidents": summary.total,
                "by_alertname": {_name(name): number for name, number in summary.names[:_MAX_NAMES]},
                "by_severity": {str(severity): number for severity, number in summary.severities},
                "note": "Acknowledging or resolving this does so to all incidents it counts.",
            },
        },
        "client": "receiver",
    }
    base = sanitize_link(notification.public_url)
    if base:
        event["client_url"] = f"{base.rstrip('/')}/storms/{storm.id}"
    return event


def _name(name: str) -> str:
    return sanitize_line(name, MAX_NAME) or "alert without a name"
