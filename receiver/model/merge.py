"""Merge an incoming alert group into its incident, and recognise duplicates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from receiver.clock import format_duration
from receiver.model.alert import Alert, Group, Severity
from receiver.model.heading import build_heading, get_alert_name, summarize_alert
from receiver.model.incident import (
    AlertState,
    EscalationRun,
    Incident,
    IncidentChange,
    TimelineEvent,
    group_id_of,
    list_firing_fingerprints,
    new_id,
)
from receiver.model.routing import RouteSettings
from receiver.model.transitions import clear_acknowledgement, restart_escalation

# A sender may invent a severity for each alert; so many are enough to identify the sender.
MAX_UNKNOWN_SEVERITIES = 3
# Repeats write `last_received_at` at most this often, so that we know whether they go on.
_RECORD_RECEIVED_EVERY_S = 900.0
# Newer annotations that come with repeats alone are stored at most this often for each group.
_REWORDED_EVERY_S = 60.0


def find_worst_severity(severities: Iterable[Severity]) -> Severity:
    return max(severities, key=lambda severity: severity.rank, default=Severity.NONE)


def merge(
    incident: Incident | None, group: Group, route_settings: RouteSettings, now: float
) -> IncidentChange:
    """Return the change of *incident*, the latest of the group ID, that the alerts of *group* make.

    All alerts of *group* are on the route of *route_settings*. Merging the same group a second time changes
    nothing.
    """
    if incident is None:
        alert_merge = _apply_alerts({}, 0, group, route_settings, now)
        if not alert_merge.joined:
            return IncidentChange(None, duplicates=alert_merge.duplicates)
        return _open_incident(None, group, alert_merge, route_settings, now)
    if not incident.is_resolved:
        return _merge_open(incident, group, route_settings, now)
    if incident.is_closed_by_hand:
        return _merge_closed(incident, group, route_settings, now)
    return _merge_resolved(incident, group, route_settings, now)


def _open_incident(
    previous: Incident | None,
    group: Group,
    alert_merge: _AlertMerge,
    route_settings: RouteSettings,
    now: float,
) -> IncidentChange:
    """Open a new incident for the joined alerts of *alert_merge*.

    Alerts of *previous* that still fire are carried over as dismissed, and so are ended ones that are in
    *group*, so that `merge` recognises their next copies as duplicates.
    """
    alerts = tuple(alert_merge.joined)
    alert_states = _carry_over_states(alert_merge, group) if previous else alert_merge.alert_states
    opened = Incident(
        id=new_id(group_id_of(group.source, group.group_key, route_settings.route), now, previous),
        source=group.source,
        receiver=group.receiver,
        group_key=group.group_key,
        group_labels=group.group_labels,
        route=route_settings.route,
        channel=route_settings.channel,
        policy=route_settings.policy,
        steps=route_settings.steps,
        severity=find_worst_severity({alert_states[alert.fingerprint].severity for alert in alerts}),
        alertname="",
        summary="",
        opened_at=now,
        updated_at=now,
        run=EscalationRun(1, now),
        alert_states=alert_states,
        external_url=group.external_url,
        previous=previous.id if previous else "",
        unknown_severities=_find_unknown((), alerts, alert_merge),
    )
    opened = replace(opened, truncated=_count_truncated(opened.alert_states, group))
    return IncidentChange(
        _with_heading(opened, alert_merge.payload_alerts),
        is_new=True,
        is_changed=True,
        changed_alerts=alerts,
        events=(
            TimelineEvent(
                now, "opened", _format_count(len(alerts), "alert") + f" on {route_settings.channel}"
            ),
        ),
        new=len(alerts),
        duplicates=alert_merge.duplicates,
        resolved=len(alert_merge.ended),
    )


def _carry_over_states(alert_merge: _AlertMerge, group: Group) -> dict[str, AlertState]:
    """Return the alert states with which the next incident begins."""
    begun = {alert.fingerprint for alert in alert_merge.joined}
    fingerprints = {alert.fingerprint for alert in group.alerts}
    return {
        name: replace(alert_state, join=0, is_dismissed=name not in begun)
        for name, alert_state in alert_merge.alert_states.items()
        if alert_state.is_firing or name in fingerprints
    }


@dataclass
class _AlertMerge:
    """The effect of one payload on the alerts of an incident."""

    alert_states: dict[str, AlertState]
    route_settings: RouteSettings
    now: float
    joined: list[Alert] = field(default_factory=list)
    ended: list[Alert] = field(default_factory=list)
    earlier: list[Alert] = field(default_factory=list)
    flapping: set[str] = field(default_factory=set)
    words: dict[str, Alert] = field(default_factory=dict)  # each alert as in the payload, by fingerprint
    reworded: list[Alert] = field(default_factory=list)
    duplicates: int = 0

    def apply(self, alert: Alert, join: int) -> None:
        known = self.alert_states.get(alert.fingerprint)
        if not alert.is_firing:
            self._apply_resolved(alert, known, join)
        elif known is not None:
            self._apply_firing(alert, known, join)
        else:
            severity = self.route_settings.severities.read_severity(alert.labels)
            self.alert_states[alert.fingerprint] = AlertState(
                alert.starts_at, 0.0, severity, join, checksum=alert.checksum
            )
            self.joined.append(alert)

    def _apply_firing(self, alert: Alert, known: AlertState, join: int) -> None:
        if not known.is_firing and alert.starts_at >= known.starts_at:
            changed_at = self._record_change(known, alert.fingerprint)
            self.alert_states[alert.fingerprint] = AlertState(
                alert.starts_at,
                0.0,
                self.route_settings.severities.read_severity(alert.labels),
                # A flapping alert keeps its first join, so that no reply announces it again.
                known.join if alert.fingerprint in self.flapping else join,
                ended_before_at=known.ends_at,
                changed_at=changed_at,
                checksum=alert.checksum,
            )
            self.joined.append(alert)
            return
        self.duplicates += 1
        if alert.checksum != known.checksum and _is_current(alert, known):
            self.reworded.append(alert)
        # A late copy of an earlier firing must not move this start back: its end would then end this one.
        if known.is_firing and known.ended_before_at <= alert.starts_at < known.starts_at:
            self.alert_states[alert.fingerprint] = replace(known, starts_at=alert.starts_at)
            self.earlier.append(alert)

    def mark_reworded_saved(self) -> None:
        """Record the checksums of reworded repeats as stored."""
        for alert in self.reworded:
            alert_state = self.alert_states[alert.fingerprint]
            self.alert_states[alert.fingerprint] = replace(alert_state, checksum=alert.checksum)

    def _apply_resolved(self, alert: Alert, known: AlertState | None, join: int) -> None:
        # A late copy of the end of an earlier firing does not end a firing that began after it.
        is_late = known is not None and alert.starts_at < known.starts_at and alert.ends_at < known.starts_at
        if known is None or not known.is_firing or is_late:
            self.duplicates += 1
            return
        changed_at = self._record_change(known, alert.fingerprint)
        self.alert_states[alert.fingerprint] = replace(
            known, ends_at=alert.ends_at, changed_at=changed_at, checksum=alert.checksum, join_at_end=join
        )
        self.ended.append(alert)

    def _record_change(self, known: AlertState, name: str) -> tuple[float, ...]:
        """Return the alert's recent changes and this one; mark it as flapping where they are too many."""
        window, count = self.route_settings.flap_window, self.route_settings.flap_count
        changed_at = (*(at for at in known.changed_at if abs(self.now - at) < window), self.now)[
            -(count + 1) :
        ]
        if len(changed_at) > count:
            self.flapping.add(name)
        return changed_at

    @property
    def payload_alerts(self) -> dict[str, Alert]:
        """The firing alerts as in the payload, by fingerprint."""
        joined = {alert.fingerprint for alert in self.joined}
        return {
            name: alert
            for name, alert in self.words.items()
            if name in joined or (alert.is_firing and _is_current(alert, self.alert_states.get(name)))
        }

    @property
    def is_all_over(self) -> bool:
        return not any(s.is_firing and not s.is_dismissed for s in self.alert_states.values())

    @property
    def changed_alerts(self) -> tuple[Alert, ...]:
        return (*self.joined, *self.ended)


