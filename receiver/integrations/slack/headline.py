"""The headline of an incident (severity, state, name, counts), and its history on one line."""

from __future__ import annotations

from collections.abc import Mapping

from receiver.clock import format_duration
from receiver.integrations.slack.blocks import MAX_HEADER
from receiver.integrations.slack.mrkdwn import MAX_BY, format_timestamp, render_person
from receiver.model.alert import Severity
from receiver.model.heading import IncidentHeading, format_more
from receiver.model.incident import Incident
from receiver.text import one_line

SEVERITY_MARKS: Mapping[Severity, str] = {
    Severity.CRITICAL: "🔴",
    Severity.ERROR: "🟠",
    Severity.WARNING: "🟡",
    Severity.INFO: "🔵",
    Severity.NONE: "⚪",
}


def format_severity(severity: Severity) -> str:
    return "NO SEVERITY" if severity is Severity.NONE else severity.value.upper()


def format_headline(incident: Incident, heading: IncidentHeading) -> str:
    """Return severity and state on one plain line, unescaped: `🔴 CRITICAL · DiskFull (+1) [2 firing / 3]`.

    If it is too long, only the name is truncated.
    """
    name = one_line(heading.name, MAX_HEADER)
    start, end = f"{_format_state(incident)} · ", _format_counts(incident)
    end = (format_more(heading.more_names) if name else "") + end
    name = name or heading.summary or "alert without a name"
    return start + one_line(name, MAX_HEADER - len(start) - len(end)) + end


def _format_state(incident: Incident) -> str:
    severity = format_severity(incident.severity)
    if incident.is_closed_by_hand:
        return f"✅ Resolved by {one_line(incident.resolved_by, MAX_BY)}"
    if incident.is_resolved:
        return "✅ Resolved"
    if incident.is_acknowledged:
        done = "Snoozed" if incident.snoozed_until else "Acknowledged"
        return f"👀 {done} by {one_line(incident.acknowledged_by, MAX_BY)} · {severity}"
    return f"{SEVERITY_MARKS[incident.severity]} {severity}"


def _format_counts(incident: Incident) -> str:
    """Return the alert counts if they add something to the state, and whether the incident is flapping."""
    firing, total = incident.firing, incident.total
    still = "still " if incident.is_resolved and firing else ""
    shown = total > 1 or bool(still)
    counts = f" [{firing} {still}firing / {total}]" if shown else ""
    if incident.truncated:
        counts = f" [{firing} {still}firing, {count_sent(incident)}]"
    return counts + (" · flapping" if incident.is_flapping and not incident.is_resolved else "")


def count_sent(incident: Incident) -> str:
    """Return how many alerts Alertmanager sent of a truncated group: `2 of 500 sent`."""
    return f"{incident.total - incident.truncated} of {incident.total} sent"


def format_history(incident: Incident, *, is_edit: bool = False) -> str:
    """Return when it opened, reopened, was acknowledged and resolved; in an edit, people are mentioned."""
    parts = [f"Opened {format_timestamp(incident.opened_at)}"]
    if incident.generation:
        times = "once" if incident.generation == 1 else f"{incident.generation} times"
        parts.append(f"reopened {times}, last {format_timestamp(incident.reopened_at)}")
    if incident.is_acknowledged:
        parts.append(format_acknowledged(incident, is_edit=is_edit))
    if incident.is_resolved:
        parts.append(f"{format_resolved(incident, is_edit=is_edit)}, after {format_time_open(incident)}")
    return " · ".join(parts)


def format_acknowledged(incident: Incident, *, is_edit: bool = False) -> str:
    """Return who acknowledged it and when, or who snoozed it and until when."""
    by = render_person(incident.acknowledged_by, incident.acknowledged_ref, is_edit=is_edit)
    if incident.snoozed_until:
        return f"snoozed by {by} until {format_timestamp(incident.snoozed_until)}"
    return f"acknowledged by {by} {format_timestamp(incident.acknowledged_at)}"


def format_resolved(incident: Incident, *, is_edit: bool = False) -> str:
    """Return when it was resolved, and by whom if it was resolved manually."""
    by = render_person(incident.resolved_by, incident.resolved_ref, is_edit=is_edit)
    return f"resolved{f' by {by}' if incident.resolved_by else ''} {format_timestamp(incident.resolved_at)}"


def format_time_open(incident: Incident) -> str:
    """Return how long it was open, counted from its last reopening."""
    return format_duration(incident.resolved_at - (incident.reopened_at or incident.opened_at))
