"""What a look at Alertmanager says about an incident: held, going on, or gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from receiver.domain.incident import AlertState, Incident, IncidentChange, Suppression, TimelineEvent
from receiver.domain.witness import AlertSeen, Look, SilenceSeen


@dataclass(frozen=True)
class Trust:
    """How much a look is believed: an alert is gone after *looks* looks in a row without it, once
    every Alertmanager has been up for *trust_after* seconds.
    """

    looks: int = 3
    trust_after: float = 300.0


@dataclass
class _Verdict:
    """What becomes of an incident's alerts."""

    alert_states: dict[str, AlertState]
    gone: list[str] = field(default_factory=list)
    muted: list[AlertSeen] = field(default_factory=list)
    is_unmuted: bool = False  # something fires that nobody muted


def judge(
    incident: Incident,
    look: Look,
    silences: Mapping[str, SilenceSeen],
    trust: Trust,
    now: float,
    *,
    is_for_step: bool,
) -> IncidentChange:
    """Return how *incident* stands after *look*.

    Alertmanager away: nothing is known, and a hold ends with the silence it was for. An alert it
    never showed is never judged gone, and one that is absent counts as unmuted until then. Only
    looks that are not *is_for_step* count towards `looks in a row`: those come at their own pace.
    """
    if incident.is_resolved:
        return IncidentChange(incident)
    if not look.replicas:
        return _unasked(incident, now, is_for_step=is_for_step)
    verdict = _weigh(incident, look, trust, is_for_step=is_for_step)
    changed = replace(incident, alert_states=verdict.alert_states)
    events: list[TimelineEvent] = []
    if verdict.gone:
        changed = _without(changed, len(verdict.gone), trust, now, events)
    suppression = None if changed.is_resolved else _hold(incident, verdict, silences, now)
    if (suppression is None) != (incident.suppression is None) or (
        suppression and suppression != incident.suppression
    ):
        events += _tell_hold(incident.suppression, suppression, now)
        changed = replace(changed, suppression=suppression, revision=incident.revision + 1, updated_at=now)
        # What PagerDuty said before a hold is old by its end.
        changed = replace(changed, pagerduty_checked_at=0.0, pagerduty_check_failed=False)
    if is_for_step or suppression != incident.suppression:
        changed = replace(changed, alertmanager_checked_at=now, alertmanager_check_failed=False)
    return IncidentChange(changed, is_changed=changed != incident, events=tuple(events))


def _unasked(incident: Incident, now: float, *, is_for_step: bool) -> IncidentChange:
    changed = incident
    if incident.suppression is not None and incident.suppression.until <= now:
        changed = replace(changed, suppression=None, revision=incident.revision + 1, updated_at=now)
    if is_for_step:
        changed = replace(changed, alertmanager_checked_at=now, alertmanager_check_failed=True)
    return IncidentChange(changed, is_changed=changed != incident)


def _weigh(incident: Incident, look: Look, trust: Trust, *, is_for_step: bool) -> _Verdict:
    verdict = _Verdict(dict(incident.alert_states))
    is_trusted = look.is_complete and all(
        look.at - replica.up_since >= trust.trust_after for replica in look.replicas
    )
    for fingerprint, alert_state in incident.alert_states.items():
        if not alert_state.is_firing or alert_state.is_dismissed:
            continue
        seen = [replica.alerts[fingerprint] for replica in look.replicas if fingerprint in replica.alerts]
        seen = [alert for alert in seen if alert.is_firing]
        if seen:
            if not alert_state.is_seen or alert_state.absent_polls:
                verdict.alert_states[fingerprint] = replace(alert_state, is_seen=True, absent_polls=0)
            unmuted = [alert for alert in seen if not alert.is_muted]
            verdict.is_unmuted |= bool(unmuted)
            verdict.muted += seen[:1] if not unmuted else []
        elif alert_state.is_seen and is_trusted and not is_for_step:
            absent = alert_state.absent_polls + 1
            is_gone = absent >= trust.looks
            verdict.alert_states[fingerprint] = replace(
                alert_state, absent_polls=absent, ends_at=look.at if is_gone else 0.0
            )
            verdict.gone += [fingerprint] if is_gone else []
            verdict.is_unmuted |= not is_gone
        else:
            verdict.is_unmuted = True
    return verdict


def _without(
    incident: Incident, gone: int, trust: Trust, now: float, events: list[TimelineEvent]
) -> Incident:
    count = "1 alert is" if gone == 1 else f"{gone} alerts are"
    text = f"{count} gone from Alertmanager, looked {trust.looks} times in a row; taken for resolved"
    events.append(TimelineEvent(now, "alert_resolved", text))
    incident = replace(incident, revision=incident.revision + 1, updated_at=now)
    if any(s.is_firing and not s.is_dismissed for s in incident.alert_states.values()):
        return incident
    events.append(TimelineEvent(now, "resolved", "All alerts resolved"))
    return replace(incident, resolved_at=now, suppression=None)


def _hold(
    incident: Incident, verdict: _Verdict, silences: Mapping[str, SilenceSeen], now: float
) -> Suppression | None:
    """Return why the escalation is held; None when one firing alert is unmuted."""
    if verdict.is_unmuted or not verdict.muted:
        return None
    since = incident.suppression.since if incident.suppression is not None else now
    ids = [silence_id for alert in verdict.muted for silence_id in alert.silenced_by]
    known = [silences[silence_id] for silence_id in ids if silence_id in silences]
    if known:
        first = min(known, key=lambda silence: silence.ends_at)
        return Suppression("silenced", since, first.by, first.ends_at)
    if ids:
        return Suppression("silenced", since)
    reason = "inhibited" if any(alert.inhibited_by for alert in verdict.muted) else "muted"
    return Suppression(reason, since)


def _tell_hold(before: Suppression | None, after: Suppression | None, now: float) -> list[TimelineEvent]:
    if after is None:
        return [TimelineEvent(now, "released", "Fires unmuted again: the escalation goes on")]
    if before is None:
        return [
            TimelineEvent(
                now, "held", f"All that fires is {after.reason} in Alertmanager: nobody is paged", after.by
            )
        ]
    return []
