"""The API under /api/v1: incidents to read and to answer, and runbooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from flask import Blueprint, Response, jsonify, request

from receiver.domain.answers import acknowledge, resolve, unacknowledge
from receiver.domain.incident import Change, Incident
from receiver.errors import NotFound
from receiver.text import one_line
from receiver.web.access import is_let_in
from receiver.web.answers import refuse
from receiver.web.rows import render_row, render_whole
from receiver.wiring import Parts

_ANSWERS: dict[str, Callable[[Incident, str, float], Change]] = {
    "acknowledge": acknowledge,
    "unacknowledge": unacknowledge,
    "resolve": resolve,
}
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
    def answer_incident(incident_id: str, answer: str) -> Response:
        return _answer_incident(parts, incident_id, answer)

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


def _answer_incident(parts: Parts, incident_id: str, answer: str) -> Response:
    """Acknowledge, un-acknowledge or resolve; the second time changes nothing."""
    if answer not in _ANSWERS:
        raise NotFound("answer", answer)
    by = _read_by()
    if by is None:
        return refuse(400, 'expected a JSON object like {"by": "name"}')
    now = parts.clock()
    parts.hands.change(incident_id, lambda incident: _ANSWERS[answer](incident, by, now), now)
    return jsonify(describe(parts, incident_id))


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


def delivery_keys(parts: Parts) -> tuple[str, ...]:
    """Return the deliveries by which an escalation's progress is told, of all policies."""
    names = {step.name for policy in parts.routing.policies.values() for step in policy.steps}
    responders = parts.routing.responders
    return (
        "root",
        *(f"{kind}:{name}" for kind in ("page", "step") for name in sorted(names)),
        *(f"{kind}:{name}" for kind in ("acknowledge", "resolve") for name in sorted(responders)),
    )


def describe(parts: Parts, incident_id: str) -> dict[str, object]:
    """Return one incident as the API shows it. Raises NotFound."""
    incident = parts.incidents.load(incident_id)
    timeline = parts.incidents.timeline(incident_id)
    return render_whole(incident, parts.routing.get_policy(incident.policy), timeline, parts.clock())


def _read_by() -> str | None:
    """Return who answers, `api` where nobody is named; None when the body can't be read."""
    if not request.get_data(cache=True):
        return "api"
    body = request.get_json(silent=True, force=True)
    if not isinstance(body, dict) or not isinstance(body.get("by", ""), str):
        return None
    return one_line(body.get("by", ""), _MAX_NAME) or "api"
