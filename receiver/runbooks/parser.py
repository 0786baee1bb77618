"""Parsing runbooks from Markdown: alert names and severities in headings, sections, labels, outline."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from receiver.model.alert import BUILT_IN_WORDS, Severity
from receiver.runbooks.html_source import convert_html, is_html_page
from receiver.runbooks.markdown import Block, blank_front_matter, bold, read_parts, split_blocks
from receiver.runbooks.model import Part, Runbook, Section
from receiver.runbooks.section_titles import (
    BUILT_IN_TITLES,
    CANONICAL,
    DIAGNOSIS,
    ESCALATION,
    LATER,
    RESOLUTION,
    SectionTitles,
)
from receiver.runbooks.underlines import mark_headings
from receiver.text import clean_text

_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_CAMEL = re.compile(r"[a-z0-9][A-Z]|[A-Z]{2}[a-z]")
_PREFIX = re.compile(r"^(?:[^\w:]+|\d+[.)]\s+|alert(?: name)?:\s+)+", re.IGNORECASE)
_CLAIM = re.compile(
    r"^(?P<names>.*?)\s*(?:[(\[](?P<boxed>[^()\[\]]{1,40})[)\]]|\s[-–—]\s*(?P<bare>\w{1,20}))$"
)
_FILLERS = frozenset({"severity", "alert", "level", "and", "or"})
# A longer text is prose; Prometheus has no limit.
MAX_NAME_CHARS = 200
MAX_TITLE_CHARS = 1000
MAX_HTML_CHARS = 1_000_000
MAX_LABEL_CHARS = 60
# As many headings may stand above one text.
MAX_STACKED = 50


@dataclass(frozen=True)
class AlertTitle:
    """The alert names in a heading, and the severity or an empty string."""

    names: tuple[str, ...]
    severity: str = ""


def read_alert_title(title: str) -> AlertTitle | None:
    """Return the alert names in *title*, or None when it is not a list of single words.

    Examples: `DiskFull`, `DiskFull (Warning)`, `ADown / BDown (Critical)`. Single words alone do not make an
    alert: the caller must also check the severity or the sections below.
    """
    if len(title) > MAX_TITLE_CHARS:
        return None
    words, severity = _PREFIX.sub("", title), ""
    claim = _CLAIM.match(words)
    if claim and (severity := read_severity(claim["boxed"] or claim["bare"])):
        words = claim["names"]
    names = [name.strip() for name in re.split(r"[/,]", words)]
    return AlertTitle(tuple(dict.fromkeys(names)), severity) if all(map(is_name, names)) else None


def is_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) and len(text) <= MAX_NAME_CHARS


def is_camel(name: str) -> bool:
    """Return whether *name* is in camel case: `DiskFull`, `etcdNoLeader`."""
    return _CAMEL.search(name) is not None


def read_severity(words: str) -> str:
    """Return the most severe severity in *words* (`Critical`, `severity: warning`), or an empty string.

    With any other word, *words* are not a severity, and the result is empty.
    """
    found = []
    for word in re.findall(r"\w+", words.lower()):
        severity = BUILT_IN_WORDS.find_severity(word)
        if severity not in (None, Severity.NONE):
            found.append(severity)
        elif word not in _FILLERS:
            return ""
    return str(max(found, key=lambda severity: severity.rank)) if found else ""


# A bold label with any other title (`**Note**:`, `**Step 1**:`) stays in its section, so that no step of a
# resolution is lost because of an unknown word.
_LABEL = re.compile(
    r"(?P<mark>\*\*|__)(?P<title>[^*_\n]{1,60}?)(?P<inner>\s*[:：])?\s*(?P=mark)"
    r"(?P<outer>\s*[:：]|\s+[-–—](?=\s|$))?(?P<rest>.*)",
    re.DOTALL,
)
_BRACKETED = re.compile(r"【([^【】\n]{1,60})】")  # a label in Chinese and Japanese: 【影響】


def read_label(text: str, titles: SectionTitles = BUILT_IN_TITLES) -> tuple[str, str] | None:
    """Return the bold label at the start of *text* and the text after it, if the label begins a section:
    `**Impact**: all tests wait`. So does a line that only introduces what follows: `How to **fix** it:`.
    """
    line = text.strip()
    if line.endswith((":", "：")) and len(line) <= MAX_LABEL_CHARS and "\n" not in line:
        title = plain_title(line).rstrip(":： ")
        if titles.find_kind(title) and not titles.is_generic(title):
            return title, ""
    found = _LABEL.match(_BRACKETED.sub(r"**\1:**", text.lstrip(), count=1))
    if found is None:
        return None
    rest = found["rest"].strip()
    if not (found["inner"] or found["outer"]) and rest:
        return None  # bold words in a sentence
    return (found["title"].strip(), rest) if titles.find_kind(found["title"]) else None


_DECORATION = re.compile(r"[`*]|(?<!\w)_|_(?!\w)")
_LINK = re.compile(r"\[([^\[\]]*)\]\([^()]*\)")


@dataclass
class MarkdownHeading:
    """One heading with its contents; the top of an outline has level 0, line 0 and no title."""

    title: str
    level: int
    line: int  # from 1; 0 for the top
    end_line: int = 0
    blocks: list[Block] = field(default_factory=list)
    children: list[MarkdownHeading] = field(default_factory=list)
    source: str = ""  # the Markdown of the title
    following: MarkdownHeading | None = None  # the next one of the same level below the same heading

    def walk_headings(self) -> Iterator[MarkdownHeading]:
        """Yield this heading and all headings inside it, in the order of the text."""
        yield self
        for child in self.children:
            yield from child.walk_headings()

    def has_words(self) -> bool:
        """Return whether anything but rules and comments stands below it."""
        kinds = (block for part in self.walk_headings() for block in part.blocks if block.kind != "hr")
        return any(block.kind != "html_block" or read_parts([block]) for block in kinds)

    def gather_body(self, is_section: Callable[[str], bool]) -> MarkdownHeading:
        """Return the heading with its contents, of which some may stand below the headings that follow.

        Stacked headings share what stands below the last of them. Sections may have the level of the alert:
        `# DiskFull`, `# Symptom`, `# Resolution`.
        """
        body = self
        for _ in range(MAX_STACKED):
            if body.has_words() or body.following is None or is_section(body.following.title):
                break
            body = body.following
        children, end_line, sibling = body.children, body.end_line, body.following
        if not any(is_section(child.title) for child in children):
            while sibling is not None and is_section(sibling.title):
                children, end_line = [*children, sibling], sibling.end_line
                sibling = sibling.following
        return replace(self, blocks=body.blocks, children=children, end_line=end_line)


def build_outline(blocks: Sequence[Block], last_line: int) -> MarkdownHeading:
    """Return the top of the tree of headings; only headings outside lists and quotes count."""
    outline = MarkdownHeading("", 0, 0, last_line)
    path = [outline]
    for block in blocks:
        # A paragraph with a rule (`---`) directly below it is parsed as a heading, too.
        is_underlined = block.tokens[0].markup in ("-", "=")
        is_paragraph = is_underlined and ("\n" in block.text or read_label(block.text) is not None)
        if block.kind != "heading" or is_paragraph:
            path[-1].blocks.append(block)
            continue
        level = int(block.tokens[0].tag[1:])
        while path[-1].level >= level:
            path.pop().end_line = block.line - 1
        heading = MarkdownHeading(plain_title(block.text), level, block.line, last_line, source=block.text)
        siblings = path[-1].children
        if siblings and siblings[-1].level == level:
            siblings[-1].following = heading
        siblings.append(heading)
        path.append(heading)
    return outline


def plain_title(text: str) -> str:
    """Return a heading's Markdown as plain text on one line."""
    return " ".join(_DECORATION.sub("", _LINK.sub(r"\1", text)).split())


