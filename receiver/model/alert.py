"""Alerts and the groups Alertmanager sends them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final
from zlib import crc32

from msgspec import Struct, msgpack

from receiver.text import one_line


class Severity(StrEnum):
    """How bad it is, worst first; NONE where a label is missing or unknown. `severity.py` has the words."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    NONE = "none"

    @property
    def rank(self) -> int:
        """A number that grows with badness."""
        return RANKS[self]


_encode = msgpack.Encoder(order="sorted").encode
RANKS = {severity: len(Severity) - n for n, severity in enumerate(Severity)}


class Alert(Struct, frozen=True, omit_defaults=True):
    """One labelled problem as its sender described it; *fingerprint* is its identity."""

    fingerprint: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: float
    ends_at: float = 0.0  # 0 while it fires
    generator_url: str = ""

    @property
    def is_firing(self) -> bool:
        return self.ends_at == 0.0

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")

    @property
    def summary(self) -> str:
        """The sender's own words, the shortest kind first; empty when there are none."""
        for key in ("summary", "title", "message", "description"):
            if text := self.annotations.get(key, "").strip():
                return text
        return ""

    @property
    def host(self) -> str:
        """What is affected: the first of the usual labels that name a machine or a pod; empty without one."""
        return next((text for name in _HOSTS if (text := self.labels.get(name, "").strip())), "")

    @property
    def checksum(self) -> int:
        """CRC-32 of what may differ between two copies of the alert: its annotations and generatorURL."""
        try:
            return crc32(_encode((self.annotations, self.generator_url)))
        except UnicodeEncodeError:  # half a character
            words = repr((sorted(self.annotations.items()), self.generator_url))
            return crc32(words.encode("utf-8", "backslashreplace"))


class Group(Struct, frozen=True):
    """The alerts that came together under one group key."""

    source: str
    receiver: str
    group_key: str
    group_labels: dict[str, str]
    alerts: tuple[Alert, ...]
    truncated: int = 0  # how many alerts Alertmanager left out, so nothing can be said of the whole
    external_url: str = ""  # of the Alertmanager that sent it; never part of the identity

    @property
    def is_truncated(self) -> bool:
        return self.truncated > 0


@dataclass(frozen=True)
class ReceivedAlerts:
    """What one posted body held: usually one group, several where nothing said what belongs together.

    *rejected* counts the alerts that could not be read and are in no group, *repaired* those that
    could after a repair (all of them, when it was a field of the whole group).
    """

    groups: tuple[Group, ...] = ()
    rejected: int = 0
    repaired: int = 0

    @property
    def total(self) -> int:
        """All alerts of the body, the rejected ones included."""
        return self.rejected + sum(len(group.alerts) for group in self.groups)


_HOSTS = ("instance", "host", "hostname", "node", "pod")
# FNV-1a, 64 bits, over sorted name and value, each closed by 0xff: Alertmanager's own
# fingerprint, https://github.com/prometheus/common/blob/main/model/signature.go
_FNV_OFFSET = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3
_MASK = 0xFFFFFFFFFFFFFFFF


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return the 16 hex digits by which Alertmanager knows an alert with these labels."""
    total = _FNV_OFFSET
    for name in sorted(labels):
        for byte in (*name.encode("utf-8", "replace"), 0xFF, *labels[name].encode("utf-8", "replace"), 0xFF):
            total = ((total ^ byte) * _FNV_PRIME) & _MASK
    return f"{total:016x}"


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
