"""Format incidents and storms as text for the terminal. Pure: time and time zone are parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo

from receiver.cli.terminal import align_rows, render_fields, render_since, render_timestamp, render_until
from receiver.clock import format_duration
from receiver.http_client import parse_timestamp
from receiver.links import spell_out_links
from receiver.model.alert import Alert
from receiver.model.alert_links import find_unusable_runbook
from receiver.model.heading import find_description, summarize_alert
from receiver.model.labels import select_unstated, sort_labels
from receiver.model.routing import Responder
from receiver.passages import cut_text
from receiver.text import one_line
from receiver.web.api import responses

MAX_LINE = 300
_MAX_DESCRIPTION = 1500
# `--json` contains the whole list; the terminal shows an overview.
MAX_ALERTS = 20


def format_state(row: responses.IncidentRow, now: float) -> str:
    """Return `open, next: Team Lead in 3m 12s`, `acknowledged by alice` or `resolved`."""
    if row.state == "acknowledged" and row.acknowledged_by:
        return f"acknowledged by {one_line(row.acknowledged_by, 60)}"
    upcoming = format_next_step(row, now)
    return f"{row.state}, {upcoming}" if upcoming and row.state == "open" else row.state


def format_storm(storm: Mapping[str, object]) -> str:
    """Return `Storm of #alerts-critical: 97 incidents, 90 open (storm-…)` in one line."""
    place = one_line(str(storm.get("target_key", "")).partition(":")[2], 80)
    counts = f"{storm.get('total')} incidents, {storm.get('open')} open"
    over = "" if storm.get("ended_at") is None else ", over"
    return one_line(f"Storm of {place}: {counts}{over} ({storm.get('id')})", MAX_LINE)


def format_next_step(row: responses.IncidentRow, now: float) -> str:
    """Return `next: Team Lead in 3m 12s` or `next: Team Lead (paused)`, empty if there is no further step."""
    if not row.next_step:
        return ""
    when = _format_when(row.next_step_at, now) if row.next_step_at is not None else "(paused)"
    return f"next: {format_step(row.next_step)} {when}"


def format_step(name: str) -> str:
    """Return a step's name for display: `team-lead#2` is `Team Lead (again)`."""
    responder, again, _ = one_line(name, 80).partition("#")
    return Responder(responder, ()).title + (" (again)" if again else "")


