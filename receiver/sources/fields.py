"""Single fields of an odd body: each reader gives the best that can be made of one.

What had to be mended is named in *repairs*, so that the caller can count it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil

from msgspec import ValidationError, convert

from receiver.sources import bounds
from receiver.sources.loose_json import RawNumber, replace_surrogates, to_text
from receiver.text import truncate_text

Object = dict[str, object]
# Kept first where an alert has more labels or annotations than we keep: what decides and what is read.
_FIRST = frozenset({"alertname", "severity", "summary", "description", "runbook_url", "runbook"})


def parse_status(value: object) -> str:
    """Return `firing` or `resolved`, or empty for anything else."""
    word = value.strip().lower() if isinstance(value, str) else ""
    return word if word in ("firing", "resolved") else ""


def parse_timestamp(value: object, now: float) -> float:
    """Return the moment that *value* tells, 0 when it tells none that can be.

    Other forms of ISO 8601 than Alertmanager's are taken; without a zone, it is UTC.
    """
    if not isinstance(value, str) or len(value) > 64:
        return 0.0
    try:
        timestamp = convert(value.strip(), datetime)
    except (ValidationError, UnicodeEncodeError):  # the latter for half a character
        try:
            timestamp = datetime.fromisoformat(value.strip())
        except ValueError:
            return 0.0
    if timestamp.tzinfo is None:
        timestamp = timestamp.replace(tzinfo=UTC)
    seconds = timestamp.timestamp()
    return seconds if 0.0 < seconds < bounds.latest_plausible_at(now) else 0.0


def parse_texts(raw: object, name: str, repairs: list[str]) -> dict[str, str]:
    """Return the entries of *raw* as texts, whole; nulls are absent."""
    texts = {}
    for key, value in raw.items() if isinstance(raw, dict) else ():
        text = to_text(value)
        if text is not None:
            texts[replace_surrogates(key)] = text
        record_repair(
            repairs, name, type(value) is not str or text != value or replace_surrogates(key) != key
        )
    return texts


def truncate_texts(texts: dict[str, str], limit: int, repairs: list[str]) -> dict[str, str]:
    """Return *texts* within our bounds."""
    if len(texts) <= bounds.MAX_ENTRIES and all(
        len(name) <= bounds.MAX_NAME and len(value) <= limit for name, value in texts.items()
    ):
        return texts
    repairs.append("size")
    names = sorted(texts, key=lambda name: name not in _FIRST)[: bounds.MAX_ENTRIES]
    return {truncate_text(name, bounds.MAX_NAME): truncate_text(texts[name], limit) for name in names}


def parse_text(raw: Object, name: str, repairs: list[str]) -> str:
    """Return a field that must be a text; empty when it is none."""
    value = raw.get(name)
    if isinstance(value, str):
        return replace_surrogates(value)
    record_repair(repairs, name, value is not None)
    return ""


def parse_link(raw: Object, name: str, repairs: list[str]) -> str:
    """Return a field that is an address; half an address leads nowhere, so a huge one is left out."""
    text = parse_text(raw, name, repairs)
    if len(text) <= bounds.MAX_LINK:
        return text
    repairs.append(name)
    return ""


def parse_count(value: object, repairs: list[str]) -> int:
    """Return a count, also from a number that came as text; 0 when it is none."""
    if value is None:
        return 0
    record_repair(repairs, "truncatedAlerts", not isinstance(value, RawNumber))
    digits = to_text(value) if isinstance(value, str | RawNumber) else ""
    try:
        number = float(digits or "")
    except ValueError:
        record_repair(repairs, "truncatedAlerts", True)
        return 0
    return ceil(min(number, bounds.MAX_TRUNCATED)) if number > 0 else 0


def record_repair(repairs: list[str], name: str, is_repaired: bool) -> None:
    if is_repaired:
        repairs.append(name)
