"""Which headings are an alert's name, and the severity they claim."""

from __future__ import annotations

import re
from dataclasses import dataclass

from receiver.model.alert import BUILT_IN_WORDS, Severity

_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_CAMEL = re.compile(r"[a-z0-9][A-Z]|[A-Z]{2}[a-z]")
_PREFIX = re.compile(r"^(?:[^\w:]+|\d+[.)]\s+|alert(?: name)?:\s+)+", re.IGNORECASE)
_CLAIM = re.compile(
    r"^(?P<names>.*?)\s*(?:[(\[](?P<boxed>[^()\[\]]{1,40})[)\]]|\s[-–—]\s*(?P<bare>\w{1,20}))$"
)
_FILLERS = frozenset({"severity", "alert", "level", "and", "or"})
# Longer is prose; Prometheus itself sets no bound.
MAX_NAME_CHARS = 200
MAX_TITLE_CHARS = 1000


@dataclass(frozen=True)
class AlertTitle:
    """What a heading says if it is an alert's: its names, and a severity or an empty string."""

    names: tuple[str, ...]
    severity: str = ""

    @property
    def is_camel(self) -> bool:
        """Tell whether every name is of several words written as one: `DiskFull`, `etcdNoLeader`."""
        return all(is_camel(name) for name in self.names)


def read_alert_title(title: str) -> AlertTitle | None:
    """Return the alert names in *title*, or None when it is no list of single words.

    `DiskFull`, `DiskFull (Warning)`, `ADown / BDown (Critical)`; the words alone make no alert,
    so ask also for a severity or for the sections below.
    """
    if len(title) > MAX_TITLE_CHARS:
        return None
    names, severity = _split_severity(_PREFIX.sub("", title))
    found = [name.strip() for name in re.split(r"[/,]", names)]
    if not all(_NAME.fullmatch(name) and len(name) <= MAX_NAME_CHARS for name in found):
        return None
    return AlertTitle(tuple(dict.fromkeys(found)), severity)


def is_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) and len(text) <= MAX_NAME_CHARS


def is_camel(name: str) -> bool:
    return _CAMEL.search(name) is not None


def read_severity(words: str) -> str:
    """Return the worst severity that *words* name (`Critical`, `severity: warning`), or an empty string.

    Any other word among them means that they say something else.
    """
    found = []
    for word in re.findall(r"\w+", words.lower()):
        severity = BUILT_IN_WORDS.find_severity(word)
        if severity not in (None, Severity.NONE):
            found.append(severity)
        elif word not in _FILLERS:
            return ""
    return str(max(found, key=lambda severity: severity.rank)) if found else ""


def _split_severity(title: str) -> tuple[str, str]:
    found = _CLAIM.match(title)
    if found is None:
        return title, ""
    severity = read_severity(found["boxed"] or found["bare"])
    return (found["names"], severity) if severity else (title, "")
