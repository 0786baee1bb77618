"""Rendering of PagerDuty events: cleaned and truncated text, custom details, payload and links.

https://developer.pagerduty.com/docs/events-api-v2-overview
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from receiver.clock import format_iso_time
from receiver.engine.notification import IncidentNotification, Notification
from receiver.links import parse_link, spell_out_links
from receiver.model.actions import AcknowledgePage, Page, ResolvePage
from receiver.model.alert import Alert, Severity
from receiver.model.alert_links import RUNBOOK, list_alert_links, name_source
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import FALLBACK, MESSAGE
from receiver.model.delivery_status import find_channel_failure, message_target
from receiver.model.heading import IncidentHeading, find_heading, format_more
from receiver.model.incident import Incident, find_most_severe
from receiver.model.labels import select_unstated
from receiver.passages import cut_text
from receiver.runbooks.model import render_plain
from receiver.storms.model import StormNotification, StormSummary
from receiver.text import one_line, replace_surrogates

MAX_NAME = 200
MAX_VALUE = 4_000
MAX_LINK = 4_000


def sanitize_line(text: str, limit: int) -> str:
    """Return *text* on one line without control characters, in at most *limit* characters."""
    return one_line(replace_surrogates(text[: 4 * limit]), limit)


def sanitize_text(text: str, limit: int) -> str:
    """Return *text* without control characters, its lines kept, in at most *limit* characters.

    A code fence is cut by whole lines and closed.
    """
    return cut_text(replace_surrogates(text[: 4 * limit]), limit)


def sanitize_map(values: Mapping[str, str]) -> dict[str, str]:
    """Return labels or annotations, each truncated; entries without a name are dropped."""
    sanitized = (
        (sanitize_line(name, MAX_NAME), sanitize_text(value, MAX_VALUE)) for name, value in values.items()
    )
    return {name: value for name, value in sanitized if name}


def sanitize_link(url: str, instead: str = "") -> str:
    """Return *url* in ASCII, or *instead* where it is longer than `MAX_LINK`; empty when it is no link."""
    link = parse_link(url, is_address=True)
    return link if len(link) <= MAX_LINK else sanitize_link(instead)


def find_host(url: str) -> str:
    """Return the host of *url*; empty when it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # brackets that hold no IPv6 address
        return ""


Json = dict[str, Any]
MAX_RUNBOOK = 20_000  # so that the runbook never displaces the alerts
_NOTE = "Too long for PagerDuty: {} left out."


def json_size(value: object) -> int:
    """Return the size of *value* in a request in bytes: JSON as requests writes it, escaped to ASCII."""
    return len(json.dumps(value, allow_nan=False))


def render_details(notification: IncidentNotification, room: int) -> Json:
    """Return the page's custom details in at most *room* bytes of JSON; only a note if nothing else fits."""
    head = _render_head(notification)
    alerts = [_render_alert(notification.incident, alert) for alert in notification.incident.firing_alerts]
    runbook = sanitize_text(render_plain(notification.excerpt), MAX_RUNBOOK) if notification.excerpt else ""
    for details in _candidates(head, alerts, runbook, room):
        if json_size(details) <= room:
            return details
    return {"note": _NOTE.format("all details")}


def _candidates(head: Json, alerts: Sequence[Json], runbook: str, room: int) -> Iterator[Json]:
    """Yield the details, each version shorter than the one before."""
    runbook_field = {"runbook": runbook} if runbook else {}
    yield head | ({"alerts": alerts} if alerts else {}) | runbook_field
    omitted = ("annotations", "links")
    bare = [{name: value for name, value in alert.items() if name not in omitted} for alert in alerts]
    yield head | {"alerts": bare, "note": _NOTE.format("annotations")} | runbook_field
    rest = head | {"alerts": [], "alerts_left_out": len(bare), "note": _NOTE.format("annotations and alerts")}
    fitting = _select_fitting(bare, room - json_size(rest | runbook_field))
    yield rest | {"alerts": fitting, "alerts_left_out": len(bare) - len(fitting)} | runbook_field
    yield rest | {"note": _NOTE.format("annotations, alerts and runbook")}


def _select_fitting(alerts: Sequence[Json], room: int) -> list[Json]:
    """Return the alerts that fit, in order; an alert that is too large is skipped."""
    fitting = []
    for alert in alerts:
        size = json_size(alert) + len(", ")
        if size <= room:
            fitting.append(alert)
            room -= size
    return fitting


def _render_head(notification: IncidentNotification) -> Json:
    incident = notification.incident
    head: Json = {
        "firing": incident.firing,
        "total": incident.total,
        "incident": incident.id,
        "escalation": _render_step(notification),
        "slack": _render_slack(incident),
        "group_labels": sanitize_map(select_unstated(incident.group_labels, incident.severity)),
        "truncated": incident.truncated or "",
    }
    return {name: value for name, value in head.items() if value not in ("", {})}


