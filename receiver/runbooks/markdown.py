"""Parsing Markdown into top-level blocks, and blocks into parts.

Inline markup is kept unparsed, since every channel renders it differently; that also makes hostile text cheap
to parse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, repeat

from markdown_it.token import Token

from receiver.runbooks.dialects import build_parser
from receiver.runbooks.model import Part
from receiver.runbooks.relative_links import describe_images
from receiver.runbooks.tables import is_prose, list_rows, write_table
from receiver.text import clean_text

# Fences that a message can't show.
DIAGRAMS = frozenset(
    [
        "mermaid",
        "plantuml",
        "puml",
        "uml",
        "graphviz",
        "dot",
        "d2",
        "ditaa",
        "blockdiag",
        "seqdiag",
        "actdiag",
        "nwdiag",
        "kroki",
        "vega",
        "vega-lite",
        "vegalite",
        "nomnoml",
        "wavedrom",
        "bytefield",
        "svgbob",
        "excalidraw",
        "drawio",
        "erd",
        "pikchr",
        "structurizr",
        "c4plantuml",
        "flowchart",
    ]
)
# Without an end within these lines, the first `---` is a horizontal rule, not front matter.
MAX_FRONT_MATTER_LINES = 200

_REFERENCE = re.compile(r"\[([^\[\]]{1,200})\]\[([^\[\]]{0,200})\]")


_PARSER = build_parser(has_inline=False)


@dataclass(frozen=True)
class Block:
    """One top-level block with its contents, and the link references its text may use."""

    tokens: tuple[Token, ...]
    references: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def line(self) -> int:
        """The line in which it begins, counted from 1."""
        return (self.tokens[0].map or [0])[0] + 1

    @property
    def kind(self) -> str:
        return self.tokens[0].type.removesuffix("_open")

    @property
    def text(self) -> str:
        """The Markdown of a heading or paragraph; empty for other blocks."""
        if self.kind in ("heading", "paragraph") and len(self.tokens) > 1:
            return self.tokens[1].content
        return ""


def blank_front_matter(text: str) -> str:
    """Return *text* with its front matter (between `---` or `+++`) as blank lines: line numbers stay."""
    lines = text.split("\n")
    mark = lines[0].rstrip()
    if mark not in ("---", "+++"):
        return text
    for number, line in enumerate(lines[1:MAX_FRONT_MATTER_LINES], start=1):
        if line.rstrip() in (mark, "..."):
            return "\n".join(["" for _ in lines[: number + 1]] + lines[number + 1 :])
    return text


def split_blocks(text: str) -> tuple[Block, ...]:
    """Return the top-level blocks of the Markdown *text* without its front matter."""
    env: dict[str, dict[str, dict[str, str]]] = {}
    tokens = _PARSER.parse(blank_front_matter(clean_text(text)), env)
    references = {name: found["href"] for name, found in env.get("references", {}).items()}
    blocks: list[Block] = []
    start = 0
    for end, token in enumerate(tokens, start=1):
        if token.level == 0 and token.nesting <= 0:
            blocks.append(Block(tuple(tokens[start:end]), references))
            start = end
    return tuple(blocks)


def read_parts(blocks: Sequence[Block]) -> tuple[Part, ...]:
    """Return the parts of *blocks*, in order; empty ones are left out."""
    parts: list[Part] = []
    for block in blocks:
        reader = _PartReader(block.references)
        for token in block.tokens:
            reader.read_token(token)
        parts += reader.parts
    return tuple(parts)


def read_rows(tokens: Sequence[Token]) -> list[tuple[int, list[str]]]:
    """Return a table's rows as (line, cells); the header is the first."""
    rows: list[tuple[int, list[str]]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append(((token.map or [0])[0] + 1, []))
        elif token.type == "inline" and rows:
            rows[-1][1].append(token.content.strip())
    return rows


@dataclass
class _PartReader:
    """Turns the tokens of one block into parts."""

    _references: dict[str, str]
    parts: list[Part] = field(default_factory=list)
    _lists: list[Iterator[str]] = field(default_factory=list)  # the markers of the next items
    _marker: str = ""  # of a list item without text so far
    _is_heading: bool = False
    _table: list[Token] | None = None  # the tokens of the table that is being read
    _callout: str = ""  # the label of a callout without text so far
    _callouts: int = 0  # how many callouts are open

    def read_token(self, token: Token) -> None:
        if self._table is not None:
            self._read_table_token(token, self._table)
        elif token.type == "inline":
            self._add_text(self._expand_links(token.content))
        elif token.type in ("fence", "code_block"):
            self._add_code(token)
        elif token.type == "table_open":
            self._table = []
        else:
            self._read_structure(token)

    def _read_structure(self, token: Token) -> None:
        if token.type in ("bullet_list_open", "ordered_list_open"):
            self._begin_item()
            is_ordered = token.type.startswith("ordered")
            numbers = map("{}.".format, count(int(token.attrs.get("start", 1))))
            self._lists.append(numbers if is_ordered else repeat("-"))
        elif token.type in ("bullet_list_close", "ordered_list_close"):
            self._lists.pop()
        elif token.type == "list_item_open":
            self._marker = next(self._lists[-1])
        elif token.type == "list_item_close":
            self._marker = ""
        elif token.type in ("heading_open", "heading_close"):
            self._is_heading = token.nesting > 0
        elif token.type == "callout_open":
            self._begin_item()
            title = token.meta["title"]
            stop = "" if not title or title[-1] in ".!?:" else "."
            self._callout = f"{token.meta['label']}: " + (f"{title}{stop} " if title else "")
            self._callouts += 1
        elif token.type == "callout_close":
            self._begin_item()
            self._callouts -= 1

    def _read_table_token(self, token: Token, table: list[Token]) -> None:
        if token.type != "table_close":
            table.append(token)
            return
        self._table = None
        rows = [list(map(self._expand_links, cells)) for _, cells in read_rows(table)]
        if not rows:
            return
        self._begin_item()
        if is_prose(rows):
            depth = self._depth + 1
            self.parts += [Part("item", text, depth + level, "-") for text, level in list_rows(rows)]
        else:
            self._add_part("table", write_table(rows))

    @property
    def _depth(self) -> int:
        """The nesting of the next part; what follows in a callout is nested below its first words."""
        return len(self._lists) + self._callouts - (1 if self._callout else 0)

    def _expand_links(self, text: str) -> str:
        """Turn reference links into inline links, since a part may be shown without the definitions."""
        return _REFERENCE.sub(self._link, text) if self._references else text

    def _add_text(self, text: str) -> None:
        text = "\n".join(line.strip() for line in text.strip().split("\n"))
        text = describe_images(text)
        if self._is_heading and text:
            text = bold(text)
        depth, kind = self._depth, "item" if self._marker else "paragraph"
        if self._callout:
            kind = kind if self._marker else "callout"
            text = self._callout + text if text else self._callout.rstrip(" :")
            self._callout = ""
        if text or self._marker:
            self.parts.append(Part(kind, text, depth, self._marker))
            self._marker = ""

    def _add_code(self, token: Token) -> None:
        lang = (token.info.strip(" {}.").split() or [""])[0].strip("{}.,").lower()
        if lang in DIAGRAMS or token.content.lstrip().startswith("@startuml"):
            self._add_text("(diagram: see the runbook)")
        else:
            self._add_part("code", token.content.rstrip("\n"), lang=lang)

    def _add_part(self, kind: str, text: str, lang: str = "") -> None:
        self._begin_item()
        if text.strip():
            self.parts.append(Part(kind, text, self._depth, lang=lang))

    def _begin_item(self) -> None:
        """Add a list item or a callout without text, if it starts with another block."""
        if self._marker or self._callout:
            self._add_text("")

    def _link(self, found: re.Match[str]) -> str:
        name = " ".join((found[2] or found[1]).split()).upper()
        href = self._references.get(name)
        return f"[{found[1]}]({href})" if href else found[0]


def bold(text: str) -> str:
    """Return *text* as a bold line, as a heading is shown inside a section."""
    line = " ".join(text.replace("**", "").split())
    return f"**{line}**" if line else ""
