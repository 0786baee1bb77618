"""The result of polling Alertmanager, and its evaluation for an incident."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from receiver.model.incident import (
    AlertState,
    Incident,
    IncidentChange,
    StepCheck,
    Suppression,
    TimelineEvent,
)
from receiver.model.routing import ALERTMANAGER, PAGERDUTY


@dataclass(frozen=True)
class RemoteAlert:
    """An alert in the API of one Alertmanager.

    *silenced_by* has IDs of silences, *inhibited_by* fingerprints of alerts, *muted_by* names of time
    intervals (since Alertmanager 0.28).
    """

    fingerprint: str
    is_firing: bool  # muted or not; false once its end has passed
    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()
    muted_by: tuple[str, ...] = ()

    @property
    def is_muted(self) -> bool:
        """Return whether Alertmanager sends no notification for it, for any of the three reasons."""
        return bool(self.silenced_by or self.inhibited_by or self.muted_by)


@dataclass(frozen=True)
class Replica:
    """One Alertmanager that answered: its alerts by fingerprint, and its start time by our clock."""

    alerts: Mapping[str, RemoteAlert]
    up_since: float


@dataclass(frozen=True)
class RemoteSilence:
    """A silence in Alertmanager's API, created by *by*."""

    id: str
    is_expired: bool
    starts_at: float
    ends_at: float
    by: str = ""
    comment: str = ""


@dataclass(frozen=True)
class Poll:
    """One poll of all replicas, started at *at*; *unreachable* has the reason by URL.

    *silences* are those of its alerts by ID, as far as they could be fetched.
    """

    at: float
    replicas: tuple[Replica, ...] = ()
    unreachable: Mapping[str, str] = field(default_factory=dict)
    silences: Mapping[str, RemoteSilence] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Return whether all replicas have answered."""
        return bool(self.replicas) and not self.unreachable


@dataclass(frozen=True)
class PollPolicy:
    """An alert is gone after *missing_polls* polls in a row, if all replicas are up for *min_uptime* s."""

    missing_polls: int = 3
    min_uptime: float = 300.0


@dataclass
class _PollResult:
    """The evaluated state of an incident's alerts."""

    alert_states: dict[str, AlertState]
    gone: int = 0
    muted: list[RemoteAlert] = field(default_factory=list)
    is_unmuted: bool = False  # at least one alert fires unmuted


def evaluate_poll(
    incident: Incident, poll: Poll, policy: PollPolicy, now: float, *, is_for_step: bool
) -> IncidentChange:
    """Return the change that *poll* makes to *incident*: alerts that are gone, and the suppression.

    If no replica answered, a suppression ends with its silence, or at once if its end is unknown. An alert
    that Alertmanager never returned never counts as gone; an absent alert counts as unmuted until it is
    gone. Polls with *is_for_step* do not count towards `missing_polls`, as their interval is irregular.
    """
    if incident.is_resolved:
        return IncidentChange(incident)
    if not poll.replicas:
        return _record_failed_check(incident, now, is_for_step=is_for_step)
    result = _classify_alerts(incident, poll, policy, is_for_step=is_for_step)
    changed = replace(incident, alert_states=result.alert_states)
    events: list[TimelineEvent] = []
    if result.gone:
        changed = _resolve_missing(changed, result.gone, policy, now, events)
    suppression = None if changed.is_resolved else _find_suppression(incident, result, poll, now)
    if suppression != incident.suppression:
        events += _suppression_events(incident.suppression, suppression, now)
        changed = replace(changed, suppression=suppression, revision=incident.revision + 1, updated_at=now)
        # PagerDuty's status from before a suppression is outdated at its end.
        changed = changed.with_check(PAGERDUTY, StepCheck())
    if is_for_step or suppression != incident.suppression:
        changed = changed.with_check(ALERTMANAGER, StepCheck(now))
    return IncidentChange(changed, is_changed=changed != incident, events=tuple(events))


def _record_failed_check(incident: Incident, now: float, *, is_for_step: bool) -> IncidentChange:
    changed = incident
    if incident.suppression is not None and incident.suppression.until <= now:
        changed = replace(changed, suppression=None, revision=incident.revision + 1, updated_at=now)
    if is_for_step:
        changed = changed.with_check(ALERTMANAGER, StepCheck(now, has_failed=True))
    return IncidentChange(changed, is_changed=changed != incident)


def _classify_alerts(incident: Incident, poll: Poll, policy: PollPolicy, *, is_for_step: bool) -> _PollResult:
    result = _PollResult(dict(incident.alert_states))
    is_trusted = poll.is_complete and all(
        poll.at - replica.up_since >= policy.min_uptime for replica in poll.replicas
    )
    for fingerprint, alert_state in incident.alert_states.items():
        if not alert_state.is_firing or alert_state.is_dismissed:
            continue
        found = [replica.alerts.get(fingerprint) for replica in poll.replicas]
        seen = [alert for alert in found if alert is not None and alert.is_firing]
        if seen:
            if not alert_state.is_seen or alert_state.absent_polls:
                result.alert_states[fingerprint] = replace(alert_state, is_seen=True, absent_polls=0)
            if all(alert.is_muted for alert in seen):
                result.muted.append(seen[0])
            else:
                result.is_unmuted = True
        elif alert_state.is_seen and is_trusted and not is_for_step:
            absent = alert_state.absent_polls + 1
            is_gone = absent >= policy.missing_polls
            result.alert_states[fingerprint] = replace(
                alert_state, absent_polls=absent, ends_at=poll.at if is_gone else 0.0
            )
            result.gone += is_gone
            result.is_unmuted |= not is_gone
        else:
            result.is_unmuted = True
    return result


def _resolve_missing(
    incident: Incident, gone: int, policy: PollPolicy, now: float, events: list[TimelineEvent]
) -> Incident:
    count = "1 alert is" if gone == 1 else f"{gone} alerts are"
    text = f"{count} gone from Alertmanager, looked {policy.missing_polls} times in a row; taken for resolved"
    events.append(TimelineEvent(now, "alert_resolved", text))
    incident = replace(incident, revision=incident.revision + 1, updated_at=now)
    if any(s.is_firing and not s.is_dismissed for s in incident.alert_states.values()):
        return incident
    events.append(TimelineEvent(now, "resolved", "All alerts resolved"))
    return replace(incident, resolved_at=now, suppression=None)


def _find_suppression(incident: Incident, result: _PollResult, poll: Poll, now: float) -> Suppression | None:
    """Return why the escalation is suppressed; None when one firing alert is unmuted."""
    if result.is_unmuted or not result.muted:
        return None
    since = incident.suppression.since if incident.suppression is not None else now
    ids = [silence_id for alert in result.muted for silence_id in alert.silenced_by]
    known = [poll.silences[silence_id] for silence_id in ids if silence_id in poll.silences]
    if known:
        first = min(known, key=lambda silence: silence.ends_at)
        return Suppression("silenced", since, first.by, first.ends_at)
    if ids:
        return Suppression("silenced", since)
    reason = "inhibited" if any(alert.inhibited_by for alert in result.muted) else "muted"
    return Suppression(reason, since)


def _suppression_events(
    before: Suppression | None, after: Suppression | None, now: float
) -> list[TimelineEvent]:
    if after is None:
        return [TimelineEvent(now, "released", "Fires unmuted again: the escalation goes on")]
    if before is not None:
        return []
    text = f"All that fires is {after.reason} in Alertmanager: nobody is paged"
    return [TimelineEvent(now, "suppressed", text, after.by)]
