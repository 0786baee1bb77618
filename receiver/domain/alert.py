"""Alerts and the groups Alertmanager sends them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from zlib import crc32

from msgspec import Struct, msgpack


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
