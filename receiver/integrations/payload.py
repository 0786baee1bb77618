"""Tolerant parsing of webhook bodies: JSON, fields of the wrong type, size limits, and fingerprints.

The limits of an alert are in characters; they keep a sender from filling the store. Longer texts are cut.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from operator import attrgetter

from msgspec import ValidationError, convert

from receiver import http_client
from receiver.model.alert import fingerprint
from receiver.text import replace_surrogates, truncate_text

MAX_ENTRIES = 128  # labels or annotations of one alert
MAX_NAME = 1024
MAX_LABEL = 4 * 1024
MAX_ANNOTATION = 16 * 1024
MAX_LINK = 8 * 1024
MAX_FINGERPRINT = 64
MAX_KEY = 4 * 1024
MAX_TRUNCATED = 1_000_000  # alerts that Alertmanager says it left out
# Parsing a body that needs repair takes fifty times as long as parsing Alertmanager's own format: two seconds
# for a body of this size, during which other requests wait.
MAX_REPAIRED = 8 * 1024 * 1024  # bytes of a body
MAX_REPAIRED_VALUES = 150_000  # strings, numbers, lists and objects in it
# Alerts of one body, and groups built from alerts without a group key: more exceed the sender's timeout.
MAX_ALERTS = 50_000
MAX_GROUPS = 20_000
MAX_UNIDENTIFIED = 4 * 1024 * 1024  # characters of labels in alerts that came without a fingerprint
# Alertmanager's fingerprint algorithm costs 0.1 µs per byte: too slow for a megabyte of labels.
_MAX_FINGERPRINTED = 64 * 1024
_MAX_AHEAD_S = 86400.0


def latest_plausible_at(now: float) -> float:
    """Return the limit for timestamps: one at least a day ahead of *now* is not believed."""
    return now + _MAX_AHEAD_S


def compute_fingerprint(labels: Mapping[str, str]) -> str:
    """Return a fingerprint computed from all *labels*, for an alert that came without one."""
    if count_characters(labels) <= _MAX_FINGERPRINTED:
        return fingerprint(labels)
    digest = hashlib.sha256()
    for name in sorted(labels):
        digest.update(
            b"%b\xff%b\xff" % (name.encode("utf-8", "replace"), labels[name].encode("utf-8", "replace"))
        )
    return digest.hexdigest()[:16]


def count_characters(labels: Mapping[str, str]) -> int:
    """Return the number of characters in the names and values of *labels*."""
    return sum(map(len, labels.values())) + sum(map(len, labels))


def shorten_name(name: str, limit: int) -> str:
    """Return *name*, or its SHA-256 digest if it is longer than *limit*: distinct names stay distinct."""
    return name if len(name) <= limit else hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()


_MAX_DEPTH = 64
_MAX_BRACKETS = 500_000
# A string (also an unterminated one) or a bracket; possessive quantifiers prevent backtracking.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{\]}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class RawNumber:
    """A number kept as its source text: 1.50 stays 1.50, and a million digits are not converted."""

    text: str

    @property
    def value(self) -> float:
        return int(self.text) if len(self.text) < 20 and self.text.lstrip("-").isdigit() else float(self.text)


def parse_json(body: bytes) -> object:
    """Return the value of the JSON *body*, its numbers as `RawNumber`; raises ValueError with a reason."""
    if not body.strip():
        raise ValueError("the body is empty")
    encoding = json.detect_encoding(body)
    text = body.decode(encoding, "replace")
    try:
        try:
            return _parse_text(text)
        except RecursionError:
            return _parse_text(_drop_deep_values(text))
    except json.JSONDecodeError as error:
        place = len(text[: error.pos].encode(encoding, "replace"))
        what = error.msg.removesuffix(" starting at").lower()
        raise ValueError(f"not JSON at byte {place}: {what}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _parse_text(text: str) -> object:
    value: object = json.loads(
        text, strict=False, parse_int=RawNumber, parse_float=RawNumber, parse_constant=RawNumber
    )
    return value


def _drop_deep_values(text: str) -> str:
    """Return *text* with null in place of every value nested `_MAX_DEPTH` levels deep."""
    if text.count("[") + text.count("{") > _MAX_BRACKETS:
        raise RecursionError
    kept, depth, since = [], 0, 0
    for token in _TOKEN.finditer(text):
        token_text = token[0]
        if token_text in ("[", "{"):
            depth += 1
            if depth == _MAX_DEPTH:
                kept.append(text[since : token.start()])
        elif token_text in ("]", "}"):
            if depth == _MAX_DEPTH:
                kept.append("null")
                since = token.end()
            depth -= 1
    if depth < _MAX_DEPTH:
        kept.append(text[since:])
    return "".join(kept)


def to_text(value: object) -> str | None:
    """Return a parsed JSON *value* as text; None for null. Lists and objects become JSON."""
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, RawNumber):
        return value.text
    if value is None:
        return None
    try:
        return replace_surrogates(
            json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=attrgetter("value"))
        )
    except RecursionError:
        return "…"


def describe_type(value: object) -> str:
    """Return the type of a parsed JSON *value* in words, for an error message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names = {str: "a text", RawNumber: "a number", list: "a list", dict: "an object"}
    return names[type(value)]