@dataclass
class _SectionReader:
    """Reads the sections of an alert: those of the same kind are merged, nested alerts are left out.

    *alert_lines* are the lines of the headings of all alerts. The text before the first title is a section
    without a title.
    """

    _alert_lines: Collection[int]
    _titles: SectionTitles
    _sections: dict[str, Section] = field(default_factory=dict)  # by kind, or by title where there is none
    _parts: dict[str, list[Part]] = field(default_factory=dict)  # likewise
    _current: str = ""  # the key of the section that is being read
    _is_later: bool = False  # the words that are being read can wait

    def list_sections(self) -> tuple[Section, ...]:
        """Return the sections that have parts; of each, the parts that can wait come last."""
        return tuple(
            replace(self._sections.get(key, Section("", ())), parts=_sort_parts(parts))
            for key, parts in self._parts.items()
            if parts
        )

    def read_heading(self, heading: MarkdownHeading) -> None:
        """Begin a section; most headings inside a section of a known kind become bold lines."""
        if heading.line in self._alert_lines:
            return
        kind = self._titles.guess_kind(heading.title)
        self._begin_section(heading.title, kind)
        if kind:
            self._read_subtree(heading)
            return
        self.read_labelled(heading.blocks)
        for child in heading.children:
            if self._titles.find_kind(child.title):
                self.read_heading(child)
            else:
                self._read_child(child)

    def read_labelled(self, blocks: Iterable[Block]) -> None:
        """Add *blocks* to the current section; a bold label begins a new one."""
        for block in blocks:
            if block.kind not in ("paragraph", "heading"):
                self._add_parts(read_parts([block]))
                continue
            for label, text in self._split_labels(block.text):
                if label:
                    self._begin_section(label, self._titles.find_kind(label))
                if text:
                    paragraph = Block((block.tokens[1].copy(content=text),), block.references)
                    self._add_parts(read_parts([paragraph]))

    def _begin_section(self, title: str, kind: str) -> None:
        shown = self._titles.find_shown(title)
        self._current = kind or shown
        known = self._sections.setdefault(self._current, Section(shown, (), kind))
        if known.title != shown:
            self._add_parts([Part("paragraph", bold(shown))])

    def _read_subtree(self, heading: MarkdownHeading) -> None:
        """Add the contents of a section of a known kind; a heading of another kind begins a section."""
        section = self._current
        if section in (DIAGNOSIS, RESOLUTION, ESCALATION):
            self._add_blocks(heading.blocks)
        else:
            self.read_labelled(heading.blocks)
        for child in heading.children:
            kind = self._titles.find_kind(child.title)
            if kind in CANONICAL and kind != section and not self._titles.is_generic(child.title):
                self.read_heading(child)
                self._current = section
            else:
                self._read_child(child)

    def _read_child(self, heading: MarkdownHeading) -> None:
        """Add a heading inside the current section, as a bold line and its contents."""
        if heading.line in self._alert_lines:
            return
        before = self._is_later
        self._is_later = before or self._titles.guess_kind(heading.title) == LATER
        self._add_parts([Part("paragraph", bold(heading.title))])
        self._add_blocks(heading.blocks)
        for child in heading.children:
            self._read_child(child)
        self._is_later = before

    def _add_blocks(self, blocks: Iterable[Block]) -> None:
        """Add *blocks*; a bold label such as `**Long-term**:` and what follows it can wait."""
        before = self._is_later
        for block in blocks:
            if block.kind == "paragraph" and (found := _LABEL.match(block.text)):
                is_label = found["inner"] or found["outer"] or not found["rest"].strip()
                is_later = is_label and self._titles.guess_kind(found["title"]) == LATER
                self._is_later = before or bool(is_later)
            self._add_parts(read_parts([block]))
        self._is_later = before

    def _add_parts(self, parts: Iterable[Part]) -> None:
        kept = (part for part in parts if part.text or part.marker)
        self._parts.setdefault(self._current, []).extend(
            replace(part, is_later=True) if self._is_later else part for part in kept
        )

    def _split_labels(self, text: str) -> list[tuple[str, str]]:
        """Return a paragraph as (label or empty string, text), split before every line with a label."""
        pieces: list[tuple[str, list[str]]] = [("", [])]
        for line in text.split("\n"):
            label = read_label(line, self._titles)
            if label is None:
                pieces[-1][1].append(line)
            else:
                pieces.append((label[0], [label[1]]))
        return [(title, "\n".join(lines).strip()) for title, lines in pieces if title or lines]


