"""Merge an incoming alert group into its incident, and recognise duplicates."""

from __future__ import annotations

import math
from collections.abc import Iterable
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
from receiver.text import format_count

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
        unopened = IncidentChange(None, duplicates=alert_merge.duplicates)
        return _open_incident(None, alert_merge) if alert_merge.joined else unopened
    may_reopen = incident.is_resolved and not incident.is_closed_by_hand
    join = incident.joins if may_reopen else incident.joins + 1
    alert_merge = _apply_alerts(incident.alert_states, join, group, route_settings, now)
    if not incident.is_resolved:
        return _merge_open(incident, alert_merge)
    if not alert_merge.joined:
        if not (alert_merge.ended or alert_merge.earlier or alert_merge.renewed):
            return _merge_repeats(incident, alert_merge)
        # The ends of alerts that fire on are recorded, so that their next firing is no copy of this one.
        updated = _with_heading(alert_merge.with_alerts(incident), alert_merge, incident)
        return alert_merge.build_change(updated, is_renewed=alert_merge.is_only_renewed)
    if may_reopen and now - incident.resolved_at < route_settings.flap_window:
        return _reopen_incident(incident, alert_merge)
    return _open_incident(incident, alert_merge)


@dataclass
class _AlertMerge:
    """The effect of one payload on the alerts of an incident, and the change that follows from it."""

    alert_states: dict[str, AlertState]
    join: int  # the number of the occasion
    group: Group
    copies: dict[str, Alert]  # each alert as in the payload, by fingerprint
    route_settings: RouteSettings
    now: float
    joined: list[Alert] = field(default_factory=list)
    ended: list[Alert] = field(default_factory=list)
    earlier: list[Alert] = field(default_factory=list)
    flapping: set[str] = field(default_factory=set)
    reworded: list[Alert] = field(default_factory=list)
    renewed: list[Alert] = field(default_factory=list)
    expires_sooner: bool = False  # a sender named an end for an alert that had none
    events: list[TimelineEvent] = field(default_factory=list)
    duplicates: int = 0

    def apply_alert(self, alert: Alert) -> None:
        known = self.alert_states.get(alert.fingerprint)
        if alert.is_firing and known is not None and known.is_expired(alert.starts_at):
            # It has ended, and fired again before a worker could record the end.
            known = replace(known, ends_at=known.expires_at)
        if not alert.is_firing:
            self._apply_resolved(alert, known)
        elif known is None or (not known.is_firing and alert.starts_at >= known.starts_at):
            self._apply_joined(alert, known)
        else:
            self._apply_repeat(alert, known)

    def _apply_joined(self, alert: Alert, known: AlertState | None) -> None:
        join, ended_before_at = self.join, 0.0
        changed_at: tuple[float, ...] = ()
        if known is not None:
            ended_before_at, changed_at = known.ends_at, self._record_change(known, alert.fingerprint)
            # A flapping alert keeps its first join, so that no reply announces it again.
            join = known.join if alert.fingerprint in self.flapping else join
        self.alert_states[alert.fingerprint] = AlertState(
            alert.starts_at,
            0.0,
            self.route_settings.severities.read_severity(alert.labels),
            join,
            ended_before_at=ended_before_at,
            changed_at=changed_at,
            checksum=alert.checksum,
            expires_at=alert.expires_at,
        )
        self.joined.append(alert)

    def _apply_repeat(self, alert: Alert, known: AlertState) -> None:
        self.duplicates += 1
        if alert.checksum != known.checksum and _is_current(alert, known):
            self.reworded.append(alert)
        # A late copy of an earlier firing must not move this start back: its end would then end this one.
        if known.is_firing and known.ended_before_at <= alert.starts_at < known.starts_at:
            known = self.alert_states[alert.fingerprint] = replace(known, starts_at=alert.starts_at)
            self.earlier.append(alert)
        if known.is_firing and (alert.expires_at is not None or alert.starts_at >= known.ended_before_at):
            self._renew(alert, known)

    def _renew(self, alert: Alert, known: AlertState) -> None:
        expires_at = find_later_expiry(known.expires_at, alert.expires_at)
        if expires_at != known.expires_at:
            self.alert_states[alert.fingerprint] = replace(known, expires_at=expires_at)
            self.renewed.append(alert)
            self.expires_sooner |= known.expires_at == math.inf

    def _apply_resolved(self, alert: Alert, known: AlertState | None) -> None:
        # A late copy of the end of an earlier firing does not end a firing that began after it.
        is_late = known is not None and alert.starts_at < known.starts_at and alert.ends_at < known.starts_at
        # Prometheus repeats each end for a quarter of an hour, also while its HA peer still fires the alert.
        is_repeated = known is not None and alert.ends_at == known.ended_before_at
        is_late |= is_repeated and alert.expires_at is not None
        if known is None or not known.is_firing or is_late:
            self.duplicates += 1
            return
        changed_at = self._record_change(known, alert.fingerprint)
        self.alert_states[alert.fingerprint] = replace(
            known,
            ends_at=alert.ends_at,
            changed_at=changed_at,
            checksum=alert.checksum,
            join_at_end=self.join,
        )
        self.ended.append(alert)

    def _record_change(self, known: AlertState, name: str) -> tuple[float, ...]:
        """Return the alert's recent changes and this one; mark it as flapping where they are too many."""
        window, count = self.route_settings.flap_window, self.route_settings.flap_count
        recent = (at for at in known.changed_at if abs(self.now - at) < window)
        changed_at = (*recent, self.now)[-(count + 1) :]
        if len(changed_at) > count:
            self.flapping.add(name)
        return changed_at

    def add_event(self, what: str, text: str) -> None:
        self.events.append(TimelineEvent(self.now, what, text))

    def with_alerts(self, incident: Incident) -> Incident:
        """Return *incident* with the alert states; those of reworded repeats count as stored."""
        for alert in self.reworded:
            alert_state = self.alert_states[alert.fingerprint]
            self.alert_states[alert.fingerprint] = replace(alert_state, checksum=alert.checksum)
        reworded_at = self.now if self.reworded else incident.reworded_at
        return replace(incident, alert_states=self.alert_states, reworded_at=reworded_at)

    def build_change(
        self, incident: Incident, *, is_reworded: bool = False, is_renewed: bool = False
    ) -> IncidentChange:
        """Return the change to *incident*; only annotations changed where it *is_reworded*."""
        return IncidentChange(
            incident,
            is_changed=not is_reworded,
            is_reworded=is_reworded,
            is_renewed=is_renewed,
            changed_alerts=(*self.joined, *self.ended),
            reworded=tuple(self.reworded),
            events=tuple(self.events),
            new=len(self.joined),
            duplicates=self.duplicates,
            resolved=len(self.ended),
        )

    @property
    def is_only_renewed(self) -> bool:
        """Return whether alerts will end later than they would have, and nothing else has changed."""
        return bool(self.renewed) and not (self.joined or self.ended or self.earlier or self.expires_sooner)

    def find_severity(self, alert: Alert) -> Severity:
        return self.alert_states[alert.fingerprint].severity

    @property
    def payload_alerts(self) -> dict[str, Alert]:
        """The firing alerts as in the payload, by fingerprint."""
        joined = {alert.fingerprint for alert in self.joined}
        return {
            name: alert
            for name, alert in self.copies.items()
            if name in joined or (alert.is_firing and _is_current(alert, self.alert_states.get(name)))
        }

    @property
    def firing_states(self) -> list[AlertState]:
        return [s for s in self.alert_states.values() if s.is_firing and not s.is_dismissed]

    def count_truncated(self) -> int:
        """Return how many alerts Alertmanager left out of the group, less those known as firing."""
        if not self.group.truncated:
            return 0
        known = sum(
            s.is_firing and not s.is_dismissed and name not in self.copies
            for name, s in self.alert_states.items()
        )
        return max(0, self.group.truncated - known)


