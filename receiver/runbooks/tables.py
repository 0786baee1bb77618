"""Tables in messages: those of figures are aligned, those of prose become lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from unicodedata import east_asian_width

# Wider tables wrap in a message, which makes them unreadable.
MAX_WIDTH = 80
MAX_CELL_CHARS = 40
_MARKUP = re.compile(r"[`*]|\\(?=[_*`<\[])")
_LINK = re.compile(r"\]\(|https?://|\n")
_FIGURE = re.compile(r"[-+~<>=≤≥±$€£]*\s*[\d.,]+")
_PIPE = re.compile(r"(?<!\\)\|")


def is_prose(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the cells of a table are sentences, links or commands rather than figures and words."""
    cells = [_strip_markup(cell) for row in rows for cell in row]
    if any(len(cell) > MAX_CELL_CHARS for cell in cells) or any(
        _LINK.search(cell) for row in rows for cell in row
    ):
        return True
    body = [_strip_markup(cell) for row in rows[1:] for cell in row[1:]]
    figures = sum(_FIGURE.match(cell) is not None for cell in body)
    return sum(_measure_columns(rows)) + 3 * len(rows[0]) > MAX_WIDTH and figures < len(body) / 2


def list_rows(rows: Sequence[Sequence[str]]) -> Iterator[tuple[str, int]]:
    """Yield (text, level) of a list of the rows: the first cell, below it the others with their titles."""
    titles, *body = rows
    for row in body or [titles]:
        first, *rest = [" ".join(cell.split("\\\n")) for cell in row]
        named = [(title if body else "", cell) for title, cell in zip(titles[1:], rest, strict=False) if cell]
        if len(named) == 1 and first:
            yield f"{first}: {named[0][1]}", 0
            continue
        if first or named:
            yield first, 0
        for title, cell in named:
            yield f"{title}: {cell}" if title else cell, 1


def write_table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as Markdown; the first is the header."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def align_table(text: str, *, has_markup: bool) -> str:
    """Return a table of Markdown with its columns below each other, figures on the right; without
    *has_markup* it is shown as it is, so bold and code are removed.
    """
    lines = text.split("\n")
    head, *body = [_split_row(line, has_markup=has_markup) for line in (lines[0], *lines[2:])]
    widths = _measure_columns([head, *body])
    is_right = [
        bool(body) and all(_FIGURE.match(row[n]) for row in body if n < len(row)) for n in range(len(widths))
    ]
    shown = [
        "| " + " | ".join(_pad(cell, widths[n], is_right=is_right[n]) for n, cell in enumerate(row)) + " |"
        for row in (head, *body)
    ]
    rules = [
        "-" * max(3 - right, width - right) + ":" * right
        for width, right in zip(widths, is_right, strict=True)
    ]
    rule = (
        f"| {' | '.join(rules)} |" if has_markup else f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    )
    return "\n".join([shown[0], rule, *shown[1:]])


def _split_row(line: str, *, has_markup: bool) -> list[str]:
    cells = [cell.strip() for cell in _PIPE.split(line.strip()[1:-1])]
    return cells if has_markup else [_strip_markup(cell).replace("\\|", "|") for cell in cells]


def _strip_markup(cell: str) -> str:
    return " ".join(_MARKUP.sub("", cell).split())


def _measure_columns(rows: Sequence[Sequence[str]]) -> list[int]:
    columns = range(max(map(len, rows)))
    return [max((_measure(row[n]) for row in rows if n < len(row)), default=0) for n in columns]


def _measure(text: str) -> int:
    """Return the columns that *text* takes in a font of fixed width."""
    return len(text) if text.isascii() else sum(2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def _pad(text: str, width: int, *, is_right: bool) -> str:
    gap = " " * (width - _measure(text))
    return gap + text if is_right else text + gap
