"""What is wrong with a configuration file, gathered while it is read; no secret gets in here.

Values are quoted as they are written in the file, before `${...}` is filled in, and whatever
looks like a token is masked: problems end up in terminals, logs and CI output.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import NoReturn

from receiver.errors import ConfigError, Problem
from receiver.text import one_line, truncate_text

_QUOTED_LIMIT = 60
_LISTED_LIMIT = 12
# Slack's tokens by their prefix; others by being a long run that mixes letters and digits.
_TOKEN = re.compile(r"\b(?:xox[a-z]|xapp)-\S+|(?=[A-Za-z+/]*\d)(?=[\d+/]*[A-Za-z])[A-Za-z\d+/]{20,}")
_LOGIN = re.compile(r"(?<=://)[^/\s@]+(?=@)")


class Diagnostics:
    """The faults and warnings of one file. A fault refuses the file, a warning doesn't."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._errors: list[Problem] = []
        self._warnings: list[Problem] = []

    def error(self, line: int, what: str, expected: str = "") -> None:
        self._errors.append(Problem(self.file, line, what, expected))

    def warning(self, line: int, what: str, expected: str = "") -> None:
        self._warnings.append(Problem(self.file, line, what, expected))

    def abort(self, line: int, what: str, expected: str = "") -> NoReturn:
        """Raise at once, with the faults so far: nothing behind this one can be read."""
        self.error(line, what, expected)
        raise ConfigError(_in_order(self._errors))

    def raise_errors(self) -> None:
        """Raise ConfigError with every fault by its line, if there is one."""
        if self._errors:
            raise ConfigError(_in_order(self._errors))

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return _in_order(self._warnings)


def quote_text(text: str) -> str:
    """Return *text* in quotes, short, on one line, with tokens and passwords masked."""
    masked = _LOGIN.sub("***", _TOKEN.sub("***", one_line(text, 10 * _QUOTED_LIMIT)))
    return f"'{truncate_text(masked, _QUOTED_LIMIT)}'"


def suggest_choice(word: str, known: Iterable[str]) -> str:
    """Return what was probably meant by *word*, or else all there is to choose from."""
    choices = list(known)
    near = get_close_matches(one_line(word, _QUOTED_LIMIT), choices, n=1)
    if near:
        return quote_text(near[0])
    if not choices:
        return "none, since none is defined"
    more = ", …" if len(choices) > _LISTED_LIMIT else ""
    return "one of " + ", ".join(one_line(choice, 40) for choice in choices[:_LISTED_LIMIT]) + more


def _in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sort by line and drop repeats: an alias is read once for every place that names it."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: problem.line))