def _apply_alerts(
    alert_states: dict[str, AlertState], join: int, group: Group, route_settings: RouteSettings, now: float
) -> _AlertMerge:
    """Return the effect of *group* on *alert_states*; of two copies of an alert, the firing one counts."""
    words: dict[str, Alert] = {}
    for alert in group.alerts:
        if alert.is_firing or alert.fingerprint not in words:
            words[alert.fingerprint] = alert
    duplicates = len(group.alerts) - len(words)
    alert_merge = _AlertMerge(dict(alert_states), route_settings, now, duplicates=duplicates, words=words)
    for alert in words.values():
        alert_merge.apply(alert, join)
    return alert_merge


def _is_current(alert: Alert, known: AlertState | None) -> bool:
    """Tell whether a firing copy belongs to the present firing, and is no late copy of the firing before."""
    return (
        known is not None
        and known.is_firing
        and not known.is_dismissed
        and alert.starts_at >= known.ended_before_at
    )


def _merge_open(
    incident: Incident, group: Group, route_settings: RouteSettings, now: float
) -> IncidentChange:
    alert_merge = _apply_alerts(incident.alert_states, incident.joins + 1, group, route_settings, now)
    is_all_over = alert_merge.is_all_over and not group.is_truncated and bool(group.alerts)
    is_flapping = incident.is_flapping or bool(alert_merge.flapping)
    is_over = is_all_over and not (is_flapping and incident.quiet_at)
    is_silent = now - max(incident.last_received_at, incident.opened_at) >= _RECORD_RECEIVED_EVERY_S
    is_due_to_record = is_silent and any(alert.is_firing for alert in group.alerts)
    if not (alert_merge.changed_alerts or alert_merge.earlier or is_over or is_due_to_record):
        return _merge_repeats(incident, group, alert_merge, now)
    alert_merge.mark_reworded_saved()
    changed = _with_last_received(replace(incident, alert_states=alert_merge.alert_states), now)
    changed = replace(changed, truncated=_count_truncated(alert_merge.alert_states, group))
    events: list[TimelineEvent] = []
    if alert_merge.joined or alert_merge.ended or is_over:
        changed = replace(changed, updated_at=now, revision=incident.revision + 1)
    if alert_merge.joined:
        changed = _with_joined(changed, alert_merge, now, events)
    if alert_merge.ended:
        events.append(
            TimelineEvent(now, "alert_resolved", _format_count(len(alert_merge.ended), "alert") + " resolved")
        )
    changed = _with_flapping(changed, alert_merge, route_settings, now, events)
    if is_over and is_flapping:
        changed = replace(changed, quiet_at=now)
    elif is_over:
        changed = replace(changed, resolved_at=now)
        events.append(TimelineEvent(now, "resolved", "All alerts resolved"))
    return IncidentChange(
        _with_heading(
            _with_reworded_at(changed, alert_merge, now),
            alert_merge.payload_alerts,
            incident,
            alert_merge.ended,
        ),
        is_changed=True,
        changed_alerts=alert_merge.changed_alerts,
        reworded=tuple(alert_merge.reworded),
        events=tuple(events),
        new=len(alert_merge.joined),
        duplicates=alert_merge.duplicates,
        resolved=len(alert_merge.ended),
    )


