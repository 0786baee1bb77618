"""The form for a silence and its errors, and the ephemeral replies to commands and clicks. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from receiver.integrations.slack import blocks, escalation_section, mrkdwn, requests
from receiver.integrations.slack.alert_section import NAMELESS
from receiver.integrations.slack.headline import SEVERITY_MARKS, count_sent, format_headline, format_history
from receiver.integrations.slack.mrkdwn import bold, code, escape_line, format_timestamp
from receiver.integrations.slack.requests import IncidentDetails, TextLine, TextReply
from receiver.model.heading import find_heading, format_more
from receiver.model.incident import Incident
from receiver.text import truncate_text

# https://docs.slack.dev/reference/block-kit/composition-objects/option-object
_MAX_ERROR = 150
_MAX_CUSTOM = 30
_MAX_COMMENT = 300


def render_silence_form(incident: Incident, next_business_day_at: float, zone: str = "UTC") -> dict[str, Any]:
    """Return the view for views.open; *next_business_day_at* is the start of the next business day (0: not
    known), *zone* the name of the time zone of times of day.

    The incident's ID is in the view's `private_metadata`, which Slack returns with the submitted form.
    """
    intro = _render_intro(incident, next_business_day_at)
    choices = {
        "1h": "1 hour",
        "4h": "4 hours",
        requests.UNTIL_BUSINESS_DAY: "Until the next business day" if next_business_day_at else "",
        requests.UNTIL_RESOLVED: "Until it resolves",
    }
    options = [{"text": _plain_text(text), "value": value} for value, text in choices.items() if text]
    duration = {
        "action_id": requests.FIELD_CHOICE,
        "initial_option": options[0],
        "options": options,
        "type": "radio_buttons",
    }
    hint = f"Like 30m, 1h30m or until 14:00 ({zone}); it goes first"
    return {
        "blocks": [
            {"text": {"text": intro, "type": "mrkdwn", "verbatim": True}, "type": "section"},
            {
                "block_id": requests.FIELD_CHOICE,
                "element": duration,
                "label": _plain_text("For how long"),
                "type": "input",
            },
            _text_field(requests.FIELD_CUSTOM, "Or a time of your own", _MAX_CUSTOM, hint),
            _text_field(
                requests.FIELD_COMMENT, "Comment", _MAX_COMMENT, "Why; it is shown in Alertmanager too"
            ),
        ],
        "callback_id": requests.SILENCE_FORM,
        "close": _plain_text("Cancel"),
        "private_metadata": incident.id,
        "submit": _plain_text("Silence"),
        "title": _plain_text("Silence"),
        "type": "modal",
    }


def render_form_error(reply: TextReply) -> dict[str, Any]:
    """Return the response that keeps the form open and shows *reply* at its field."""
    error = truncate_text(mrkdwn.plain(reply.text), _MAX_ERROR)
    return {"response_action": "errors", "errors": {reply.field: error}}


def _render_intro(incident: Incident, next_business_day_at: float) -> str:
    title = bold(format_headline(incident, find_heading(incident)), 300)
    intro = f"{title}\nWhile alerts are silenced in Alertmanager, they page no one."
    if not next_business_day_at:
        return intro
    return f"{intro}\nThe next business day starts {format_timestamp(next_business_day_at)}."


def _plain_text(text: str) -> dict[str, str]:
    return {"text": text, "type": "plain_text"}


def _text_field(name: str, label: str, limit: int, hint: str) -> dict[str, Any]:
    return {
        "block_id": name,
        "element": {"action_id": name, "max_length": limit, "type": "plain_text_input"},
        "hint": _plain_text(hint),
        "label": _plain_text(label),
        "optional": True,
        "type": "input",
    }


_MAX_SENTENCE = 600
_MAX_LINE = 300
_MAX_NAME = 120
_ROOM_FOR_REST = 150


def render_ephemeral(reply: TextReply | IncidentDetails) -> dict[str, Any]:
    """Return the message for the response to a command or for a response_url.

    Only the user sees it, and it contains no mentions.
    """
    rendered = _render_details(reply) if isinstance(reply, IncidentDetails) else _render_reply(reply)
    lines = list(filter(None, rendered))
    budget = blocks.BlockBudget().reserve_characters(_ROOM_FOR_REST)
    sections, left_out = blocks.pack_sections(lines, budget)
    if left_out:
        sections.append(blocks.section(f"… and {left_out} more"))
    text = mrkdwn.join_lines(lines, blocks.MAX_TEXT) or "Done"
    # Without `replace_original`, the reply to a click would replace the message of the button.
    return {"response_type": "ephemeral", "replace_original": False, "text": text, "blocks": sections}


def _render_reply(reply: TextReply) -> Iterator[str]:
    yield f"{escape_line(reply.text, _MAX_SENTENCE)}{_format_until(reply)}"
    for each in reply.lines:
        yield f"• {escape_line(each.text, _MAX_LINE)}{_format_until(each)}"
    for incident in reply.incidents:
        yield _render_row(incident)


def _format_until(text: TextReply | TextLine) -> str:
    return f" until {format_timestamp(text.until)}" if text.until else ""


def _render_row(incident: Incident) -> str:
    """Return an incident on one line: severity, name, ID, who acknowledged it, and a link to its message."""
    heading = find_heading(incident)
    name = bold(heading.name or heading.summary, _MAX_NAME) or NAMELESS
    parts = [
        f"{SEVERITY_MARKS[incident.severity]} {name} {code(incident.id, 60)}",
        f"{incident.firing} firing",
    ]
    if incident.is_acknowledged:
        parts.append(f"👀 {mrkdwn.render_person(incident.acknowledged_by)}")
    parts.append(f"since {format_timestamp(incident.opened_at)}")
    return " · ".join([*parts, *_link_message(incident)])


def _render_details(details: IncidentDetails) -> Iterator[str]:
    incident, escalation = details.incident, details.escalation
    heading = find_heading(incident)
    yield f"{bold(format_headline(incident, heading), 400)} {code(incident.id, 60)}"
    if heading.summary:
        yield mrkdwn.render_passages(heading.summary, _MAX_SENTENCE) + format_more(heading.more)
    sent = f", {count_sent(incident)}" if incident.truncated else ""
    yield f"{incident.firing} of {incident.total} alerts firing{sent}"
    yield escalation_section.render_suppression(incident)
    yield escalation_section.render_steps(incident, escalation)
    yield escalation_section.render_page_failures(incident, escalation)
    yield escalation_section.render_silences(incident, details.now)
    yield " · ".join([format_history(incident), *_link_message(incident)])


def _link_message(incident: Incident) -> Iterator[str]:
    message = incident.message
    if message is not None and message.receipt is not None and message.receipt.link:
        yield mrkdwn.link(message.receipt.link, "message")
