"""The Block Kit blocks of our messages, and the size limits of a message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from json import JSONEncoder
from typing import Any

from receiver.text import truncate_text

# https://docs.slack.dev/reference/block-kit/blocks
MAX_BLOCKS = 50
MAX_SECTION = 3000
MAX_HEADER = 150
MAX_BUTTON_TEXT = 75
Block = dict[str, Any]  # a block, or an element of one


def _mrkdwn(text: str) -> Block:
    # verbatim: otherwise Slack turns bare URLs into links and plain names into mentions,
    # https://docs.slack.dev/reference/block-kit/composition-objects/text-object
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _plain_text(text: str, limit: int) -> Block:
    return {"type": "plain_text", "text": truncate_text(text, limit), "emoji": True}


def header(text: str) -> Block:
    """Return a header block; its text is plain_text and needs no escaping."""
    return {"type": "header", "text": _plain_text(text, MAX_HEADER)}


def section(text: str) -> Block:
    """Return a section block of mrkdwn; Slack allows 3,000 characters."""
    return {"type": "section", "text": _mrkdwn(text)}


def context(text: str) -> Block:
    """Return a context block: small grey mrkdwn."""
    return {"type": "context", "elements": [_mrkdwn(text)]}


def button(text: str, action_id: str, value: str, style: str = "") -> Block:
    """Return a button element; *style* is `primary`, `danger` or empty."""
    element = {"type": "button", "text": _plain_text(text, MAX_BUTTON_TEXT)}
    return {**element, "action_id": action_id, "value": value, **({"style": style} if style else {})}


def actions(buttons: Sequence[Block], block_id: str) -> Block:
    return {"type": "actions", "block_id": block_id, "elements": list(buttons)}


# Slack refuses about 13,000 characters over all blocks (`msg_blocks_too_long`), an undocumented limit:
# https://github.com/slackapi/bolt-js/issues/2509
MAX_TOTAL = 12_000
_SEPARATOR = 2
_encode = JSONEncoder(ensure_ascii=False).encode


def measure(blocks: Sequence[Block]) -> int:
    """Return the length of *blocks* as JSON, in characters."""
    return len(_encode(blocks))


@dataclass(slots=True)
class BlockBudget:
    """The characters and blocks that one message may still use."""

    characters: int = MAX_TOTAL
    blocks: int = MAX_BLOCKS

    @classmethod
    def remaining(cls, used: Sequence[Block]) -> BlockBudget:
        """Return the remaining budget of a message that already has the blocks *used*."""
        return cls(MAX_TOTAL - measure(used), MAX_BLOCKS - len(used))

    def reserve_characters(self, characters: int) -> BlockBudget:
        """Return a new budget, smaller than this one by *characters* and one block."""
        return BlockBudget(self.characters - characters, self.blocks - 1)

    def try_add_block(self, block: Block) -> bool:
        """Return whether *block* still fits; if so, subtract it from the budget."""
        cost = len(_encode(block)) + _SEPARATOR
        if cost > self.characters or self.blocks < 1:
            return False
        self.characters -= cost
        self.blocks -= 1
        return True


def pack_sections(pieces: Sequence[str], budget: BlockBudget) -> tuple[list[Block], int]:
    """Return sections with as many whole *pieces* as fit into *budget*, and the number of omitted pieces.

    Stops at the first piece that does not fit, so that none in the middle is missing.
    """
    texts: list[str] = []
    packed = 0
    for piece in pieces:
        if texts and len(texts[-1]) + 1 + len(piece) <= MAX_SECTION:
            cost = len(_encode(piece))  # its two quotes count for the escaped line end
            if cost > budget.characters:
                break
            budget.characters -= cost
            texts[-1] += f"\n{piece}"
        elif len(piece) <= MAX_SECTION and budget.try_add_block(section(piece)):
            texts.append(piece)
        else:
            break
        packed += 1
    return [section(text) for text in texts], len(pieces) - packed


# Slack truncates at 40,000 characters and may split at about 4,000; a split message can't be edited as one:
# https://api.slack.com/changelog/2018-04-truncating-really-long-messages
MAX_TEXT = 3000


class FormattingLevel(IntEnum):
    """How much formatting a message uses; when Slack refuses the formatting, the next level is tried."""

    FULL = 0
    COMPACT = 1  # a count in place of the alerts, no runbook
    PLAIN = 2  # no blocks, only text


@dataclass(frozen=True)
class Message:
    """A message: *text* is all of it if there are no *blocks*, else the text of the push notification.

    *links_names* makes Slack turn names like @team-lead into mentions: only if the untrusted parts of *text*
    went through `disable_mentions`.
    """

    text: str
    blocks: tuple[Block, ...] = ()
    links_names: bool = False