def _merge_repeats(incident: Incident, group: Group, alert_merge: _AlertMerge, now: float) -> IncidentChange:
    """Merge repeats alone: store newer annotations and the number of truncated alerts, but seldom."""
    truncated = incident.truncated
    is_counted_anew = (
        (truncated or group.truncated) and not incident.is_resolved and bool(alert_merge.payload_alerts)
    )
    if is_counted_anew:
        truncated = _count_truncated(incident.alert_states, group)
    has_new_content = bool(alert_merge.reworded) or truncated != incident.truncated
    if not has_new_content or abs(now - incident.reworded_at) < _REWORDED_EVERY_S:
        return IncidentChange(incident, duplicates=alert_merge.duplicates)
    alert_merge.mark_reworded_saved()
    reworded = replace(incident, alert_states=alert_merge.alert_states, truncated=truncated, reworded_at=now)
    return IncidentChange(
        _with_heading(reworded, alert_merge.payload_alerts),
        is_reworded=True,
        reworded=tuple(alert_merge.reworded),
        duplicates=alert_merge.duplicates,
    )


def _with_reworded_at(incident: Incident, alert_merge: _AlertMerge, now: float) -> Incident:
    return replace(incident, reworded_at=now) if alert_merge.reworded else incident


def _count_truncated(alert_states: Mapping[str, AlertState], group: Group) -> int:
    """Return how many alerts Alertmanager left out of *group*, less those that *alert_states* has firing."""
    if not group.truncated:
        return 0
    fingerprints = {alert.fingerprint for alert in group.alerts}
    known = sum(
        s.is_firing and not s.is_dismissed and fp not in fingerprints for fp, s in alert_states.items()
    )
    return max(0, group.truncated - known)


