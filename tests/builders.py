"""Builders of alerts, incidents and notifications for tests, with sensible defaults.

an_incident(an_alert(), an_alert(instance="web-2"), acknowledged_by="alice")
a_notification(an_incident(), a_reply("joined"))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from receiver.engine.notification import IncidentNotification, Links
from receiver.model.actions import AcknowledgePage, DeliveryAction, Page, Post, Reply, ResolvePage, Update
from receiver.model.alert import Alert, Group, fingerprint
from receiver.model.delivery import ContentVersion, Delivery, PostedState, Receipt
from receiver.model.escalation import EscalationState, evaluate_escalation
from receiver.model.incident import Incident, dedup_key
from receiver.model.merge import merge
from receiver.model.routing import PAGERDUTY, SLACK, EscalationPolicy, Responder, RouteSettings, Step, Target
from receiver.runbooks.model import Excerpt, Part, Section
from receiver.text import Secret

OPENED_AT = 1_795_435_380.0  # Monday 2026-11-23 12:03:00 UTC
CHANNEL = "#alerts-critical"
MESSAGE = "C0CRITICAL:1795435380.000100"  # a message reference in the form of the Slack channel
ROUTING_KEY = "0123456789abcdef0123456789abcdef"


def an_alert(
    name: str = "HighCPUUsage",
    *,
    severity: str = "critical",
    instance: str = "web-1:9100",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    starts_at: float = OPENED_AT - 60,
    ends_at: float = 0.0,
    generator_url: str = "http://prometheus.example:9090/graph?g0.expr=cpu+%3E+0.9&g0.tab=1",
    **more: Any,
) -> Alert:
    """Return an alert; *labels* are added to name, severity and instance, and an empty value removes a label."""
    all_labels = {"alertname": name, "severity": severity, "instance": instance, **(labels or {})}
    all_labels = {key: value for key, value in all_labels.items() if value}
    if annotations is None:
        annotations = {"summary": f"CPU above 90 % on {instance}"}
    fields: dict[str, Any] = {
        "fingerprint": fingerprint(all_labels),
        "labels": all_labels,
        "annotations": dict(annotations),
        "starts_at": starts_at,
        "ends_at": ends_at,
        "generator_url": generator_url,
    }
    return Alert(**{**fields, **more})


def a_group(*alerts: Alert, **changes: Any) -> Group:
    """Return the group, grouped by alertname, that Alertmanager would send *alerts* in."""
    alerts = alerts or (an_alert(),)
    name = alerts[0].name
    fields: dict[str, Any] = {
        "source": "default",
        "receiver": "receiver",
        "group_key": f'{{}}:{{alertname="{name}"}}',
        "group_labels": {"alertname": name},
        "alerts": alerts,
        "external_url": "http://alertmanager.example:9093",
        "has_silence_form": True,
    }
    return Group(**{**fields, **changes})


def a_responder(name: str = "on-call", *, slack: str = "", pagerduty: str = ROUTING_KEY) -> Responder:
    """Return a responder with a Slack address, a PagerDuty routing key, or both."""
    targets = []
    if slack:
        targets.append(Target(SLACK, slack))
    if pagerduty:
        targets.append(Target(PAGERDUTY, name, Secret(pagerduty)))
    return Responder(name, tuple(targets))


def a_step(responder: Responder | None = None, after: float = 0.0, name: str = "") -> Step:
    responder = responder or a_responder()
    return Step(name or responder.name, responder, after)


def a_policy(*steps: Step, name: str = "critical", ack_timeout: float = 0.0) -> EscalationPolicy:
    """Return a policy: on-call at once, team lead after 5 m, manager after 5 m more; or the given *steps*."""
    steps = steps or (
        a_step(a_responder("on-call")),
        a_step(a_responder("team-lead", slack="@team-lead"), 300.0),
        a_step(a_responder("manager", slack="@manager"), 300.0),
    )
    return EscalationPolicy(name, steps, ack_timeout)


def an_incident(
    *alerts: Alert,
    policy: EscalationPolicy | None = None,
    group: Group | None = None,
    channel: str = CHANNEL,
    opened_at: float = OPENED_AT,
    deliveries: Mapping[str, Delivery] | None = None,
    **changes: Any,
) -> Incident:
    """Return the incident that *alerts* (or *group*) opened, with its alerts loaded.

    An alert with an end fires first and is then resolved. *changes* are fields of Incident to overwrite;
    `acknowledged_by` and `resolved_by` without a time mean one minute after the incident opened.
    """
    group = group or a_group(*alerts)
    policy = policy or a_policy()
    route_settings = RouteSettings(
        route=channel.lstrip("#"),
        channel=channel,
        policy=policy.name,
        steps=tuple(step.name for step in policy.steps),
    )
    firing = replace(group, alerts=tuple(replace(alert, ends_at=0.0) for alert in group.alerts))
    incident = merge(None, firing, route_settings, opened_at).incident
    incident = merge(incident, group, route_settings, opened_at).incident
    assert incident is not None
    if changes.get("acknowledged_by"):
        changes.setdefault("acknowledged_at", opened_at + 60)
    if changes.get("resolved_by"):
        changes.setdefault("resolved_at", opened_at + 60)
    loaded = {alert.fingerprint: alert for alert in group.alerts}
    return replace(incident, alerts=loaded, deliveries=dict(deliveries or {}), **changes)


def a_receipt(at: float = OPENED_AT, reference: str = "", *, simulated: bool = False, **more: Any) -> Receipt:
    return Receipt(at, reference, is_simulated=simulated, **more)


def a_delivery(
    instance: str = "1",
    *,
    at: float = OPENED_AT,
    received: bool = True,
    simulated: bool = False,
    **changes: Any,
) -> Delivery:
    """Return a delivery with one attempt at *at*; it has a receipt of the same time unless *received* is
    false.
    """
    receipt = a_receipt(at, simulated=simulated) if received else None
    fields: dict[str, Any] = {
        "instance": instance,
        "target": "pagerduty:on-call",
        "attempts": 1,
        "first_attempt_at": at,
        "last_attempt_at": at,
        "receipt": receipt,
    }
    return Delivery(**{**fields, **changes})


POSTED = PostedState()
POSTED_LATER = PostedState(joins=1, revision=1)


def a_post(
    channel: str = CHANNEL,
    *,
    key: str = "message",
    instance: str = "",
    content_version: ContentVersion = POSTED,
    replaces: str = "",
) -> Post:
    return Post(**_to_slack(key, instance, content_version, channel), replaces=replaces)


def an_update(
    channel: str = CHANNEL,
    *,
    message: str = MESSAGE,
    instance: str = "",
    content_version: ContentVersion = POSTED_LATER,
) -> Update:
    return Update(**_to_slack("update", instance or message, content_version, channel), message=message)


def a_reply(
    reply_kind: str,
    *,
    step: Step | None = None,
    fingerprints: Iterable[str] = (),
    channel: str = CHANNEL,
    message: str = MESSAGE,
    key: str = "",
    instance: str = "1",
    content_version: ContentVersion = None,
) -> Reply:
    """Return a reply; a reply of the kind `step` belongs to the first step of the policy unless *step* is
    given.
    """
    if reply_kind == "step" and step is None:
        step = a_policy().steps[0]
    key = key or (f"step:{step.name}" if step else reply_kind)
    fields = _to_slack(key, instance, content_version, channel)
    return Reply(
        **fields, message=message, reply_kind=reply_kind, step=step, fingerprints=tuple(fingerprints)
    )


def _to_slack(key: str, instance: str, content_version: ContentVersion, channel: str) -> dict[str, Any]:
    target = Target(SLACK, channel)
    return {
        "key": key,
        "instance": instance,
        "target": target,
        "ready_at": 0.0,
        "content_version": content_version,
    }


def a_page(
    incident: Incident | None = None, step: Step | None = None, *, instance: str = "1", key: str = ""
) -> Page:
    step = step or a_policy().steps[0]
    return Page(**_to_pager(key or f"page:{step.name}", instance, incident, step.responder), step=step)


def an_acknowledge_page(
    incident: Incident | None = None, responder: Responder | None = None, *, instance: str = "1"
) -> AcknowledgePage:
    responder = responder or a_responder()
    return AcknowledgePage(**_to_pager(f"acknowledge:{responder.name}", instance, incident, responder))


def a_resolve_page(
    incident: Incident | None = None, responder: Responder | None = None, *, instance: str = "1"
) -> ResolvePage:
    responder = responder or a_responder()
    return ResolvePage(**_to_pager(f"resolve:{responder.name}", instance, incident, responder))


def _to_pager(key: str, instance: str, incident: Incident | None, responder: Responder) -> dict[str, Any]:
    target = responder.find_target(PAGERDUTY)
    assert target is not None, f"{responder.name} has no pager"
    dedup = dedup_key(incident or an_incident(), responder.name)
    fields = {"key": key, "instance": instance, "target": target, "ready_at": 0.0}
    return {**fields, "dedup_key": dedup, "key_digest": target.secret.digest}


def an_excerpt(*sections: Section, **changes: Any) -> Excerpt:
    """Return a short runbook: a paragraph, a list, a code block."""
    sections = sections or (
        Section("Impact", (Part("paragraph", "Requests are **slow**."),)),
        Section(
            "Diagnosis",
            (
                Part("item", "Look at the [dashboard](https://grafana.example/d/cpu)", 1, "1."),
                Part("code", "top -b -n 1 | head", 1, lang="bash"),
                Part("item", "Find what runs", 1, "2."),
            ),
        ),
    )
    fields: dict[str, Any] = {
        "name": "HighCPUUsage",
        "sections": sections,
        "url": "https://receiver.example/runbooks/HighCPUUsage",
    }
    return Excerpt(**{**fields, **changes})


def some_links(incident: Incident | None = None, **changes: Any) -> Links:
    """Return every link a notification can have."""
    name = incident.id if incident else "an-incident"
    fields: dict[str, Any] = {
        "incident": f"https://receiver.example/incidents/{name}",
        "silence": "http://alertmanager.example:9093/#/silences/new?filter=%7Balertname%3D%22HighCPUUsage%22%7D",
        "source": "http://prometheus.example:9090/graph?g0.expr=cpu+%3E+0.9&g0.tab=1",
        "message": "https://example.slack.com/archives/C0CRITICAL/p1795435380000100",
        "more": (("Grafana", "http://grafana.example:3000"),),
        "can_silence": True,
    }
    return Links(**{**fields, **changes})


def an_escalation(
    incident: Incident, policy: EscalationPolicy | None = None, now: float = OPENED_AT
) -> EscalationState:
    return evaluate_escalation(incident, policy or a_policy(), now)


def a_notification(
    incident: Incident | None = None,
    action: DeliveryAction | None = None,
    *,
    policy: EscalationPolicy | None = None,
    now: float | None = None,
    excerpt: Excerpt | None = None,
    links: Links | None = None,
    escalation: EscalationState | None = None,
) -> IncidentNotification:
    """Return a notification as of the incident's last change; by default of the incident's first message."""
    incident = incident or an_incident()
    if now is None:
        now = max(incident.updated_at, incident.acknowledged_at, incident.resolved_at)
    if escalation is None:
        escalation = evaluate_escalation(incident, policy or a_policy(), now)
    return IncidentNotification(
        action or a_post(), incident, escalation, now, excerpt, links or Links(can_silence=True)
    )
