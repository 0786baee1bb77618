"""The form for a silence and its errors, and the ephemeral replies to commands and clicks. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from slack_sdk.models.blocks import (
    InputBlock,
    Option,
    PlainTextInputElement,
    PlainTextObject,
    RadioButtonsElement,
)
from slack_sdk.models.blocks.basic_components import MarkdownTextObject
from slack_sdk.models.blocks.blocks import SectionBlock
from slack_sdk.models.views import View

from receiver.integrations.slack.alert_section import NAMELESS
from receiver.integrations.slack.blocks import MAX_TEXT, BlockBudget, pack_sections, section
from receiver.integrations.slack.escalation_section import (
    render_page_failures,
    render_silences,
    render_steps,
    render_suppression,
)
from receiver.integrations.slack.headline import SEVERITY_MARKS, count_sent, headline, history
from receiver.integrations.slack.mrkdwn import (
    bold,
    code,
    cut_escaped,
    escape_line,
    escape_text,
    format_timestamp,
    join_lines,
    link,
    plain,
    render_person,
)
from receiver.integrations.slack.requests import (
    FIELD_CHOICE,
    FIELD_COMMENT,
    FIELD_CUSTOM,
    SILENCE_FORM,
    UNTIL_BUSINESS_DAY,
    UNTIL_RESOLVED,
    IncidentDetails,
    TextLine,
    TextReply,
)
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
    options = list(_options(next_business_day_at))
    view = View(
        type="modal",
        callback_id=SILENCE_FORM,
        private_metadata=incident.id,
        title=PlainTextObject(text="Silence"),
        submit=PlainTextObject(text="Silence"),
        close=PlainTextObject(text="Cancel"),
        blocks=[
            SectionBlock(
                text=MarkdownTextObject(text=_render_intro(incident, next_business_day_at), verbatim=True)
            ),
            InputBlock(
                block_id=FIELD_CHOICE,
                label=PlainTextObject(text="For how long"),
                element=RadioButtonsElement(
                    action_id=FIELD_CHOICE, options=options, initial_option=options[0]
                ),
            ),
            _text_field(
                FIELD_CUSTOM,
                "Or a time of your own",
                _MAX_CUSTOM,
                f"Like 30m, 1h30m or until 14:00 ({zone}); it goes first",
            ),
            _text_field(FIELD_COMMENT, "Comment", _MAX_COMMENT, "Why; it is shown in Alertmanager too"),
        ],
    )
    return dict(view.to_dict())


def render_form_error(reply: TextReply) -> dict[str, Any]:
    """Return the response that keeps the form open and shows *reply* at its field."""
    error = truncate_text(plain(reply.text), _MAX_ERROR)
    return {"response_action": "errors", "errors": {reply.field: error}}


def _options(next_business_day_at: float) -> Iterator[Option]:
    yield Option(value="1h", text=PlainTextObject(text="1 hour"))
    yield Option(value="4h", text=PlainTextObject(text="4 hours"))
    if next_business_day_at:
        yield Option(value=UNTIL_BUSINESS_DAY, text=PlainTextObject(text="Until the next business day"))
    yield Option(value=UNTIL_RESOLVED, text=PlainTextObject(text="Until it resolves"))


def _render_intro(incident: Incident, next_business_day_at: float) -> str:
    title = bold(headline(incident, find_heading(incident)), 300)
    intro = f"{title}\nWhile alerts are silenced in Alertmanager, they page no one."
    if not next_business_day_at:
        return intro
    return f"{intro}\nThe next business day starts {format_timestamp(next_business_day_at)}."


def _text_field(name: str, label: str, limit: int, hint: str) -> InputBlock:
    return InputBlock(
        block_id=name,
        label=PlainTextObject(text=label),
        hint=PlainTextObject(text=hint),
        element=PlainTextInputElement(action_id=name, max_length=limit),
        optional=True,
    )


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
    blocks, left_out = pack_sections(lines, BlockBudget().reserve_characters(_ROOM_FOR_REST))
    if left_out:
        blocks.append(section(f"… and {left_out} more"))
    text = cut_escaped(join_lines(lines, MAX_TEXT), MAX_TEXT) or "Done"
    # Without `replace_original`, the reply to a click would replace the message of the button.
    return {"response_type": "ephemeral", "replace_original": False, "text": text, "blocks": blocks}


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
        parts.append(f"👀 {render_person(incident.acknowledged_by)}")
    parts.append(f"since {format_timestamp(incident.opened_at)}")
    return " · ".join([*parts, *_message_link(incident)])


def _render_details(details: IncidentDetails) -> Iterator[str]:
    incident, escalation = details.incident, details.escalation
    heading = find_heading(incident)
    yield f"{bold(headline(incident, heading), 400)} {code(incident.id, 60)}"
    if heading.summary:
        yield escape_text(heading.summary, _MAX_SENTENCE) + format_more(heading.more)
    sent = f", {count_sent(incident)}" if incident.truncated else ""
    yield f"{incident.firing} of {incident.total} alerts firing{sent}"
    yield render_suppression(incident)
    yield render_steps(incident, escalation)
    yield render_page_failures(incident, escalation)
    yield render_silences(incident, details.now)
    yield " · ".join([history(incident), *_message_link(incident)])


def _message_link(incident: Incident) -> Iterator[str]:
    message = incident.message
    if message is not None and message.receipt is not None and message.receipt.link:
        yield link(message.receipt.link, "message")