def _with_heading(
    incident: Incident,
    payload_alerts: Mapping[str, Alert],
    before: Incident | None = None,
    ended: Iterable[Alert] = (),
) -> Incident:
    """Return *incident* with the name and summary of its representative alert.

    Only the alerts of the payload are available here: where some firing ones are missing, a worker, which
    loads all alerts, completes the heading. Once nothing fires, the heading is that of the representative
    alert of *before*, as it *ended*.
    """
    firing = list_firing_fingerprints(incident.alert_states)
    labels = incident.group_labels
    if firing and payload_alerts.keys() >= set(firing):
        heading = build_heading([payload_alerts[name] for name in firing], labels)
        return replace(incident, alertname=heading.name, summary=heading.summary, more=heading.more)
    first = payload_alerts.get(firing[0]) if firing else None
    if not firing and before is not None:
        last = next(iter(list_firing_fingerprints(before.alert_states)), "")
        first = next((alert for alert in ended if alert.fingerprint == last), None)
    if first is None:
        return incident
    return replace(incident, alertname=get_alert_name(first, labels), summary=summarize_alert(first))


def _with_last_received(incident: Incident, now: float) -> Incident:
    """Return *incident* as received from its sender at *now*."""
    gap = now - max(incident.last_received_at, incident.opened_at)
    return replace(incident, last_received_at=now, longest_gap=max(incident.longest_gap, gap))


def _with_flapping(
    incident: Incident,
    alert_merge: _AlertMerge,
    route_settings: RouteSettings,
    now: float,
    events: list[TimelineEvent],
) -> Incident:
    """Return *incident* marked as flapping for another flap window, if an alert of it changes too often."""
    if not alert_merge.flapping:
        return incident
    if not incident.is_flapping:
        window = format_duration(route_settings.flap_window)
        text = f"Flapping: more than {route_settings.flap_count} changes within {window}"
        events.append(TimelineEvent(now, "flapping", text))
    return replace(incident, flapping_until=now + route_settings.flap_window)


def _with_joined(
    incident: Incident, alert_merge: _AlertMerge, now: float, events: list[TimelineEvent]
) -> Incident:
    """Return *incident* with alerts joined: its severity only rises, and a rise ends an acknowledgement."""
    joined = alert_merge.joined
    events.append(TimelineEvent(now, "joined", _format_count(len(joined), "alert") + " joined"))
    most_severe = max(joined, key=lambda alert: alert_merge.alert_states[alert.fingerprint].severity.rank)
    severity = alert_merge.alert_states[most_severe.fingerprint].severity
    # Alertmanager does not send muted alerts, so joined alerts end the suppression.
    unknown = _find_unknown(incident.unknown_severities, joined, alert_merge)
    incident = replace(incident, suppression=None, quiet_at=0.0, unknown_severities=unknown)
    if not {alert.fingerprint for alert in joined} <= alert_merge.flapping:
        incident = replace(incident, joins=incident.joins + 1)
    if severity.rank <= incident.severity.rank:
        return incident
    incident = replace(incident, severity=severity)
    if not incident.is_acknowledged:
        return incident
    events.append(TimelineEvent(now, "unacknowledged", f"It got worse: {severity}"))
    return restart_escalation(incident, now)


def _find_unknown(
    known: tuple[str, ...], joined: Iterable[Alert], alert_merge: _AlertMerge
) -> tuple[str, ...]:
    """Return *known* with the unknown severity labels of the *joined* alerts added."""
    words = dict.fromkeys(known)
    for alert in joined:
        if alert_merge.alert_states[alert.fingerprint].severity is not Severity.NONE:
            continue
        if len(words) < MAX_UNKNOWN_SEVERITIES and (
            word := alert_merge.route_settings.severities.find_unknown_word(alert.labels)
        ):
            words[word] = None
    return tuple(words)


