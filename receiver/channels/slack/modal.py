"""The form for a silence, and what Slack is told when it can't be taken. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

from receiver.channels.slack.headline import headline
from receiver.channels.slack.mrkdwn import bold, format_timestamp, plain
from receiver.domain.request import (
    FIELD_CHOICE,
    FIELD_COMMENT,
    FIELD_CUSTOM,
    SILENCE_FORM,
    UNTIL_BUSINESS_DAY,
    UNTIL_RESOLVED,
)
from receiver.model.incident import Incident
from receiver.text import truncate_text

# https://docs.slack.dev/reference/block-kit/composition-objects/option-object
_MAX_ERROR = 150
_MAX_CUSTOM = 30
_MAX_COMMENT = 300


def render_silence_form(incident: Incident, next_business_day_at: float, zone: str = "UTC") -> dict[str, Any]:
    """Return the view for views.open; *next_business_day_at* is when that day starts (0: not known),
    *zone* the name of the zone of a time of day.

    It carries the incident's id, so that whoever sends it need not say it.
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


def render_form_errors(faults: Mapping[str, str]) -> dict[str, Any]:
    """Return the answer by which Slack shows a sentence at each field that is wrong, the form kept open."""
    errors = {field: truncate_text(plain(said), _MAX_ERROR) for field, said in faults.items()}
    return {"response_action": "errors", "errors": errors}


def _options(next_business_day_at: float) -> Iterator[Option]:
    yield Option(value="1h", text=PlainTextObject(text="1 hour"))
    yield Option(value="4h", text=PlainTextObject(text="4 hours"))
    if next_business_day_at:
        yield Option(value=UNTIL_BUSINESS_DAY, text=PlainTextObject(text="Until the next business day"))
    yield Option(value=UNTIL_RESOLVED, text=PlainTextObject(text="Until it resolves"))


def _render_intro(incident: Incident, next_business_day_at: float) -> str:
    said = f"{bold(headline(incident), 300)}\nWhat it silences in Alertmanager wakes nobody meanwhile."
    return (
        f"{said}\nThe next business day starts {format_timestamp(next_business_day_at)}."
        if next_business_day_at
        else said
    )


def _text_field(name: str, label: str, limit: int, hint: str) -> InputBlock:
    return InputBlock(
        block_id=name,
        label=PlainTextObject(text=label),
        hint=PlainTextObject(text=hint),
        element=PlainTextInputElement(action_id=name, max_length=limit),
        optional=True,
    )
