"""Truncating and cleaning text, and secrets that do not print themselves."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache, wraps
from ipaddress import ip_address
from string import ascii_lowercase, ascii_uppercase
from typing import Final, ParamSpec, TypeVar

# Control characters, and invisible characters or those that change how others are displayed: direction marks,
# zero-width blanks, fillers, soft hyphens, interlinear annotations, and tags. The variation selectors of
# emoji stay, and so do the joiners U+200C and U+200D, which Persian, the scripts of India and emoji need.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_JOINERS = dict.fromkeys((0x200C, 0x200D))
_SMALL_LETTERS = str.maketrans(ascii_uppercase, ascii_lowercase)
P = ParamSpec("P")
T = TypeVar("T")


class Secret:
    """A text that never prints itself; only `reveal()` returns it."""

    __slots__ = ("_digest", "_text")

    def __init__(self, text: str = "") -> None:
        self._text: Final = text
        self._digest: Final = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16] if text else ""

    @property
    def digest(self) -> str:
        """The first 16 hex digits of its SHA-256, to compare secrets; empty where the secret is empty."""
        return self._digest

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "***" if self._text else "(unset)"


def cache_short(entries: int, characters: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator that caches the results of the last *entries* calls, as `lru_cache` does, but of no
    call whose texts have more than *characters* together. So untrusted texts can't fill the memory.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        cached = lru_cache(maxsize=entries)(function)

        @wraps(function)
        def call(*args: P.args, **named: P.kwargs) -> T:
            length = sum(len(each) for each in (*args, *named.values()) if isinstance(each, str))
            return function(*args, **named) if length > characters else cached(*args, **named)  # type: ignore[arg-type]

        return call

    return decorate


def truncate_text(text: str, limit: int) -> str:
    """Return *text* in at most *limit* characters, ending in … when it was truncated."""
    if len(text) <= limit:
        return text
    return text[: max(0, limit - 1)].rstrip(" \t\n\u200c\u200d") + "…" if limit > 0 else ""


def clean_text(text: str) -> str:
    """Return *text* without control characters and invisible direction marks (line ends stay)."""
    if text.isascii() and text.isprintable():
        return text  # the fast path: most labels and annotations
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def replace_surrogates(text: str) -> str:
    """Return *text* with lone surrogates replaced, so that it can be encoded."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def drop_joiners(text: str) -> str:
    """Return *text* without the invisible joiners of letters and emoji, to compare it."""
    return text if text.isascii() else text.translate(_JOINERS)


def one_line(text: str, limit: int) -> str:
    """Return *text* cleaned, on one line, in at most *limit* characters."""
    return truncate_text(" ".join(clean_text(text).split()), limit)


def format_count(number: int, noun: str) -> str:
    """Return `1 alert` or `2 alerts`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def lowercase_ascii(name: str) -> str:
    """Return *name* with A to Z in lower case and all else unchanged.

    The Kelvin sign, for example, does not become k; otherwise one user could take another's name.
    """
    return name.translate(_SMALL_LETTERS)


def is_loopback(host: str) -> bool:
    """Return whether *host* is an address of this machine only; of host names, only `localhost` counts."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