def _render_step(notification: IncidentNotification) -> str:
    """Return the escalation step of the page: `Team Lead, step 2 of 3`."""
    if not isinstance(notification.action, Page):
        return ""
    step = notification.action.step
    names = [step_state.step.name for step_state in notification.escalation.steps]
    title = sanitize_line(step.responder.title, MAX_NAME)
    if step.name not in names:  # removed from the policy meanwhile
        return title
    return f"{title}, step {names.index(step.name) + 1} of {len(names)}"


def _render_slack(incident: Incident) -> str:
    """Return why the Slack message is missing or elsewhere, for the responder; empty when it is in place."""
    message, loss = incident.message, find_channel_failure(incident)
    if message is not None and message is incident.deliveries.get(FALLBACK):
        reason = message.instance or (loss.reason if loss is not None else "")
        place = sanitize_line(message_target(incident, message).address, MAX_NAME)
        channel = sanitize_line(incident.channel, MAX_NAME)
        return f"Slack could not be reached in {channel}: {reason}; see {place}"
    if loss is not None:
        return f"Slack could not be reached: {sanitize_line(loss.reason, MAX_NAME)}"
    pending = incident.deliveries.get(MESSAGE, Delivery())
    if message is not None or not pending.attempts:
        return ""
    return f"Slack could not be reached yet: {sanitize_line(pending.reason, MAX_NAME) or 'no answer'}"


def _render_alert(incident: Incident, alert: Alert) -> Json:
    alert_state = incident.alert_states[alert.fingerprint]
    rendered: Json = {
        "name": sanitize_line(alert.title, MAX_NAME),
        "since": format_iso_time(alert_state.starts_at),
        "labels": sanitize_map(select_unstated(alert.labels, alert_state.severity)),
        "annotations": sanitize_map(
            {name: spell_out_links(text) for name, text in sorted(alert.named_annotations.items())}
        ),
        "links": {one.name: url for one in list_alert_links(alert) if (url := sanitize_link(one.url))},
    }
    return {name: value for name, value in rendered.items() if value}


# PagerDuty refuses a payload above 512 KB, in decimal kilobytes.
MAX_EVENT = 512_000
MAX_SUMMARY = 1_024
_MAX_FIELD = 255
_MAX_LINKS = 20
_ROOM_FOR_ROUTING_KEY = 200  # added on sending: 32 characters and the field name
# NONE: the alert has no severity. Alertmanager's own PagerDuty integration sends `error` then.
SEVERITIES = {**{severity: severity.value for severity in Severity}, Severity.NONE: "error"}


def render_event(notification: Notification) -> Json:
    """Return the event for a Page, an AcknowledgePage or a ResolvePage, at most 512,000 bytes of JSON.

    It has no routing key. The page of a storm counts all incidents of a batch.
    """
    action = notification.action
    match action:
        case Page(dedup_key=dedup_key) if isinstance(notification, StormNotification):
            return _render_storm_trigger(notification, dedup_key)
        case Page(dedup_key=dedup_key) if isinstance(notification, IncidentNotification):
            return _render_trigger(notification, dedup_key)
        case AcknowledgePage(dedup_key=dedup_key):
            return {"event_action": "acknowledge", "dedup_key": dedup_key}
        case ResolvePage(dedup_key=dedup_key):
            return {"event_action": "resolve", "dedup_key": dedup_key}
    raise TypeError(f"{type(action).__name__} is nothing PagerDuty can do")


def render_minimal(event: Mapping[str, Any]) -> Json:
    """Return the trigger event with its required fields only, for when *event* was refused."""
    payload = event["payload"]
    required = {name: payload[name] for name in ("summary", "source", "severity")}
    return {"event_action": "trigger", "dedup_key": event["dedup_key"], "payload": required}


def render_summary(incident: Incident) -> str:
    """Return the page's title: one alert, and the number of others: `[CRITICAL] DiskFull: / is full (+1)`."""
    heading = find_heading(incident)
    head = sanitize_line(heading.name, MAX_NAME) or "Alert without a name"
    if incident.severity is not Severity.NONE:
        head = f"[{incident.severity.upper()}] {head}"
    count = format_more(incident.firing - 1)
    if incident.truncated:
        count += f", {incident.total - incident.truncated} of {incident.total} sent"
    summary = sanitize_line(heading.summary, MAX_SUMMARY - len(head) - len(": ") - len(count))
    return f"{head}: {summary}{count}" if summary else head + count


