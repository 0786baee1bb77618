"""Strangers' words and numbers, made fit to stand in an event."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from receiver.text import clean_text, is_web_link, one_line, truncate_text

MAX_NAME = 200
MAX_VALUE = 4_000
MAX_LINK = 4_000
_ASCII_OF_LINKS = "%/:?#[]@!$&'()*+,;=~"


def sanitize_line(text: str, limit: int) -> str:
    """Return *text* on one line without control characters, in at most *limit* characters."""
    return one_line(_replace_surrogates(text[: 4 * limit]), limit)


def sanitize_text(text: str, limit: int) -> str:
    """Return *text* without control characters, its lines kept, in at most *limit* characters."""
    return truncate_text(clean_text(_replace_surrogates(text[: 4 * limit])), limit)


def sanitize_map(values: Mapping[str, str]) -> dict[str, str]:
    """Return labels or annotations by name, each bounded; those left without a name are dropped."""
    sanitized = (
        (sanitize_line(name, MAX_NAME), sanitize_text(values[name], MAX_VALUE)) for name in sorted(values)
    )
    return {name: value for name, value in sanitized if name}


def sanitize_link(url: str) -> str:
    """Return *url* in ASCII, or nothing when it is no http(s) link or too long to be one."""
    if len(url) > MAX_LINK or not is_web_link(url):
        return ""
    link = quote(url, safe=_ASCII_OF_LINKS, errors="replace")
    return link if len(link) <= MAX_LINK and find_host(link) else ""


def find_host(url: str) -> str:
    """Return the host *url* names; empty when it names none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # brackets that hold no IPv6 address
        return ""


def format_iso_time(at: float) -> str:
    """Return the moment *at* as ISO 8601 in UTC; empty for a moment no calendar has."""
    try:
        timestamp = datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    return timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _replace_surrogates(text: str) -> str:
    """Replace halves of surrogate pairs: no UTF-8 can carry them."""
    return text.encode("utf-8", "replace").decode("utf-8")
