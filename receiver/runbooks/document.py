"""A runbook file: the runbooks that it seems to have, and every place that may be the runbook of an alert."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePosixPath
from urllib.parse import unquote

from receiver.runbooks.excerpt import cut_excerpt
from receiver.runbooks.markdown import Block, read_rows
from receiver.runbooks.model import Excerpt, Runbook
from receiver.runbooks.names import (
    ANCHOR_COST,
    LABEL_COST,
    MAX_TEXT_CHARS,
    Name,
    clean_title,
    fold_name,
    list_names,
    read_anchors,
)
from receiver.runbooks.parser import (
    AlertTitle,
    MarkdownHeading,
    ParsedFile,
    is_camel,
    parse_file,
    read_alert_title,
)
from receiver.runbooks.section_titles import SectionTitles
from receiver.text import clean_text, one_line

# An index page is called like its folder.
INDEX_STEMS = frozenset(("index", "readme", "default", "home"))
_CONTENTS_TITLES = """
    contents, table of contents, toc, index, on this page, inhalt, inhaltsverzeichnis, sommaire,
    table des matières,
    índice, contenido, tabla de contenidos, sumário, indice, sommario, содержание, оглавление,
    目录, 目錄, 目次, 목차
"""
_FACTS_TITLES = """
    alert, alerts, alert details, alert information, alert info, alert definition, details, metadata, facts,
    quick reference, alerts covered, 告警信息, アラート情報, 알림 정보
"""
_FACTS = frozenset(map(fold_name, _FACTS_TITLES.split(",")))
_LABELS_TITLES = """
    alert, alerts, alert name, alert names, alert name(s), alert rule, alertname, alarm name, alarmname,
    prometheus alert, 告警名称, 警报名称, 报警名称, アラート名, 알림 이름, nom de l'alerte,
    nombre de la alerta, nome do alerta, название алерта
