"""Text output for a terminal: safe characters, aligned, in the local time zone.

Labels and annotations are untrusted input; no character of them may move the cursor, change a
colour or reverse the text direction.
"""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo

import click

from receiver.clock import format_duration, is_tomorrow
from receiver.http_client import parse_timestamp
from receiver.text import clean_text, one_line

MAX_CELL = 120
_GAP = "  "
_NARROWEST = 20


def print_text(text: str, *, err: bool = False) -> None:
    """Print *text*, sanitized; characters that the terminal's encoding lacks become question marks."""
    encoding = getattr(sys.stderr if err else sys.stdout, "encoding", None) or "utf-8"
    click.echo(clean_text(text).encode(encoding, "replace").decode(encoding), err=err)


def print_json(value: object) -> None:
    """Print *value* as JSON in plain ASCII, which every terminal shows correctly."""
    click.echo(json.dumps(value, indent=2))


def print_list(page: Mapping[str, object], text: str) -> None:
    """Print *text*, the rows of a *page* of the API, and whether there are more."""
    print_text(f"{text}\n… and older ones." if page["next_cursor"] else text)


def find_width() -> int | None:
    """Return the terminal's width in columns; None if the output is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def render_table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Return rows under their head, aligned; the last column is cut to the rest of *width*."""
    cells = [list(head), *([one_line(cell, MAX_CELL) for cell in row] for row in rows)]
    sizes = [max(measure_width(row[n]) for row in cells) for n in range(len(head) - 1)]
    if width is not None:
        left = max(_NARROWEST, width - sum(sizes) - len(_GAP) * len(sizes))
        for row in cells:
            row[-1] = _fit_cell(row[-1], left)
    return "\n".join(_GAP.join([*map(_pad_cell, row, sizes), row[-1]]).rstrip() for row in cells)


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


def find_timestamp(text: str | None) -> float | None:
    """Parse RFC 3339 into seconds since 1970; None for None or another form."""
    return parse_timestamp(text) or None


def render_timestamp(text: str | None, zone: tzinfo | None = None) -> str:
    """Return an RFC 3339 text as `2026-11-23 13:03:00` in *zone*, by default the local one."""
    timestamp = find_timestamp(text)
    return _convert_to_zone(timestamp, zone).strftime("%Y-%m-%d %H:%M:%S") if timestamp is not None else ""


def render_until(text: str | None, now: float, zone: tzinfo | None = None) -> str:
    """Return an RFC 3339 text as `2026-11-23 13:03:00`, with `tomorrow` if it is."""
    timestamp = find_timestamp(text)
    if timestamp is None:
        return ""
    return f"{render_timestamp(text, zone)}{', tomorrow' if is_tomorrow(timestamp, now, zone) else ''}"


def render_since(text: str | None, now: float, zone: tzinfo | None = None) -> str:
    """Return an RFC 3339 text as `2026-11-23 13:03:00 CET (12m ago)`."""
    timestamp = find_timestamp(text)
    if timestamp is None:
        return ""
    return f"{_convert_to_zone(timestamp, zone):%Y-%m-%d %H:%M:%S %Z} ({render_age(text, now)})"


def render_age(text: str | None, now: float) -> str:
    """Return how long ago *text* was: `12m ago`."""
    timestamp = find_timestamp(text)
    return f"{format_duration(now - timestamp)} ago" if timestamp is not None else ""


def _convert_to_zone(timestamp: float, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(timestamp, zone).astimezone(zone)


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
