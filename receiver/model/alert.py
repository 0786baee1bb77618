"""Alerts, the groups Alertmanager sends them in, and the words of the `severity` label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final
from zlib import crc32

from msgspec import Struct, msgpack

from receiver.text import drop_joiners, one_line


class Severity(StrEnum):
    """Worst first; NONE where the label is missing or unknown. `BUILT_IN` maps the label's values."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    NONE = "none"

    @property
    def rank(self) -> int:
        """A number that is larger for a worse severity."""
        return RANKS[self]


_encode = msgpack.Encoder(order="sorted").encode
RANKS = {severity: len(Severity) - n for n, severity in enumerate(Severity)}


class Alert(Struct, frozen=True, omit_defaults=True):
    """An alert as its sender described it; *fingerprint* is its identity."""

    fingerprint: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: float
    ends_at: float = 0.0  # 0 while it fires
    generator_url: str = ""
    # When it ends unless its sender renews it, infinite where none is named; None: not before its resolve.
    expires_at: float | None = None

    @property
    def is_firing(self) -> bool:
        return self.ends_at == 0.0

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")

    @property
    def fault(self) -> str:
        """`No data` or `Error` where it says that its rule could not be evaluated; else empty.

        Its annotations are those of the rule then. See "No data and error states" in Grafana's documentation.
        """
        if "Error" not in self.annotations and "grafana_state_reason" not in self.annotations:
            return FAULTS.get(self.name, "")
        if found := FAULTS.get(self.name):
            return found
        if self.error:
            return "Error"
        reason = self.annotations.get("grafana_state_reason", "")
        return _REASONS.get(reason, "") if self.is_firing else ""

    @property
    def error(self) -> str:
        """Why its rule could not be evaluated; empty if that is unknown, or it could."""
        return self.annotations.get("Error", "").strip()

    @property
    def rule(self) -> str:
        """The name of its rule: the alertname, but for the alerts that stand for another rule's fault."""
        return self.labels.get("rulename", "").strip() if self.name in FAULTS else self.name

    @property
    def title(self) -> str:
        """What it is called: the alertname, or `No data: RULE`."""
        fault, rule = self.fault, self.rule
        return f"{fault}: {rule}" if fault and rule else self.name

    @property
    def summary(self) -> str:
        """The first non-empty of the annotations summary, title, message, description; else empty.

        Where its rule could not be evaluated, the error and the rule's own summary, called so.
        """
        own = self._find_summary()
        if not self.fault:
            return own
        rules = f"The rule's own summary: {own}" if own else ""
        return " · ".join(filter(None, (one_line(self.error, _MAX_ERROR), rules)))

    @property
    def named_annotations(self) -> dict[str, str]:
        """The annotations by the names under which they are shown.

        Where its rule could not be evaluated, what the rule says of itself is called so.
        """
        if not self.fault:
            return self.annotations
        return {f"the rule's {key}" if key in _PROSE else key: text for key, text in self.annotations.items()}

    def _find_summary(self) -> str:
        for key in _PROSE:
            if text := self.annotations.get(key, "").strip():
                return text
        return ""

    @property
    def checksum(self) -> int:
        """CRC-32 of what may differ between two copies of the alert: its annotations and generatorURL."""
        try:
            return crc32(_encode((self.annotations, self.generator_url)))
        except UnicodeEncodeError:  # a lone surrogate
            words = repr((sorted(self.annotations.items()), self.generator_url))
            return crc32(words.encode("utf-8", "backslashreplace"))


class Group(Struct, frozen=True):
    """The alerts of one payload under one group key."""

    source: str
    receiver: str
    group_key: str
    group_labels: dict[str, str]
    alerts: tuple[Alert, ...]
    truncated: int = 0  # how many alerts Alertmanager left out; then the whole group's state is unknown
    external_url: str = ""  # of the Alertmanager that sent it; never part of the identity
    has_silence_form: bool = False  # an Alertmanager sent it, and no program that copies its format


@dataclass(frozen=True)
class ReceivedAlerts:
    """The alerts of one request body: usually one group, several where the body has no group key."""

    groups: tuple[Group, ...] = ()
    rejected: int = 0  # how many alerts could not be parsed and are in no group
    repaired: int = 0  # how many could after a repair (all, when a field of the whole group was repaired)

    @property
    def total(self) -> int:
        """All alerts of the body, the rejected ones included."""
        return self.rejected + sum(len(group.alerts) for group in self.groups)


FAULTS = {"DatasourceNoData": "No data", "DatasourceError": "Error"}
# Where a rule is set to fire on a fault: `Alerting (NoData)`.
_REASONS = {"NoData": "No data", "Error": "Error"}
_MAX_ERROR = 200
_PROSE = ("summary", "title", "message", "description")
# FNV-1a, 64 bits, over sorted name and value, each closed by 0xff: Alertmanager's own
# fingerprint, https://github.com/prometheus/common/blob/main/model/signature.go
_FNV_OFFSET = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3
_MASK = 0xFFFFFFFFFFFFFFFF


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return Alertmanager's fingerprint of an alert with these labels: 16 hex digits."""
    total = _FNV_OFFSET
    for name in sorted(labels):
        for byte in (*name.encode("utf-8", "replace"), 0xFF, *labels[name].encode("utf-8", "replace"), 0xFF):
            total = ((total ^ byte) * _FNV_PRIME) & _MASK
    return f"{total:016x}"


LABEL: Final = "severity"
# A longer value is unknown, and is displayed truncated.
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
    """Maps `severity` labels to severities, ignoring case: the built-in words and a team's *own*.

    Immutable, so threads may share it and pure functions may take it.
    """

    __slots__ = ("_find_normalized", "_words")

    def __init__(self, own: Mapping[str, Severity] | None = None) -> None:
        self._words: Final = {**BUILT_IN, **{normalize_word(word): one for word, one in (own or {}).items()}}
        # Each matcher of each route looks up the same few words; the bound limits made-up ones.
        self._find_normalized = lru_cache(maxsize=1024)(lambda word: self._words.get(normalize_word(word)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SeverityWords) and self._words == other._words

    def __hash__(self) -> int:
        return hash(frozenset(self._words.items()))

    def find_severity(self, word: str) -> Severity | None:
        """Return the severity that *word* names; None for an empty or unknown word."""
        # The fast path: this runs for the alerts of each webhook, and most words need no normalization.
        if (found := self._words.get(word)) is not None:
            return found
        return self._find_normalized(word) if 0 < len(word) <= _MAX_NORMALIZED else None

    def read_severity(self, labels: Mapping[str, str]) -> Severity:
        """Return the severity that *labels* name; NONE where it is missing or unknown."""
        word = labels.get(LABEL, "")
        return self._words.get(word) or self.find_severity(word) or Severity.NONE

    def find_unknown_word(self, labels: Mapping[str, str]) -> str:
        """Return the severity label, truncated for display, if it is unknown; else an empty text."""
        word = labels.get(LABEL, "")
        return one_line(word, MAX_WORD) if self.find_severity(word) is None else ""


BUILT_IN_WORDS: Final = SeverityWords()


def normalize_word(word: str) -> str:
    """Return *word* in the form used for comparison: one line, no invisible characters, lower case."""
    return drop_joiners(one_line(word, MAX_WORD + 1)).casefold()


def describe_unknown_severity(word: str) -> str:
    """Return the text for an unknown severity, the same everywhere: `unknown severity "wobbly"`."""
    return f'unknown severity "{word}"'
