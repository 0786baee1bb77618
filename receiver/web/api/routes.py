"""The operations of the API under /api/v1, and their routes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request

from receiver.app.services import Services
from receiver.web.api.incidents import (
    acknowledge,
    list_failures,
    list_history,
    list_incidents,
    resolve,
    retry,
    silence,
    snooze,
    unacknowledge,
)
from receiver.web.api.openapi import PREFIX, AnyOperation, Operation, render_openapi
from receiver.web.api.requests import (
    ActorFields,
    CreateSilenceRequest,
    EmptyRequest,
    EndMaintenanceRequest,
    FailureQuery,
    HistoryQuery,
    ListQuery,
    SnoozeRequest,
    StartMaintenanceRequest,
)
from receiver.web.api.responses import (
    FailedDelivery,
    FailurePage,
    HistoryPage,
    IncidentDetail,
    IncidentPage,
    MaintenanceRow,
    RunbookDetail,
    Status,
    StormList,
    StormRow,
)
from receiver.web.api.serializers import describe_incident, describe_runbook
from receiver.web.api.status import (
    acknowledge_storm,
    end_maintenance,
    list_storms,
    show_maintenance,
    show_status,
    start_maintenance,
)
from receiver.web.server.errors import json_response

_NO_INCIDENT = {HTTPStatus.NOT_FOUND: "There is no such incident, or none any more."}
_INCIDENT = "/incidents/{incident_id}"


def build_api(services: Services) -> Blueprint:
    """Return the blueprint of the API."""
    api = Blueprint("api", __name__, url_prefix=PREFIX)

    for operation in OPERATIONS:
        _add_route(api, services, operation)
    return api


def describe_api(services: Services, _name: str = "", _asked: EmptyRequest | None = None) -> dict[str, Any]:
    """Return the OpenAPI document for this receiver's configuration."""
    settings = services.settings
    return render_openapi(OPERATIONS, server=settings.public_url, is_open=not settings.requires_auth)


OPERATIONS: tuple[AnyOperation, ...] = (
    Operation(
        "GET",
        "/incidents",
        "listIncidents",
        "List incidents, newest first",
        ListQuery,
        IncidentPage,
        lambda services, _, asked: list_incidents(services, asked),
    ),
    Operation(
        "GET",
        _INCIDENT,
        "showIncident",
        "Show one incident with its alerts, timeline, escalation and deliveries",
        EmptyRequest,
        IncidentDetail,
        lambda services, incident_id, _: describe_incident(services, incident_id),
        _NO_INCIDENT,
    ),
    Operation(
        "POST",
        f"{_INCIDENT}/acknowledge",
        "acknowledgeIncident",
        "Somebody has it: nobody further is told",
        ActorFields,
        IncidentDetail,
        acknowledge,
        _NO_INCIDENT,
    ),
    Operation(
        "POST",
        f"{_INCIDENT}/unacknowledge",
        "unacknowledgeIncident",
        "Nobody has it any more: the step last told is told again, and the escalation goes on",
        ActorFields,
        IncidentDetail,
        unacknowledge,
        _NO_INCIDENT,
    ),
    Operation(
        "POST",
        f"{_INCIDENT}/resolve",
        "resolveIncident",
        "Close it by hand, even while it fires",
        ActorFields,
        IncidentDetail,
        resolve,
        _NO_INCIDENT,
    ),
    Operation(
        "POST",
        f"{_INCIDENT}/snooze",
        "snoozeIncident",
        "Acknowledge it for a time; then the escalation goes on",
        SnoozeRequest,
        IncidentDetail,
        snooze,
        _NO_INCIDENT,
    ),
    Operation(
        "POST",
        f"{_INCIDENT}/silence",
        "silenceIncident",
        "Silence in Alertmanager what fires",
        CreateSilenceRequest,
        IncidentDetail,
        silence,
        {
            **_NO_INCIDENT,
            HTTPStatus.CONFLICT: "It is resolved: nothing of it fires.",
            HTTPStatus.BAD_GATEWAY: "Alertmanager can't be reached; nothing is silenced.",
        },
    ),
    Operation(
        "GET",
        "/storms",
        "listStorms",
        "List the storms that are not resolved, newest first",
        EmptyRequest,
        StormList,
        lambda services, _name, _asked: list_storms(services),
    ),
    Operation(
        "POST",
        "/storms/{storm_id}/acknowledge",
        "acknowledgeStorm",
        "Somebody has all that the storm counts",
        ActorFields,
        StormRow,
        acknowledge_storm,
        {HTTPStatus.NOT_FOUND: "There is no such storm, or none any more."},
    ),
    Operation(
        "GET",
        "/history",
        "listHistory",
        "List closed and open incidents since a moment, newest first, with how long things took",
        HistoryQuery,
        HistoryPage,
        lambda services, _, asked: list_history(services, asked),
    ),
    Operation(
        "GET",
        "/deliveries",
        "listDeliveries",
        "List deliveries that were given up and not sent since, newest first",
        FailureQuery,
        FailurePage,
        lambda services, _, asked: list_failures(services, asked),
    ),
    Operation(
        "POST",
        "/deliveries/{delivery_id}/retry",
        "retryDelivery",
        "Send again what was given up; what nobody needs any more only leaves the list",
        ActorFields,
        FailedDelivery,
        retry,
        {HTTPStatus.NOT_FOUND: "There is no such delivery, or none any more."},
    ),
    Operation(
        "GET",
        "/runbooks/{alertname}",
        "showRunbook",
        "Show the runbook of an alert",
        EmptyRequest,
        RunbookDetail,
        lambda services, name, _: describe_runbook(services, name),
        {HTTPStatus.NOT_FOUND: "There is no such runbook."},
    ),
    Operation(
        "GET",
        "/status",
        "showStatus",
        "Show how the receiver itself does: workers, channels, heartbeats, maintenance",
        EmptyRequest,
        Status,
        show_status,
    ),
    Operation(
        "GET",
        "/maintenance",
        "showMaintenance",
        "Show the maintenance in force, in which nobody is paged",
        EmptyRequest,
        MaintenanceRow,
        show_maintenance,
    ),
    Operation(
        "POST",
        "/maintenance",
        "beginMaintenance",
        "Page nobody for a time, 7 days at most; all else goes on, and what still fires then is paged",
        StartMaintenanceRequest,
        MaintenanceRow,
        start_maintenance,
    ),
    Operation(
        "DELETE",
        "/maintenance",
        "endMaintenance",
        "End maintenance: what still fires is paged at once",
        EndMaintenanceRequest,
        MaintenanceRow,
        end_maintenance,
    ),
    Operation(
        "GET",
        "/openapi.json",
        "describeApi",
        "Show this description",
        EmptyRequest,
        dict[str, Any],
        describe_api,
    ),
)


def _add_route(api: Blueprint, services: Services, operation: AnyOperation) -> None:
    def view(**names: str) -> Response:
        name = names[operation.name] if operation.name else ""
        body = request.get_data(cache=False) if operation.has_body else b""
        return json_response(operation.handle(services, name, request.args, body))

    path = operation.path.replace("{", "<").replace("}", ">")
    api.add_url_rule(path, operation.id, view, methods=[operation.method])
