"""The operations of the API under /api/v1, and their routes."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request

from receiver.config.settings import Settings
from receiver.errors import NotFound
from receiver.runbooks.catalogue import RunbookCatalogue
from receiver.web.api.incidents import IncidentHandler
from receiver.web.api.openapi import PREFIX, Operation, render_openapi
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
    IncidentListPage,
    MaintenanceRow,
    RunbookDetail,
    Status,
    StormList,
    StormRow,
)
from receiver.web.api.serializers import serialize_runbook
from receiver.web.api.status import MaintenanceHandler, StatusHandler, StormHandler
from receiver.web.server.errors import json_response

_NO_INCIDENT = {HTTPStatus.NOT_FOUND: "There is no such incident, or it has expired."}
_INCIDENT = "/incidents/{incident_id}"


@dataclass(frozen=True)
class ApiHandlers:
    """The handlers that the operations call."""

    incidents: IncidentHandler
    storms: StormHandler
    maintenance: MaintenanceHandler
    status: StatusHandler
    runbooks: RunbookCatalogue
    settings: Settings

    def describe_runbook(self, name: str) -> RunbookDetail:
        """Return a runbook's sections and its Markdown. Raises NotFound."""
        runbook = self.runbooks.find_runbook(name)
        if runbook is None:
            raise NotFound("runbook", name)
        return serialize_runbook(runbook)

    def describe_api(self) -> dict[str, Any]:
        """Return the OpenAPI document for this receiver's configuration."""
        is_open = not self.settings.requires_auth
        return render_openapi(OPERATIONS, server=self.settings.public_url, is_open=is_open)


AnyOperation = Operation[ApiHandlers, Any, Any]


def build_api(handlers: ApiHandlers) -> Blueprint:
    """Return the blueprint of the API."""
    api = Blueprint("api", __name__, url_prefix=PREFIX)
    for operation in OPERATIONS:
        _add_route(api, handlers, operation)
    return api


