"""The page of one incident."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from receiver.domain.escalation import trace_progress
from receiver.domain.incident import Incident
from receiver.errors import NotFound
from receiver.runbooks.page import render_page
from receiver.text import one_line
from receiver.web.answering import acknowledge, resolve, unacknowledge
from receiver.web.board import describe_state, list_marks
from receiver.web.deliveries import retry
from receiver.web.policies import policy_finder
from receiver.web.questions import Answer, SilenceWish
from receiver.web.rows import render_whole
from receiver.web.sent import find_sent
from receiver.web.silencing import silence
from receiver.web.troubles import find_troubles
from receiver.wiring import Parts

_ALERTS_SHOWN = 100
_VIA = "page"


def add_incident(pages: Blueprint, parts: Parts) -> None:
    """Add the page and its answers to the blueprint."""

    @pages.get("/incidents/<incident_id>")
    def incident(incident_id: str) -> str:
        """Show one incident: alerts, escalation, timeline, deliveries, its runbook, what was sent."""
        return _show(parts, parts.incidents.load(incident_id))

    @pages.post("/incidents/<incident_id>/<what>")
    def answer(incident_id: str, what: str) -> Response:
        """Take what somebody makes of it, and show the page again."""
        _take(parts, incident_id, what)
        if request.form.get("back") == "now":
            return redirect(url_for("pages.now"), 303)
        return redirect(url_for("pages.incident", incident_id=incident_id), 303)

    @pages.post("/deliveries/<delivery_id>/retry")
    def send_again(delivery_id: str) -> Response:
        """Have a delivery that gave up sent again, and show its incident."""
        again = retry(parts, delivery_id, Answer(by=_name_of_reader(), via=_VIA))
        return redirect(url_for("pages.incident", incident_id=again.incident), 303)


def _show(parts: Parts, found: Incident) -> str:
    now = parts.clock()
    policy = policy_finder(parts, now)(found)
    progress = trace_progress(found, policy, now)
    upcoming = progress.next_step if not found.is_waiting else None
    runbook = parts.runbooks.find(found.alertname)
    return render_template(
        "incident.html",
        incident=render_whole(found, policy, parts.incidents.timeline(found.id), now),
        state=describe_state(found),
        marks=list_marks(found, now),
        titles={step.responder.name: step.responder.title for step in policy.steps},
        upcoming=progress.steps.index(upcoming) if upcoming is not None else -1,
        alerts_shown=_ALERTS_SHOWN,
        can_silence=found.source in parts.routing.alertmanagers,
        runbook=runbook,
        runbook_body=Markup(render_page(runbook.source, top=3)) if runbook else "",  # noqa: S704
        sent=find_sent(parts, found, policy),
        troubles=find_troubles(parts),
    )


def _take(parts: Parts, incident_id: str, what: str) -> None:
    by = _name_of_reader()
    if what == "silence":
        silence(parts, incident_id, SilenceWish(by=by, via=_VIA, for_=request.form.get("for", "")))
        return
    answers = {"acknowledge": acknowledge, "unacknowledge": unacknowledge, "resolve": resolve}
    if what not in answers:
        raise NotFound("answer", one_line(what, 40))
    answers[what](parts, incident_id, Answer(by=by, via=_VIA))


def _name_of_reader() -> str:
    auth = request.authorization
    return one_line((auth.username if auth and auth.type == "basic" else "") or "somebody on the page", 80)