def _apply_alerts(
    alert_states: dict[str, AlertState], join: int, group: Group, route_settings: RouteSettings, now: float
) -> _AlertMerge:
    """Return the effect of *group* on *alert_states*.

    Of two copies of an alert the firing one counts, unless its own end stands behind it in an array.
    """
    copies: dict[str, Alert] = {}
    for alert in group.alerts:
        other = copies.get(alert.fingerprint)
        if other is not None and other.is_firing and alert.is_firing:
            expires_at = find_later_expiry(other.expires_at, alert.expires_at)
            copies[alert.fingerprint] = replace(alert, expires_at=expires_at)
        elif other is None or alert.is_firing or _is_end_of(alert, other):
            copies[alert.fingerprint] = alert
    duplicates = len(group.alerts) - len(copies)
    alert_merge = _AlertMerge(
        dict(alert_states), join, group, copies, route_settings, now, duplicates=duplicates
    )
    for alert in copies.values():
        alert_merge.apply_alert(alert)
    return alert_merge


def _is_end_of(alert: Alert, earlier: Alert) -> bool:
    """Return whether *alert* ends the firing of *earlier*, which stands before it in an array.

    Prometheus sends what waits in its queue as one array, in order. A different start is that of another rule
    with the same labels.
    """
    return alert.expires_at is not None and earlier.starts_at == alert.starts_at < alert.ends_at


def find_later_expiry(known: float | None, given: float | None) -> float | None:
    """Return when an alert expires that had the expiry *known*, and came again with *given*.

    The later end counts, as in Alertmanager's `Alert.Merge`; a sender that names an end takes over from one
    that named none. An alert that also comes by a webhook never expires: its resolve will come that way.
    """
    if known is None or given is None:
        return None
    return given if math.inf in (known, given) else max(known, given)


