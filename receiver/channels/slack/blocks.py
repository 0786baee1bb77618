"""The few kinds of blocks our messages are made of, as slack_sdk's models check them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slack_sdk.models.blocks import (
    ActionsBlock,
    ButtonElement,
    ContextBlock,
    HeaderBlock,
    MarkdownTextObject,
    PlainTextObject,
    SectionBlock,
)

from receiver.text import truncate_text

# https://docs.slack.dev/reference/block-kit/blocks
MAX_BLOCKS = 50
MAX_SECTION = 3000
MAX_HEADER = 150
MAX_CONTEXT_ELEMENTS = 10
MAX_BUTTON_TEXT = 75

Block = dict[str, Any]


def _mrkdwn(text: str) -> MarkdownTextObject:
    # verbatim: else Slack makes links of bare addresses and mentions of plain names by itself,
    # https://docs.slack.dev/reference/block-kit/composition-objects/text-object
    return MarkdownTextObject(text=text, verbatim=True)


def header(text: str) -> Block:
    """Return a header; its text is plain, so nothing in it needs escaping."""
    return HeaderBlock(text=PlainTextObject(text=truncate_text(text, MAX_HEADER), emoji=True)).to_dict()


def section(text: str) -> Block:
    """Return a section of mrkdwn of at most 3,000 characters."""
    return SectionBlock(text=_mrkdwn(text)).to_dict()


def context(texts: Sequence[str]) -> Block:
    """Return small grey lines of mrkdwn, ten at most."""
    return ContextBlock(elements=[_mrkdwn(text) for text in texts[:MAX_CONTEXT_ELEMENTS]]).to_dict()


def button(text: str, action_id: str, value: str, style: str | None = None) -> ButtonElement:
    return ButtonElement(
        text=truncate_text(text, MAX_BUTTON_TEXT), action_id=action_id, value=value, style=style
    )


def actions(buttons: Sequence[ButtonElement], block_id: str) -> Block:
    return ActionsBlock(elements=list(buttons), block_id=block_id).to_dict()
