"""The routing page: routes, a dry run of labels, and a test alert."""

from __future__ import annotations

import json
import shlex
from typing import Annotated

from flask import Blueprint, redirect, render_template, request
from msgspec import Meta, Struct
from werkzeug.wrappers import Response

from receiver.clock import Clock, format_duration
from receiver.config.model import Routing
from receiver.config.runbook_checks import find_disagreements
from receiver.incidents.ingest import IncidentIngester
from receiver.incidents.routing_preview import preview_route
from receiver.integrations.alertmanager.sample_alerts import TestAlert
from receiver.integrations.alertmanager.webhook import parse_webhook
from receiver.runbooks.catalogue import RunbookCatalogue
from receiver.text import one_line
from receiver.web.api.requests import read_query
from receiver.web.server.errors import RequestError
from receiver.web.urls import url_for

_MAX_LABELS = 60


class DryRunQuery(Struct, frozen=True):
    """Labels to route: `name=value` separated by spaces, quoted as in a shell."""

    labels: Annotated[str, Meta(max_length=4000)] = ""


def add_routing(
    pages: Blueprint, table: Routing, catalogue: RunbookCatalogue, ingester: IncidentIngester, clock: Clock
) -> None:
    """Add the page to the blueprint."""

    @pages.get("/routing")
    def routing() -> str:
        """Show the routes and their escalation policies; with labels, also the route that they match."""
        query = read_query(DryRunQuery, request.args)
        labels = _read_labels(query.labels)
        return render_template(
            "routing.html",
            query=query,
            routing=table,
            preview=preview_route(table, catalogue, labels) if labels else None,
            warnings=(
                *table.warnings,
                *find_disagreements(table, catalogue.list_runbooks(), catalogue.list_matrix_rows()),
            ),
            policy_of=lambda route: table.get_policy(route.escalation),
            duration=format_duration,
        )

    @pages.post("/routing/fire")
    def fire() -> Response:
        """Send a test alert through the same parser and ingester as Alertmanager's webhooks."""
        labels = _read_labels(request.form.get("labels", ""))
        if not labels.get("alertname"):
            raise RequestError(400, "a test alert needs a label alertname=…")
        is_over = request.form.get("does") == "resolve"
        annotations = {"summary": "A test alert, sent from the page"}
        sample = TestAlert(labels, annotations, clock(), is_resolved=is_over)
        body = parse_webhook(json.dumps(sample.render_webhook()).encode(), "", clock())
        result = ingester.ingest(body.groups, clock())
        if result.incidents and not is_over:
            return redirect(url_for("pages.incident", incident_id=result.incidents[0]), 303)
        return redirect(url_for("pages.routing", labels=request.form.get("labels", "")), 303)


def _read_labels(text: str) -> dict[str, str]:
    """Return the labels in *text*; raises RequestError with a message where one can't be parsed."""
    found: dict[str, str] = {}
    try:
        pieces = shlex.split(text)
    except ValueError:
        raise RequestError(400, f"{one_line(text, 80)!r} has a quote that doesn't end") from None
    for piece in pieces[:_MAX_LABELS]:
        name, is_pair, value = piece.partition("=")
        if not is_pair or not name:
            raise RequestError(400, f"{one_line(piece, 80)!r} is no label, expected name=value")
        found[name] = value
    return found
