"""An incident in a few words: which it is, and why an answer changed nothing."""

from __future__ import annotations

from receiver.model.heading import find_heading
from receiver.model.incident import Incident
from receiver.text import one_line

_MAX_NAME = 100


def incident_label(incident: Incident) -> str:
    """Return name and ID, as `DiskFull (0h2k…)`."""
    heading = find_heading(incident)
    name = one_line(heading.name or heading.summary, _MAX_NAME) or "The incident"
    return f"{name} ({incident.id})"


def describe_state(incident: Incident) -> str:
    """Return how an incident stands already, for somebody whose answer came to nothing."""
    name = incident_label(incident)
    if incident.is_resolved:
        by = f", by {incident.resolved_by}" if incident.resolved_by else ""
        return f"{name} is resolved already{by}"
    if incident.is_acknowledged:
        return f"{name} is acknowledged already, by {incident.acknowledged_by}"
    return f"{name} is not acknowledged"
