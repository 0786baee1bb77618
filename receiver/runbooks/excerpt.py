"""Cutting a runbook to the size of a message: whole parts only, the most useful first.

A code block, a table or a list item with its contents is kept or left out as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from receiver.runbooks.model import Excerpt, Part, Runbook, Section, markdown_size
from receiver.runbooks.parser import CANONICAL, DIAGNOSIS, ESCALATION, IMPACT, RESOLUTION, SYMPTOM

# Leaves room for the alerts in a Slack message: all its blocks together have about 9,000 characters, a
# section of text 3,000.
EXCERPT_LIMIT = 2500

Unit = tuple[Part, ...]  # shown together or not at all


def cut_excerpt(runbook: Runbook, limit: int = EXCERPT_LIMIT, url: str = "") -> Excerpt:
    """Return the excerpt of *runbook* in *limit* characters of Markdown, titles and list markers included.

    It has the sections Symptom, Impact, Diagnosis, Resolution and Escalation, or all sections if the runbook
    has none of these; `is_cut` is set if parts of them are left out. Sections are cut at their end, Diagnosis
    first: only its first parts, up to an eighth of the limit, have priority over the Resolution. A part that
    is longer than the limit by itself is skipped. *url* becomes the excerpt's link.
    """
    shown = _choose_sections(runbook)
    stacks = {section.title: _Stack(section, limit) for section in shown}
    left = limit
    for title, share in _list_shares(stacks, limit):
        left -= stacks[title].add_units(share, left)
    kept = [replace(section, parts=tuple(stacks[section.title].chosen)) for section in shown]
    is_cut = any(part.parts != whole.parts for part, whole in zip(kept, shown, strict=True))
    return Excerpt(runbook.name, tuple(section for section in kept if section.parts), is_cut, url)


def _choose_sections(runbook: Runbook) -> list[Section]:
    """Return the sections for an excerpt, in reading order, each title once."""
    by_title: dict[str, Section] = {}
    for section in runbook.sections:
        known = by_title.get(section.title)
        by_title[section.title] = replace(section, parts=(*known.parts, *section.parts)) if known else section
    chosen = [by_title[title] for title in CANONICAL if title in by_title]
    if not chosen:
        return list(by_title.values())
    if SYMPTOM not in by_title and "" in by_title:  # the text before the first title describes the symptom
        chosen.insert(0, by_title[""])
    return chosen


def _list_shares(titles: Iterable[str], limit: int) -> list[tuple[str, int]]:
    """Return (section title, characters) in the order of allocation; a second share continues the first.

    Each section gets a share before the rest is allocated, so that no section is left without space.
    """
    known = list(titles)
    shares = [
        ("", limit // 3),
        (SYMPTOM, limit // 3),
        (IMPACT, limit // 3),
        (ESCALATION, limit // 8),
        (DIAGNOSIS, limit // 8),
        (RESOLUTION, limit),
        (DIAGNOSIS, limit),
    ]
    return [turn for turn in shares if turn[0] in known] + [(title, limit) for title in known]


class _Stack:
    """The units of one section, taken in order while they fit."""

    def __init__(self, section: Section, limit: int) -> None:
        self.chosen: list[Part] = []
        self._head = markdown_size((), section.title)
        self._first = limit * 2 // 5 if section.title in ("", SYMPTOM, IMPACT) else 0
        sized = ((markdown_size(unit), unit) for unit in _group_units(section.parts))
        self._remaining = [(size, unit) for size, unit in sized if self._head + size <= limit]
        self._next = 0

    def add_units(self, share: int, left: int) -> int:
        """Add units within *share* and *left* characters; return how many characters they used.

        The first unit of the Symptom, the Impact or an untitled section may take two fifths of the limit.
        """
        used = 0
        while self._next < len(self._remaining):
            size, unit = self._remaining[self._next]
            size += 0 if self.chosen else self._head
            room = share if self.chosen else max(share, self._first)
            if used + size > min(room, left):
                break
            used += size
            self.chosen += unit
            self._next += 1
        return used


def _group_units(parts: Sequence[Part]) -> list[Unit]:
    """Return *parts* as units: a list item with its contents, a lead-in with the block that follows."""
    groups: list[list[Part]] = []
    for part in parts:
        if groups and _belongs_to_previous(part, groups[-1][-1]):
            groups[-1].append(part)
        else:
            groups.append([part])
    return [tuple(group) for group in groups]


def _belongs_to_previous(part: Part, before: Part) -> bool:
    if part.depth > 1 or (part.depth == 1 and not part.marker):
        return True  # inside the item above
    if part.kind == "code" and part.depth == 0 and before.depth > 0:
        return True  # not indented, but it is the command of the step above
    # A paragraph may only introduce the next block: `Run this:`, or a bold title.
    text = before.text
    is_title = text.startswith("**") and text.endswith("**") and "**" not in text[2:-2]
    is_lead_in = is_title or text.rstrip("*_ ").endswith(":")
    return before.kind == "paragraph" and before.depth == 0 and is_lead_in
