"""Deliveries in the reader's words; by their keys only programs know them."""

from __future__ import annotations

_LABELS = {
    "root": "the message",
    "root2": "the message in place of the first",
    "update": "the message's latest form",
    "fallback": "the message in the fallback channel",
    "reminder": "a reminder in the thread",
    "ack_reminder": "a reminder in the thread",
    "renamed": "a note on a label that changes",
    "renamed_hint": "a hint in the thread on a label that changes",
}
_LABELS_WITH_NAME = {
    "page": "page to {}",
    "step": "word to {} in the thread",
    "unreached": "word that {} can't be paged",
    "given_up": "note that {} could not be told",
    "acknowledge": "acknowledgement of the page to {}",
    "resolve": "end of the page to {}",
    "silence": "silence {}",
    "prolong": "silence {}, prolonged",
    "silence_ends": "word that silence {} ends",
    "unconfirmed": "word that PagerDuty has no incident for {}",
    "resolved_there": "word that something in PagerDuty resolves the page to {}",
}


def delivery_label(key: str) -> str:
    """Return what a delivery is, from its key: `page:on-call` is "page to on-call"."""
    kind, _, name = key.partition(":")
    if kind == "left_open":
        return "word that a PagerDuty incident is left to be closed by hand"
    name = name.partition("~")[0]
    if key in _LABELS:
        return _LABELS[key]
    return (
        _LABELS_WITH_NAME[kind].format(name) if name and kind in _LABELS_WITH_NAME else key.replace("_", " ")
    )
