"""Serializers of incidents, their parts and runbooks into the API's response types."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from msgspec import Struct, convert
from msgspec.structs import asdict, replace

from receiver.clock import format_iso_time
from receiver.config.model import Routing
from receiver.incidents.failures import delivery_id
from receiver.model import delivery_keys as keys
from receiver.model.actions import DeliveryAction
from receiver.model.alert_links import NamedLink, list_alert_links
from receiver.model.delivery import Delivery
from receiver.model.escalation import EscalationState, IncidentView, StepState
from receiver.model.heading import find_heading
from receiver.model.incident import Incident, SilenceRequest, TimelineEvent
from receiver.model.labels import sort_labels
from receiver.model.plan import IncidentPlan
from receiver.runbooks.model import Runbook
from receiver.storms.model import find_storm_of
from receiver.web.api import responses

R = TypeVar("R", bound=Struct)


def format_timestamp(timestamp: float) -> str:
    """Return a timestamp in RFC 3339, in UTC to the millisecond."""
    return format_iso_time(timestamp)


def format_optional_timestamp(timestamp: float | None) -> str | None:
    """Return a timestamp in RFC 3339, None for none and for 0."""
    return format_timestamp(timestamp) if timestamp else None


def serialize_fields(kind: type[R], source: object, **computed: Any) -> R:
    """Return a *kind* of the API: its fields are *computed*, or those of *source* that have the same name.

    A timestamp is formatted. An empty text and the timestamp 0 become null where the field may be null.
    """
    fields = {}
    for name, is_text, is_optional in _list_fields(kind):
        if name not in computed:
            value = getattr(source, name)
            if is_text and isinstance(value, (int, float)):
                value = format_optional_timestamp(value) if is_optional else format_timestamp(value)
            fields[name] = None if is_optional and not value else value
    return kind(**fields, **computed)


@cache
def _list_fields(kind: type) -> list[tuple[str, bool, bool]]:
    """Return the fields of *kind*: the name, whether it is a text, and whether it may be null."""
    hints = get_type_hints(kind).items()
    return [(name, hint in (str, str | None), NoneType in get_args(hint)) for name, hint in hints]


def serialize_row(incident: Incident, escalation: EscalationState) -> responses.IncidentRow:
    """Return one row of the list. *incident* needs its deliveries but not its alerts."""
    heading, upcoming = find_heading(incident), escalation.next_step
    return serialize_fields(
        responses.IncidentRow,
        incident,
        state=responses.State(incident.state),
        group_labels=sort_labels(incident.group_labels),
        alertname=heading.name,
        summary=heading.counted_summary,
        next_step=upcoming.step.name if upcoming else None,
        next_step_at=format_optional_timestamp(upcoming.due_at)
        if upcoming and not incident.is_paused
        else None,
    )


def serialize_history_row(incident: Incident, escalation: EscalationState) -> responses.HistoryRow:
    """Return one row of the history: that of the list, and the durations."""
    return serialize_fields(
        responses.HistoryRow,
        incident,
        **asdict(serialize_row(incident, escalation)),
        duration_s=_seconds_after_opening(incident, incident.resolved_at),
        acknowledged_after_s=_seconds_after_opening(incident, incident.first_acknowledged_at),
    )


def serialize_incident(
    planned: IncidentPlan, timeline: list[TimelineEvent], links: Iterable[NamedLink]
) -> responses.IncidentDetail:
    """Return one incident with its alerts, timeline, escalation and deliveries.

    A delivery that failed and that the plan no longer wants is not tried again. While the escalation is
    paused, the plan may want it again.
    """
    incident, escalation = planned.view.incident, planned.view.escalation
    muted = incident.suppression
    keys = {action.key for action in planned.actions if isinstance(action, DeliveryAction)}
    if incident.is_paused or escalation.paused_until:
        keys |= set(incident.deliveries)
    return serialize_fields(
        responses.IncidentDetail,
        incident,
        **asdict(serialize_row(incident, escalation)),
        stale_at=None if incident.is_resolved else format_optional_timestamp(incident.stale_at),
        suppressed=serialize_fields(responses.SuppressionRow, muted) if muted else None,
        storm=find_storm_of(incident.deliveries) or None,
        links=[serialize_fields(responses.LinkRow, one) for one in links],
        silences=[_serialize_silence(incident, request) for request in incident.silences],
        alerts=[_serialize_alert(incident, fingerprint) for fingerprint in incident.alert_states],
        timeline=[serialize_fields(responses.EventRow, event) for event in timeline],
        escalation=_serialize_escalation(planned.view),
        deliveries=[
            _serialize_delivery(incident.id, key, delivery, is_planned=key in keys)
            for key, delivery in sorted(incident.deliveries.items())
        ],
    )


def step_status(step_state: StepState) -> responses.StepStatus:
    """Return the status of an escalation step."""
    if not step_state.is_due:
        return responses.StepStatus.WAITING if step_state.due_at is not None else responses.StepStatus.LATER
    if step_state.is_unconfirmed:
        return responses.StepStatus.UNCONFIRMED
    if step_state.is_timed_out:
        return responses.StepStatus.TIMED_OUT
    is_notified = step_state.notified_at is not None or step_state.is_carried_over
    return responses.StepStatus.NOTIFIED if is_notified else responses.StepStatus.NOTIFYING


def _seconds_after_opening(incident: Incident, timestamp: float) -> float | None:
    """Return the seconds from opening to *timestamp*, None for 0."""
    return round(max(0.0, timestamp - incident.opened_at), 3) if timestamp else None


def _serialize_silence(incident: Incident, request: SilenceRequest) -> responses.SilenceRow:
    made = incident.deliveries.get(keys.silence_key(request.number))
    return serialize_fields(
        responses.SilenceRow,
        request,
        silence_id=made.receipt.reference if made and made.receipt else None,
        matchers=[responses.MatcherRow(name=name, value=value) for name, value in request.matchers],
        until_resolved=request.is_until_resolved,
    )


def _serialize_alert(incident: Incident, fingerprint: str) -> responses.AlertRow:
    alert_state, alert = incident.alert_states[fingerprint], incident.alerts.get(fingerprint)
    return serialize_fields(
        responses.AlertRow,
        alert_state,
        fingerprint=fingerprint,
        status=responses.AlertStatus.FIRING if alert_state.is_firing else responses.AlertStatus.RESOLVED,
        labels=sort_labels(alert.labels) if alert else {},
        annotations=alert.annotations if alert else {},
        generator_url=alert.generator_url if alert else "",
        links=[serialize_fields(responses.LinkRow, one) for one in list_alert_links(alert)] if alert else [],
    )


def _serialize_escalation(view: IncidentView) -> responses.Escalation:
    """Return the escalation; while it is paused, the due time of the next step is unknown."""
    is_paused = view.incident.is_paused
    return responses.Escalation(
        policy=view.policy.name or None,
        steps=[
            serialize_fields(
                responses.StepRow,
                step_state,
                step=step_state.step.name,
                responder=step_state.step.responder.name,
                state=step_status(step_state),
            )
            for one in view.escalation.steps
            for step_state in [replace(one, due_at=None) if is_paused and not one.is_due else one]
        ],
    )


def _serialize_delivery(
    incident_id: str, key: str, delivery: Delivery, *, is_planned: bool
) -> responses.DeliveryRow:
    receipt = delivery.receipt
    is_over = not (delivery.is_settled or is_planned) and bool(delivery.reason)
    note = "no longer needed" if is_over else receipt.note if receipt else ""
    return serialize_fields(
        responses.DeliveryRow,
        delivery,
        id=key,
        state=delivery_state(delivery),
        at=format_optional_timestamp(receipt.at if receipt else delivery.last_attempt_at),
        retry_at=None if is_over else format_optional_timestamp(delivery.retry_at),
        simulated=bool(receipt and receipt.is_simulated),
        link=(receipt.link if receipt else "") or None,
        note=note or None,
        retry_id=delivery_id(incident_id, key) if delivery.failed_at else None,
    )


def delivery_state(delivery: Delivery) -> responses.DeliveryState:
    """Return the state of a delivery."""
    if delivery.receipt:
        return responses.DeliveryState.DELIVERED
    return responses.DeliveryState.FAILED if delivery.failed_at else responses.DeliveryState.PENDING


def delivery_keys(routing: Routing) -> tuple[keys.DeliveryKey, ...]:
    """Return the keys of the deliveries, of all policies, that determine the progress of an escalation."""
    names = {step.name for policy in routing.policies.values() for step in policy.steps}
    names |= {heartbeat.notify.name for heartbeat in routing.heartbeats}
    responders = routing.responders
    fallbacks = {route.fallback for route in routing.routes} & set(responders)
    return (
        *(keys.MESSAGE, keys.REPLACEMENT, keys.FALLBACK),
        *keys.list_step_keys(sorted(names)),
        *(
            key(responders[n].fallback_step.name)
            for key in (keys.page_key, keys.reply_key)
            for n in sorted(fallbacks)
        ),
        *(key(name) for key in (keys.acknowledge_key, keys.resolve_key) for name in sorted(responders)),
    )


def serialize_runbook(runbook: Runbook) -> responses.RunbookDetail:
    """Return a runbook's sections and its Markdown."""
    sections = convert(runbook.sections, list[responses.RunbookSection], from_attributes=True)
    return responses.RunbookDetail(runbook.name, runbook.severity, sections, markdown=runbook.source)