def _is_current(alert: Alert, known: AlertState | None) -> bool:
    """Return whether a firing copy belongs to the present firing, and is no late copy of the one before."""
    return (
        known is not None
        and known.is_firing
        and not known.is_dismissed
        and alert.starts_at >= known.ended_before_at
    )


def _open_incident(previous: Incident | None, alert_merge: _AlertMerge) -> IncidentChange:
    """Open a new incident for the joined alerts of *alert_merge*.

    Alerts of *previous* that still fire are carried over as dismissed, and so are ended ones that are in the
    group, so that `merge` recognises their next copies as duplicates.
    """
    group, route_settings, now = alert_merge.group, alert_merge.route_settings, alert_merge.now
    alerts = tuple(alert_merge.joined)
    if previous is not None:
        begun = {alert.fingerprint for alert in alerts}
        alert_merge.alert_states = {
            name: replace(alert_state, join=0, is_dismissed=name not in begun)
            for name, alert_state in alert_merge.alert_states.items()
            if alert_state.is_firing or name in alert_merge.copies
        }
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
        severity=find_worst_severity(map(alert_merge.find_severity, alerts)),
        alertname="",
        summary="",
        opened_at=now,
        updated_at=now,
        run=EscalationRun(1, now),
        alert_states=alert_merge.alert_states,
        external_url=group.external_url,
        has_silence_form=group.has_silence_form,
        previous=previous.id if previous else "",
        unknown_severities=_find_unknown((), alert_merge),
        truncated=alert_merge.count_truncated(),
    )
    alert_merge.add_event("opened", f"{format_count(len(alerts), 'alert')} on {route_settings.channel}")
    change = alert_merge.build_change(_with_heading(opened, alert_merge))
    return replace(change, is_new=True, changed_alerts=alerts, reworded=())


def _merge_open(incident: Incident, alert_merge: _AlertMerge) -> IncidentChange:
    group, now = alert_merge.group, alert_merge.now
    is_all_over = not alert_merge.firing_states and not group.truncated and bool(group.alerts)
    is_flapping = incident.is_flapping or bool(alert_merge.flapping)
    is_over = is_all_over and not (is_flapping and incident.quiet_at)
    gap = now - max(incident.last_received_at, incident.opened_at)
    is_due_to_record = gap >= _RECORD_RECEIVED_EVERY_S and any(alert.is_firing for alert in group.alerts)
    is_changed = bool(alert_merge.joined or alert_merge.ended or is_over)
    if not (is_changed or alert_merge.earlier or is_due_to_record):
        if not alert_merge.renewed:
            return _merge_repeats(incident, alert_merge)
        renewed = _with_heading(alert_merge.with_alerts(incident), alert_merge)
        return alert_merge.build_change(renewed, is_renewed=alert_merge.is_only_renewed)
    changed = replace(
        alert_merge.with_alerts(incident),
        last_received_at=now,
        longest_gap=max(incident.longest_gap, gap),
        truncated=alert_merge.count_truncated(),
    )
    if is_changed:
        changed = replace(changed, updated_at=now, revision=incident.revision + 1)
    if alert_merge.joined:
        changed = _with_joined(changed, alert_merge)
    if alert_merge.ended:
        alert_merge.add_event("alert_resolved", f"{format_count(len(alert_merge.ended), 'alert')} resolved")
    changed = _with_flapping(changed, alert_merge)
    if is_over and is_flapping:
        changed = replace(changed, quiet_at=now)
    elif is_over:
        changed = replace(changed, resolved_at=now)
        alert_merge.add_event("resolved", "All alerts resolved")
    return alert_merge.build_change(_with_heading(changed, alert_merge, incident))


def _merge_repeats(incident: Incident, alert_merge: _AlertMerge) -> IncidentChange:
    """Merge repeats alone: store newer annotations and the number of truncated alerts, but seldom."""
    truncated = incident.truncated
    is_truncated = truncated or alert_merge.group.truncated
    if is_truncated and not incident.is_resolved and alert_merge.payload_alerts:
        truncated = alert_merge.count_truncated()
    has_new_content = bool(alert_merge.reworded) or truncated != incident.truncated
    if not has_new_content or abs(alert_merge.now - incident.reworded_at) < _REWORDED_EVERY_S:
        return IncidentChange(incident, duplicates=alert_merge.duplicates)
    reworded = replace(alert_merge.with_alerts(incident), truncated=truncated, reworded_at=alert_merge.now)
    return alert_merge.build_change(_with_heading(reworded, alert_merge), is_reworded=True)