OPERATIONS: tuple[AnyOperation, ...] = (
    Operation(
        "GET",
        "/incidents",
        "listIncidents",
        "List incidents, newest first",
        ListQuery,
        IncidentListPage,
        lambda api, _, fields: api.incidents.list_incidents(fields),
    ),
    Operation(
        "GET",
        _INCIDENT,
        "showIncident",
        "Show one incident with its alerts, timeline, escalation and deliveries",
        EmptyRequest,
        IncidentDetail,
        lambda api, incident_id, _: api.incidents.describe(incident_id),
        _NO_INCIDENT,
    ),
    Operation(
        "POST",
        f"{_INCIDENT}/acknowledge",
        "acknowledgeIncident",
        "Acknowledge an incident: no further step is notified",
        ActorFields,
        IncidentDetail,
        lambda api, incident_id, fields: api.incidents.acknowledge(incident_id, fields),
        _NO_INCIDENT,
    ),
    Operation(
        "POST",
        f"{_INCIDENT}/unacknowledge",
        "unacknowledgeIncident",
        "Remove the acknowledgement: the step last notified is notified again, and the escalation goes on",
        ActorFields,
        IncidentDetail,
        lambda api, incident_id, fields: api.incidents.unacknowledge(incident_id, fields),
        _NO_INCIDENT,
    ),
    Operation(
        "POST",
        f"{_INCIDENT}/resolve",
        "resolveIncident",
        "Resolve an incident by hand, even while its alerts fire",
        ActorFields,
        IncidentDetail,
        lambda api, incident_id, fields: api.incidents.resolve(incident_id, fields),
        _NO_INCIDENT,
    ),
    Operation(
        "POST",
        f"{_INCIDENT}/snooze",
        "snoozeIncident",
        "Acknowledge an incident for a time; then the escalation goes on",
        SnoozeRequest,
        IncidentDetail,
        lambda api, incident_id, fields: api.incidents.snooze(incident_id, fields),
        _NO_INCIDENT,
    ),
    Operation(
        "POST",
        f"{_INCIDENT}/silence",
        "silenceIncident",
        "Silence the firing alerts in Alertmanager",
        CreateSilenceRequest,
        IncidentDetail,
        lambda api, incident_id, fields: api.incidents.silence(incident_id, fields),
        {
            **_NO_INCIDENT,
            HTTPStatus.CONFLICT: "It is resolved, or none of its alerts fires.",
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
        lambda api, _, _asked: api.storms.list_storms(),
    ),
    Operation(
        "POST",
        "/storms/{storm_id}/acknowledge",
        "acknowledgeStorm",
        "Acknowledge all incidents of a storm",
        ActorFields,
        StormRow,
        lambda api, storm_id, fields: api.storms.acknowledge(storm_id, fields),
        {HTTPStatus.NOT_FOUND: "There is no such storm, or it has expired."},
    ),
    Operation(
        "GET",
        "/history",
        "listHistory",
        "List closed and open incidents since a moment, newest first, with their durations",
        HistoryQuery,
        HistoryPage,
        lambda api, _, fields: api.incidents.list_history(fields),
    ),
    Operation(
        "GET",
        "/deliveries",
        "listDeliveries",
        "List deliveries that failed permanently and were not sent since, newest first",
        FailureQuery,
        FailurePage,
        lambda api, _, fields: api.incidents.list_failures(fields),
    ),
    Operation(
        "POST",
        "/deliveries/{delivery_id}/retry",
        "retryDelivery",
        "Send a failed delivery again; one that the plan no longer wants only leaves the list",
        ActorFields,
        FailedDelivery,
        lambda api, failure_id, fields: api.incidents.retry(failure_id, fields),
        {HTTPStatus.NOT_FOUND: "There is no such delivery, or its incident has expired."},
    ),
    Operation(
        "GET",
        "/runbooks/{alertname}",
        "showRunbook",
        "Show the runbook of an alert",
        EmptyRequest,
        RunbookDetail,
        lambda api, name, _: api.describe_runbook(name),
        {HTTPStatus.NOT_FOUND: "There is no such runbook."},
    ),
    Operation(
        "GET",
        "/status",
        "showStatus",
        "Show the status of the receiver: workers, channels, heartbeats, maintenance",
        EmptyRequest,
        Status,
        lambda api, _, _asked: api.status.describe(),
    ),
    Operation(
        "GET",
        "/maintenance",
        "showMaintenance",
        "Show the active maintenance, in which no pages are sent",
        EmptyRequest,
        MaintenanceRow,
        lambda api, _, _asked: api.maintenance.describe(),
    ),
    Operation(
        "POST",
        "/maintenance",
        "beginMaintenance",
        "Start maintenance, 7 days at most: no pages are sent; what still fires afterwards is paged",
        StartMaintenanceRequest,
        MaintenanceRow,
        lambda api, _, fields: api.maintenance.start(fields),
    ),
    Operation(
        "DELETE",
        "/maintenance",
        "endMaintenance",
        "End maintenance: what still fires is paged immediately",
        EndMaintenanceRequest,
        MaintenanceRow,
        lambda api, _, fields: api.maintenance.end(fields),
    ),
    Operation(
        "GET",
        "/openapi.json",
        "describeApi",
        "Show this document",
        EmptyRequest,
        dict[str, Any],
        lambda api, _, _asked: api.describe_api(),
    ),
)


def _add_route(api: Blueprint, handlers: ApiHandlers, operation: AnyOperation) -> None:
    def view(**names: str) -> Response:
        name = names[operation.name] if operation.name else ""
        body = request.get_data(cache=False) if operation.has_body else b""
        return json_response(operation.handle(handlers, name, request.args, body))

    path = operation.path.replace("{", "<").replace("}", ">")
    api.add_url_rule(path, operation.id, view, methods=[operation.method])
