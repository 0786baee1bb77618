"""The details of a page, in the room that is left for them.

An event that is too long is refused whole, so what helps least goes first: annotations, then
alerts (they are counted), then the runbook's words, then everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from receiver.channels.pagerduty.tidy import (
    MAX_NAME,
    format_iso_time,
    sanitize_line,
    sanitize_map,
    sanitize_text,
)
from receiver.engine.notification import Notification
from receiver.model.actions import Page
from receiver.model.alert import Alert
from receiver.model.delivery import Delivery
from receiver.model.delivery_status import FALLBACK, find_channel_failure, find_message, message_target
from receiver.model.incident import Incident, find_firing
from receiver.runbooks.model import render_plain

Json = dict[str, Any]

MAX_RUNBOOK = 20_000  # so that the runbook alone never costs the alerts their place
_NOTE = "Too long for PagerDuty: {} left out."


def json_size(value: object) -> int:
    """Return the bytes *value* takes in a request: JSON as requests writes it, escaped to ASCII."""
    return len(json.dumps(value, allow_nan=False))


def render_details(notification: Notification, room: int) -> Json:
    """Return the page's custom details in at most *room* bytes of JSON (a note when that is little)."""
    head = _render_head(notification)
    alerts = [_render_alert(notification.incident, alert) for alert in find_firing(notification.incident)]
    runbook = sanitize_text(render_plain(notification.excerpt), MAX_RUNBOOK) if notification.excerpt else ""
    for details in _candidates(head, alerts, runbook, room):
        if json_size(details) <= room:
            return details
    return {"note": _NOTE.format("all details")}


def _candidates(head: Json, alerts: Sequence[Json], runbook: str, room: int) -> Iterator[Json]:
    """Yield the details ever shorter."""
    runbook_field = {"runbook": runbook} if runbook else {}
    yield head | ({"alerts": alerts} if alerts else {}) | runbook_field
    bare = [{name: value for name, value in alert.items() if name != "annotations"} for alert in alerts]
    yield head | {"alerts": bare, "note": _NOTE.format("annotations")} | runbook_field
    rest = head | {"alerts": [], "alerts_left_out": len(bare), "note": _NOTE.format("annotations and alerts")}
    fitting = _select_fitting(bare, room - json_size(rest | runbook_field))
    yield rest | {"alerts": fitting, "alerts_left_out": len(bare) - len(fitting)} | runbook_field
    yield rest | {"note": _NOTE.format("annotations, alerts and runbook")}


def _select_fitting(alerts: Sequence[Json], room: int) -> list[Json]:
    """Return the alerts that fit, in order; one giant doesn't keep the others out."""
    fitting = []
    for alert in alerts:
        size = json_size(alert) + len(", ")
        if size <= room:
            fitting.append(alert)
            room -= size
    return fitting


def _render_head(notification: Notification) -> Json:
    incident = notification.incident
    head: Json = {
        "firing": incident.firing,
        "total": incident.total,
        "incident": incident.id,
        "escalation": _render_step(notification),
        "slack": _render_slack(incident),
        "group_labels": sanitize_map(incident.group_labels),
    }
    if incident.truncated:
        head["truncated"] = incident.truncated
    return {name: value for name, value in head.items() if value not in ("", {})}


def _render_step(notification: Notification) -> str:
    """Return where the escalation stands: `Team Lead, step 2 of 3`."""
    if not isinstance(notification.action, Page):
        return ""
    step = notification.action.step
    names = [step_state.step.name for step_state in notification.escalation.steps]
    title = sanitize_line(step.responder.title, MAX_NAME)
    if step.name not in names:  # taken out of the policy meanwhile
        return title
    return f"{title}, step {names.index(step.name) + 1} of {len(names)}"


def _render_slack(incident: Incident) -> str:
    """Return what of Slack is out of order, for whoever looks for the message; empty when all is well."""
    message, loss = find_message(incident), find_channel_failure(incident)
    if message is not None and message is incident.deliveries.get(FALLBACK):
        reason = message.instance or (loss.reason if loss is not None else "")
        place = sanitize_line(message_target(incident, message).address, MAX_NAME)
        return (
            f"Slack could not be told in {sanitize_line(incident.channel, MAX_NAME)}: {reason}; see {place}"
        )
    if loss is not None:
        return f"Slack could not be told: {sanitize_line(loss.reason, MAX_NAME)}"
    root = incident.deliveries.get("root", Delivery())
    if message is not None or not root.attempts:
        return ""
    return f"Slack could not be told yet: {sanitize_line(root.reason, MAX_NAME) or 'no answer'}"


def _render_alert(incident: Incident, alert: Alert) -> Json:
    rendered: Json = {
        "name": sanitize_line(alert.name, MAX_NAME),
        "since": format_iso_time(incident.alert_states[alert.fingerprint].starts_at),
        "labels": sanitize_map(alert.labels),
        "annotations": sanitize_map(alert.annotations),
    }
    return {name: value for name, value in rendered.items() if value}
