"""Cutting a runbook to the size of a message: whole parts only, the most useful first.

A code block, a table or a list item with its contents is kept or left out as a whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import itemgetter

from receiver.runbooks.model import Excerpt, Part, Runbook, Section, markdown_size
from receiver.runbooks.section_titles import (
    BUILT_IN_TITLES,
    CANONICAL,
    DIAGNOSIS,
    ESCALATION,
    IMPACT,
    LATER,
    RESOLUTION,
    SYMPTOM,
)

# Leaves room for the alerts in a Slack message: all its blocks together have about 9,000 characters, a
# section of text 3,000.
EXCERPT_LIMIT = 2500

Unit = tuple[Part, ...]  # shown together or not at all


def cut_excerpt(runbook: Runbook, limit: int = EXCERPT_LIMIT, url: str = "") -> Excerpt:
    """Return the excerpt of *runbook* in *limit* characters of Markdown, titles and list markers included.

    It has the sections Symptom, Impact, Diagnosis, Resolution and Escalation, and those of unknown kinds;
    prevention and background only where there is nothing else. `is_cut` is set if parts of them are left out.
    What is needed first has priority: warnings, the first step of the Diagnosis, the Resolution. Sections are
    cut at their end. A part that is longer than the limit by itself is skipped. *url* becomes the excerpt's
    link.
    """
    shown = _choose_sections(runbook)
    stacks = [_Stack(section, limit) for section in shown]
    left = limit
    for stack, share, first in _list_shares(stacks, limit):
        left -= stack.add_units(share, left, first)
    kept = [replace(stack.section, parts=stack.list_parts()) for stack in stacks]
    is_cut = any(part.parts != whole.parts for part, whole in zip(kept, shown, strict=True))
    return Excerpt(runbook.name, tuple(section for section in kept if section.parts), is_cut, url)


def _find_kind(section: Section) -> str:
    return section.kind or BUILT_IN_TITLES.find_kind(section.title)


def _choose_sections(runbook: Runbook) -> list[Section]:
    """Return the sections for an excerpt, in reading order, each title once."""
    merged: dict[str, Section] = {}
    for section in runbook.sections:
        key = _find_kind(section) or section.title
        known = merged.get(key)
        merged[key] = replace(known, parts=(*known.parts, *section.parts)) if known else section
    if SYMPTOM in merged and "" in merged:
        # The text before the first title describes the symptom again; a warning there is for everybody.
        warnings = tuple(
            part for unit in _group_units(merged[""].parts) if _is_warning(unit) for part in unit
        )
        merged[""] = replace(merged[""], parts=warnings)
    chosen = [merged[key] for key in ("", *CANONICAL[:-1]) if key in merged]
    chosen += [section for key, section in merged.items() if key and not _find_kind(section)]
    chosen += [merged[key] for key in CANONICAL[-1:] if key in merged]
    return chosen or list(merged.values())


def _list_shares(stacks: Sequence[_Stack], limit: int) -> Iterator[tuple[_Stack, int, int]]:
    """Yield (section, characters, characters of its first unit) in the order of allocation.

    Each section gets a share before the rest is allocated, so that no section is left without space; a
    further share of a section continues the one before.
    """
    by_kind = {_find_kind(stack.section) or stack.section.title: stack for stack in stacks}
    unknown = [stack for stack in stacks if stack.section.title and not _find_kind(stack.section)]
    for stack in stacks:
        stack.rank = _WARNING
        yield stack, limit // 3, 0
    for stack in stacks:
        stack.rank = _NORMAL
    for kind, share, first in (
        (DIAGNOSIS, limit // 8, limit * 2 // 5),
        (RESOLUTION, limit // 2, 0),
        ("", limit // 8, limit // 4),
        (SYMPTOM, limit // 8, limit // 4),
        (IMPACT, limit // 10, limit // 5),
        (ESCALATION, limit // 8, 0),
        (RESOLUTION, limit, 0),
    ):
        if kind in by_kind:
            yield by_kind[kind], share, first
    if RESOLUTION not in by_kind:  # one of the unknown sections may say what to do
        yield from ((stack, limit // (len(unknown) + 1), limit // 4) for stack in unknown)
    by_need = sorted(stacks, key=lambda stack: _NEED.get(_find_kind(stack.section), 1))
    for rank in (_NORMAL, _LATER):
        for stack in by_need:
            stack.rank = rank
            yield stack, limit, 0


_WARNING, _NORMAL, _LATER = range(3)
# Who gets the rest first: the diagnosis, then what is unknown, then what happened.
_NEED = {RESOLUTION: 0, DIAGNOSIS: 0, SYMPTOM: 2, IMPACT: 2, ESCALATION: 3, LATER: 4}


class _Stack:
    """The units of one section, allocated in order while they fit; those of a lower *rank* come first."""

    def __init__(self, section: Section, limit: int) -> None:
        self.section = section
        self.rank = _WARNING
        self._head = markdown_size((), section.title)
        self._chosen: list[tuple[int, Unit]] = []  # with their places in the section
        self._remaining: tuple[deque[tuple[int, int, Unit]], ...] = (deque(), deque(), deque())
        for place, unit in enumerate(_group_units(section.parts)):
            size = markdown_size(unit)
            if self._head + size <= limit:
                rank = _LATER if unit[0].is_later else _WARNING if _is_warning(unit) else _NORMAL
                self._remaining[rank].append((place, size, unit))

    def list_parts(self) -> Unit:
        """Return the allocated parts in their order."""
        return tuple(part for _, unit in sorted(self._chosen, key=itemgetter(0)) for part in unit)

    def add_units(self, share: int, left: int, first: int = 0) -> int:
        """Add units within *share* and *left* characters; return how many characters they used.

        The first unit of the section may take *first* characters.
        """
        used = 0
        remaining = self._remaining[self.rank]
        while remaining:
            place, size, unit = remaining[0]
            size += 0 if self._chosen else self._head
            room = share if self._chosen else max(share, first)
            if used + size > min(room, left):
                break
            used += size
            self._chosen.append((place, unit))
            remaining.popleft()
        return used


def _is_warning(unit: Unit) -> bool:
    return unit[0].kind == "callout"


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
