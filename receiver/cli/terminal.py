"""What the commands share: options, and text output with safe characters, aligned, in the local time zone.

Labels and annotations are untrusted input; no character of them may move the cursor, change a
colour or reverse the text direction.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Any

import click

from receiver.clock import format_duration, is_tomorrow, to_datetime
from receiver.http_client import parse_timestamp
from receiver.text import clean_text, one_line

MAX_NAME = 200
MAX_CELL = 120
_GAP = "  "
_NARROWEST = 20
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default="routing.yaml",
    show_default=True,
    help="Routes, escalations, responders.",
)
json_option = click.option("--json", "is_json", is_flag=True, help="The API's own JSON.")


def by_option(text: str) -> Callable[[Any], Any]:
    """Return the option `--by NAME` with *text* as its help."""
    return click.option(
        "--by",
        metavar="NAME",
        default=lambda: os.environ.get("USER") or "cli",
        show_default="$USER",
        help=text,
    )


def print_text(text: str) -> None:
    """Print *text*, sanitized; characters that the terminal's encoding lacks become question marks."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    click.echo(clean_text(text).encode(encoding, "replace").decode(encoding))


def print_json(value: object) -> None:
    """Print *value* as JSON in plain ASCII, which every terminal shows correctly."""
    click.echo(json.dumps(value, indent=2))


def render_table(rows: Sequence[Mapping[str, str]], width: int | None = None) -> str:
    """Return *rows* of cells by column under their head, as `align_rows` does."""
    return "\n".join(align_rows([list(rows[0]), *(list(row.values()) for row in rows)], width))


def align_rows(rows: Iterable[Sequence[str]], width: int | None = None) -> list[str]:
    """Return one line for each row; the last column is cut to the rest of *width* columns."""
    cells = [[one_line(cell, MAX_CELL) for cell in row] for row in rows]
    sizes = [max(map(measure_width, column)) for column in zip(*cells, strict=True)][:-1]
    if width is not None:
        left = max(_NARROWEST, width - sum(sizes) - len(_GAP) * len(sizes))
        for row in cells:
            row[-1] = _fit_cell(row[-1], left)
    return [_GAP.join([*map(_pad_cell, row, sizes), row[-1]]).rstrip() for row in cells]


def render_fields(fields: Sequence[tuple[str, str]], indent: str = "") -> str:
    """Return `name  value` lines, aligned, without those with an empty value."""
    filled = [(name, value) for name, value in fields if value]
    size = max((measure_width(name) for name, _ in filled), default=0)
    return "\n".join(f"{indent}{_pad_cell(name, size)}{_GAP}{value}" for name, value in filled)


def measure_width(text: str) -> int:
    """Return how many columns *text* takes: two for a wide character, none for a combining one."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def render_timestamp(text: str | None, zone: tzinfo | None = None, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return an RFC 3339 text as `2026-11-23 13:03:00` in *zone*, by default the local one."""
    timestamp = parse_timestamp(text)
    return to_datetime(timestamp, zone).astimezone(zone).strftime(form) if timestamp else ""


def render_until(text: str | None, now: float, zone: tzinfo | None = None) -> str:
    """Return an RFC 3339 text as `2026-11-23 13:03:00`, with `tomorrow` if it is."""
    is_next_day = bool(text) and is_tomorrow(parse_timestamp(text), now, zone)
    return f"{render_timestamp(text, zone)}{', tomorrow' if is_next_day else ''}"


def render_since(text: str | None, now: float, zone: tzinfo | None = None) -> str:
    """Return an RFC 3339 text as `2026-11-23 13:03:00 CET (12m ago)`."""
    timestamp = render_timestamp(text, zone, "%Y-%m-%d %H:%M:%S %Z")
    return f"{timestamp} ({render_age(text, now)})" if timestamp else ""


def render_age(text: str | None, now: float) -> str:
    """Return how long ago *text* was: `12m ago`."""
    timestamp = parse_timestamp(text)
    return f"{format_duration(now - timestamp)} ago" if timestamp else ""


def _pad_cell(text: str, size: int) -> str:
    return text + " " * (size - measure_width(text))


def _fit_cell(text: str, columns: int) -> str:
    if measure_width(text) <= columns:
        return text
    kept = text[: columns - 1]
    while measure_width(kept) > columns - 1:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def show_examples(*lines: str) -> str:
    """Return an epilog for click that keeps the line breaks."""
    title = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(["\b", title, *(f"  {line}" for line in lines)])
