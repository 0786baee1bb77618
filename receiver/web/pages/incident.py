"""The page of one incident."""

from __future__ import annotations

from urllib.parse import parse_qsl

from flask import Blueprint, redirect, request
from markupsafe import Markup
from werkzeug.wrappers import Response

from receiver.errors import NotFound
from receiver.model.delivery_status import find_message
from receiver.model.escalation import evaluate_escalation
from receiver.model.incident import Incident
from receiver.model.routing import EscalationPolicy
from receiver.runbooks.html import render_page
from receiver.runbooks.model import Excerpt, render_plain
from receiver.text import one_line
from receiver.web.alert_list import list_alerts
from receiver.web.answering import acknowledge, resolve, unacknowledge
from receiver.web.board import DashboardQuery, build_card, describe_state, list_badges
from receiver.web.bodies import DeliveryRow, DeliveryState
from receiver.web.deliveries import retry
from receiver.web.delivery_words import delivery_label
from receiver.web.maintenance import show_maintenance
from receiver.web.part import PAGE_SIZE
from receiver.web.policies import policy_finder
from receiver.web.questions import CreateSilenceRequest, read_query
from receiver.web.reader import VIA, current_actor, current_user_name
from receiver.web.relative import url_for
from receiver.web.rows import serialize_incident
from receiver.web.sent import list_sent_messages
from receiver.web.severity_troubles import list_severity_warnings
from receiver.web.silencing import silence
from receiver.web.stamp import conditional_response
from receiver.web.troubles import list_serious_warnings
from receiver.wiring.parts import Services


def add_incident(pages: Blueprint, services: Services) -> None:
    """Add the page and its answers to the blueprint."""

    @pages.get("/incidents/<incident_id>")
    def incident(incident_id: str) -> Response:
        """Show one incident: alerts, escalation, timeline, deliveries, its runbook, what was sent."""
        found = services.incidents.load(incident_id)
        return _render_incident(services, found, policy_finder(services, services.clock())(found))

    @pages.post("/incidents/<incident_id>/<what>")
    def post_transition(incident_id: str, what: str) -> Response:
        """Take what somebody makes of it, and show again the page they were on."""
        _apply_transition(services, incident_id, what)
        page, _, query = request.form.get("back", "").partition("?")
        if page == "now":
            asked = read_query(DashboardQuery, dict(parse_qsl(query)))
            return redirect(url_for("pages.show_dashboard", **asked.list_fields()), 303)
        return redirect(url_for("pages.incident", incident_id=incident_id), 303)

    @pages.post("/deliveries/<delivery_id>/retry")
    def retry_delivery(delivery_id: str) -> Response:
        """Have a delivery that gave up sent again, and show its incident."""
        again = retry(services, delivery_id, current_actor())
        return redirect(url_for("pages.incident", incident_id=again.incident, _anchor="deliveries"), 303)


def _render_incident(services: Services, found: Incident, policy: EscalationPolicy) -> Response:
    now = services.clock()
    escalation = evaluate_escalation(found, policy, now)
    upcoming = escalation.next_step if not found.is_paused else None
    whole = serialize_incident(found, policy, services.incidents.load_timeline(found.id), now)
    card, sent_messages = build_card(found, policy, now), list_sent_messages(services, found, policy)
    status_warnings = list_serious_warnings(services, list_severity_warnings(services, [found]))
    return conditional_response(
        "incident.html",
        (whole, card, sent_messages, status_warnings, show_maintenance(services)),
        incident=whole,
        card=card,
        state=describe_state(found),
        badges=list_badges(found, now),
        titles={step.responder.name: step.responder.title for step in policy.steps},
        upcoming=escalation.steps.index(upcoming) if upcoming is not None else -1,
        alerts=list_alerts(whole.alerts),
        timeline=whole.timeline[: -PAGE_SIZE - 1 : -1],
        deliveries=sorted(whole.deliveries, key=_failed_first)[:PAGE_SIZE],
        message_link=_find_link(found),
        can_silence=found.source in services.routing.alertmanagers,
        name_delivery=delivery_label,
        sent_messages=sent_messages,
        status_warnings=status_warnings,
        **_find_runbook(services, found),
    )


def _failed_first(row: DeliveryRow) -> tuple[bool, str]:
    return (row.state is not DeliveryState.FAILED, row.at or "")


def _find_runbook(services: Services, incident: Incident) -> dict[str, object]:
    """Return the runbook that the incident's message is about, whole where we have it."""
    excerpt = _find_excerpt(services, incident)
    runbook = services.runbooks.find_runbook(excerpt.name if excerpt else incident.alertname)
    return {
        "runbook": runbook,
        "runbook_body": Markup(render_page(runbook.source, top=3)) if runbook else "",  # noqa: S704
        "excerpt": excerpt,
        "excerpt_text": render_plain(excerpt) if excerpt else "",
    }


def _find_excerpt(services: Services, incident: Incident) -> Excerpt | None:
    found = map(services.runbooks.find_excerpt, incident.alerts.values())
    return next((excerpt for excerpt in found if excerpt is not None), None)


def _find_link(incident: Incident) -> str:
    message = find_message(incident)
    return message.receipt.link or "" if message is not None and message.receipt is not None else ""


def _apply_transition(services: Services, incident_id: str, what: str) -> None:
    if what == "silence":
        silence(
            services,
            incident_id,
            CreateSilenceRequest(by=current_user_name(), via=VIA, for_=request.form.get("for", "")),
        )
        return
    transitions = {"acknowledge": acknowledge, "unacknowledge": unacknowledge, "resolve": resolve}
    if what not in transitions:
        raise NotFound("answer", one_line(what, 40))
    transitions[what](services, incident_id, current_actor())
