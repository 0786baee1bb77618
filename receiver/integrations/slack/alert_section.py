"""The alerts in a message: sorted, in full or on one line each, labels that all share rendered only once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from receiver.integrations.slack import mrkdwn
from receiver.integrations.slack.blocks import MAX_SECTION, Block, BlockBudget, section
from receiver.integrations.slack.headline import SEVERITY_MARKS
from receiver.integrations.slack.mrkdwn import bold, code, escape_line, format_timestamp
from receiver.model.alert import Alert, Severity
from receiver.model.alert_links import RUNBOOK, NamedLink, list_alert_links
from receiver.model.heading import find_description, summarize_alert
from receiver.model.incident import AlertState, Incident
from receiver.model.labels import select_unstated
from receiver.text import format_count

_MAX_LABEL = 120


def _without_stated(
    labels: Mapping[str, str], severity: Severity, shared: Collection[str] = ()
) -> dict[str, str]:
    """Return the labels that the message does not state elsewhere, also not as *shared* ones."""
    return {key: value for key, value in select_unstated(labels, severity).items() if key not in shared}


def render_labels(labels: Mapping[str, str], limit: int) -> str:
    """Return labels as code spans on one line within *limit* characters, and the count of omitted ones."""
    text = ""
    for number, (key, value) in enumerate(labels.items()):
        rest = f" +{len(labels) - number} more"
        span = f"{' ' if text else ''}{code(f'{key}={value}', _MAX_LABEL)}"
        if len(text) + len(span) + len(rest) > limit:
            return (text + rest).lstrip()
        text += span
    return text


MAX_IN_FULL = 10
MAX_IN_SHORT = 10
_MAX_NAME = 120
_MAX_SUMMARY = 300
_MAX_DESCRIPTION = 500
_MAX_DESCRIPTIONS = 1500  # of all alerts, where they are few
_MAX_LABELS = 500
_MAX_LINKS = 1600
_MAX_VALUES = 300
INCIDENT = "Incident"
NAMELESS = "*alert without a name*"


@dataclass(frozen=True, slots=True)
class AlertView:
    """An alert and its state in the incident."""

    alert: Alert
    alert_state: AlertState


def sort_alerts(incident: Incident, fingerprints: Collection[str] | None = None) -> list[AlertView]:
    """Return the incident's alerts (or those in *fingerprints*): firing first, then by severity and age."""
    with_dismissed = fingerprints is not None or incident.is_resolved
    shown = [
        AlertView(alert, alert_state)
        for fingerprint, alert_state in incident.alert_states.items()
        if (fingerprints is None or fingerprint in fingerprints)
        and (with_dismissed or not alert_state.is_dismissed)
        and (alert := incident.alerts.get(fingerprint)) is not None
    ]
    return sorted(shown, key=_sort_key) if len(shown) > 1 else shown


def _sort_key(shown: AlertView) -> tuple[bool, int, float, list[tuple[str, str]]]:
    alert_state = shown.alert_state
    labels = sorted(shown.alert.labels.items())
    return (not alert_state.is_firing, -alert_state.severity.rank, alert_state.starts_at, labels)


def find_shared_labels(incident: Incident, alerts: Sequence[AlertView]) -> dict[str, str]:
    """Return the group's labels and the labels that all *alerts* share."""
    shared = dict(alerts[0].alert.labels) if alerts else {}
    for view in alerts[1:]:
        labels = view.alert.labels
        shared = {key: value for key, value in shared.items() if labels.get(key) == value}
    severity = alerts[-1].alert_state.severity if alerts else incident.severity
    return _without_stated({**incident.group_labels, **shared}, severity)


@dataclass(frozen=True, slots=True)
class SharedContent:
    """What the message says of all alerts: their common labels, the summary, the links, our page first."""

    labels: Collection[str]
    summary: str
    links: Sequence[NamedLink]


