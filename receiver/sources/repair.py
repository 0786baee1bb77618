"""The slower reader, for bodies that are not quite as Alertmanager writes them.

A refused alert is a lost alert, so it takes all it can make sense of and counts what it had to
mend; only a body without a single readable alert is refused, with a reason for people.
"""

from __future__ import annotations

from receiver.domain.alert import Alert, ReceivedAlerts
from receiver.errors import PayloadError
from receiver.sources import bounds
from receiver.sources.fields import (
    Object,
    count_of,
    cut_all,
    link_of,
    moment_of,
    note,
    status_of,
    text_of,
    texts_of,
)
from receiver.sources.grouping import UNIDENTIFIED, Header, gather, too_large
from receiver.sources.loose_json import kind_of, load
from receiver.text import cut


def repair(body: bytes, source: str, now: float) -> ReceivedAlerts:
    """Return what *body* holds, mended where it is odd; *now* is the moment of receipt.

    Raises PayloadTooLarge when mending it would take too long, PayloadError when the body is no JSON object
    or holds no readable alert.
    """
    _check_size(body)
    try:
        raw = load(body)
    except ValueError as error:
        raise PayloadError("alertmanager", str(error)) from None
    if not isinstance(raw, dict):
        raise PayloadError("alertmanager", f"the body is {kind_of(raw)}, not a JSON object")
    entries = _alerts_of(raw)
    readable = [entry for entry in entries if isinstance(entry, dict) and _refusal(entry) is None]
    if entries and not readable:
        raise PayloadError("alertmanager", f"no readable alert: the first one {_refusal(entries[0])}")
    odd: list[str] = []
    header = _header(raw, source, odd)
    alerts, repaired = _read_alerts(readable, status_of(raw.get("status")), now)
    return ReceivedAlerts(
        gather(header, alerts), len(entries) - len(readable), len(alerts) if odd else repaired
    )


def _check_size(body: bytes) -> None:
    odd = "is not quite as Alertmanager writes it, and"
    if len(body) > bounds.MAX_MENDED:
        raise too_large(f"{odd} larger than the {bounds.MAX_MENDED // 1024 // 1024} MiB that are mended")
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > bounds.MAX_MENDED_VALUES:
        raise too_large(f"{odd} of more than the {bounds.MAX_MENDED_VALUES:,} values that are mended")


def _alerts_of(raw: Object) -> list[object]:
    """Return the entries of `alerts`; one that stands there alone, without a list, is taken too."""
    if "alerts" not in raw:
        raise PayloadError("alertmanager", f"no readable alert: it has no `alerts`{_resembles(raw)}")
    entries = raw["alerts"]
    if entries is None:
        return []
    if isinstance(entries, list):
        return entries
    if _refusal(entries) is None:
        return [entries]
    raise PayloadError("alertmanager", f"no readable alert: `alerts` is {kind_of(entries)}, not a list")


def _refusal(entry: object) -> str | None:
    """Return why *entry* is no readable alert, or None when it is one."""
    if not isinstance(entry, dict):
        return f"is {kind_of(entry)}, not an object"
    if "labels" not in entry:
        return "has no `labels`"
    if not isinstance(entry["labels"], dict):
        return f"has `labels` that are {kind_of(entry['labels'])}, not an object"
    return None


# What people point here by mistake, by a field that tells it.
_RESEMBLANCES = {
    "routing_key": "an event for PagerDuty",
    "event_action": "an event for PagerDuty",
    "event": "a webhook of PagerDuty, which belongs at /webhooks/pagerduty",
    "blocks": "a message for Slack",
    "attachments": "a message for Slack",
    "embeds": "a message for Discord",
    "@type": "a message for Microsoft Teams",
    "ruleName": "a notification of Grafana's old alerting",
    "labels": "a single alert without its group",
    "text": "a message for a chat",
}
_CUSTOM = "; if Alertmanager's webhook_config has a `payload`, remove it"


def _resembles(raw: Object) -> str:
    name = next((name for field, name in _RESEMBLANCES.items() if field in raw), "")
    return f" and looks like {name}{_CUSTOM}" if name else _CUSTOM


def _header(raw: Object, source: str, odd: list[str]) -> Header:
    labels = raw.get("groupLabels")
    if not isinstance(labels, dict):
        note(odd, "groupLabels", labels is not None)
        labels = {}
    return Header(
        source=source,
        receiver=cut(text_of(raw, "receiver", odd), bounds.MAX_NAME),
        group_key=text_of(raw, "groupKey", odd),
        group_labels=cut_all(texts_of(labels, "groupLabels", odd), bounds.MAX_LABEL, odd),
        truncated=count_of(raw.get("truncatedAlerts"), odd),
        external_url=link_of(raw, "externalURL", odd),
    )


def _read_alerts(readable: list[Object], group_status: str, now: float) -> tuple[list[Alert], int]:
    alerts, repaired, left = [], 0, bounds.MAX_UNIDENTIFIED
    for raw in readable:
        odd: list[str] = []
        labels = texts_of(raw["labels"], "labels", odd)
        fingerprint = bounds.short(text_of(raw, "fingerprint", odd), bounds.MAX_FINGERPRINT)
        if not fingerprint:
            if (left := left - bounds.size_of(labels)) < 0:
                raise too_large(UNIDENTIFIED)
            # Before anything is cut: alerts that differ far behind stay different.
            fingerprint = bounds.identity(labels)
        alerts.append(_read_alert(raw, fingerprint, labels, group_status, now=now, odd=odd))
        repaired += bool(odd)
    return alerts, repaired


def _read_alert(
    raw: Object, fingerprint: str, labels: dict[str, str], group_status: str, *, now: float, odd: list[str]
) -> Alert:
    """Return the alert; what had to be mended is named in *odd*."""
    annotations = raw.get("annotations")
    if not isinstance(annotations, dict):
        note(odd, "annotations", annotations is not None)
        annotations = {}
    starts_at = moment_of(raw.get("startsAt"), now)
    note(odd, "startsAt", starts_at == 0.0)
    return Alert(
        fingerprint,
        cut_all(labels, bounds.MAX_LABEL, odd),
        cut_all(texts_of(annotations, "annotations", odd), bounds.MAX_ANNOTATION, odd),
        min(starts_at, now) or now,
        _ends_at(raw, group_status, now, odd),
        link_of(raw, "generatorURL", odd),
    )


def _ends_at(raw: Object, group_status: str, now: float, odd: list[str]) -> float:
    """Return when the alert ended, 0 while it fires.

    Its own status decides; without one, an end that has passed; without an end either, the
    status of the group.
    """
    ends_at = moment_of(raw.get("endsAt"), now)
    status = status_of(raw.get("status"))
    if not status:
        note(odd, "status", True)
        if raw.get("endsAt") is None:
            status = group_status
        elif 0.0 < ends_at <= now:
            status = "resolved"
    if status != "resolved":
        return 0.0
    note(odd, "endsAt", ends_at == 0.0)
    return min(ends_at, now) or now
