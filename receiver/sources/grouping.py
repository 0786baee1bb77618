"""What a body says of its alerts as a whole, and the groups that follow from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec import json

from receiver.errors import PayloadTooLarge
from receiver.model.alert import Alert, Group
from receiver.sources.bounds import MAX_GROUPS, MAX_KEY, shorten_name

# What Go's regexp.QuoteMeta puts a backslash before. Alertmanager quotes its receiver's name:
# https://github.com/prometheus/alertmanager/issues/2447
_QUOTED = re.compile(r"\\([\\.+*?()|\[\]{}^$])")
_encode = json.Encoder(order="sorted").encode
UNIDENTIFIED = "has too many labels in alerts without fingerprint"


@dataclass(frozen=True)
class Header:
    """The fields of a body beside its alerts; *receiver* is still quoted."""

    source: str
    receiver: str = ""
    group_key: str = ""
    group_labels: dict[str, str] = field(default_factory=dict)
    truncated: int = 0
    external_url: str = ""


def group_alerts(header: Header, alerts: Sequence[Alert]) -> tuple[Group, ...]:
    """Return *alerts* in their groups, known by the group key, else by the group's labels.

    Where the sender gave neither, nothing says that its alerts belong together: then each is its
    own group, known by its own labels. Raises PayloadTooLarge where these are too many.
    """
    if not alerts:
        return ()
    key = header.group_key
    if not key and header.group_labels:
        key = _serialize_labels(header.group_labels)
    if key:
        return (_build_group(header, key, header.group_labels, alerts),)
    apart: dict[str, list[Alert]] = {}
    for alert in alerts:
        apart.setdefault(_serialize_labels(alert.labels) if alert.labels else alert.fingerprint, []).append(
            alert
        )
    if len(apart) > MAX_GROUPS:
        raise too_large(f"has {len(apart):,} alerts without a group key, and {MAX_GROUPS:,} are taken")
    return tuple(_build_group(header, key, members[0].labels, members) for key, members in apart.items())


def too_large(how: str) -> PayloadTooLarge:
    """Return the refusal of a body that would hold up others for too long, with what to do."""
    advice = "send fewer alerts at once, see max_alerts in Alertmanager"
    return PayloadTooLarge("alertmanager", f"the body {how}: {advice}")


def _build_group(header: Header, key: str, labels: dict[str, str], alerts: Sequence[Alert]) -> Group:
    return Group(
        header.source,
        _unquote(header.receiver),
        shorten_name(key, MAX_KEY),
        labels,
        tuple(alerts),
        header.truncated,
        header.external_url,
    )


def _serialize_labels(labels: dict[str, str]) -> str:
    return _encode(labels).decode()


def _unquote(receiver: str) -> str:
    r"""Undo Go's regexp.QuoteMeta: `web\.hook` is the receiver `web.hook`."""
    return _QUOTED.sub(r"\1", receiver) if "\\" in receiver else receiver