def render_alerts(
    incident: Incident, alerts: Sequence[AlertView], shared: SharedContent, budget: BlockBudget
) -> list[Block]:
    """Return the first alerts in full, as many as fit into *budget*, and a line that counts the others.

    They are shown without what is *shared*. A single alert has room for a longer description.
    """
    room = max(_MAX_DESCRIPTION, _MAX_DESCRIPTIONS // max(1, len(alerts)))
    if not budget.try_add_block(section(f"… and {count_rest(incident)} more")):
        return []
    blocks: list[Block] = []
    for shown in alerts[:MAX_IN_FULL]:
        block = section(_render_alert(shown, shared, room))
        if not budget.try_add_block(block):
            break
        blocks.append(block)
    rest = count_rest(incident, alerts[: len(blocks)])
    return [*blocks, section(rest)] if rest else blocks


def count_rest(incident: Incident, listed: Sequence[AlertView] = ()) -> str:
    """Return a line that counts the alerts not in *listed*; empty if there are none."""
    truncated = incident.truncated
    rest = incident.total - truncated - len(listed)
    firing = incident.firing - sum(shown.alert_state.is_firing for shown in listed)
    left_out = f"{truncated} more left out by Alertmanager" if truncated else ""
    if rest < 1:
        return f"… and {left_out}" if left_out else ""
    counted = f"… and {rest} more" if listed else format_count(rest, "alert")
    return ", ".join(filter(None, (f"{counted} ({firing} firing)", left_out)))


def _render_alert(shown: AlertView, shared: SharedContent, room: int) -> str:
    alert = shown.alert
    labels = _without_stated(alert.labels, shown.alert_state.severity, shared.labels)
    lines = [_render_head(shown), render_labels(labels, _MAX_LABELS)]
    if shown.alert_state.is_firing:
        summary = summarize_alert(alert)
        own = mrkdwn.render_passages(summary, _MAX_SUMMARY) if summary != shared.summary else ""
        lines += [own, mrkdwn.render_passages(find_description(alert), room)]
        lines.append(escape_line(alert.annotations.get("values", ""), _MAX_VALUES))
    used = sum(len(line) + 1 for line in lines)
    links = _render_links(alert, shared.links, min(_MAX_LINKS, MAX_SECTION - used - len(" · ")))
    return "\n".join(filter(None, (lines[0] + (f" · {links}" if links else ""), *lines[1:])))


def _render_head(shown: AlertView) -> str:
    alert, alert_state = shown.alert, shown.alert_state
    name = bold(alert.title, _MAX_NAME) or NAMELESS
    when = f"since {format_timestamp(alert_state.starts_at)}"
    mark = SEVERITY_MARKS[alert_state.severity]
    if not alert_state.is_firing:
        mark, when = "✅", f"resolved {format_timestamp(alert_state.ends_at)}"
    return f"{mark} {name} {when}"


def _render_links(alert: Alert, shared: Sequence[NamedLink], limit: int) -> str:
    """Return the links of *alert*, without a runbook that all share."""
    own = [(one.name, one.url) for one in list_alert_links(alert) if one.name != RUNBOOK or one not in shared]
    page = next((one.url for one in shared if one.name == INCIDENT), "")
    return mrkdwn.join_links(own, limit, page)


def render_short_lines(alerts: Sequence[AlertView], shared: Collection[str] = ()) -> Iterator[str]:
    """Yield one line for each of the first alerts."""
    for shown in alerts[:MAX_IN_SHORT]:
        alert, severity = shown.alert, shown.alert_state.severity
        mark = SEVERITY_MARKS[severity] if shown.alert_state.is_firing else "✅"
        labels = render_labels(_without_stated(alert.labels, severity, shared), 100)
        summary = escape_line(alert.summary, 80)
        name = bold(alert.title, 60) or NAMELESS
        yield " ".join(filter(None, (mark, name, labels, f"· {summary}" if summary else "")))