def _sort_parts(parts: Iterable[Part]) -> tuple[Part, ...]:
    return tuple(sorted(parts, key=lambda part: part.is_later))


# A heading whose camel-case children are alerts even without known sections: `## Disk alerts`.
_ALERTS = re.compile(r"\balerts\b", re.IGNORECASE)


@dataclass(frozen=True)
class ParsedFile:
    """The headings of a file, and the lines of those that look like alerts with what their titles say."""

    file: str
    lines: list[str]
    outline: MarkdownHeading
    titles: dict[int, AlertTitle]
    section_titles: SectionTitles

    def is_section(self, title: str) -> bool:
        return bool(self.section_titles.find_kind(title))

    def read_runbooks(self, heading: MarkdownHeading, title: AlertTitle) -> Iterator[Runbook]:
        """Yield the runbook below *heading* for each name in *title*."""
        body = heading.gather_body(self.is_section)
        reader = _SectionReader(self.titles.keys(), self.section_titles)
        reader.read_labelled(body.blocks)
        for child in body.children:
            reader.read_heading(child)
        first = max(1, heading.line)
        source = "\n".join(self.lines[first - 1 : body.end_line]).strip("\n")
        severity = title.severity or _find_labelled_severity(body)
        for name in title.names:
            yield Runbook(name, severity, reader.list_sections(), source, self.file, first)


