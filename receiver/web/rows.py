"""Incidents as the API shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from receiver.domain.delivery import Delivery
from receiver.domain.escalation import Progress, StepStanding, trace_progress
from receiver.domain.incident import Event, Hold, Incident, SilenceNote
from receiver.domain.policy import EscalationPolicy

Json = dict[str, Any]


def format_moment(moment: float | None) -> str | None:
    """Return a moment in RFC 3339, in UTC to the millisecond; None for none."""
    if not moment:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def render_row(incident: Incident, policy: EscalationPolicy, now: float) -> Json:
    """Return one row of the list. *incident* needs its deliveries, its alerts it does not."""
    upcoming = trace_progress(incident, policy, now).next_step
    return {
        "id": incident.id,
        "state": incident.state,
        "severity": incident.severity.value,
        "alertname": incident.alertname,
        "summary": incident.summary,
        "receiver": incident.receiver,
        "group_key": incident.group_key,
        "group_labels": incident.group_labels,
        "route": incident.route,
        "channel": incident.channel,
        "firing": incident.firing,
        "total": incident.total,
        "opened_at": format_moment(incident.opened_at),
        "updated_at": format_moment(incident.updated_at),
        "acknowledged_by": incident.acknowledged_by or None,
        "next_step": upcoming.step.name if upcoming else None,
        "next_step_at": format_moment(upcoming.due_at) if upcoming else None,
    }


def render_whole(incident: Incident, policy: EscalationPolicy, timeline: list[Event], now: float) -> Json:
    """Return one incident with its alerts, timeline, escalation and deliveries."""
    progress = trace_progress(incident, policy, now)
    return {
        **render_row(incident, policy, now),
        "source": incident.source,
        "acknowledged_at": format_moment(incident.acknowledged_at),
        "resolved_at": format_moment(incident.resolved_at),
        "resolved_by": incident.resolved_by or None,
        "previous": incident.previous or None,
        "snoozed_until": format_moment(incident.snoozed_until),
        "held": _render_hold(incident.held),
        "silences": [_render_silence(incident, note) for note in incident.silences],
        "alerts": [_render_alert(incident, fingerprint) for fingerprint in incident.standings],
        "timeline": [
            {
                "at": format_moment(event.at),
                "what": event.what,
                "text": event.text,
                "by": event.by or None,
                "via": event.via or None,
            }
            for event in timeline
        ],
        "escalation": _render_progress(policy, progress),
        "deliveries": [
            _render_delivery(key, delivery) for key, delivery in sorted(incident.deliveries.items())
        ],
    }


def _render_hold(held: Hold | None) -> Json | None:
    if held is None:
        return None
    return {
        "reason": held.reason,
        "by": held.by or None,
        "since": format_moment(held.since),
        "until": format_moment(held.until),
    }


def _render_silence(incident: Incident, note: SilenceNote) -> Json:
    made = incident.deliveries.get(f"silence:{note.number}")
    return {
        "number": note.number,
        "silence_id": made.receipt.reference if made and made.receipt else None,
        "matchers": [{"name": name, "value": value} for name, value in note.matchers],
        "by": note.by,
        "comment": note.comment,
        "until": format_moment(note.until),
        "until_resolved": note.is_until_resolved,
        "ended_at": format_moment(note.ended_at),
    }


def _render_alert(incident: Incident, fingerprint: str) -> Json:
    standing, alert = incident.standings[fingerprint], incident.alerts.get(fingerprint)
    return {
        "fingerprint": fingerprint,
        "status": "firing" if standing.is_firing else "resolved",
        "severity": standing.severity.value,
        "starts_at": format_moment(standing.starts_at),
        "ends_at": format_moment(standing.ends_at),
        "labels": alert.labels if alert else {},
        "annotations": alert.annotations if alert else {},
        "generator_url": alert.generator_url if alert else "",
    }


def _render_progress(policy: EscalationPolicy, progress: Progress) -> Json:
    return {
        "policy": policy.name or None,
        "steps": [
            {
                "step": standing.step.name,
                "responder": standing.step.responder.name,
                "state": name_state(standing),
                "due_at": format_moment(standing.due_at),
                "told_at": format_moment(standing.told_at),
            }
            for standing in progress.steps
        ],
    }


def name_state(standing: StepStanding) -> str:
    """Return how a step stands in one word."""
    if not standing.is_reached:
        return "waiting" if standing.due_at is not None else "later"
    if standing.is_given_up:
        return "given_up"
    return "told" if standing.told_at is not None else "telling"


def _render_delivery(key: str, delivery: Delivery) -> Json:
    receipt = delivery.receipt
    return {
        "id": key,
        "target": delivery.target,
        "state": "delivered" if receipt else "failed" if delivery.failed_at else "pending",
        "attempts": delivery.attempts,
        "at": format_moment(receipt.at if receipt else delivery.last_attempt_at),
        "retry_at": format_moment(delivery.retry_at),
        "reason": delivery.reason or None,
        "detail": delivery.detail or None,
        "simulated": bool(receipt and receipt.is_simulated),
        "link": (receipt.link if receipt else "") or None,
        "note": (receipt.note if receipt else "") or None,
    }
