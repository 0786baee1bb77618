"""Parsed runbooks and excerpts: sections made of parts, and their rendering as text and Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from receiver.links import spell_out_links
from receiver.runbooks.tables import align_table


@dataclass(frozen=True)
class Part:
    """A part of a section; an excerpt shows all of it or nothing."""

    kind: str  # `paragraph`, `item`, `code`, `table` or `callout`
    text: str  # Markdown, but the bare code for `code`
    depth: int = 0  # the nesting in lists; 0 outside
    marker: str = ""  # `-` or `1.` for an item, empty for the further contents of the item above
    lang: str = ""  # the language of a code block
    is_later: bool = False  # nobody needs it tonight: it is shown where room is left


@dataclass(frozen=True)
class Section:
    """A title (`Symptom`, `Impact`, `Diagnosis`, …) and its parts; the first section may have no title."""

    title: str
    parts: tuple[Part, ...]
    kind: str = ""  # what an unusual title means: `Resolution` of `Behebung`, `Later` of `Background`


@dataclass(frozen=True)
class Runbook:
    """The runbook of one alert."""

    name: str
    severity: str  # the one in its heading or label, or empty
    sections: tuple[Section, ...]
    source: str = ""  # its Markdown, for the web page
    file: str = ""
    line: int = 1


@dataclass(frozen=True)
class Excerpt:
    """The part of a runbook that is shown in a message; of a link that was not fetched, only the *url*, and
    where the alert has no usable link, its *words*.
    """

    name: str
    sections: tuple[Section, ...] = ()
    is_cut: bool = False  # something was left out
    url: str = ""  # the link to the rest; empty: no link
    words: str = ""  # what the alert says of its runbook where that is no usable link


def render_plain(excerpt: Excerpt) -> str:
    """Return the excerpt as plain text, for channels without markup.

    Empty when it has only a URL. Inline Markdown stays as written.
    """
    blocks = [
        spell_out_links(excerpt.words),
        *("\n".join(_plain_lines(section)) for section in excerpt.sections),
    ]
    text = "\n\n".join(block for block in blocks if block)
    if text and excerpt.is_cut:
        text += f"\n\n… more: {excerpt.url}" if excerpt.url else "\n\n…"
    return text


def _plain_lines(section: Section) -> list[str]:
    lines = [section.title] if section.title else []
    for part in section.parts:
        # Indent an item's further contents to its text, and a nested item to its parent's text.
        indent = "  " * (max(0, part.depth - 1) if part.marker else part.depth)
        if part.kind == "code":
            indent += "  "
        first = f"{part.marker} " if part.marker else ""
        for line in _plain_text(part).split("\n"):
            lines.append(f"{indent}{first}{line}".rstrip())
            first = " " * len(first)
    return lines


def _plain_text(part: Part) -> str:
    if part.kind == "table":
        return align_table(part.text, has_markup=False)
    return part.text if part.kind == "code" else part.text.replace("\\\n", "\n")


# Markers that would begin a block at the start of a line: `> 10 %`, `# of errors`, `- 3`, `1. May`, `===`.
_BLOCK_MARK = re.compile(r"^(\d{0,9})([>#+.)=~|-](?=\s|$|[>#=~|-]))", re.MULTILINE)


def render_markdown(excerpt: Excerpt) -> str:
    """Return the excerpt as Markdown, with the link to the rest at its end."""
    blocks = [f"{_title(one.title)}{''.join(_blocks(one.parts))}".strip("\n") for one in excerpt.sections]
    if excerpt.url:
        words = "The rest of the runbook" if excerpt.is_cut else "The runbook"
        blocks.append(f"{words}: <{excerpt.url}>")
    elif excerpt.is_cut:
        blocks.append("…")
    return "\n\n".join(blocks)


def markdown_size(parts: Iterable[Part], title: str = "") -> int:
    """Return the length of *parts* and *title* in `render_markdown` in characters, blank lines included.

    Sizes are additive: the size of a section is the sum of its title and its parts.
    """
    return len(_title(title)) + sum(len(block) for block in _blocks(parts))


def _title(title: str) -> str:
    return f"**{title}**\n\n" if title else ""


def _blocks(parts: Iterable[Part]) -> Iterator[str]:
    """Yield each part with the blank line after it, indented by its nesting in lists."""
    widths: list[int] = []
    for part in parts:
        level = max(0, part.depth - 1 if part.marker else part.depth)
        del widths[level:]
        widths += [0] * (level - len(widths))  # a callout around it has no width
        indent = " " * sum(widths)
        first = f"{part.marker} " if part.marker else ""
        if part.marker:
            widths.append(len(first))
        rest = indent + " " * len(first)
        text = _fence(part) if part.kind == "code" else part.text
        if part.kind == "table":
            text = align_table(text, has_markup=True)
        if part.kind in (
            "paragraph",
            "item",
            "callout",
        ):  # no line may begin a quote, a list or a heading by accident
            text = _BLOCK_MARK.sub(r"\1\\\2", text)
        begin, *more = text.split("\n")
        lines = [indent + first + begin, *(rest + line if line else "" for line in more)]
        yield "\n".join(lines) + "\n\n"


def _fence(part: Part) -> str:
    """Return a fenced code block, with a fence longer than any run of backticks in the code."""
    longest = max((len(run) for run in re.findall(r"`+", part.text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}{part.lang.replace('`', '')}\n{part.text}\n{marks}"
