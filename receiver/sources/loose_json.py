"""JSON as people and broken programs write it: read as far as it can be, in bounded time.

Taken beyond the standard: any Unicode encoding, a byte order mark, bytes that are no UTF-8, half
surrogates, control characters, NaN, numbers of any length, a key twice (the last counts), and
any depth (what is nested deeper than anybody could mean is null).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_MAX_DEPTH = 64
_MAX_BRACKETS = 500_000
_SURROGATE = re.compile("[\ud800-\udfff]")
# A text (also one that never ends) or a bracket; possessive, so that no text is read twice.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{\]}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class RawNumber:
    """A number by its own digits: 1.50 stays 1.50, and a million digits cost nothing."""

    text: str

    @property
    def value(self) -> float:
        return int(self.text) if len(self.text) < 20 and self.text.lstrip("-").isdigit() else float(self.text)


def parse_json(body: bytes) -> object:
    """Return what *body* holds, its numbers as Number. Raises ValueError with a sentence."""
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
    """Return *text* with null for everything nested too deeply."""
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
    """Return *value* as the text somebody meant by it; None for null. Lists and objects stay JSON."""
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
            json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_get_number)
        )
    except RecursionError:
        return "…"


def _get_number(number: RawNumber) -> float:
    return number.value


def replace_surrogates(text: str) -> str:
    """Return *text* with half surrogates replaced, so that it can be encoded."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def describe_type(value: object) -> str:
    """Return what *value* is, in words for a sentence."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names = {str: "a text", RawNumber: "a number", list: "a list", dict: "an object"}
    return names[type(value)]
