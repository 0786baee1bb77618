"""The page of a storm: what it counts now, and acknowledging all of it."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response

from receiver.domain.storm import list_incident_ids
from receiver.web.board import lay_out
from receiver.web.maintenance import show_maintenance
from receiver.web.part import PartQuery
from receiver.web.questions import read_query
from receiver.web.reader import answer_of_reader
from receiver.web.relative import url_for
from receiver.web.stamp import answer_living
from receiver.web.storms import acknowledge_storm, describe_storm
from receiver.web.troubles import find_serious_troubles
from receiver.wiring import Parts


def add_storm(pages: Blueprint, parts: Parts) -> None:
    """Add the page and its answer to the blueprint."""

    @pages.get("/storms/<storm_id>")
    def storm(storm_id: str) -> Response:
        """Show a storm: its numbers and its incidents, most urgent first."""
        asked = read_query(PartQuery, request.args)
        loaded = parts.storm_store.load_storm(storm_id)
        shown, troubles = describe_storm(parts, loaded), find_serious_troubles(parts)
        heads = parts.incidents.load_heads(list_incident_ids(loaded))
        board = lay_out(parts, heads.values(), asked.page)
        return answer_living(
            "storm.html",
            (shown, replace(board, at=""), troubles, show_maintenance(parts)),
            storm=shown,
            name=loaded.storm.name,
            board=board,
            troubles=troubles,
            turn=lambda page: url_for("pages.storm", storm_id=storm_id, **asked.list_fields(page)),
        )

    @pages.post("/storms/<storm_id>/acknowledge")
    def acknowledge_all(storm_id: str) -> Response:
        """Acknowledge all that it counts, and show it again."""
        acknowledge_storm(parts, storm_id, answer_of_reader())
        return redirect(url_for("pages.storm", storm_id=storm_id), 303)
