"""The words that senders use for a severity, and which severity each of them names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from receiver.domain.alert import Severity
from receiver.text import one_line

LABEL: Final = "severity"
# A longer word is unknown, and is shown cut.
MAX_WORD = 60
_MAX_NORMALIZED = 4 * MAX_WORD
BUILT_IN: Final[Mapping[str, Severity]] = {
    **dict.fromkeys(
        ("critical", "crit", "page", "p0", "p1", "sev0", "sev1", "disaster", "fatal", "emergency"),
        Severity.CRITICAL,
    ),
    **dict.fromkeys(("error", "err", "major", "high", "p2", "sev2"), Severity.ERROR),
    **dict.fromkeys(
        ("warning", "warn", "p3", "sev3", "minor", "medium", "average", "ticket"), Severity.WARNING
    ),
    **dict.fromkeys(
        ("info", "informational", "information", "notice", "low", "debug", "p4", "p5", "sev4", "sev5"),
        Severity.INFO,
    ),
    "none": Severity.NONE,
}


class SeverityWords:
    """Reads the value of a `severity` label: the built-in words and a team's *own*, in any case of letters.

    Immutable, so it may be shared by threads and handed to pure functions.
    """

    __slots__ = ("_find_normalized", "_words")

    def __init__(self, own: Mapping[str, Severity] | None = None) -> None:
        self._words: Final = {**BUILT_IN, **{normalize_word(word): one for word, one in (own or {}).items()}}
        # Each matcher of each route asks for the same few words; what a sender makes up stays bounded.
        self._find_normalized = lru_cache(maxsize=1024)(lambda word: self._words.get(normalize_word(word)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SeverityWords) and self._words == other._words

    def __hash__(self) -> int:
        return hash(frozenset(self._words.items()))

    def find_severity(self, word: str) -> Severity | None:
        """Return the severity that *word* names; None for an empty and an unknown one."""
        # Nearly always it is spelled plainly, and this is asked for alerts of each webhook.
        if (found := self._words.get(word)) is not None:
            return found
        return self._find_normalized(word) if 0 < len(word) <= _MAX_NORMALIZED else None

    def read_severity(self, labels: Mapping[str, str]) -> Severity:
        """Return the severity that *labels* name, NONE where it is missing or unknown."""
        word = labels.get(LABEL, "")
        return self._words.get(word) or self.find_severity(word) or Severity.NONE

    def find_unknown_word(self, labels: Mapping[str, str]) -> str:
        """Return the severity of *labels* as it may be shown if it is no word we know, else an empty text."""
        word = labels.get(LABEL, "")
        return one_line(word, MAX_WORD) if self.find_severity(word) is None else ""


BUILT_IN_WORDS: Final = SeverityWords()


def normalize_word(word: str) -> str:
    """Return *word* as words are compared: on one line, without invisible characters, in lower case."""
    return one_line(word, MAX_WORD + 1).casefold()


def describe_unknown_severity(word: str) -> str:
    """Return how an unknown severity is said everywhere: `unknown severity "wobbly"`."""
    return f'unknown severity "{word}"'