def render_incident(incident: responses.IncidentDetail, now: float, zone: tzinfo | None = None) -> str:
    """Return the incident's details as paragraphs."""
    title = f"{one_line(incident.alertname, 100)} ({incident.severity}) {format_state(incident, now)}"
    paragraphs = [
        "\n".join(line for line in (title, one_line(incident.summary, MAX_LINE)) if line),
        render_fields(list(_list_facts(incident, now, zone)), "  "),
        _titled(f"Alerts: {format_firing(incident)} firing", _alert_lines(incident.alerts, zone)),
        _titled(
            f"Escalation {one_line(incident.escalation.policy or '', 60)}",
            align_rows(_step_cells(step, now, zone) for step in incident.escalation.steps),
        ),
        _titled("Links", [f"{one_line(link.name, 60)}: {link.url}" for link in incident.links]),
        _titled("Silences", align_rows(_silence_cells(each, now, zone) for each in incident.silences)),
        _titled("Deliveries", align_rows(_delivery_cells(each, now, zone) for each in incident.deliveries)),
        _titled("Timeline", align_rows(_event_cells(incident, zone))),
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def format_firing(row: responses.IncidentRow) -> str:
    """Return how many alerts fire: `2`, or `2 of 3`."""
    return str(row.firing) if row.firing == row.total else f"{row.firing} of {row.total}"


def _format_when(text: str | None, now: float) -> str:
    timestamp = parse_timestamp(text)
    if not timestamp:
        return ""
    return f"in {format_duration(timestamp - now)}" if timestamp - now >= 0.5 else "now"


def _list_facts(
    incident: responses.IncidentDetail, now: float, zone: tzinfo | None
) -> Iterator[tuple[str, str]]:
    yield "id", incident.id
    yield "opened", render_since(incident.opened_at, now, zone)
    acknowledged = render_since(incident.acknowledged_at, now, zone)
    yield "acknowledged", _format_by(acknowledged, incident.acknowledged_by)
    yield "snoozed", _format_until(incident.snoozed_until, now, zone)
    yield "held", _format_suppression(incident, now, zone)
    yield "resolved", _format_by(render_since(incident.resolved_at, now, zone), incident.resolved_by)
    yield "channel", one_line(incident.channel, 100)
    yield "route", one_line(incident.route, MAX_LINE) if incident.route != incident.channel else ""
    yield "receiver", one_line(incident.receiver, 100)
    yield "group", _render_labels(sort_labels(incident.group_labels))


def _format_by(text: str, name: str | None) -> str:
    return f"{text} by {one_line(name, 60)}" if text and name else text


def _format_until(text: str | None, now: float, zone: tzinfo | None) -> str:
    """Return `until 2026-11-23 13:03:00, tomorrow (in 12h)`, empty if it does not end."""
    timestamp = parse_timestamp(text)
    left = _format_when(text, now) if timestamp > now else "over"
    return f"until {render_until(text, now, zone)} ({left})" if timestamp else ""


def _format_suppression(incident: responses.IncidentDetail, now: float, zone: tzinfo | None) -> str:
    """Return why escalation is suppressed: `silenced by bob until 2026-11-23 13:03:00 (in 12m)`."""
    if incident.suppressed is None:
        return ""
    suppression = _format_by(one_line(incident.suppressed.reason or "muted", 40), incident.suppressed.by)
    return " ".join(filter(None, (suppression, _format_until(incident.suppressed.until, now, zone))))


def _render_labels(labels: dict[str, str]) -> str:
    return one_line(", ".join(f"{name}={value}" for name, value in labels.items()), MAX_LINE)


def _to_alert(row: responses.AlertRow) -> Alert:
    ends_at = 0.0 if row.status == "firing" else math.inf
    return Alert(row.fingerprint, row.labels, row.annotations, 0.0, ends_at)


def _alert_lines(alerts: Sequence[responses.AlertRow], zone: tzinfo | None) -> Iterator[str]:
    has_names = len({_to_alert(row).title for row in alerts}) > 1
    for alert in sorted(alerts, key=lambda each: each.status != "firing")[:MAX_ALERTS]:
        timestamp = alert.starts_at if alert.status == "firing" else alert.ends_at
        since = f"{one_line(alert.status, 20)} since {render_timestamp(timestamp, zone)}"
        name = one_line(_to_alert(alert).title, 100) if has_names else ""
        labels = _render_labels(select_unstated(alert.labels, alert.severity))
        yield f"{since}  {', '.join(filter(None, (name, labels)))}"
        yield from _annotation_lines(_to_alert(alert))
        yield from (f"  {one_line(link.name, 60)}: {link.url}" for link in alert.links)
    if len(alerts) > MAX_ALERTS:
        yield f"and {len(alerts) - MAX_ALERTS} more; --json has them all"


def _annotation_lines(alert: Alert) -> Iterator[str]:
    """Yield the summary on a line, the lines of a description, code fences with their blanks, and values."""
    if summary := summarize_alert(alert):
        yield f"  {summary}"
    if description := spell_out_links(find_description(alert)):
        yield from (f"  {line}" for line in cut_text(description, _MAX_DESCRIPTION).split("\n"))
    if words := find_unusable_runbook(alert):  # the name of a runbook, or what no link can be made of
        yield f"  Runbook: {one_line(spell_out_links(words), MAX_LINE)}"
    if values := alert.annotations.get("values", "").strip():
        yield f"  {one_line(values, MAX_LINE)}"


_STEP_WORDS = {
    "later": "later",
    "notifying": "is being notified",
    "timed_out": "could not be reached",
    "unconfirmed": "PagerDuty accepted the page and has no incident for it",
}


def _step_cells(step: responses.StepRow, now: float, zone: tzinfo | None) -> tuple[str, ...]:
    if step.notified_at:
        text = f"notified {render_timestamp(step.notified_at, zone)}"
        if step.state == "unconfirmed":
            text = f"{text}; {_STEP_WORDS[step.state]}"
    elif step.state == "waiting":
        text = f"due {_format_when(step.due_at, now)}"
    else:
        text = _STEP_WORDS.get(step.state, step.state)
    return (format_step(step.step), text)


def _delivery_cells(delivery: responses.DeliveryRow, now: float, zone: tzinfo | None) -> tuple[str, ...]:
    text = str(delivery.state)
    if delivery.reason:
        text += f" ({': '.join(filter(None, (delivery.reason, delivery.detail)))})"
    if delivery.state == "pending" and delivery.retry_at:
        text += f", tried again {_format_when(delivery.retry_at, now)}"
    elif delivery.state == "pending" and delivery.note:
        text += f", {one_line(delivery.note, 60)}"
    text = "simulated" if delivery.simulated else text
    tries = f"{delivery.attempts} attempts" if delivery.attempts > 1 else ""
    return (delivery.id, delivery.target, render_timestamp(delivery.at, zone), text, tries)


def _silence_cells(silence: responses.SilenceRow, now: float, zone: tzinfo | None) -> tuple[str, ...]:
    if silence.ended_at:
        text = f"expired {render_timestamp(silence.ended_at, zone)}"
    else:
        text = _format_until(silence.until, now, zone) or "until resolved"
        text += "" if silence.silence_id else ", not in Alertmanager yet"
    return (str(silence.number), text, _format_by("made", silence.by), one_line(silence.comment, MAX_LINE))


def _event_cells(incident: responses.IncidentDetail, zone: tzinfo | None) -> Iterator[tuple[str, ...]]:
    for event in incident.timeline:
        text = _format_by(one_line(event.text or event.what, MAX_LINE), event.by)
        # Where an action came from is left out where only that is known of the user.
        via = f" ({one_line(event.via, 40)})" if event.by and event.via not in (None, "", event.by) else ""
        yield (render_timestamp(event.at, zone), f"{text}{via}")


def _titled(title: str, lines: Iterator[str] | list[str]) -> str:
    """Return lines indented under their title; nothing if there are none."""
    indented = [f"  {line}" for line in lines]
    return "\n".join([one_line(title, MAX_LINE), *indented]) if indented else ""