def parse_file(text: str, file: str, section_titles: SectionTitles = BUILT_IN_TITLES) -> ParsedFile:
    """Return the headings of the Markdown *text*; *file* is its name, which may be the name of an alert.

    Never raises for any text.
    """
    text = blank_front_matter(clean_text(text))
    if is_html_page(text) or PurePath(file).suffix.lower() in (".html", ".htm"):
        text = convert_html(text[:MAX_HTML_CHARS])
    text = mark_headings(text)
    lines = text.split("\n")
    outline = build_outline(split_blocks(text), len(lines))
    titles = dict(_find_alerts(outline, section_titles)) or _find_file_alert(outline, file, section_titles)
    return ParsedFile(file, lines, outline, titles, section_titles)


def parse_runbooks(
    text: str, file: str, section_titles: SectionTitles = BUILT_IN_TITLES
) -> tuple[Runbook, ...]:
    """Return the runbooks of the alerts that *text* seems to have; *file* is as for `parse_file`.

    An alert that appears twice gives two runbooks, in order.
    """
    parsed = parse_file(text, file, section_titles)
    headings = ((heading, parsed.titles.get(heading.line)) for heading in parsed.outline.walk_headings())
    return tuple(one for heading, title in headings if title for one in parsed.read_runbooks(heading, title))


def _find_alerts(outline: MarkdownHeading, section_titles: SectionTitles) -> Iterator[tuple[int, AlertTitle]]:
    """Yield the line and title of every heading that is an alert, in order."""
    for parent in outline.walk_headings():
        for heading in parent.children:
            title = read_alert_title(heading.title)
            if title is not None and _is_alert(heading, title, parent, section_titles):
                yield heading.line, title


def _is_alert(
    heading: MarkdownHeading, title: AlertTitle, parent: MarkdownHeading, section_titles: SectionTitles
) -> bool:
    if any(section_titles.find_kind(name) for name in title.names):
        return False  # `## Impact` of an alert, not an alert called Impact
    if title.severity:
        return True
    sections = _list_canonical_sections(heading, section_titles)
    if all(map(is_camel, title.names)):
        return bool(sections) or (_ALERTS.search(parent.title) is not None and _has_content(heading))
    return len(sections) >= 2


def _find_file_alert(
    outline: MarkdownHeading, file: str, section_titles: SectionTitles
) -> dict[int, AlertTitle]:
    """Return the alert of the whole file, by its line, if file name and first heading indicate one."""
    stem = PurePath(file).stem
    top = outline.children[0] if outline.children else outline
    if not is_name(stem):
        return {}
    if top is outline or section_titles.find_kind(top.title):  # the file has no title: use its name
        is_alert = is_camel(stem) and _has_content(outline)
        return {outline.line: AlertTitle((stem,))} if is_alert else {}
    is_titled = _normalize_title(top.title) == _normalize_title(stem)
    # Two of three signs are enough: the name, the title, the sections.
    signs = (is_camel(stem), is_titled, bool(_list_canonical_sections(top, section_titles)))
    return {top.line: AlertTitle((stem,))} if sum(signs) >= 2 else {}


def _list_canonical_sections(heading: MarkdownHeading, section_titles: SectionTitles) -> set[str]:
    """Return the kinds of the sections directly below *heading* that only the runbook of an alert has."""
    titles = [child.title for child in heading.children]
    for block in heading.blocks:
        labels = (read_label(line, section_titles) for line in block.text.split("\n"))
        titles += [label[0] for label in labels if label is not None]
    return {section_titles.find_kind(title) for title in titles if section_titles.proves_alert(title)}


def _find_labelled_severity(heading: MarkdownHeading) -> str:
    """Return the severity of a label `**Severity**: critical` anywhere in the alert, or an empty string."""
    for part in heading.walk_headings():
        for block in part.blocks:
            label = read_label(block.text)
            if label is not None and label[0].casefold() == "severity":
                return read_severity(label[1])
    return ""


def _has_content(heading: MarkdownHeading) -> bool:
    return any(part.blocks for part in heading.walk_headings())


def _normalize_title(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()
