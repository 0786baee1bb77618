"""The API under /api/v1: incidents to read and to answer, and runbooks."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, jsonify, request

from receiver.errors import NotFound
from receiver.web.access import is_let_in
from receiver.web.answering import answer_incident
from receiver.web.answers import refuse
from receiver.web.incident_json import delivery_keys, describe
from receiver.web.rows import render_row
from receiver.wiring import Parts

_STATES = {
    "": frozenset[str](),
    "open": frozenset({"open", "acknowledged"}),
    "acknowledged": frozenset({"acknowledged"}),
    "resolved": frozenset({"resolved"}),
}
_DEFAULT_LIMIT, _HIGHEST_LIMIT = 50, 200
_MAX_NAME = 200


def build_api(parts: Parts) -> Blueprint:
    """Return the API's routes."""
    api = Blueprint("api", __name__, url_prefix="/api/v1")

    @api.before_request
    def guard() -> Response | None:
        if is_let_in(request, parts.settings.api_tokens):
            return None
        return refuse(401, "send RECEIVER_API_TOKEN as a bearer token or as basic auth's password")

    @api.get("/incidents")
    def list_incidents() -> Response:
        return _list_incidents(parts)

    @api.get("/incidents/<incident_id>")
    def show_incident(incident_id: str) -> Response:
        return jsonify(describe(parts, incident_id))

    @api.post("/incidents/<incident_id>/<answer>")
    def take_answer(incident_id: str, answer: str) -> Response:
        return answer_incident(parts, incident_id, answer)

    @api.get("/runbooks/<name>")
    def show_runbook(name: str) -> Response:
        return _show_runbook(parts, name)

    return api


def _list_incidents(parts: Parts) -> Response:
    """Return a page of incidents, newest first."""
    state = request.args.get("state", "")
    if state not in _STATES:
        return refuse(400, f"state is {state!r}, expected open, acknowledged or resolved")
    limit = request.args.get("limit", str(_DEFAULT_LIMIT))
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= _HIGHEST_LIMIT:
        return refuse(400, f"limit is {limit!r}, expected a number from 1 to {_HIGHEST_LIMIT}")
    page = parts.incidents.find_newest(
        states=_STATES[state],
        severity=request.args.get("severity", ""),
        alertname=request.args.get("alertname", ""),
        limit=int(limit),
        cursor=request.args.get("cursor", ""),
        deliveries=delivery_keys(parts),
    )
    now = parts.clock()
    rows = [render_row(one, parts.routing.get_policy(one.policy), now) for one in page.incidents]
    return jsonify({"incidents": rows, "next_cursor": page.next_cursor})


def _show_runbook(parts: Parts, name: str) -> Response:
    """Return a runbook's sections and its Markdown."""
    runbook = parts.runbooks.find(name)
    if runbook is None:
        raise NotFound("runbook", name)
    return jsonify(
        {
            "name": runbook.name,
            "severity": runbook.severity,
            "sections": [{"title": s.title, "parts": [asdict(p) for p in s.parts]} for s in runbook.sections],
            "markdown": runbook.source,
        }
    )
