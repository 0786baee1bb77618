"""A Markdown text as its headings: each with the blocks below it and the headings inside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from receiver.runbooks.markdown import Block
from receiver.runbooks.titles import read_label

_DECORATION = re.compile(r"[`*]|(?<!\w)_|_(?!\w)")
_LINK = re.compile(r"\[([^\[\]]*)\]\([^()]*\)")


@dataclass
class MarkdownHeading:
    """One heading; the root of a text has level 0, line 0 and no title. Lines count from 1."""

    title: str
    level: int
    line: int
    end_line: int = 0
    blocks: list[Block] = field(default_factory=list)
    children: list[MarkdownHeading] = field(default_factory=list)

    def walk(self) -> Iterator[MarkdownHeading]:
        """Yield this heading and all inside it, in the order of the text."""
        yield self
        for child in self.children:
            yield from child.walk()


def build_outline(blocks: Sequence[Block], last_line: int) -> MarkdownHeading:
    """Return the root of the tree of headings; only headings outside lists and quotes count."""
    root = MarkdownHeading("", 0, 0, last_line)
    path = [root]
    for block in blocks:
        if block.kind != "heading" or _is_swallowed_paragraph(block):
            path[-1].blocks.append(block)
            continue
        level = int(block.tokens[0].tag[1:])
        while path[-1].level >= level:
            path.pop().end_line = block.line - 1
        heading = MarkdownHeading(plain_title(block.text), level, block.line, last_line)
        path[-1].children.append(heading)
        path.append(heading)
    return root


def plain_title(text: str) -> str:
    """Return a heading's Markdown as bare words on one line."""
    return " ".join(_DECORATION.sub("", _LINK.sub(r"\1", text)).split())


def _is_swallowed_paragraph(block: Block) -> bool:
    """Tell whether a paragraph became a heading only by a rule (`---`) right below it."""
    is_underlined = block.tokens[0].markup in ("-", "=")
    return is_underlined and ("\n" in block.text or read_label(block.text) is not None)
