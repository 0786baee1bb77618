"""Markdown to runbooks: which headings are alerts, and what is said about each.

Two conventions are read, also mixed: one heading an alert (`### DiskFull (Warning)` with bold
labels or deeper headings inside) and one file an alert (`DiskFull.md` with `## Meaning` …).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import PurePath

from receiver.domain.runbook import Runbook
from receiver.runbooks.alert_titles import AlertTitle, is_camel, is_name, read_alert_title, read_severity
from receiver.runbooks.markdown import blank_front_matter, split_blocks
from receiver.runbooks.outline import MarkdownHeading, build_outline
from receiver.runbooks.sections import read_sections
from receiver.runbooks.titles import ESCALATION, is_canonical, read_label, section_title
from receiver.text import clean_text

# The parent of headings that are alerts even where nothing else says so: `## Disk alerts`.
_ALERTS = re.compile(r"\balerts\b", re.IGNORECASE)


def parse_runbooks(text: str, file: str) -> tuple[Runbook, ...]:
    """Return the runbooks in the Markdown *text*; *file* is its name, which may name an alert.

    Never raises, whatever the text is. The same alert twice gives two runbooks, in order.
    """
    text = blank_front_matter(clean_text(text))
    lines = text.split("\n")
    root = build_outline(split_blocks(text), len(lines))
    titles = dict(_find_alerts(root)) or _find_file_alert(root, file)
    runbooks: list[Runbook] = []
    for heading in root.walk():
        if title := titles.get(heading.line):
            runbooks += _read_runbooks(heading, title, titles.keys(), lines, file)
    return tuple(runbooks)


def _read_runbooks(
    heading: MarkdownHeading, title: AlertTitle, alert_lines: Collection[int], lines: list[str], file: str
) -> Iterator[Runbook]:
    """Yield a runbook for each name in the heading."""
    sections = read_sections(heading, lambda other: other.line in alert_lines)
    first = max(1, heading.line)
    source = "\n".join(lines[first - 1 : heading.end_line]).strip("\n")
    severity = title.severity or _find_labelled_severity(heading)
    for name in title.names:
        yield Runbook(name, severity, sections, source, file, first)


def _find_alerts(root: MarkdownHeading) -> Iterator[tuple[int, AlertTitle]]:
    """Yield the line and title of every heading that is an alert by itself, in order."""
    for parent in root.walk():
        for heading in parent.children:
            title = read_alert_title(heading.title)
            if title is not None and _is_alert(heading, title, parent):
                yield heading.line, title


def _is_alert(heading: MarkdownHeading, title: AlertTitle, parent: MarkdownHeading) -> bool:
    if any(is_canonical(name) for name in title.names):
        return False  # `## Impact` of an alert, not an alert called Impact
    if title.severity:
        return True
    sections = _list_canonical_sections(heading)
    if title.is_camel:
        return bool(sections) or (_ALERTS.search(parent.title) is not None and _has_content(heading))
    return len(sections) >= 2


def _find_file_alert(root: MarkdownHeading, file: str) -> dict[int, AlertTitle]:
    """Return the alert that the whole file is about, if its name and first heading say so."""
    stem = PurePath(file).stem
    top = root.children[0] if root.children else root
    if not is_name(stem):
        return {}
    if top is root or is_canonical(top.title):  # no title of its own: the file's name stands for it
        is_alert = is_camel(stem) and _has_content(root)
        return {root.line: AlertTitle((stem,))} if is_alert else {}
    is_titled = _normalize_title(top.title) == _normalize_title(stem)
    if (is_camel(stem) and (is_titled or _list_canonical_sections(top))) or (
        is_titled and _list_canonical_sections(top)
    ):
        return {top.line: AlertTitle((stem,))}
    return {}


def _list_canonical_sections(heading: MarkdownHeading) -> set[str]:
    """Return which sections of a runbook stand right below *heading*; Escalation alone tells nothing."""
    titles = {section_title(child.title) for child in heading.children if is_canonical(child.title)}
    for block in heading.blocks:
        for line in block.text.split("\n"):
            label = read_label(line)
            if label is not None and is_canonical(label.title):
                titles.add(label.title)
    return titles - {ESCALATION}


def _find_labelled_severity(heading: MarkdownHeading) -> str:
    """Return what a `**Severity**: critical` anywhere in the alert claims, or an empty string."""
    for part in heading.walk():
        for block in part.blocks:
            label = read_label(block.text)
            if label is not None and label.title.casefold() == "severity":
                return read_severity(label.rest)
    return ""


def _has_content(heading: MarkdownHeading) -> bool:
    return any(part.blocks for part in heading.walk())


def _normalize_title(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()
