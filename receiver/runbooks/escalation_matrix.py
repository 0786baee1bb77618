"""Parsing the Escalation Matrix of a runbook: response time and escalation path by severity."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from receiver.runbooks.markdown import read_rows, split_blocks
from receiver.runbooks.parser import MarkdownHeading, build_outline, plain_title
from receiver.text import one_line


@dataclass(frozen=True)
class MatrixRow:
    """The row of one severity, as written."""

    severity: str
    response: str  # `5 minutes`
    path: tuple[str, ...]  # (`On-call`, `Team Lead`)
    file: str
    line: int


_TITLE = re.compile(r"\bescalation\s+matrix\b", re.IGNORECASE)
_ARROW = re.compile(r"\s*(?:→|⟶|➜|-+>|=+>)\s*")
# Patterns for the titles of the columns; a column without a matching title is found by its position.
_COLUMNS = (
    re.compile(r"severity|level|priority", re.IGNORECASE),
    re.compile(r"response|time|within", re.IGNORECASE),
    re.compile(r"escalation|path|chain|who", re.IGNORECASE),
)
MAX_CELL_CHARS = 500


def find_matrix(text: str, file: str) -> tuple[MatrixRow, ...]:
    """Return the rows of every table under a heading `Escalation Matrix`; *file* is only copied to the rows.

    Severities are in lower case; missing cells are empty. Never raises.
    """
    if _TITLE.search(text) is None:
        return ()  # most files have none; do not parse them
    outline = build_outline(split_blocks(text), text.count("\n") + 1)
    matrices = [heading for heading in outline.walk_headings() if _TITLE.search(heading.title)]
    return tuple(row for heading in matrices for row in _read_tables(heading, file))


def _read_tables(heading: MarkdownHeading, file: str) -> Iterator[MatrixRow]:
    for block in heading.blocks:
        if block.kind == "table":
            (_, head), *rows = read_rows(block.tokens)
            columns = _find_columns(head)
            for line, cells in rows:
                texts = [plain_title(cells[n]) if n < len(cells) else "" for n in columns]
                severity, response, path = (one_line(text, MAX_CELL_CHARS) for text in texts)
                if severity:
                    steps = tuple(step for step in _ARROW.split(path) if step)
                    yield MatrixRow(severity.lower(), response, steps, file, line)


def _find_columns(head: Sequence[str]) -> list[int]:
    """Return the indexes of the columns severity, response and path."""
    found: list[int] = []
    for place, pattern in enumerate(_COLUMNS):
        named = (n for n, cell in enumerate(head) if pattern.search(cell) and n not in found)
        found.append(next(named, place))
    return found
