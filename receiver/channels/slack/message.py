"""What goes to Slack, and how much of its formatting is left."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from receiver.channels.slack.blocks import Block

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
