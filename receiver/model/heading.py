"""The heading of an incident: name, summary and host of its representative alert.

Computed from the firing alerts at rendering. Where the alerts are not loaded, as in lists, the name and
summary stored with the incident are used; `merge` and the workers keep those up to date.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from receiver.links import spell_out_links
from receiver.model.alert import Alert
from receiver.model.incident import Incident, IncidentChange
from receiver.model.labels import find_source
from receiver.passages import split_passages
from receiver.text import one_line

MAX_SUMMARY = 300


class IncidentHeading(Struct, frozen=True):
    """Name, summary and host of one alert."""

    name: str
    summary: str
    more: int = 0  # the number of other pairs of name and summary
    host: str = ""  # empty where the alert names none or is not loaded
    more_names: int = 0  # the number of other names

    @property
    def counted_name(self) -> str:
        return format_counted(self.name, self.more_names)

    @property
    def counted_summary(self) -> str:
        return format_counted(self.summary, self.more)


def format_counted(text: str, more: int) -> str:
    """Return *text* with the number of others: `db-1 (+4)`."""
    return f"{text}{format_more(more)}" if text else ""


def format_more(more: int) -> str:
    """Return ` (+4)`, the common form of a number of others; empty for none."""
    return f" (+{more})" if more > 0 else ""


def find_heading(incident: Incident) -> IncidentHeading:
    """Return the heading of *incident* now; once nothing fires, the stored one of the last firing alert."""
    firing = incident.firing_alerts
    if firing:
        return build_heading(firing, incident.group_labels)
    states = incident.alert_states
    names = {
        alert.title
        for fingerprint, alert in incident.alerts.items()
        if fingerprint in states and not states[fingerprint].is_dismissed
    } - {incident.alertname, ""}
    return IncidentHeading(incident.alertname, incident.summary, incident.more, more_names=len(names))


def build_heading(alerts: Sequence[Alert], group_labels: dict[str, str]) -> IncidentHeading:
    """Return the heading of *alerts*, of which the first represents the others."""
    first = alerts[0]
    said = {(one.title, one.summary) for one in alerts} if len(alerts) > 1 else set()
    names = {name for name, _ in said if name} - {first.title}
    return IncidentHeading(
        name=get_alert_name(first, group_labels),
        summary=summarize_alert(first),
        more=max(0, len(said) - 1),
        host=find_source(first.labels),
        more_names=len(names),
    )


def get_alert_name(alert: Alert, group_labels: dict[str, str]) -> str:
    return alert.title or group_labels.get("alertname", "")


def summarize_alert(alert: Alert) -> str:
    """Return the summary of *alert* on one line; code fences are left out where there is prose."""
    text = alert.summary
    if "```" in text or "~~~" in text:
        text = " ".join(passage.text for passage in split_passages(text) if not passage.is_fence) or text
    return one_line(spell_out_links(text), MAX_SUMMARY)


def find_description(alert: Alert) -> str:
    """Return the description or message annotation, unless the summary says all of it.

    Where the rule could not be evaluated, return the error instead.
    """
    if alert.fault:
        return alert.error if one_line(alert.error, MAX_SUMMARY) not in alert.summary else ""
    for key in ("description", "message"):
        text = alert.annotations.get(key, "").strip()
        if text and text != alert.summary:
            return text
        if text and one_line(spelled := spell_out_links(text), len(spelled)) != summarize_alert(alert):
            return text
    return ""


def update_heading(incident: Incident, heading: IncidentHeading, revision: int) -> IncidentChange:
    """Return *incident* with *heading*, which was computed from its alerts at *revision*.

    An incident that changed since is returned unchanged: its heading will be computed again.
    """
    titled = replace(incident, alertname=heading.name, summary=heading.summary, more=heading.more)
    if incident.revision != revision or titled == incident:
        return IncidentChange(incident)
    return IncidentChange(titled, is_changed=True)
