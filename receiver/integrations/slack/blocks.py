"""The few kinds of blocks our messages are made of, as slack_sdk's models check them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from json import dumps
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


# Slack refuses some 13,000 characters over all blocks (`msg_blocks_too_long`), which it does not
# document: https://github.com/slackapi/bolt-js/issues/2509
MAX_TOTAL = 12_000
_SEPARATOR = 2


def measure(blocks: Sequence[Block]) -> int:
    """Return the characters *blocks* have as JSON."""
    return len(dumps(list(blocks), ensure_ascii=False))


class BlockBudget:
    """The room left in one message; what was once taken is not given back."""

    def __init__(self, characters: int = MAX_TOTAL, blocks: int = MAX_BLOCKS) -> None:
        self.characters = characters
        self.blocks = blocks

    @classmethod
    def remaining(cls, used: Sequence[Block]) -> BlockBudget:
        """Return what is left of a message that already has the blocks *taken*."""
        return cls(MAX_TOTAL - measure(used), MAX_BLOCKS - len(used))

    def reserve_characters(self, characters: int) -> BlockBudget:
        """Return a budget of its own that leaves *characters* and a block of this one alone."""
        return BlockBudget(self.characters - characters, self.blocks - 1)

    def try_add_block(self, block: Block) -> bool:
        """Tell whether *block* still fits, and count it if so."""
        cost = measure([block]) - 2 + _SEPARATOR
        if cost > self.characters or self.blocks < 1:
            return False
        self.characters -= cost
        self.blocks -= 1
        return True


def pack_sections(pieces: Sequence[str], budget: BlockBudget) -> tuple[list[Block], int]:
    """Return sections holding *pieces*, each whole, as many as fit; and how many were left out.

    Stops at the first that doesn't fit, so the order holds and nothing is shown out of its place.
    """
    texts: list[str] = []
    for number, piece in enumerate(pieces):
        if texts and len(texts[-1]) + 1 + len(piece) <= MAX_SECTION:
            cost = len(dumps(piece, ensure_ascii=False))  # its two quotes pay for the line end
            if cost > budget.characters:
                return _render_sections(texts), len(pieces) - number
            budget.characters -= cost
            texts[-1] += f"\n{piece}"
        elif len(piece) <= MAX_SECTION and budget.try_add_block(section(piece)):
            texts.append(piece)
        else:
            return _render_sections(texts), len(pieces) - number
    return _render_sections(texts), 0


def _render_sections(texts: Sequence[str]) -> list[Block]:
    return [section(text) for text in texts]


# Slack cuts at 40,000 and may split at some 4,000, and a split message can't be edited as one:
# https://api.slack.com/changelog/2018-04-truncating-really-long-messages
MAX_TEXT = 3000


class FormattingLevel(IntEnum):
    """A rung of the ladder that is gone down when Slack refuses what a message is made of."""

    FULL = 0
    COMPACT = 1  # no alerts in full, no runbook
    PLAIN = 2  # no blocks at all


@dataclass(frozen=True)
class Message:
    """*text* is the whole message where there are no *blocks*, else what a phone shows of it.

    *links_names* asks Slack to make mentions of names like @team-lead: only where we alone
    have written the text.
    """

    text: str
    blocks: tuple[Block, ...] = ()
    links_names: bool = False
