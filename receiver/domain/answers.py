"""What people make of an incident: each answer is one change of one state, whatever side it comes from."""

from __future__ import annotations

from msgspec.structs import replace

from receiver.domain.incident import Change, Event, Incident, Run


def acknowledge(incident: Incident, by: str, now: float) -> Change:
    """Somebody has it: paging stops. The second time changes nothing."""
    if incident.is_resolved or incident.is_acknowledged:
        return Change(incident)
    changed = replace(
        incident, acknowledged_at=now, acknowledged_by=by, updated_at=now, revision=incident.revision + 1
    )
    return Change(changed, is_changed=True, events=(Event(now, "acknowledged", "Acknowledged", by),))


def unacknowledge(incident: Incident, by: str, now: float) -> Change:
    """Nobody has it any more: the step last told is told again at once."""
    if incident.is_resolved or not incident.is_acknowledged:
        return Change(incident)
    changed = replace(run_again(incident, now), updated_at=now, revision=incident.revision + 1)
    return Change(changed, is_changed=True, events=(Event(now, "unacknowledged", "Un-acknowledged", by),))


def resolve(incident: Incident, by: str, now: float) -> Change:
    """Close it by hand, also while it fires. The second time changes nothing."""
    if incident.is_resolved:
        return Change(incident)
    changed = replace(
        incident,
        resolved_at=now,
        resolved_by=by or "somebody",
        updated_at=now,
        revision=incident.revision + 1,
    )
    return Change(changed, is_changed=True, events=(Event(now, "resolved", "Resolved by hand", by),))


def run_again(incident: Incident, now: float) -> Incident:
    """Return *incident* un-acknowledged: the step last told is told again, then the next waits."""
    run = Run(incident.run.number + 1, now, "unacknowledged", incident.run.since)
    return replace(incident, acknowledged_at=0.0, acknowledged_by="", run=run)
