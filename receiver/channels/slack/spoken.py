"""What who pressed or typed something hears back: for their eyes only. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from receiver.channels.slack.blocks import section
from receiver.channels.slack.budget import BlockBudget, pack_sections
from receiver.channels.slack.headline import count_sent, headline, history, severity_mark
from receiver.channels.slack.message import MAX_TEXT
from receiver.channels.slack.mrkdwn import (
    bold,
    code,
    cut_escaped,
    escape_line,
    escape_text,
    format_timestamp,
    join_lines,
    link,
)
from receiver.channels.slack.people import render_person
from receiver.channels.slack.silences import render_silences, render_suppression
from receiver.channels.slack.steps import render_page_failures, render_steps
from receiver.domain.request import IncidentDetails, TextLine, TextReply
from receiver.model.delivery_status import find_message
from receiver.model.heading import find_heading, format_more
from receiver.model.incident import Incident

_MAX_SENTENCE = 600
_MAX_LINE = 300
_MAX_NAME = 120
_ROOM_FOR_REST = 150


def render_ephemeral(said: TextReply | IncidentDetails) -> dict[str, Any]:
    """Return the message as a command is answered with, or a response_url is posted.

    Nobody else sees it, and nothing in it pings anybody.
    """
    lines = list(_render_details(said) if isinstance(said, IncidentDetails) else _render_reply(said))
    blocks, left_out = pack_sections(lines, BlockBudget().reserve_characters(_ROOM_FOR_REST))
    if left_out:
        blocks.append(section(f"… and {left_out} more"))
    text = cut_escaped(join_lines(lines, MAX_TEXT), MAX_TEXT) or "Done"
    # Without it, a button's words would take the place of the message it belongs to.
    return {"response_type": "ephemeral", "replace_original": False, "text": text, "blocks": blocks}


def _render_reply(reply: TextReply) -> Iterator[str]:
    yield f"{escape_line(reply.text, _MAX_SENTENCE)}{_format_until(reply)}"
    for each in reply.lines:
        yield f"• {escape_line(each.text, _MAX_LINE)}{_format_until(each)}"
    for incident in reply.incidents:
        yield _render_row(incident)


def _format_until(said: TextReply | TextLine) -> str:
    return f" until {format_timestamp(said.until)}" if said.until else ""


def _render_row(incident: Incident) -> str:
    """Return an incident on a line: its mark, name, ID, who has it, and where its message is."""
    heading = find_heading(incident)
    name = bold(heading.name or heading.summary, _MAX_NAME) or "*alert without a name*"
    said = [f"{severity_mark(incident.severity)} {name} {code(incident.id, 60)}", f"{incident.firing} firing"]
    if incident.is_acknowledged:
        said.append(f"👀 {render_person(incident.acknowledged_by)}")
    said.append(f"since {format_timestamp(incident.opened_at)}")
    return " · ".join([*said, *_message_link(incident)])


def _render_details(details: IncidentDetails) -> Iterator[str]:
    incident, escalation = details.incident, details.escalation
    yield f"{bold(headline(incident), 400)} {code(incident.id, 60)}"
    heading = find_heading(incident)
    if heading.summary:
        yield escape_text(heading.summary, _MAX_SENTENCE) + format_more(heading.more)
    sent = f", {count_sent(incident)}" if incident.truncated else ""
    yield f"{incident.firing} of {incident.total} alerts firing{sent}"
    for text in (
        render_suppression(incident),
        render_steps(incident, escalation),
        render_page_failures(incident, escalation),
        render_silences(incident, details.now),
    ):
        if text:
            yield text
    yield " · ".join([history(incident), *_message_link(incident)])


def _message_link(incident: Incident) -> Iterator[str]:
    message = find_message(incident)
    if message is not None and message.receipt is not None and message.receipt.link:
        yield link(message.receipt.link, "message")
