"""How much of a message is left to fill. Counted on the JSON itself, so quotes and line ends count."""

from __future__ import annotations

from collections.abc import Sequence
from json import dumps

from receiver.channels.slack.blocks import MAX_BLOCKS, MAX_SECTION, Block, section

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
