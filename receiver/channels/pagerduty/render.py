"""Notifications as events of PagerDuty's Events API v2, without the routing key.

https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from receiver.channels.pagerduty.details import Json, json_size, render_details
from receiver.channels.pagerduty.tidy import (
    MAX_NAME,
    find_host,
    format_iso_time,
    sanitize_line,
    sanitize_link,
)
from receiver.engine.notification import Notification
from receiver.model.actions import AcknowledgePage, Action, Page, ResolvePage
from receiver.model.alert import Severity
from receiver.model.heading import IncidentHeading, find_heading, format_more
from receiver.model.incident import Incident, find_most_severe

# The payload is refused above 512 KB; PagerDuty counts decimal kilobytes.
MAX_EVENT = 512_000
MAX_SUMMARY = 1_024
_MAX_FIELD = 255
_MAX_LINKS = 20
_ROOM_FOR_ROUTING_KEY = 200  # it is added on sending; 32 characters and its name

# NONE is an alert that doesn't say: Alertmanager's own PagerDuty integration calls that an error.
SEVERITIES = {
    Severity.CRITICAL: "critical",
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.INFO: "info",
    Severity.NONE: "error",
}


def render_event(notification: Notification) -> Json:
    """Return the event for a Page, an AcknowledgePage or a ResolvePage, at most 512,000 bytes of JSON.

    Raises TypeError for any other action.
    """
    return render_action(notification.action, lambda key: _render_trigger(notification, key))


def render_action(action: Action, render_trigger: Callable[[str], Json]) -> Json:
    """Return the event for *action*; what a page says is *render_trigger*'s, given the dedup key."""
    match action:
        case Page(dedup_key=dedup_key):
            return render_trigger(dedup_key)
        case AcknowledgePage(dedup_key=dedup_key):
            return {"event_action": "acknowledge", "dedup_key": dedup_key}
        case ResolvePage(dedup_key=dedup_key):
            return {"event_action": "resolve", "dedup_key": dedup_key}
        case _:
            raise TypeError(f"{type(action).__name__} is nothing PagerDuty can do")


def render_minimal(event: Mapping[str, Any]) -> Json:
    """Return a trigger event with nothing in it that need not be, for when *event* was refused."""
    payload = event["payload"]
    return {
        "event_action": event["event_action"],
        "dedup_key": event["dedup_key"],
        "payload": {name: payload[name] for name in ("summary", "source", "severity")},
    }


def render_summary(incident: Incident) -> str:
    """Return the page's title, never empty: `[CRITICAL] DiskFull: / on db-1 is at 97 % (+1)`.

    It is that of one alert; the others that fire are counted.
    """
    heading = find_heading(incident)
    head = sanitize_line(heading.name, MAX_NAME) or "Alert without a name"
    if incident.severity is not Severity.NONE:
        head = f"[{incident.severity.upper()}] {head}"
    count = format_more(incident.firing - 1)
    if incident.truncated:
        count += f", {incident.total - incident.truncated} of {incident.total} sent"
    summary = sanitize_line(heading.summary, MAX_SUMMARY - len(head) - len(": ") - len(count))
    return f"{head}: {summary}{count}" if summary else head + count


def _render_trigger(notification: Notification, dedup_key: str) -> Json:
    event: Json = {
        "event_action": "trigger",
        "dedup_key": dedup_key,
        "payload": _render_payload(notification.incident),
        "client": "receiver",
    }
    if client_url := sanitize_link(notification.links.incident):
        event["client_url"] = client_url
    if links := _render_links(notification):
        event["links"] = links
    event["payload"]["custom_details"] = {}
    room = MAX_EVENT - _ROOM_FOR_ROUTING_KEY - json_size(event)
    event["payload"]["custom_details"] = render_details(notification, room)
    return event


def _render_payload(incident: Incident) -> Json:
    first, heading = find_most_severe(incident), find_heading(incident)
    labels = first.labels if first else incident.group_labels
    payload = {
        "summary": render_summary(incident),
        "source": _find_source(incident, heading),
        "severity": SEVERITIES[incident.severity],
        "timestamp": _find_start(incident),
        "component": sanitize_line(labels.get("service") or labels.get("job") or "", _MAX_FIELD),
        "group": sanitize_line(incident.route, _MAX_FIELD),
        "class": sanitize_line(heading.name, _MAX_FIELD),
    }
    return {name: value for name, value in payload.items() if value}


def _find_source(incident: Incident, heading: IncidentHeading) -> str:
    """Return what is affected: the host of the alert that is named, else that of its Alertmanager."""
    if host := sanitize_line(heading.host, _MAX_FIELD):
        return host
    return sanitize_line(find_host(sanitize_link(incident.external_url)), _MAX_FIELD) or "alertmanager"


def _find_start(incident: Incident) -> str:
    """Return when the trouble began: the earliest start of what fires, else when the incident opened."""
    starts = [s.starts_at for s in incident.alert_states.values() if s.is_firing and s.starts_at > 0]
    return format_iso_time(min([incident.opened_at, *starts])) or format_iso_time(incident.opened_at)


def _render_links(notification: Notification) -> list[dict[str, str]]:
    links, excerpt = notification.links, notification.excerpt
    labelled = (
        ("Slack message", links.message),
        ("Incident", links.incident),
        ("Runbook", excerpt.url if excerpt else ""),
        ("Prometheus", links.prometheus),
        ("Silence in Alertmanager", links.silence),
        *links.more,
    )
    sanitized = ((sanitize_line(label, MAX_NAME), sanitize_link(url)) for label, url in labelled[:_MAX_LINKS])
    return [{"href": url, "text": label or url[:MAX_NAME]} for label, url in sanitized if url]
