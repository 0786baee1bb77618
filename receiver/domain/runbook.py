"""Runbooks as parsed: sections of parts, ready to be shown whole or in part."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One piece of a section that is shown whole or not at all.

    *kind* is `paragraph`, `item`, `code` or `table`. *text* is Markdown for the inline kinds,
    the bare code for `code`, the Markdown source for `table`. *depth* is the nesting in lists
    (0 outside); *marker* is `-` or `1.` for an item, and empty for what belongs to the item
    above it. *lang* is a fence's language.
    """

    kind: str
    text: str
    depth: int = 0
    marker: str = ""
    lang: str = ""


@dataclass(frozen=True)
class Section:
    """A titled run of parts (`Symptom`, `Impact`, `Diagnosis`, …); the first may have no title."""

    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Runbook:
    """What to do about one alert. *severity* is what its heading claims, or empty."""

    name: str
    severity: str
    sections: tuple[Section, ...]
    source: str = ""  # the Markdown it was read from, for a page that shows it whole
    file: str = ""
    line: int = 1


@dataclass(frozen=True)
class Excerpt:
    """The part of a runbook that is shown in a message.

    *is_cut* tells that something was left out; *url* leads to the rest (empty: nowhere to link).
    An annotation's runbook link that could not be read here is an excerpt with a url only.
    """

    name: str
    sections: tuple[Section, ...] = ()
    is_cut: bool = False
    url: str = ""


def render_plain(excerpt: Excerpt) -> str:
    """Return the excerpt's words as plain text, for places that show no markup.

    Empty when it has no words of its own (a url only). Markdown inside a sentence stays as written.
    """
    blocks = ["\n".join(_plain_lines(section)) for section in excerpt.sections]
    words = "\n\n".join(block for block in blocks if block)
    if words and excerpt.is_cut:
        words += f"\n\n… more: {excerpt.url}" if excerpt.url else "\n\n…"
    return words


def _plain_lines(section: Section) -> list[str]:
    lines = [section.title] if section.title else []
    for part in section.parts:
        # What belongs to the item above stands under its text, an item under its parent's.
        indent = "  " * (max(0, part.depth - 1) if part.marker else part.depth)
        if part.kind == "code":
            indent += "  "
        first = f"{part.marker} " if part.marker else ""
        for line in part.text.split("\n"):
            lines.append(f"{indent}{first}{line}".rstrip())
            first = " " * len(first)
    return lines
