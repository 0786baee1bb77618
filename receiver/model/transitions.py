"""The transitions of an incident: acknowledge, snooze, resolve, silence, expiry of alerts, end of flapping,
compaction.

Each returns an `IncidentChange`. They are the same for Slack, PagerDuty, the API and the command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from receiver.clock import format_duration
from receiver.model.incident import (
    EscalationRun,
    Incident,
    IncidentChange,
    Person,
    SilenceRequest,
    TimelineEvent,
)
from receiver.text import format_count

# Acknowledgements closer together answer the same page: a double click, a retried request, two people who
# were both paged. The first one counts, and its timeout has only just begun.
AT_ONCE_S = 60.0
_MOST_SILENCES = 20
Matchers = tuple[tuple[str, str], ...]
_NO_PERSON = Person("", via="")


def acknowledge(incident: Incident, by: Person, now: float, *, is_renewing: bool = True) -> IncidentChange:
    """Acknowledge it: escalation stops; a snooze becomes an acknowledgement without an end of its own.

    A second acknowledgement replaces the person and starts the timeout again. It changes nothing if it is not
    *is_renewing*, or comes within a minute.
    """
    if incident.is_resolved:
        return IncidentChange(incident)
    is_again = incident.is_acknowledged and not incident.snoozed_until
    if is_again and not (is_renewing and abs(now - incident.acknowledged_at) >= AT_ONCE_S):
        return IncidentChange(incident)
    text = "Acknowledged again" if is_again else "Acknowledged"
    return _build_change(_with_acknowledgement(incident, by, now), now, "acknowledged", text, by)


def snooze(incident: Incident, by: Person, for_s: float, now: float) -> IncidentChange:
    """Acknowledge it for *for_s* seconds; then it is un-acknowledged and the escalation restarts."""
    if incident.is_resolved:
        return IncidentChange(incident)
    snoozed = replace(_with_acknowledgement(incident, by, now), snoozed_until=now + for_s)
    return _build_change(snoozed, now, "snoozed", f"Snoozed for {format_duration(for_s)}", by)


def unacknowledge(incident: Incident, by: Person, now: float) -> IncidentChange:
    """End the acknowledgement: the last step that was sent is sent again at once."""
    if incident.is_resolved or not incident.is_acknowledged:
        return IncidentChange(incident)
    return _build_change(restart_escalation(incident, now), now, "unacknowledged", "Un-acknowledged", by)


def expire_acknowledgement(incident: Incident, acknowledged_at: float, now: float) -> IncidentChange:
    """End the acknowledgement of *acknowledged_at*, whose timeout is over; a later one stays."""
    if incident.is_resolved or incident.acknowledged_at != acknowledged_at:
        return IncidentChange(incident)
    text = "Snooze ended" if incident.snoozed_until else "Acknowledged, and not resolved in time"
    return _build_change(restart_escalation(incident, now), now, "unacknowledged", text)


def expire_alerts(incident: Incident, now: float) -> IncidentChange:
    """End the alerts that their senders have not renewed in time, dismissed ones included; resolve the
    incident if nothing else fires. An alert that was renewed meanwhile stays.
    """
    expired = {
        name: replace(s, ends_at=s.expires_at, changed_at=(*s.changed_at, now))
        for name, s in incident.alert_states.items()
        if s.is_expired(now)
    }
    changed = replace(incident, alert_states={**incident.alert_states, **expired})
    count = sum(not s.is_dismissed for s in expired.values())
    if not count or incident.is_resolved:
        return IncidentChange(changed, is_changed=bool(expired))
    text = f"{format_count(count, 'alert')} resolved: not renewed by the sender until the end that it named"
    if changed.firing or changed.truncated:
        return _build_change(changed, now, "alert_resolved", text)
    if incident.is_flapping:
        return _build_change(replace(changed, quiet_at=now), now, "alert_resolved", text)
    resolved = TimelineEvent(now, "resolved", "All alerts resolved")
    change = _build_change(replace(changed, resolved_at=now), now, "alert_resolved", text)
    return replace(change, events=(*change.events, resolved))


def end_flapping(incident: Incident, flapping_until: float, now: float) -> IncidentChange:
    """End the flapping whose window ended at *flapping_until*, and resolve the incident if nothing fires."""
    if incident.is_resolved or not incident.is_flapping or incident.flapping_until != flapping_until:
        return IncidentChange(incident)
    ended = replace(incident, flapping_until=0.0, quiet_at=0.0)
    if not incident.quiet_at:
        return _build_change(ended, now, "flapping_ended", "No longer flapping")
    text = f"Flapped, and was quiet for {format_duration(now - incident.quiet_at)}"
    return _build_change(replace(ended, resolved_at=now), now, "resolved", text)


def resolve(incident: Incident, by: Person, now: float) -> IncidentChange:
    """Resolve it by hand, also while alerts fire. The second time changes nothing."""
    if incident.is_resolved:
        return IncidentChange(incident)
    closed = replace(incident, resolved_at=now, resolved_by=by.name or "somebody", resolved_ref=by.slack_id)
    return _build_change(closed, now, "resolved", "Resolved by hand", by)


def silence(
    incident: Incident,
    by: Person,
    *,
    matchers: Sequence[Matchers],
    for_s: float,
    comment: str,
    now: float,
) -> IncidentChange:
    """Request a silence for each of *matchers*, for *for_s* seconds (0: until the incident resolves)."""
    if incident.is_resolved or not matchers:
        return IncidentChange(incident)
    first = max((request.number for request in incident.silences), default=0) + 1
    requests = tuple(
        SilenceRequest(first + n, each, by.name, now, now + for_s if for_s else 0.0, comment)
        for n, each in enumerate(matchers)
    )
    text = f"Silence wished for {format_duration(for_s)}" if for_s else "Silence wished until it resolves"
    requested = replace(incident, silences=(*incident.silences, *requests))
    return _build_change(requested, now, "silenced", text, by)


def choose_matchers(incident: Incident) -> tuple[Matchers, ...]:
    """Return the matchers of each silence to create: the labels that all firing alerts share.

    Where not even the alertname is shared, each alert gets a silence with all its labels: a wider one would
    silence other alerts, too. Of many alerts only the worst 20 then get one.
    """
    firing = incident.firing_alerts
    if not firing:
        return ()
    shared = dict(firing[0].labels)
    for alert in firing[1:]:
        shared = {name: value for name, value in shared.items() if alert.labels.get(name) == value}
    if "alertname" in shared:
        return (_sort_labels(shared),)
    return tuple(_sort_labels(alert.labels) for alert in firing[:_MOST_SILENCES])


def _sort_labels(labels: Mapping[str, str]) -> Matchers:
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def expire_silence(incident: Incident, number: int, by: Person, now: float) -> IncidentChange:
    """Withdraw the requested silence of that *number*. The second time changes nothing."""
    if not any(request.number == number and request.is_active(now) for request in incident.silences):
        return IncidentChange(incident)
    requests = tuple(
        replace(request, ended_at=now) if request.number == number else request
        for request in incident.silences
    )
    return _build_change(replace(incident, silences=requests), now, "silence_expired", "Silence expired", by)


def restart_escalation(incident: Incident, now: float) -> Incident:
    """Return *incident* un-acknowledged, with a new escalation run that starts with the last step sent."""
    run = EscalationRun(incident.run.number + 1, now, "unacknowledged", incident.run.since)
    return replace(clear_acknowledgement(incident), run=run)


def clear_acknowledgement(incident: Incident) -> Incident:
    """Return *incident* without an acknowledgement."""
    return replace(incident, acknowledged_at=0.0, acknowledged_by="", acknowledged_ref="", snoozed_until=0.0)


def _with_acknowledgement(incident: Incident, by: Person, now: float) -> Incident:
    return replace(
        incident,
        acknowledged_at=now,
        acknowledged_by=by.name or "somebody",
        acknowledged_ref=by.slack_id,
        first_acknowledged_at=incident.first_acknowledged_at or now,
        snoozed_until=0.0,
    )


def _build_change(
    incident: Incident, now: float, what: str, text: str, by: Person = _NO_PERSON
) -> IncidentChange:
    event = TimelineEvent(now, what, text, by.name, by.via)
    changed = replace(incident, updated_at=now, revision=incident.revision + 1)
    return IncidentChange(changed, is_changed=True, events=(event,))


# Copies of an ended firing come only as long as Alertmanager retries and resolved alerts are repeated:
# Prometheus repeats a resolve for a quarter of an hour.
KEEP_ENDED_S = 3600.0
COMPACT_FROM = 200


def find_compactable(incident: Incident, now: float) -> frozenset[str]:
    """Return the fingerprints that may be compacted at *now*; none as long as they are few."""
    if incident.is_resolved or len(incident.alert_states) < COMPACT_FROM:
        return frozenset()
    ended = frozenset(
        name for name, s in incident.alert_states.items() if s.ends_at and s.ends_at + KEEP_ENDED_S <= now
    )
    return ended if len(ended) >= COMPACT_FROM else frozenset()


def compact_alerts(incident: Incident, now: float) -> IncidentChange:
    """Return *incident* without the alert states that may be compacted; they still count in its total."""
    names = find_compactable(incident, now)
    if not names:
        return IncidentChange(incident)
    kept = {name: s for name, s in incident.alert_states.items() if name not in names}
    return IncidentChange(
        replace(incident, alert_states=kept, compacted=incident.compacted + len(names)), is_changed=True
    )
