"""Incidents as the API gives them, typed for showing; what a receiver of another version lacks is empty."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from receiver.cli.api import ReceiverApiError

T = TypeVar("T", bound=Struct)


class Row(Struct, frozen=True):
    """One incident in the list. Moments are RFC 3339 texts in UTC."""

    id: str
    state: str = ""
    severity: str = ""
    alertname: str = ""
    summary: str = ""
    receiver: str = ""
    group_labels: dict[str, str] = {}
    route: str = ""
    channel: str = ""
    firing: int = 0
    total: int = 0
    opened_at: str | None = None
    updated_at: str | None = None
    acknowledged_by: str | None = None
    next_step: str | None = None
    next_step_at: str | None = None


class HistoryRow(Row, frozen=True):
    """One incident in the history."""

    resolved_at: str | None = None
    duration_s: float | None = None
    acknowledged_after_s: float | None = None


class AlertRow(Struct, frozen=True):
    status: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    starts_at: str | None = None
    ends_at: str | None = None
    generator_url: str = ""


class EventRow(Struct, frozen=True):
    """One line of the timeline."""

    at: str | None = None
    what: str = ""
    text: str = ""
    by: str | None = None
    via: str | None = None


class SuppressionRow(Struct, frozen=True):
    """Why nobody further is told though it fires."""

    reason: str = ""
    by: str | None = None
    until: str | None = None


class SilenceRow(Struct, frozen=True):
    """A silence that was wished for."""

    number: int = 0
    silence_id: str | None = None
    by: str = ""
    comment: str = ""
    until: str | None = None
    ended_at: str | None = None


class StepRow(Struct, frozen=True):
    step: str = ""
    responder: str = ""
    state: str = ""
    due_at: str | None = None
    notified_at: str | None = None
    given_up_at: str | None = None


class EscalationRow(Struct, frozen=True):
    policy: str | None = None
    steps: list[StepRow] = []


class DeliveryRow(Struct, frozen=True):
    id: str = ""
    target: str = ""
    state: str = ""
    attempts: int = 0
    at: str | None = None
    retry_at: str | None = None
    reason: str | None = None
    detail: str | None = None
    simulated: bool = False
    link: str | None = None


class IncidentDetail(Row, frozen=True):
    """One incident with all that is known of it."""

    acknowledged_at: str | None = None
    resolved_at: str | None = None
    resolved_by: str | None = None
    snoozed_until: str | None = None
    suppressed: SuppressionRow | None = None
    silences: list[SilenceRow] = []
    alerts: list[AlertRow] = []
    timeline: list[EventRow] = []
    escalation: EscalationRow = EscalationRow()
    deliveries: list[DeliveryRow] = []


class MaintenanceRow(Struct, frozen=True):
    """The maintenance in force; no *until* where there is none."""

    until: str | None = None
    by: str | None = None
    comment: str | None = None


def read_maintenance(raw: Any) -> MaintenanceRow:
    """Return the maintenance in force; raises ApiError for what has another form."""
    return _convert_row(raw, MaintenanceRow)


class FailedRow(Struct, frozen=True):
    """A delivery that was given up."""

    id: str
    incident: str = ""
    alertname: str = ""
    severity: str = ""
    target: str = ""
    what: str = ""
    state: str = ""
    reason: str | None = None
    detail: str | None = None
    attempts: int = 0
    failed_at: str | None = None


def read_failed(raw: Any) -> FailedRow:
    """Return a delivery that was given up; raises ApiError for one that has another form."""
    return _convert_row(raw, FailedRow)


def read_row(raw: Any) -> Row:
    """Return a row of the list; raises ApiError for one that has another form."""
    return _convert_row(raw, Row)


def read_history_row(raw: Any) -> HistoryRow:
    """Return a row of the history; raises ApiError for one that has another form."""
    return _convert_row(raw, HistoryRow)


def read_incident(raw: Any) -> IncidentDetail:
    """Return a whole incident; raises ApiError for one that has another form."""
    return _convert_row(raw, IncidentDetail)


def _convert_row(raw: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise ReceiverApiError(
            f"the receiver's answer has an unknown form ({error}): is it of another version?"
        ) from None
