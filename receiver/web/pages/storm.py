"""The page of a storm: what it counts now, and acknowledging all of it."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response

from receiver.storms.model import list_incident_ids
from receiver.web.board import build_page
from receiver.web.maintenance import show_maintenance
from receiver.web.part import PageQuery
from receiver.web.questions import read_query
from receiver.web.reader import current_actor
from receiver.web.relative import url_for
from receiver.web.stamp import conditional_response
from receiver.web.storms import acknowledge_storm, describe_storm
from receiver.web.troubles import list_serious_warnings
from receiver.wiring.parts import Services


def add_storm(pages: Blueprint, services: Services) -> None:
    """Add the page and its answer to the blueprint."""

    @pages.get("/storms/<storm_id>")
    def storm(storm_id: str) -> Response:
        """Show a storm: its numbers and its incidents, most urgent first."""
        asked = read_query(PageQuery, request.args)
        loaded = services.storm_store.load_storm(storm_id)
        shown, status_warnings = describe_storm(services, loaded), list_serious_warnings(services)
        heads = services.incidents.load_heads(list_incident_ids(loaded))
        dashboard = build_page(services, heads.values(), asked.page)
        return conditional_response(
            "storm.html",
            (shown, replace(dashboard, at=""), status_warnings, show_maintenance(services)),
            storm=shown,
            name=loaded.storm.name,
            dashboard=dashboard,
            status_warnings=status_warnings,
            page_url=lambda page: url_for("pages.storm", storm_id=storm_id, **asked.list_fields(page)),
        )

    @pages.post("/storms/<storm_id>/acknowledge")
    def acknowledge_all(storm_id: str) -> Response:
        """Acknowledge all that it counts, and show it again."""
        acknowledge_storm(services, storm_id, current_actor())
        return redirect(url_for("pages.storm", storm_id=storm_id), 303)
