"""What a long-open incident forgets: alerts that ended a while ago, when there are many of them.

A group whose alerts name pods or hosts may live for months, and each deployment leaves its ended alerts
behind. Their ends matter only as long as a late copy of them may come.
"""

from __future__ import annotations

from msgspec.structs import replace

from receiver.domain.incident import Incident, IncidentChange

# Copies of an ended firing come within Alertmanager's own retries and repeats of resolved alerts:
# Prometheus repeats a resolve for a quarter of an hour.
KEEP_ENDED_S = 3600.0
COMPACT_FROM = 200


def find_compactable(incident: Incident, now: float) -> frozenset[str]:
    """Return the alerts that may be forgotten at *now*; none as long as they are few."""
    if incident.is_resolved or len(incident.alert_states) < COMPACT_FROM:
        return frozenset()
    ended = frozenset(
        name for name, s in incident.alert_states.items() if s.ends_at and s.ends_at + KEEP_ENDED_S <= now
    )
    return ended if len(ended) >= COMPACT_FROM else frozenset()


def compact_alerts(incident: Incident, now: float) -> IncidentChange:
    """Return *incident* without what may be forgotten; they still count in its total."""
    names = find_compactable(incident, now)
    if not names:
        return IncidentChange(incident)
    kept = {name: s for name, s in incident.alert_states.items() if name not in names}
    return IncidentChange(
        replace(incident, alert_states=kept, compacted=incident.compacted + len(names)), is_changed=True
    )
