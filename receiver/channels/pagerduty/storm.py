"""Storms by PagerDuty: one page that counts incidents, under a dedup key of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from receiver import clock
from receiver.channels.pagerduty.adapter import send_event
from receiver.channels.pagerduty.client import EventsClient
from receiver.channels.pagerduty.render import MAX_SUMMARY, SEVERITIES, render_action
from receiver.channels.pagerduty.tidy import MAX_NAME, format_iso_time, sanitize_line, sanitize_link
from receiver.model.delivery import Receipt
from receiver.storms.model import StormNotification, StormSummary

Json = dict[str, Any]
Record = Callable[[Mapping[str, object]], None]

_MAX_NAMES_IN_TITLE = 3
_MAX_NAMES = 50
_MAX_CHANNELS = 3


class PagerDutyStorms:
    """Pages, acknowledges and resolves for storms; without a routing key it is simulated."""

    def __init__(
        self,
        events_url: str,
        timeout_s: float = 8.0,
        clock: Callable[[], float] = clock.now,
        record: Record = lambda _: None,
    ) -> None:
        self._client = EventsClient(events_url, timeout_s)
        self._clock = clock
        self._record = record

    def send_storm(self, notification: StormNotification) -> Receipt:
        """Send the event once; the receipt's reference is the dedup key. Raises a DeliveryError."""
        event, target = render_storm_event(notification), notification.action.target
        if not target.secret:
            rendered = event.get("payload", {}).get("summary", event["event_action"])
            self._record(
                {
                    "at": notification.now,
                    "incident": "",
                    "storm": notification.storm.id,
                    "to": f"{target.kind}:{target.address}",
                    "key": notification.action.key,
                    "text": rendered,
                    "event": event,
                }
            )
            return Receipt(self._clock(), str(event["dedup_key"]), is_simulated=True)
        note = send_event(self._client, target.secret, event)
        return Receipt(self._clock(), str(event["dedup_key"]), note=note)

    def find_storm(self, notification: StormNotification, since: float) -> Receipt | None:  # noqa: ARG002  # the port's
        """Return None always: the dedup key makes sending again harmless."""
        return None


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
