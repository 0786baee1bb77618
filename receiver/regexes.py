"""Regular expressions of matchers, in RE2's syntax as in Alertmanager, matched in linear time.

Python's `re` backtracks: an expression such as `([a-z]+[.]?)+:9100` may take minutes for forty characters.
https://github.com/google/re2/wiki/Syntax
https://pkg.go.dev/github.com/prometheus/alertmanager/pkg/labels#Matcher
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from importlib.util import find_spec
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

logger = logging.getLogger(__name__)

# Longer than real expressions; RE2 compiles this length in a few milliseconds.
MAX_LENGTH = 4096
# Without RE2: the time limit for one label, after which it counts as not matching.
_TIMEOUT_S = 0.05
# `\C` (one byte of a character) is valid in RE2 for C++, but not in Go's RE2.
_BYTE = re.compile(r"(?<!\\)(?:\\\\)*+\\C")

MatchFunction = Callable[[str], bool]


def compile_full_match(expression: str) -> MatchFunction:
    """Return a function that tells whether *expression* matches a whole text, as Alertmanager's `=~` does.

    As in Go, `.` matches any character but a line feed. Raises ValueError with the reason.
    """
    if len(expression) > MAX_LENGTH:
        raise ValueError(f"it is longer than {MAX_LENGTH} characters")
    return _compile_re2(expression) if find_spec("re2") is not None else compile_with_timeout(expression)


def _compile_re2(expression: str) -> MatchFunction:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    if _BYTE.search(expression):
        raise ValueError(r"invalid escape sequence: \C")
    try:
        pattern = re2.compile(expression.encode(), options)
    except UnicodeEncodeError as error:
        raise ValueError("it is no valid Unicode") from error
    except re2.error as error:
        reason = error.args[0] if error.args else "it can't be compiled"
        raise ValueError(
            reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
        ) from error
    return lambda text: pattern.fullmatch(text.encode("utf-8", "replace")) is not None


def compile_with_timeout(expression: str) -> MatchFunction:
    """Do the same without RE2: nested repeats raise ValueError, and matching has a time limit."""
    import regex

    try:
        if _has_nested_repeats(_parser.parse(expression)):
            raise ValueError("a repeat within a repeat may take for ever; write it with one")
        pattern = regex.compile(expression)
    except (re.error, regex.error, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error

    def fits(text: str) -> bool:
        try:
            return pattern.fullmatch(text, timeout=_TIMEOUT_S) is not None
        except TimeoutError:
            fields = {"expression": expression[:200], "characters": len(text)}
            logger.warning("a matcher took too long for a label", extra={"fields": fields})
            return False

    return fits


def _has_nested_repeats(parsed: Any, *, is_within: bool = False) -> bool:
    """Return whether a repeat that may match more than once contains another such repeat.

    *parsed* is an expression, one of its nodes (a code and its argument), or a part of an argument.
    """
    match parsed:
        case (code, (_, at_most, inner)) if code is _constants.MAX_REPEAT or code is _constants.MIN_REPEAT:
            is_long = at_most > 1
            return (is_long and is_within) or _has_nested_repeats(inner, is_within=is_within or is_long)
        case list() | tuple() | _parser.SubPattern():
            return any(_has_nested_repeats(part, is_within=is_within) for part in parsed)
    return False
