"""An excerpt as Markdown, for a terminal or a page; also the measure of what fits in a message."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from receiver.domain.runbook import Excerpt, Part, Section

# What would begin a block at the start of a line: `> 10 %`, `# of errors`, `- 3`, `1. May`, `===`.
_BLOCK_MARK = re.compile(r"^(\d{0,9})([>#+.)=~|-](?=\s|$|[>#=~|-]))", re.MULTILINE)


def render_markdown(excerpt: Excerpt) -> str:
    """Return the excerpt as Markdown, with the link to the rest at its end."""
    blocks = [render_section(section) for section in excerpt.sections]
    if excerpt.url:
        words = "The rest of the runbook" if excerpt.is_cut else "The runbook"
        blocks.append(f"{words}: <{excerpt.url}>")
    elif excerpt.is_cut:
        blocks.append("…")
    return "\n\n".join(blocks)


def render_section(section: Section) -> str:
    """Return a section as Markdown: its title in bold, then its parts."""
    return f"{_title(section.title)}{''.join(_blocks(section.parts))}".strip("\n")


def markdown_size(parts: Iterable[Part], title: str = "") -> int:
    """Return how many characters *parts* and *title* take in `render_markdown`, blank lines included.

    Sizes add up: the size of a section is that of its title and of its parts.
    """
    return len(_title(title)) + sum(len(block) for block in _blocks(parts))


def _title(title: str) -> str:
    return f"**{title}**\n\n" if title else ""


def _blocks(parts: Iterable[Part]) -> Iterator[str]:
    """Yield each part with the blank line after it, indented to where it stands in its lists."""
    widths: list[int] = []
    for part in parts:
        del widths[max(0, part.depth - 1 if part.marker else part.depth) :]
        indent = " " * sum(widths)
        first = f"{part.marker} " if part.marker else ""
        if part.marker:
            widths.append(len(first))
        rest = indent + " " * len(first)
        lines = (_fence(part) if part.kind == "code" else _inline(part)).split("\n")
        lines = [indent + first + lines[0], *(rest + line if line else "" for line in lines[1:])]
        yield "\n".join(lines) + "\n\n"


def _inline(part: Part) -> str:
    """Return a part's text so that no line of it begins a quote, a list or a heading by accident."""
    return part.text if part.kind == "table" else _BLOCK_MARK.sub(r"\1\\\2", part.text)


def _fence(part: Part) -> str:
    """Return code between backticks, more of them than it holds itself."""
    longest = max((len(run) for run in re.findall(r"`+", part.text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}{part.lang.replace('`', '')}\n{part.text}\n{marks}"
