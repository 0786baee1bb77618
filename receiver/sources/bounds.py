"""How much of an alert is kept, and its identity, which is taken before anything is cut.

The sizes are in characters, and far above what anybody writes: they keep strangers from filling
the store, and what is beyond them is cut, never refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from receiver.model.alert import fingerprint

MAX_ENTRIES = 128  # labels of an alert, or annotations
MAX_NAME = 1024
MAX_LABEL = 4 * 1024
MAX_ANNOTATION = 16 * 1024
MAX_LINK = 8 * 1024
MAX_FINGERPRINT = 64
MAX_KEY = 4 * 1024
MAX_TRUNCATED = 1_000_000  # alerts that Alertmanager says it left out

# What has to be mended takes fifty times as long as what is as Alertmanager writes it: so much is done in two
# seconds, while others wait.
MAX_REPAIRED = 8 * 1024 * 1024  # bytes of a body
MAX_REPAIRED_VALUES = 150_000  # texts, numbers, lists and objects in it
# Alerts of one body, and groups where each alert is its own: more are not done before the sender gives up.
MAX_ALERTS = 50_000
MAX_GROUPS = 5_000
MAX_UNIDENTIFIED = 4 * 1024 * 1024  # characters of labels in alerts that came without a fingerprint

# Alertmanager's own fingerprint goes byte by byte, 0.1 µs each: too slow for labels of a megabyte.
_MAX_FINGERPRINTED = 64 * 1024
_MAX_AHEAD_S = 86400.0


def latest_plausible_at(now: float) -> float:
    """Return the moment from which on nobody's clock is believed: a day ahead of ours."""
    return now + _MAX_AHEAD_S


def compute_fingerprint(labels: Mapping[str, str]) -> str:
    """Return the fingerprint of an alert that came without one, from all its labels."""
    if count_characters(labels) <= _MAX_FINGERPRINTED:
        return fingerprint(labels)
    digest = hashlib.sha256()
    for name in sorted(labels):
        digest.update(
            b"%b\xff%b\xff" % (name.encode("utf-8", "replace"), labels[name].encode("utf-8", "replace"))
        )
    return digest.hexdigest()[:16]


def count_characters(labels: Mapping[str, str]) -> int:
    """Return how many characters *labels* have."""
    return sum(map(len, labels.values())) + sum(map(len, labels))


def shorten_name(name: str, limit: int) -> str:
    """Return *name*, or where it is longer than *limit* its digest: other names stay other."""
    return name if len(name) <= limit else hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
