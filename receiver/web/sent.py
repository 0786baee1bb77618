"""What Slack and PagerDuty were sent for an incident: as recorded where simulated, else as it reads now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from json import dumps
from typing import Any

from receiver.integrations.pagerduty.event import render_event
from receiver.integrations.slack.incident_message import render_message
from receiver.model.actions import Page, Post
from receiver.model.delivery_status import find_message, message_target
from receiver.model.escalation import page_key
from receiver.model.incident import Incident, dedup_key
from receiver.model.routing import PAGERDUTY, SLACK, EscalationPolicy
from receiver.web.delivery_words import delivery_label
from receiver.web.rows import format_moment
from receiver.wiring.channels import build_notification_builder
from receiver.wiring.parts import Services

_RECORDED_AT_MOST = 500
_SHOWN_AT_MOST = 40


@dataclass(frozen=True)
class SentMessage:
    """One message: where to, what it was for, its words and the whole of it."""

    at: str
    to: str
    what: str
    text: str
    whole: str
    simulated: bool = False


def list_sent_messages(services: Services, incident: Incident, policy: EscalationPolicy) -> list[SentMessage]:
    """Return the messages of an incident, newest first; of a message that is edited its latest form."""
    recorded = [
        one for one in services.simulated.list_newest(_RECORDED_AT_MOST) if one.get("incident") == incident.id
    ]
    found = [*map(_render_recorded, recorded), *_render_current(services, incident, policy)]
    return sorted(found, key=lambda message: message.at, reverse=True)[:_SHOWN_AT_MOST]


def _render_recorded(message: Mapping[str, Any]) -> SentMessage:
    whole = message.get("event") or {k: message[k] for k in ("text", "blocks") if k in message}
    return SentMessage(
        at=format_moment(float(message.get("at", 0.0))),
        to=str(message.get("to") or message.get("channel") or ""),
        what=delivery_label(str(message.get("key", ""))),
        text=str(message.get("text", "")),
        whole=dumps(whole, indent=2, ensure_ascii=False),
        simulated=True,
    )


def _render_current(
    services: Services, incident: Incident, policy: EscalationPolicy
) -> Iterator[SentMessage]:
    notification_builder, now = build_notification_builder(services), services.clock()
    message = find_message(incident)
    if message is not None and message.receipt is not None and not message.receipt.is_simulated:
        target = message_target(incident, message)
        post = Post("root", "", SLACK, target, 0.0, "")
        rendered = render_message(notification_builder.build(post, incident, policy, now))
        whole = dumps({"text": rendered.text, "blocks": list(rendered.blocks)}, indent=2, ensure_ascii=False)
        at = format_moment(message.receipt.at)
        yield SentMessage(at, f"slack:{target.address}", "the message, as it reads now", rendered.text, whole)
    for step in policy.steps:
        page, paged = step.responder.find_target(PAGERDUTY), incident.deliveries.get(page_key(step))
        if page is None or paged is None or paged.receipt is None or paged.receipt.is_simulated:
            continue
        if paged.is_bundled:  # a storm's page told it, and none of its own was sent
            continue
        key = dedup_key(incident, step.responder.name)
        action = Page(page_key(step), paged.instance, PAGERDUTY, page, 0.0, "", key, step)
        event = render_event(notification_builder.build(action, incident, policy, now))
        yield SentMessage(
            format_moment(paged.receipt.at),
            f"pagerduty:{step.responder.name}",
            "the page, as it would read now",
            str(event["payload"]["summary"]),
            dumps(event, indent=2, ensure_ascii=False),
        )
