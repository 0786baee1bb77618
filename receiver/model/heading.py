"""What an incident is called: name, summary and host, all of the one alert that stands for the others.

Computed when something is rendered, from what fires then. Where the alerts are not loaded, as in lists, the
name and summary that are kept with the incident stand in; `merge` and a worker keep those up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from receiver.model.alert import Alert
from receiver.model.incident import Incident, IncidentChange, find_firing
from receiver.text import one_line

MAX_SUMMARY = 300


@dataclass(frozen=True)
class IncidentHeading:
    """The words of one alert, and how many other names, and other words altogether, there are.

    *host* is empty where the alert names none or is not loaded.
    """

    name: str
    summary: str
    more: int = 0
    host: str = ""
    more_names: int = 0

    @property
    def counted_name(self) -> str:
        return format_counted(self.name, self.more_names)

    @property
    def counted_summary(self) -> str:
        return format_counted(self.summary, self.more)


def format_counted(text: str, more: int) -> str:
    """Return *text* with the number of others that it stands for: `db-1 (+4)`."""
    return f"{text}{format_more(more)}" if text else ""


def format_more(more: int) -> str:
    """Return ` (+4)`, the one form in which the others are counted; empty for none."""
    return f" (+{more})" if more > 0 else ""


def find_heading(incident: Incident) -> IncidentHeading:
    """Return what *incident* is called now; what is over keeps the words of the alert that ended last."""
    firing = find_firing(incident)
    if firing:
        return build_heading(firing, incident.group_labels)
    names = {alert.name for alert in _list_shown(incident)} - {incident.alertname, ""}
    return IncidentHeading(incident.alertname, incident.summary, incident.more, more_names=len(names))


def build_heading(alerts: Sequence[Alert], group_labels: dict[str, str]) -> IncidentHeading:
    """Return the heading of *alerts*, of which the first stands for the others."""
    first = alerts[0]
    # Asked for all alerts of a group on each change of it, so the label is read without a call of `name`.
    said = {(one.labels.get("alertname", ""), one.summary) for one in alerts} if len(alerts) > 1 else set()
    names = {name for name, _ in said if name} - {first.name}
    return IncidentHeading(
        name=get_alert_name(first, group_labels),
        summary=summarize_alert(first),
        more=max(0, len(said) - 1),
        host=first.host,
        more_names=len(names),
    )


def get_alert_name(alert: Alert, group_labels: dict[str, str]) -> str:
    return alert.name or group_labels.get("alertname", "")


def summarize_alert(alert: Alert) -> str:
    return one_line(alert.summary, MAX_SUMMARY)


def update_heading(incident: Incident, heading: IncidentHeading, revision: int) -> IncidentChange:
    """Return *incident* with the words of *heading*, which was computed from its alerts at *revision*.

    An incident that changed since is left alone: its heading is computed anew.
    """
    titled = replace(incident, alertname=heading.name, summary=heading.summary, more=heading.more)
    if incident.revision != revision or titled == incident:
        return IncidentChange(incident)
    return IncidentChange(titled, is_changed=True)


def _list_shown(incident: Incident) -> list[Alert]:
    return [
        alert
        for name, alert in incident.alerts.items()
        if (alert_state := incident.alert_states.get(name)) is not None and not alert_state.is_dismissed
    ]
