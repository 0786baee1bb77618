"""Labels as a reader wants them: what all alerts share said once, what differs with each alert."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from receiver.channels.slack.mrkdwn import code
from receiver.model.alert import LABEL, Alert, Severity, normalize_word
from receiver.model.incident import AlertState, Incident

_MAX_LABEL = 120


def shared_labels(incident: Incident, alerts: Iterable[Alert]) -> dict[str, str]:
    """Return the group's labels and those that all *alerts* have in common."""
    shared: dict[str, str] | None = None
    severity = incident.severity
    for alert in alerts:
        severity = incident.alert_states[alert.fingerprint].severity
        if shared is None:
            shared = dict(alert.labels)
        else:
            shared = {key: value for key, value in shared.items() if alert.labels.get(key) == value}
    every = {**incident.group_labels, **(shared or {})}
    return _without_stated(every, severity)


def own_labels(alert: Alert, alert_state: AlertState, shared: Collection[str]) -> dict[str, str]:
    """Return what tells *alert* from the others."""
    return {
        key: value
        for key, value in _without_stated(alert.labels, alert_state.severity).items()
        if key not in shared
    }


def _without_stated(labels: Mapping[str, str], severity: Severity) -> dict[str, str]:
    """Return the labels in order, without what is said in words: the name, and the *severity* as it was
    read. Where another word was sent, that word stays.
    """
    is_stated = severity is not Severity.NONE and normalize_word(labels.get(LABEL, "")) == severity
    said = {"alertname", LABEL} if is_stated else {"alertname"}
    return {key: value for key, value in sorted(labels.items()) if key not in said}


def render_labels(labels: Mapping[str, str], limit: int) -> str:
    """Return labels as code spans on one line within *limit*; those left out are counted."""
    said = ""
    for number, (key, value) in enumerate(labels.items()):
        rest = f" +{len(labels) - number} more"
        span = f"{' ' if said else ''}{code(f'{key}={value}', _MAX_LABEL)}"
        if len(said) + len(span) + len(rest) > limit:
            return (said + rest).lstrip()
        said += span
    return said
