"""The routes of the API under /api/v1, and the operations on runbooks and the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request

from receiver.config.settings import Settings
from receiver.errors import NotFound
from receiver.runbooks.catalogue import RunbookCatalogue
from receiver.web.api.incidents import IncidentHandler
from receiver.web.api.openapi import PREFIX, Operation, list_operations, operation, render_openapi
from receiver.web.api.requests import EmptyRequest, read_body, read_query
from receiver.web.api.responses import RunbookDetail
from receiver.web.api.serializers import serialize_runbook
from receiver.web.api.status import MaintenanceHandler, StatusHandler, StormHandler
from receiver.web.server.errors import json_response


@dataclass(frozen=True)
class DocumentHandler:
    """The operations on runbooks and on the description of the API."""

    runbooks: RunbookCatalogue
    settings: Settings

    @operation(
        "GET", "/runbooks/{alertname}", "showRunbook", {HTTPStatus.NOT_FOUND: "There is no such runbook."}
    )
    def get_runbook(self, name: str) -> RunbookDetail:
        """Show the runbook of an alert."""
        runbook = self.runbooks.find_runbook(name)
        if runbook is None:
            raise NotFound("runbook", name)
        return serialize_runbook(runbook)

    @operation("GET", "/openapi.json", "describeApi")
    def describe_api(self) -> dict[str, Any]:
        """Show this document."""
        is_open = not self.settings.requires_auth
        return render_openapi(OPERATIONS, server=self.settings.public_url, is_open=is_open)


_HANDLERS = (IncidentHandler, StormHandler, MaintenanceHandler, StatusHandler, DocumentHandler)
# The order of the document, by the first part of the path.
_ORDER = ("incidents", "storms", "history", "deliveries", "runbooks", "status", "maintenance", "openapi.json")
OPERATIONS = sorted(
    (one for handler in _HANDLERS for one in list_operations(handler)),
    key=lambda one: _ORDER.index(one.path.split("/")[1]),
)


def build_api(*handlers: object) -> Blueprint:
    """Return the blueprint of the API: the operations of *handlers*."""
    api = Blueprint("api", __name__, url_prefix=PREFIX)
    for handler in handlers:
        for one in list_operations(type(handler)):
            # The name of an alert may have a slash: `I/O wait`.
            path = one.path.replace("{alertname}", "<path:alertname>").replace("{", "<").replace("}", ">")
            api.add_url_rule(path, one.id, partial(_handle_request, handler, one), methods=[one.verb])
    return api


def _handle_request(handler: object, operation: Operation, **names: str) -> Response:
    """Parse the request and call the method of *handler*; raises RequestError and what that raises."""
    kind = operation.request_type
    if operation.has_body:
        fields = read_body(kind, request.get_data(cache=False))
    else:
        fields = read_query(kind, request.args)
    arguments = [] if kind is EmptyRequest else [fields]
    return json_response(operation.method(handler, *names.values(), *arguments))