"""
_LABELS = frozenset(map(fold_name, _LABELS_TITLES.split(",")))
_CODE = re.compile(r"`([^`]+)`")
_COLON = re.compile(r"[:：]")
_CONTENTS = frozenset(map(fold_name, _CONTENTS_TITLES.split(",")))
# `disk-full.de.md` in a site of several languages.
_LANGUAGE = re.compile(
    r"\.(?:en|de|fr|es|pt|it|nl|pl|cs|tr|ru|uk|ja|ko|zh|ar|he|fa|hi|vi|id)(?:[-_][A-Za-z]{2,4})?$"
)
_FRONT_TITLE = re.compile(
    r"^(?:title|alert|alertname|alert_name|name)\s*[:=]\s*(?P<text>\S.*)$", re.IGNORECASE
)
_FRONT_LIST = re.compile(r"^(?:alerts|alertnames|alert_names|aliases)\s*[:=]\s*(?P<text>.*)$", re.IGNORECASE)
_MAX_FRONT_LINES = 200
_LONE_ANCHOR = re.compile(r"\s*<(?:a|span|div|p)\b[^<>]*>\s*(?:</\w+>)?\s*")
NO_TEXT = "there is no text below it"


@dataclass(frozen=True)
class Place:
    """A heading, or a whole file, that may be the runbook of an alert."""

    file: str
    line: int  # of the heading, or of what names the file
    title: str  # as it is written
    kind: str  # `heading`, `file`, `folder`, `front matter`, `anchor`, `label`
    names: tuple[Name, ...]
    heading_line: int  # of the heading whose contents it is; 0 for the whole file
    is_listed: bool = False  # it looks like an alert by itself
    problem: str = ""  # why it is no alert's runbook; empty if it may be one
    slug: str = ""  # the anchor that sites make of a heading


@dataclass(frozen=True)
class Document:
    """A parsed file. It keeps the runbooks that it seems to have; another one is parsed when it is needed."""

    file: str
    text: str = field(repr=False)
    runbooks: tuple[Runbook, ...]
    places: tuple[Place, ...]
    is_collection: bool  # several headings look like the names of alerts
    section_titles: SectionTitles
    _read: dict[tuple[int, str], Runbook] = field(default_factory=dict, init=False, repr=False)
    _cut: dict[tuple[int, str], Excerpt] = field(default_factory=dict, init=False, repr=False)

    def read_runbook(self, place: Place, name: str) -> Runbook:
        """Return the runbook at *place*, called *name*; it is parsed once."""
        key = (place.heading_line, name)
        if key not in self._read:
            self._read[key] = self._parse_runbook(place, name)
        return self._read[key]

    def read_excerpt(self, place: Place, name: str) -> Excerpt:
        """Return the excerpt of the runbook at *place*, without a URL; it is cut once."""
        key = (place.heading_line, name)
        if key not in self._cut:
            self._cut[key] = cut_excerpt(self.read_runbook(place, name))
        return self._cut[key]

    def _parse_runbook(self, place: Place, name: str) -> Runbook:
        for runbook in self.runbooks:
            if place.is_listed and runbook.line == max(1, place.heading_line) and runbook.name == name:
                return runbook
        parsed = parse_file(self.text, self.file, self.section_titles)
        headings = (one for one in parsed.outline.walk_headings() if one.line == place.heading_line)
        return next(parsed.read_runbooks(next(headings, parsed.outline), AlertTitle((name,))))

    @cached_property
    def path(self) -> tuple[str, ...]:
        """The folded names of its file and folders, the file first; an index page has only folders."""
        return fold_path(self.file)


def fold_path(path: str) -> tuple[str, ...]:
    """Return the names in *path* without suffix, folded, the last first."""
    parts = [part for part in PurePosixPath(unquote(path)).parts if part not in ("/", ".", "..")]
    if parts:
        stem = re.sub(r"\.(?:md|markdown|mdx|html?)$", "", parts[-1], flags=re.IGNORECASE)
        parts[-1:] = [] if is_index(stem) else [stem]
    return tuple(map(fold_name, reversed(parts)))


def is_index(stem: str) -> bool:
    return stem.strip("_").casefold() in INDEX_STEMS


def parse_document(text: str, file: str, section_titles: SectionTitles) -> Document:
    """Return the Markdown *text* of *file*. Never raises for any text."""
    parsed = parse_file(text, file, section_titles)
    found = ((heading, parsed.titles.get(heading.line)) for heading in parsed.outline.walk_headings())
    runbooks = tuple(one for heading, title in found if title for one in parsed.read_runbooks(heading, title))
    labelled = _list_labelled(parsed, parsed.outline, _find_whole(parsed))
    places = (*_list_file_places(parsed, text), *_list_headings(parsed), *labelled)
    titles = (read_alert_title(heading.title) for heading in parsed.outline.walk_headings())
    alerts = [title for title in titles if title and all(map(is_camel, title.names))]
    is_collection = len(runbooks) > 1 or len(alerts) > 1
    return Document(file, text, runbooks, places, is_collection, section_titles)


def _list_file_places(parsed: ParsedFile, text: str) -> Iterator[Place]:
    """Yield the whole file under the name of its file or folder, and under the names in its front matter."""
    whole = _find_whole(parsed)
    path = PurePosixPath(parsed.file.replace("\\", "/"))
    stem = _LANGUAGE.sub("", unquote(path.stem))
    kind, stem = ("folder", path.parent.name) if is_index(stem) else ("file", stem)
    title = clean_title(whole.source)
    place = Place(
        file=parsed.file,
        line=max(1, whole.line),
        title=stem,
        kind=kind,
        names=tuple(
            replace(name, text=title) if fold_name(title) == name.key else name
            for name in _list_stem_names(stem)
        ),
        heading_line=whole.line,
        is_listed=whole.line in parsed.titles,
        problem=_find_problem(parsed, whole),
    )
    if stem:
        yield place
    for line, value in _read_front_matter(text):
        yield replace(
            place,
            line=line,
            title=value,
            kind="front matter",
            names=tuple(list_names(value)),
            is_listed=False,
        )


def _list_stem_names(stem: str) -> list[Name]:
    """Return the names of a file, which may begin with a number: `01-disk-full`."""
    names = list_names(stem)
    if (rest := stem.lstrip("0123456789").lstrip("-_. ")) and rest != stem:
        names += (
            Name(name.text, name.cost + 1, (*name.steps, "without its number")) for name in list_names(rest)
        )
    return names


def _find_whole(parsed: ParsedFile) -> MarkdownHeading:
    """Return the heading above everything, if there is one, else the top."""
    outline = parsed.outline
    first = outline.children[0] if len(outline.children) == 1 else outline
    return outline if parsed.is_section(first.title) else first


def _find_problem(parsed: ParsedFile, whole: MarkdownHeading) -> str:
    """Return why the file as a whole is no alert's runbook."""
    if not parsed.outline.has_words():
        return NO_TEXT
    return "it holds the runbooks of other alerts" if parsed.titles.keys() - {whole.line} else ""