def _render_trigger(notification: IncidentNotification, dedup_key: str) -> Json:
    payload: Json = {**_render_payload(notification.incident), "custom_details": {}}
    event: Json = {
        "event_action": "trigger",
        "dedup_key": dedup_key,
        "payload": payload,
        "client": "receiver",
        "client_url": sanitize_link(notification.links.incident),
        "links": _render_links(notification),
    }
    event = {name: value for name, value in event.items() if value}
    room = MAX_EVENT - _ROOM_FOR_ROUTING_KEY - json_size(event)
    payload["custom_details"] = render_details(notification, room)
    return event


def _render_payload(incident: Incident) -> Json:
    first, heading = find_most_severe(incident), find_heading(incident)
    labels = first.labels if first else incident.group_labels
    starts = [s.starts_at for s in incident.alert_states.values() if s.is_firing and s.starts_at > 0]
    payload = {
        "summary": render_summary(incident),
        "source": _find_source(incident, heading),
        "severity": SEVERITIES[incident.severity],
        "timestamp": format_iso_time(min([incident.opened_at, *starts])),
        "component": sanitize_line(labels.get("service") or labels.get("job") or "", _MAX_FIELD),
        "group": sanitize_line(incident.route, _MAX_FIELD),
        "class": sanitize_line(heading.name, _MAX_FIELD),
    }
    return {name: value for name, value in payload.items() if value}


def _find_source(incident: Incident, heading: IncidentHeading) -> str:
    """Return the affected host: that of the alert in the title, else that of its Alertmanager."""
    if host := sanitize_line(heading.host, _MAX_FIELD):
        return host
    return sanitize_line(find_host(sanitize_link(incident.external_url)), _MAX_FIELD) or "alertmanager"


def _render_links(notification: IncidentNotification) -> list[dict[str, str]]:
    """Return the links, each address once: those of the incident, then those of its alerts, worst first.

    Of an address that is too long for PagerDuty, our incident page is linked, which has it.
    """
    links, excerpt = notification.links, notification.excerpt
    labelled = [
        ("Slack message", links.message),
        ("Incident", links.incident),
        (RUNBOOK, excerpt.url if excerpt else ""),
        (name_source(links.source), links.source),
        ("Silence in Alertmanager", links.silence),
        *links.more,
    ]
    alerts = notification.incident.firing_alerts[:_MAX_LINKS]
    labelled += [(one.name, one.url) for alert in alerts for one in list_alert_links(alert)]
    rendered: dict[str, dict[str, str]] = {}
    for label, url in labelled:
        href = sanitize_link(url, links.incident)
        text = sanitize_line(label, MAX_NAME) or href[:MAX_NAME]
        if href and url not in rendered:
            rendered[url] = {"href": href, "text": text}
    return list(rendered.values())[:_MAX_LINKS]


_MAX_NAMES_IN_TITLE = 3
_MAX_NAMES = 50
_MAX_CHANNELS = 3


def render_storm_summary(summary: StormSummary) -> str:
    """Return the page's title: `37 incidents in #alerts-critical: 20 HighCPU, 12 DiskFull, 5 others`."""
    number = "1 incident" if summary.total == 1 else f"{summary.total} incidents"
    channels = [sanitize_line(name, MAX_NAME) for name in summary.channels[:_MAX_CHANNELS]]
    where = f" in {', '.join(channels)}" if channels else ""
    more = "" if len(summary.channels) <= _MAX_CHANNELS else " and others"
    rendered = [f"{number} {_alert_name(name)}" for name, number in summary.names[:_MAX_NAMES_IN_TITLE]]
    rest = sum(number for _, number in summary.names[_MAX_NAMES_IN_TITLE:])
    rendered += [f"{rest} other{'s' if rest > 1 else ''}"] if rest else []
    return sanitize_line(f"{number}{where}{more}: {', '.join(rendered)}", MAX_SUMMARY)


def _render_storm_trigger(notification: StormNotification, dedup_key: str) -> Json:
    storm, summary = notification.storm, notification.summary
    payload = {
        "summary": render_storm_summary(summary),
        "source": "receiver",
        "severity": SEVERITIES[summary.severity],
        "timestamp": format_iso_time(storm.began_at),
        "class": "storm",
        "custom_details": {
            "incidents": summary.total,
            "by_alertname": {_alert_name(name): number for name, number in summary.names[:_MAX_NAMES]},
            "by_severity": {str(severity): number for severity, number in summary.severities},
            "note": "Acknowledging or resolving this does so to all incidents it counts.",
        },
    }
    base = sanitize_link(notification.public_url)
    client = {"client_url": f"{base.rstrip('/')}/storms/{storm.id}"} if base else {}
    event = {"event_action": "trigger", "dedup_key": dedup_key, "payload": payload}
    return {**event, "client": "receiver", **client}


def _alert_name(name: str) -> str:
    return sanitize_line(name, MAX_NAME) or "alert without a name"