Object = dict[str, object]
# Kept first when an alert has more than MAX_ENTRIES labels or annotations: routing and the message use them.
_FIRST = frozenset({"alertname", "severity", "summary", "description", "runbook_url", "runbook"})


def parse_status(value: object) -> str:
    """Return `firing` or `resolved`, or empty for anything else."""
    word = value.strip().lower() if isinstance(value, str) else ""
    return word if word in ("firing", "resolved") else ""


def parse_timestamp(value: object, now: float) -> float:
    """Return the timestamp *value* in seconds since 1970; 0 if it is unreadable or implausible.

    Accepts other forms of ISO 8601 than Alertmanager's; without a zone, it is UTC.
    """
    if not isinstance(value, str) or len(value) > 64:
        return 0.0
    try:
        timestamp = convert(value.strip(), datetime)
        seconds = (timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)).timestamp()
    except (ValidationError, UnicodeEncodeError):  # the latter for a lone surrogate
        seconds = http_client.parse_timestamp(value.strip())
    return seconds if 0.0 < seconds < latest_plausible_at(now) else 0.0


@dataclass
class LenientObject:
    """A JSON object whose fields may be of the wrong type; *is_repaired* tells whether one was repaired."""

    raw: Object
    is_repaired: bool = False

    def parse_text(self, name: str) -> str:
        """Return the text of a field; empty if it is not a string."""
        value = self.raw.get(name)
        if isinstance(value, str):
            return replace_surrogates(value)
        self.is_repaired |= value is not None
        return ""

    def parse_link(self, name: str) -> str:
        """Return the URL of a field; empty if it is too long, because a truncated URL is useless."""
        text = self.parse_text(name)
        self.is_repaired |= len(text) > MAX_LINK
        return text if len(text) <= MAX_LINK else ""

    def parse_texts(self, name: str) -> dict[str, str]:
        """Return an object's entries as texts, not truncated and without nulls; empty for anything else."""
        value, texts = self.raw.get(name), {}
        self.is_repaired |= not isinstance(value, dict | None)
        for key, entry in value.items() if isinstance(value, dict) else ():
            clean_key, text = replace_surrogates(key), to_text(entry)
            if text is not None:
                texts[clean_key] = text
            self.is_repaired |= type(entry) is not str or text != entry or clean_key != key
        return texts

    def truncate_texts(self, texts: dict[str, str], limit: int) -> dict[str, str]:
        """Return at most MAX_ENTRIES of *texts*, values truncated to *limit* characters."""
        if len(texts) <= MAX_ENTRIES and all(
            len(name) <= MAX_NAME and len(value) <= limit for name, value in texts.items()
        ):
            return texts
        self.is_repaired = True
        names = sorted(texts, key=lambda name: name not in _FIRST)[:MAX_ENTRIES]
        return {truncate_text(name, MAX_NAME): truncate_text(texts[name], limit) for name in names}

    def parse_count(self, name: str) -> int:
        """Return a count of at most `MAX_TRUNCATED`, also from a number in a string; 0 for anything else."""
        value = self.raw.get(name)
        self.is_repaired |= not isinstance(value, RawNumber | None)
        try:
            number = float(to_text(value) or 0)
        except ValueError:
            self.is_repaired = True
            return 0
        return ceil(min(number, MAX_TRUNCATED)) if number > 0 else 0