def _read_front_matter(text: str) -> Iterator[tuple[int, str]]:
    """Yield the names in the front matter (YAML or TOML) with their lines."""
    lines = clean_text(text).split("\n", _MAX_FRONT_LINES)[:_MAX_FRONT_LINES]
    mark = lines[0].rstrip()
    if mark not in ("---", "+++") or mark not in (line.rstrip() for line in lines[1:]):
        return
    is_list = False
    for number, line in enumerate(lines[1:], start=2):
        if line.rstrip() == mark:
            return
        values: Iterable[str] = ()
        if found := _FRONT_TITLE.match(line):
            values, is_list = [found["text"]], False
        elif found := _FRONT_LIST.match(line):
            values, is_list = found["text"].strip("[] ").split(","), True
        elif is_list and line.lstrip().startswith("- "):
            values = [line.lstrip()[2:]]
        elif line[:1].strip():
            is_list = False
        for value in values:
            name = one_line(value, 500).strip("\"' ")
            # Hugo's aliases are addresses of the page.
            name = name.rstrip("/").rpartition("/")[2] if is_list else name
            if name:
                yield number, name


def _list_headings(parsed: ParsedFile) -> Iterator[Place]:
    """Yield the headings in the order of the text, each under its names and under its own anchors."""
    slugs: dict[str, int] = {}
    for heading, problem in _walk_headings(parsed, parsed.outline, ""):
        title = clean_title(heading.source)
        slug = re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")
        number = slugs[slug] = slugs.get(slug, -1) + 1
        listed = parsed.titles.get(heading.line)
        names = list_names(title)
        if listed:
            names = [*map(Name, listed.names), *(name for name in names if name.text not in listed.names)]
        place = Place(
            file=parsed.file,
            line=heading.line,
            title=title,
            kind="heading",
            names=tuple(names),
            heading_line=heading.line,
            is_listed=listed is not None,
            problem=problem,
            slug=f"{slug}-{number}" if number else slug,
        )
        if title:
            yield place
        for anchor in _list_anchors(parsed.lines, heading):
            yield replace(
                place, kind="anchor", names=(Name(anchor, ANCHOR_COST),), slug=anchor, is_listed=False
            )


def _list_anchors(lines: Sequence[str], heading: MarkdownHeading) -> list[str]:
    """Return the anchors in a heading, and those that stand alone on the line above it."""
    before = [line for line in lines[max(0, heading.line - 3) : heading.line - 1] if line.strip()]
    above = [line for line in before[-1:] if _LONE_ANCHOR.fullmatch(line)]
    written = [heading.source, *lines[heading.line - 1 : heading.line], *above]
    return list(dict.fromkeys(anchor for line in written for anchor in read_anchors(line)))


def _list_labelled(parsed: ParsedFile, heading: MarkdownHeading, owner: MarkdownHeading) -> Iterator[Place]:
    """Yield the alerts that a label in the text names: `**Alert name**: DiskFull`, or a row of a table.

    They are those of *owner*, the heading around a list of facts such as `## Alert details`.
    """
    for block in heading.blocks:
        for value in _read_labels(block):
            names = [clean_title(name) for name in _CODE.findall(value)] or [clean_title(value)]
            yield Place(
                file=parsed.file,
                line=block.line,
                title=one_line(value, MAX_TEXT_CHARS),
                kind="label",
                names=tuple(
                    replace(one, cost=one.cost + LABEL_COST) for text in names for one in list_names(text)
                ),
                heading_line=owner.line,
            )
    for child in heading.children:
        is_part = parsed.is_section(child.title) or fold_name(clean_title(child.source)) in _FACTS
        yield from _list_labelled(parsed, child, owner if is_part else child)


def _read_labels(block: Block) -> Iterator[str]:
    """Yield the values of the labels that name an alert."""
    if block.kind == "table":
        pairs = [cells[:2] for _, cells in read_rows(block.tokens) if len(cells) > 1]
    else:
        texts = [token.content for token in block.tokens if token.type == "inline"]
        pairs = [_COLON.split(line, maxsplit=1) for text in texts for line in text.split("\n")]
    for label, *values in pairs:
        if values and fold_name(label) in _LABELS and fold_name(values[0]):
            yield values[0]


def _walk_headings(
    parsed: ParsedFile, parent: MarkdownHeading, problem: str
) -> Iterator[tuple[MarkdownHeading, str]]:
    """Yield the headings below *parent* with the reason why each is no alert's runbook, if there is one."""
    for heading in parent.children:
        reason = problem
        if not reason and fold_name(clean_title(heading.source)) in _CONTENTS:
            reason = "it is in a table of contents"
        elif not reason and parsed.is_section(heading.title):
            yield heading, "it is the title of a section"
            yield from _walk_headings(parsed, heading, "")
            continue
        if not reason and not heading.gather_body(parsed.is_section).has_words():
            yield heading, NO_TEXT
        else:
            yield heading, reason
        yield from _walk_headings(parsed, heading, reason)
