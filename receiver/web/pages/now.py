"""The page of what is on fire now."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

from flask import Blueprint, request
from werkzeug.wrappers import Response

from receiver.web.board import DashboardQuery, build_dashboard
from receiver.web.maintenance import show_maintenance
from receiver.web.misaddressed import find_hook_url
from receiver.web.questions import read_query
from receiver.web.relative import url_for
from receiver.web.stamp import conditional_response
from receiver.web.status import list_heartbeats
from receiver.web.troubles import list_status_warnings
from receiver.web.webhook_rows import list_webhooks
from receiver.wiring.parts import Services


def add_dashboard(pages: Blueprint, services: Services) -> None:
    """Add the page to the blueprint."""

    @pages.get("/")
    def show_dashboard() -> Response:
        """Show what is open, most urgent first."""
        asked = read_query(DashboardQuery, request.args)
        dashboard, counts = build_dashboard(services, asked)
        status_warnings, heartbeats = (
            list_status_warnings(services, counts.stale, counts.alarms),
            list_heartbeats(services),
        )
        maintenance, webhooks = show_maintenance(services), list_webhooks(services)
        response = conditional_response(
            "now.html",
            # When the last webhook came changes all the time: a header says it to who has the page.
            (
                replace(dashboard, at=""),
                counts,
                status_warnings,
                heartbeats,
                maintenance,
                [row.source for row in webhooks],
            ),
            asked=asked,
            dashboard=dashboard,
            counts=counts,
            routes=[route.name for route in services.routing.routes],
            status_warnings=status_warnings,
            heartbeats=heartbeats,
            maintenance=maintenance,
            zone=services.routing.zone,
            webhooks=webhooks,
            hook_url=find_hook_url(services.settings.public_url),
            has_hook_token=bool(services.settings.webhook_tokens),
            back=f"now?{urlencode(asked.list_fields())}",
            page_url=lambda page: url_for("pages.show_dashboard", **asked.list_fields(page)),
        )
        response.headers["X-Receiver-Webhooks"] = ",".join(row.at for row in webhooks)
        return response
