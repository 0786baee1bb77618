"""A heading's content as titled sections."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from receiver.domain.runbook import Part, Section
from receiver.runbooks.markdown import Block, bold, read_parts
from receiver.runbooks.outline import MarkdownHeading
from receiver.runbooks.titles import is_canonical, read_label, section_title


def read_sections(
    alert: MarkdownHeading, is_other_alert: Callable[[MarkdownHeading], bool]
) -> tuple[Section, ...]:
    """Return the sections of *alert*, those of one title merged, alerts nested in it left out.

    What stands before the first title is a section without one.
    """
    reader = _SectionReader(is_other_alert)
    reader.read_labelled(alert.blocks)
    for child in alert.children:
        reader.read_heading(child)
    return reader.build_sections()


class _SectionReader:
    def __init__(self, is_other_alert: Callable[[MarkdownHeading], bool]) -> None:
        self._parts: dict[str, list[Part]] = {}
        self._title = ""
        self._is_other_alert = is_other_alert

    def build_sections(self) -> tuple[Section, ...]:
        return tuple(Section(title, tuple(parts)) for title, parts in self._parts.items() if parts)

    def read_heading(self, heading: MarkdownHeading) -> None:
        """Begin a section; headings inside a known one become bold lines of it."""
        if self._is_other_alert(heading):
            return
        self._title = section_title(heading.title)
        if is_canonical(heading.title):
            self._read_subtree(heading)
            return
        self.read_labelled(heading.blocks)
        for child in heading.children:
            if is_canonical(child.title):
                self.read_heading(child)
            elif not self._is_other_alert(child):
                self._add_parts([Part("paragraph", bold(child.title))])
                self._read_subtree(child)

    def read_labelled(self, blocks: Iterable[Block]) -> None:
        """Take blocks among which bold labels begin sections."""
        for block in blocks:
            if block.kind not in ("paragraph", "heading"):
                self._add_parts(read_parts([block]))
                continue
            for label, text in _split_labels(block.text):
                self._title = label or self._title
                self._add_text(block, text)

    def _read_subtree(self, heading: MarkdownHeading) -> None:
        self._add_parts(read_parts(heading.blocks))
        for child in heading.children:
            if not self._is_other_alert(child):
                self._add_parts([Part("paragraph", bold(child.title))])
                self._read_subtree(child)

    def _add_text(self, block: Block, text: str) -> None:
        if text:
            self._add_parts(read_parts([block.with_text(text)]))

    def _add_parts(self, parts: Iterable[Part]) -> None:
        self._parts.setdefault(self._title, []).extend(part for part in parts if part.text or part.marker)


def _split_labels(text: str) -> list[tuple[str, str]]:
    """Return a paragraph as (section title or empty, text), split before every line with a label."""
    pieces: list[tuple[str, list[str]]] = [("", [])]
    for line in text.split("\n"):
        label = read_label(line)
        if label is None:
            pieces[-1][1].append(line)
        else:
            pieces.append((label.title, [label.rest]))
    return [(title, "\n".join(lines).strip()) for title, lines in pieces if title or lines]