def _merge_resolved(
    incident: Incident, group: Group, route_settings: RouteSettings, now: float
) -> IncidentChange:
    """Reopen within the flap window, else open the next incident.

    A flapping incident does not page again, so its acknowledgement is kept.
    """
    alert_merge = _apply_alerts(incident.alert_states, incident.joins, group, route_settings, now)
    if not alert_merge.joined:
        return _update_resolved(incident, group, alert_merge, now)
    if now - incident.resolved_at >= route_settings.flap_window:
        return _open_incident(incident, group, alert_merge, route_settings, now)
    alert_merge.mark_reworded_saved()
    number = incident.run.number + 1
    run = EscalationRun(number, now, "reopened", number, is_quiet=bool(alert_merge.flapping))
    events: list[TimelineEvent] = [TimelineEvent(now, "reopened", "Firing again")]
    reopened = replace(
        _without_acknowledger(incident, now, events, is_flapping=bool(alert_merge.flapping)),
        alert_states=alert_merge.alert_states,
        resolved_at=0.0,
        reopened_at=now,
        over_for=now - incident.resolved_at,
        generation=incident.generation + 1,
        revision=incident.revision + 1,
        updated_at=now,
        run=run,
    )
    firing = find_worst_severity(
        s.severity for s in alert_merge.alert_states.values() if s.is_firing and not s.is_dismissed
    )
    reopened = replace(
        _with_joined(reopened, alert_merge, now, events), joins=incident.joins, severity=firing
    )
    reopened = _with_flapping(reopened, alert_merge, route_settings, now, events)
    reopened = replace(reopened, truncated=_count_truncated(alert_merge.alert_states, group))
    return IncidentChange(
        _with_heading(_with_reworded_at(reopened, alert_merge, now), alert_merge.payload_alerts),
        is_changed=True,
        changed_alerts=alert_merge.changed_alerts,
        reworded=tuple(alert_merge.reworded),
        events=tuple(events),
        new=len(alert_merge.joined),
        duplicates=alert_merge.duplicates,
        resolved=len(alert_merge.ended),
    )


def _without_acknowledger(
    incident: Incident, now: float, events: list[TimelineEvent], *, is_flapping: bool
) -> Incident:
    """Return *incident* for reopening: without its acknowledgement, unless it is flapping."""
    if is_flapping or not incident.is_acknowledged:
        return replace(incident, former_by="", former_ref="")
    by, ref = incident.acknowledged_by, incident.acknowledged_ref
    events.append(TimelineEvent(now, "unacknowledged", f"The acknowledgement by {by} ended when it resolved"))
    return replace(clear_acknowledgement(incident), former_by=by, former_ref=ref)


def _merge_closed(
    incident: Incident, group: Group, route_settings: RouteSettings, now: float
) -> IncidentChange:
    """Merge into an incident that a person closed: alerts that start to fire open the next one."""
    alert_merge = _apply_alerts(incident.alert_states, incident.joins + 1, group, route_settings, now)
    return (
        _open_incident(incident, group, alert_merge, route_settings, now)
        if alert_merge.joined
        else _update_resolved(incident, group, alert_merge, now)
    )


def _update_resolved(
    incident: Incident, group: Group, alert_merge: _AlertMerge, now: float
) -> IncidentChange:
    """Update the alert states of a closed *incident* whose alerts may still fire.

    Their ends must be recorded, so that their next firing is not taken for a copy of this one.
    """
    if not (alert_merge.ended or alert_merge.earlier):
        return _merge_repeats(incident, group, alert_merge, now)
    alert_merge.mark_reworded_saved()
    changed = _with_reworded_at(replace(incident, alert_states=alert_merge.alert_states), alert_merge, now)
    return IncidentChange(
        _with_heading(changed, alert_merge.payload_alerts, incident, alert_merge.ended),
        is_changed=True,
        changed_alerts=tuple(alert_merge.ended),
        reworded=tuple(alert_merge.reworded),
        duplicates=alert_merge.duplicates,
        resolved=len(alert_merge.ended),
    )


def _format_count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