def _with_heading(incident: Incident, alert_merge: _AlertMerge, before: Incident | None = None) -> Incident:
    """Return *incident* with the name and summary of its representative alert.

    Only the alerts of the payload are available here: where some firing ones are missing, a worker, which
    loads all alerts, completes the heading. Once nothing fires, the heading is that of the representative
    alert of *before*, as it ended; its summary stays where the sender leaves the annotations out of a
    resolve.
    """
    firing, payload_alerts = list_firing_fingerprints(incident.alert_states), alert_merge.payload_alerts
    labels = incident.group_labels
    if firing and payload_alerts.keys() >= set(firing):
        heading = build_heading([payload_alerts[name] for name in firing], labels)
        return replace(incident, alertname=heading.name, summary=heading.summary, more=heading.more)
    first = payload_alerts.get(firing[0]) if firing else None
    if not firing and before is not None:
        last = next(iter(list_firing_fingerprints(before.alert_states)), "")
        first = next((alert for alert in alert_merge.ended if alert.fingerprint == last), None)
    if first is None:
        return incident
    summary = summarize_alert(first) or ("" if firing else incident.summary)
    return replace(incident, alertname=get_alert_name(first, labels), summary=summary)


def _with_flapping(incident: Incident, alert_merge: _AlertMerge) -> Incident:
    """Return *incident* marked as flapping for another flap window, if an alert of it changes too often."""
    if not alert_merge.flapping:
        return incident
    route_settings = alert_merge.route_settings
    if not incident.is_flapping:
        window = format_duration(route_settings.flap_window)
        alert_merge.add_event(
            "flapping", f"Flapping: more than {route_settings.flap_count} changes within {window}"
        )
    return replace(incident, flapping_until=alert_merge.now + route_settings.flap_window)


def _with_joined(incident: Incident, alert_merge: _AlertMerge) -> Incident:
    """Return *incident* with alerts joined: its severity only rises, and a rise ends an acknowledgement."""
    joined = alert_merge.joined
    alert_merge.add_event("joined", f"{format_count(len(joined), 'alert')} joined")
    severity = find_worst_severity(map(alert_merge.find_severity, joined))
    # Alertmanager does not send muted alerts, so joined alerts end the suppression.
    unknown = _find_unknown(incident.unknown_severities, alert_merge)
    incident = replace(incident, suppression=None, quiet_at=0.0, unknown_severities=unknown)
    if not {alert.fingerprint for alert in joined} <= alert_merge.flapping:
        incident = replace(incident, joins=incident.joins + 1)
    if severity.rank <= incident.severity.rank:
        return incident
    incident = replace(incident, severity=severity)
    if not incident.is_acknowledged:
        return incident
    alert_merge.add_event("unacknowledged", f"It got worse: {severity}")
    return restart_escalation(incident, alert_merge.now)


def _find_unknown(known: tuple[str, ...], alert_merge: _AlertMerge) -> tuple[str, ...]:
    """Return *known* with the unknown severity labels of the joined alerts added."""
    words = dict.fromkeys(known)
    for alert in alert_merge.joined:
        if len(words) < MAX_UNKNOWN_SEVERITIES and alert_merge.find_severity(alert) is Severity.NONE:
            word = alert_merge.route_settings.severities.find_unknown_word(alert.labels)
            if word:
                words[word] = None
    return tuple(words)


def _reopen_incident(incident: Incident, alert_merge: _AlertMerge) -> IncidentChange:
    """Reopen an incident that resolved within the flap window.

    A flapping incident does not page again, so its acknowledgement is kept.
    """
    now, number, is_flapping = alert_merge.now, incident.run.number + 1, bool(alert_merge.flapping)
    alert_merge.add_event("reopened", "Firing again")
    reopened = replace(
        _without_acknowledger(alert_merge.with_alerts(incident), alert_merge),
        resolved_at=0.0,
        reopened_at=now,
        over_for=now - incident.resolved_at,
        generation=incident.generation + 1,
        revision=incident.revision + 1,
        updated_at=now,
        run=EscalationRun(number, now, "reopened", number, is_quiet=is_flapping),
        truncated=alert_merge.count_truncated(),
    )
    reopened = replace(
        _with_joined(reopened, alert_merge),
        joins=incident.joins,
        severity=find_worst_severity(s.severity for s in alert_merge.firing_states),
    )
    reopened = _with_flapping(reopened, alert_merge)
    return alert_merge.build_change(_with_heading(reopened, alert_merge))


def _without_acknowledger(incident: Incident, alert_merge: _AlertMerge) -> Incident:
    """Return *incident* for reopening: without its acknowledgement, unless it is flapping."""
    if alert_merge.flapping or not incident.is_acknowledged:
        return replace(incident, former_by="", former_ref="")
    by, ref = incident.acknowledged_by, incident.acknowledged_ref
    alert_merge.add_event("unacknowledged", f"The acknowledgement by {by} ended when it resolved")
    return replace(clear_acknowledgement(incident), former_by=by, former_ref=ref)
