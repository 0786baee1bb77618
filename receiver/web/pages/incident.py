"""The page of one incident: its alerts, escalation, timeline, deliveries, runbook and sent messages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any
from urllib.parse import parse_qsl

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response

from receiver.engine.simulated_messages import RedisSimulatedMessages
from receiver.errors import NotFound
from receiver.incidents.notification_builder import NotificationBuilder
from receiver.integrations.pagerduty.event import render_event
from receiver.integrations.slack.incident_message import render_message
from receiver.model.actions import Page, Post
from receiver.model.alert import Alert
from receiver.model.delivery_keys import MESSAGE, page_key
from receiver.model.delivery_status import message_target
from receiver.model.escalation import IncidentView, evaluate_incident
from receiver.model.incident import Incident, dedup_key
from receiver.model.labels import select_unstated
from receiver.model.plan import plan
from receiver.model.routing import PAGERDUTY
from receiver.runbooks.catalogue import RunbookCatalogue
from receiver.runbooks.model import render_plain
from receiver.text import one_line
from receiver.web.api.incidents import IncidentHandler
from receiver.web.api.requests import CreateSilenceRequest, read_query
from receiver.web.api.responses import AlertRow, AlertStatus, DeliveryState, LinkRow
from receiver.web.api.serializers import format_timestamp
from receiver.web.api.status import StatusHandler
from receiver.web.pages.blueprint import PAGE_SIZE, conditional_response, current_actor
from receiver.web.pages.dashboard import DashboardQuery, build_card
from receiver.web.pages.runbooks import render_runbook
from receiver.web.pages.warnings import delivery_label, list_severity_warnings, load_warnings
from receiver.web.urls import url_for

SHOWN_AT_MOST = 100
# Further alerts are collapsed, so that the runbook is not far down the page on a phone.
OPEN_AT_MOST = 4


@dataclass(frozen=True)
class AlertItem:
    """One alert, with the labels and annotations that are not common to all."""

    row: AlertRow
    title: str
    labels: dict[str, str]
    annotations: dict[str, str]


@dataclass(frozen=True)
class AlertList:
    """The alerts of an incident, firing ones first.

    *labels* and *annotations* are common to all alerts; *left_out* counts those beyond SHOWN_AT_MOST.
    """

    labels: dict[str, str]
    annotations: dict[str, str]
    first: tuple[AlertItem, ...]
    collapsed: tuple[AlertItem, ...]
    left_out: int


def list_alerts(rows: Sequence[AlertRow]) -> AlertList:
    """Return *rows* with their common labels and annotations separated; a single alert has none in common.

    Alerts without labels, of which only the state is kept, come last.
    """
    labelled = [row for row in rows if row.labels]
    labels = _find_common([_select_unstated(row) for row in labelled])
    annotations = _find_common([_to_alert(row).named_annotations for row in labelled])
    ordered = sorted(rows, key=lambda row: (row.status is not AlertStatus.FIRING, not row.labels))
    items = tuple(
        AlertItem(
            row,
            _to_alert(row).title or row.fingerprint,
            _without(_select_unstated(row), labels),
            _without(_to_alert(row).named_annotations, annotations),
        )
        for row in ordered[:SHOWN_AT_MOST]
    )
    left_out = len(rows) - len(items)
    return AlertList(labels, annotations, items[:OPEN_AT_MOST], items[OPEN_AT_MOST:], left_out)


def _to_alert(row: AlertRow) -> Alert:
    ends_at = 0.0 if row.status is AlertStatus.FIRING else math.inf
    return Alert(row.fingerprint, row.labels, row.annotations, 0.0, ends_at)


def _select_unstated(row: AlertRow) -> dict[str, str]:
    return select_unstated(row.labels, row.severity)


def _find_common(maps: Sequence[dict[str, str]]) -> dict[str, str]:
    if len(maps) < 2:
        return {}
    return {
        name: value for name, value in maps[0].items() if all(each.get(name) == value for each in maps[1:])
    }


def _without(found: dict[str, str], common: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in found.items() if name not in common}


_RECORDED_AT_MOST = 500
_SHOWN_AT_MOST = 40


@dataclass(frozen=True)
class SentMessage:
    """One message: its target, its purpose, its text and the whole payload."""

    at: str
    to: str
    what: str
    text: str
    payload: Mapping[str, Any]
    simulated: bool = False

    @property
    def whole(self) -> str:
        return dumps(self.payload, indent=2, ensure_ascii=False)


def _render_current(view: IncidentView, builder: NotificationBuilder) -> Iterator[SentMessage]:
    """Return the messages in the channels as they read now."""
    incident = view.incident
    message = incident.message
    if message is not None and message.receipt is not None and not message.receipt.is_simulated:
        target = message_target(incident, message)
        rendered = render_message(builder.build_notification(Post(key=MESSAGE, target=target), view))
        payload = {"text": rendered.text, "blocks": list(rendered.blocks)}
        what = "the message, as it reads now"
        at, to = format_timestamp(message.receipt.at), f"slack:{target.address}"
        yield SentMessage(at, to, what, rendered.text, payload)
    for step in view.policy.steps:
        key = page_key(step.name)
        page, paged = step.responder.find_target(PAGERDUTY), incident.deliveries.get(key)
        if page is None or paged is None or paged.receipt is None or paged.receipt.is_simulated:
            continue
        if paged.is_bundled:  # part of a storm's page; none of its own was sent
            continue
        alert_key = dedup_key(incident, step.responder.name)
        action = Page(key=key, instance=paged.instance, target=page, dedup_key=alert_key, step=step)
        event = render_event(builder.build_notification(action, view))
        at, to = format_timestamp(paged.receipt.at), f"pagerduty:{step.responder.name}"
        what, text = "the page, as it would read now", str(event["payload"]["summary"])
        yield SentMessage(at, to, what, text, event)


def _list_simulated(incident: Incident, simulated: RedisSimulatedMessages) -> list[SentMessage]:
    """Return what simulated channels would have sent, newest first. Raises StoreError."""
    receipts = (delivery.receipt for delivery in incident.deliveries.values())
    if not any(receipt is not None and receipt.is_simulated for receipt in receipts):
        return []
    recorded = simulated.list_newest(_RECORDED_AT_MOST)
    return _sort_messages(_render_recorded(one) for one in recorded if one.get("incident") == incident.id)


def _sort_messages(messages: Iterable[SentMessage]) -> list[SentMessage]:
    return sorted(messages, key=lambda message: message.at, reverse=True)[:_SHOWN_AT_MOST]


def _render_recorded(message: Mapping[str, Any]) -> SentMessage:
    payload = message.get("event") or {k: message[k] for k in ("text", "blocks") if k in message}
    to, text = str(message.get("to") or message.get("channel") or ""), str(message.get("text", ""))
    at, what = format_timestamp(float(message.get("at", 0.0))), delivery_label(str(message.get("key", "")))
    return SentMessage(at, to, what, text, payload, simulated=True)


def _find_runbook(runbooks: RunbookCatalogue, incident: Incident) -> dict[str, object]:
    """Return the runbook of the first alert that has an excerpt, as variables of the template."""
    found = ((alert, runbooks.find_excerpt(alert)) for alert in incident.alerts.values())
    alert, excerpt = next((one for one in found if one[1] is not None), (None, None))
    runbook = runbooks.find_quoted_runbook(alert) if alert else runbooks.find_runbook(incident.alertname)
    return {
        "runbook": runbook,
        "runbook_body": render_runbook(runbooks, runbook, top=3) if runbook else "",
        "excerpt": excerpt,
        "excerpt_text": render_plain(excerpt) if excerpt else "",
    }


def _shorten_own_link(link: LinkRow, runbooks: RunbookCatalogue) -> LinkRow:
    """Return *link*, or the place on this page where it leads to our own page of a runbook."""
    own = f"{runbooks.public_url.rstrip('/')}/runbooks/"
    return LinkRow(link.name, "#runbook") if runbooks.public_url and link.url.startswith(own) else link


def add_incident(
    pages: Blueprint,
    handler: IncidentHandler,
    status_handler: StatusHandler,
    *,
    notification_builder: NotificationBuilder,
    runbooks: RunbookCatalogue,
    simulated: RedisSimulatedMessages,
) -> None:
    """Add the page of an incident and its forms to the blueprint."""
    transitions = {
        "acknowledge": handler.acknowledge,
        "unacknowledge": handler.unacknowledge,
        "resolve": handler.resolve,
    }

    @pages.get("/incidents/<incident_id>", endpoint="incident")
    def show_incident(incident_id: str) -> Response:
        """Show the alerts, escalation, timeline, deliveries, runbook and simulated messages."""
        now = handler.clock()
        found, policy = handler.load_incident(incident_id, now)
        planned = plan(found, policy, now)
        escalation = planned.view.escalation
        upcoming = escalation.next_step if not found.is_paused else None
        whole = handler.serialize_detail(planned)
        alarms = list_severity_warnings(handler.routing, [] if found.is_resolved else [found])
        status, warnings = load_warnings(status_handler, handler.failures, alarms=alarms)
        rows = sorted(whole.deliveries, key=lambda row: (row.state is not DeliveryState.FAILED, row.at or ""))
        message = found.message
        return conditional_response(
            "incident.html",
            {
                "incident": whole,
                "card": build_card(found, escalation, now),
                "simulated": _list_simulated(found, simulated),
                "status_warnings": warnings,
                "maintenance": status.maintenance,
            },
            titles={step.responder.name: step.responder.title for step in policy.steps},
            upcoming=escalation.steps.index(upcoming) if upcoming is not None else -1,
            alerts=list_alerts(whole.alerts),
            timeline=whole.timeline[: -PAGE_SIZE - 1 : -1],
            deliveries=rows[:PAGE_SIZE],
            links=[_shorten_own_link(link, runbooks) for link in whole.links],
            message_link=message.receipt.link if message and message.receipt else "",
            can_silence=found.source in handler.routing.alertmanagers,
            name_delivery=delivery_label,
            is_sent=any(row.state is DeliveryState.DELIVERED and not row.simulated for row in rows),
            **_find_runbook(runbooks, found),
        )

    @pages.get("/incidents/<incident_id>/sent")
    def sent_messages(incident_id: str) -> str:
        """Show the messages in the channels, as they read now."""
        now = handler.clock()
        found, policy = handler.load_incident(incident_id, now)
        messages = _render_current(evaluate_incident(found, policy, now), notification_builder)
        return render_template("sent.html", incident=found, messages=_sort_messages(messages))

    @pages.post("/incidents/<incident_id>/<what>")
    def post_transition(incident_id: str, what: str) -> Response:
        """Apply a transition such as `acknowledge`, and redirect to the page with the form."""
        actor = current_actor()
        if what == "silence":
            for_ = request.form.get("for", "")
            handler.silence(incident_id, CreateSilenceRequest(by=actor.by, via=actor.via, for_=for_))
        elif what in transitions:
            transitions[what](incident_id, actor)
        else:
            raise NotFound("answer", one_line(what, 40))
        back, _, query = request.form.get("back", "").partition("?")
        if back == "now":
            fields = read_query(DashboardQuery, dict(parse_qsl(query))).list_fields()
            return redirect(url_for("pages.show_dashboard", **fields), 303)
        return redirect(url_for("pages.incident", incident_id=incident_id), 303)

    @pages.post("/deliveries/<delivery_id>/retry")
    def retry_delivery(delivery_id: str) -> Response:
        """Retry a failed delivery, and redirect to its incident."""
        again = handler.retry_delivery(delivery_id, current_actor())
        return redirect(url_for("pages.incident", incident_id=again.incident, _anchor="deliveries"), 303)
