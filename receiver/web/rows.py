"""From incidents to what the API and the pages show of them."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec.structs import asdict

from receiver.domain.delivery import Delivery
from receiver.domain.escalation import EscalationState, StepState, evaluate_escalation
from receiver.domain.failure import delivery_id
from receiver.domain.heading import find_heading
from receiver.domain.incident import Incident, SilenceRequest, Suppression, TimelineEvent
from receiver.domain.policy import EscalationPolicy
from receiver.domain.storm import find_storm_of
from receiver.web.bodies import (
    AlertRow,
    AlertState,
    DeliveryRow,
    DeliveryState,
    Escalation,
    EventRow,
    HistoryRow,
    HoldRow,
    IncidentRow,
    MatcherRow,
    SilenceRow,
    State,
    StepRow,
    StepStatus,
    WholeIncident,
)


def format_moment(moment: float) -> str:
    """Return a moment in RFC 3339, in UTC to the millisecond."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_if_any(moment: float | None) -> str | None:
    """Return a moment in RFC 3339, None for none and for 0."""
    return format_moment(moment) if moment else None


def render_row(incident: Incident, policy: EscalationPolicy, now: float) -> IncidentRow:
    """Return one row of the list. *incident* needs its deliveries, its alerts it does not."""
    heading = find_heading(incident)
    upcoming = evaluate_escalation(incident, policy, now).next_step
    return IncidentRow(
        id=incident.id,
        state=State(incident.state),
        severity=incident.severity,
        alertname=heading.name,
        summary=heading.counted_summary,
        receiver=incident.receiver,
        group_key=incident.group_key,
        group_labels=incident.group_labels,
        route=incident.route,
        channel=incident.channel,
        firing=incident.firing,
        total=incident.total,
        opened_at=format_moment(incident.opened_at),
        updated_at=format_moment(incident.updated_at),
        acknowledged_by=incident.acknowledged_by or None,
        next_step=upcoming.step.name if upcoming else None,
        next_step_at=format_if_any(upcoming.due_at) if upcoming else None,
    )


def render_history_row(incident: Incident, policy: EscalationPolicy, now: float) -> HistoryRow:
    """Return one row of the history: that of the list, and how long things took."""
    return HistoryRow(
        **asdict(render_row(incident, policy, now)),
        resolved_at=format_if_any(incident.resolved_at),
        duration_s=_seconds(incident, incident.resolved_at),
        acknowledged_after_s=_seconds(incident, incident.first_acknowledged_at),
    )


def render_whole(
    incident: Incident, policy: EscalationPolicy, timeline: list[TimelineEvent], now: float
) -> WholeIncident:
    """Return one incident with its alerts, timeline, escalation and deliveries."""
    return WholeIncident(
        **asdict(render_row(incident, policy, now)),
        source=incident.source,
        truncated=incident.truncated,
        acknowledged_at=format_if_any(incident.acknowledged_at),
        resolved_at=format_if_any(incident.resolved_at),
        resolved_by=incident.resolved_by or None,
        previous=incident.previous or None,
        snoozed_until=format_if_any(incident.snoozed_until),
        stale_at=None if incident.is_resolved else format_if_any(incident.stale_at),
        held=_render_hold(incident.suppression),
        storm=find_storm_of(incident.deliveries) or None,
        silences=[_render_silence(incident, note) for note in incident.silences],
        alerts=[_render_alert(incident, fingerprint) for fingerprint in incident.alert_states],
        timeline=[_render_event(event) for event in timeline],
        escalation=_render_escalation(policy, evaluate_escalation(incident, policy, now)),
        deliveries=[_render_delivery(incident.id, *each) for each in sorted(incident.deliveries.items())],
    )


def name_state(standing: StepState) -> StepStatus:
    """Return how a step stands in one word."""
    if not standing.is_due:
        return StepStatus.WAITING if standing.due_at is not None else StepStatus.LATER
    if standing.is_unconfirmed:
        return StepStatus.UNCONFIRMED
    if standing.is_timed_out:
        return StepStatus.GIVEN_UP
    is_told = standing.notified_at is not None or standing.is_carried_over
    return StepStatus.TOLD if is_told else StepStatus.TELLING


def _seconds(incident: Incident, moment: float) -> float | None:
    """Return the seconds from opening to *moment*, None where there is none."""
    return round(max(0.0, moment - incident.opened_at), 3) if moment else None


def _render_hold(held: Suppression | None) -> HoldRow | None:
    if held is None:
        return None
    return HoldRow(
        reason=held.reason,
        by=held.by or None,
        since=format_moment(held.since),
        until=format_if_any(held.until),
    )


def _render_silence(incident: Incident, note: SilenceRequest) -> SilenceRow:
    made = incident.deliveries.get(f"silence:{note.number}")
    return SilenceRow(
        number=note.number,
        silence_id=made.receipt.reference if made and made.receipt else None,
        matchers=[MatcherRow(name=name, value=value) for name, value in note.matchers],
        by=note.by,
        comment=note.comment,
        until=format_if_any(note.until),
        until_resolved=note.is_until_resolved,
        ended_at=format_if_any(note.ended_at),
    )


def _render_alert(incident: Incident, fingerprint: str) -> AlertRow:
    alert_state, alert = incident.alert_states[fingerprint], incident.alerts.get(fingerprint)
    return AlertRow(
        fingerprint=fingerprint,
        status=AlertState.FIRING if alert_state.is_firing else AlertState.RESOLVED,
        severity=alert_state.severity,
        starts_at=format_if_any(alert_state.starts_at),
        ends_at=format_if_any(alert_state.ends_at),
        labels=alert.labels if alert else {},
        annotations=alert.annotations if alert else {},
        generator_url=alert.generator_url if alert else "",
    )


def _render_event(event: TimelineEvent) -> EventRow:
    return EventRow(
        at=format_moment(event.at),
        what=event.what,
        text=event.text,
        by=event.by or None,
        via=event.via or None,
    )


def _render_escalation(policy: EscalationPolicy, escalation: EscalationState) -> Escalation:
    return Escalation(
        policy=policy.name or None,
        steps=[
            StepRow(
                step=standing.step.name,
                responder=standing.step.responder.name,
                state=name_state(standing),
                due_at=format_if_any(standing.due_at),
                notified_at=format_if_any(standing.notified_at),
                given_up_at=format_if_any(standing.timed_out_at),
            )
            for standing in escalation.steps
        ],
    )


def _render_delivery(incident_id: str, key: str, delivery: Delivery) -> DeliveryRow:
    receipt = delivery.receipt
    return DeliveryRow(
        id=key,
        target=delivery.target,
        state=name_delivery(delivery),
        attempts=delivery.attempts,
        at=format_if_any(receipt.at if receipt else delivery.last_attempt_at),
        retry_at=format_if_any(delivery.retry_at),
        reason=delivery.reason or None,
        detail=delivery.detail or None,
        simulated=bool(receipt and receipt.is_simulated),
        link=(receipt.link if receipt else "") or None,
        note=(receipt.note if receipt else "") or None,
        retry_id=delivery_id(incident_id, key) if delivery.failed_at else None,
    )


def name_delivery(delivery: Delivery) -> DeliveryState:
    """Return how a delivery stands in one word."""
    if delivery.receipt:
        return DeliveryState.DELIVERED
    return DeliveryState.FAILED if delivery.failed_at else DeliveryState.PENDING
