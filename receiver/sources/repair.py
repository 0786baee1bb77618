"""The slower reader, for bodies that are not quite as Alertmanager writes them.

A refused alert is a lost alert, so it takes all it can make sense of and counts what it had to
mend; only a body without a single readable alert is refused, with a reason for people.
"""

from __future__ import annotations

from receiver.errors import PayloadError
from receiver.model.alert import Alert, ReceivedAlerts
from receiver.sources import bounds
from receiver.sources.fields import (
    Object,
    parse_count,
    parse_link,
    parse_status,
    parse_text,
    parse_texts,
    parse_timestamp,
    record_repair,
    truncate_texts,
)
from receiver.sources.grouping import UNIDENTIFIED, Header, group_alerts, too_large
from receiver.sources.loose_json import describe_type, parse_json
from receiver.text import truncate_text


def parse_leniently(body: bytes, source: str, now: float) -> ReceivedAlerts:
    """Return what *body* holds, mended where it is odd; *now* is the moment of receipt.

    Raises PayloadTooLarge when mending it would take too long, PayloadError when the body is no JSON object
    or holds no readable alert.
    """
    _check_size(body)
    try:
        raw = parse_json(body)
    except ValueError as error:
        raise PayloadError("alertmanager", str(error)) from None
    if not isinstance(raw, dict):
        raise PayloadError("alertmanager", f"the body is {describe_type(raw)}, not a JSON object")
    entries = _find_alerts(raw)
    readable = [entry for entry in entries if isinstance(entry, dict) and _find_refusal_reason(entry) is None]
    if entries and not readable:
        raise PayloadError(
            "alertmanager", f"no readable alert: the first one {_find_refusal_reason(entries[0])}"
        )
    repairs: list[str] = []
    header = _parse_header(raw, source, repairs)
    alerts, repaired = _parse_alerts(readable, parse_status(raw.get("status")), now)
    return ReceivedAlerts(
        group_alerts(header, alerts), len(entries) - len(readable), len(alerts) if repairs else repaired
    )


def _check_size(body: bytes) -> None:
    repairs = "is not quite as Alertmanager writes it, and"
    if len(body) > bounds.MAX_REPAIRED:
        raise too_large(
            f"{repairs} larger than the {bounds.MAX_REPAIRED // 1024 // 1024} MiB that are mended"
        )
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > bounds.MAX_REPAIRED_VALUES:
        raise too_large(f"{repairs} of more than the {bounds.MAX_REPAIRED_VALUES:,} values that are mended")


def _find_alerts(raw: Object) -> list[object]:
    """Return the entries of `alerts`; one that stands there alone, without a list, is taken too."""
    if "alerts" not in raw:
        raise PayloadError(
            "alertmanager", f"no readable alert: it has no `alerts`{_describe_resemblance(raw)}"
        )
    entries = raw["alerts"]
    if entries is None:
        return []
    if isinstance(entries, list):
        return entries
    if _find_refusal_reason(entries) is None:
        return [entries]
    raise PayloadError("alertmanager", f"no readable alert: `alerts` is {describe_type(entries)}, not a list")


def _find_refusal_reason(entry: object) -> str | None:
    """Return why *entry* is no readable alert, or None when it is one."""
    if not isinstance(entry, dict):
        return f"is {describe_type(entry)}, not an object"
    if "labels" not in entry:
        return "has no `labels`"
    if not isinstance(entry["labels"], dict):
        return f"has `labels` that are {describe_type(entry['labels'])}, not an object"
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


def _describe_resemblance(raw: Object) -> str:
    name = next((name for field, name in _RESEMBLANCES.items() if field in raw), "")
    return f" and looks like {name}{_CUSTOM}" if name else _CUSTOM


def _parse_header(raw: Object, source: str, repairs: list[str]) -> Header:
    labels = raw.get("groupLabels")
    if not isinstance(labels, dict):
        record_repair(repairs, "groupLabels", labels is not None)
        labels = {}
    return Header(
        source=source,
        receiver=truncate_text(parse_text(raw, "receiver", repairs), bounds.MAX_NAME),
        group_key=parse_text(raw, "groupKey", repairs),
        group_labels=truncate_texts(parse_texts(labels, "groupLabels", repairs), bounds.MAX_LABEL, repairs),
        truncated=parse_count(raw.get("truncatedAlerts"), repairs),
        external_url=parse_link(raw, "externalURL", repairs),
    )


def _parse_alerts(readable: list[Object], group_status: str, now: float) -> tuple[list[Alert], int]:
    alerts, repaired, left = [], 0, bounds.MAX_UNIDENTIFIED
    for raw in readable:
        repairs: list[str] = []
        labels = parse_texts(raw["labels"], "labels", repairs)
        fingerprint = bounds.shorten_name(parse_text(raw, "fingerprint", repairs), bounds.MAX_FINGERPRINT)
        if not fingerprint:
            if (left := left - bounds.count_characters(labels)) < 0:
                raise too_large(UNIDENTIFIED)
            # Before anything is cut: alerts that differ far behind stay different.
            fingerprint = bounds.compute_fingerprint(labels)
        alerts.append(_parse_alert(raw, fingerprint, labels, group_status, now=now, repairs=repairs))
        repaired += bool(repairs)
    return alerts, repaired


def _parse_alert(
    raw: Object,
    fingerprint: str,
    labels: dict[str, str],
    group_status: str,
    *,
    now: float,
    repairs: list[str],
) -> Alert:
    """Return the alert; what had to be mended is named in *repairs*."""
    annotations = raw.get("annotations")
    if not isinstance(annotations, dict):
        record_repair(repairs, "annotations", annotations is not None)
        annotations = {}
    starts_at = parse_timestamp(raw.get("startsAt"), now)
    record_repair(repairs, "startsAt", starts_at == 0.0)
    return Alert(
        fingerprint,
        truncate_texts(labels, bounds.MAX_LABEL, repairs),
        truncate_texts(parse_texts(annotations, "annotations", repairs), bounds.MAX_ANNOTATION, repairs),
        min(starts_at, now) or now,
        _parse_end(raw, group_status, now, repairs),
        parse_link(raw, "generatorURL", repairs),
    )


def _parse_end(raw: Object, group_status: str, now: float, repairs: list[str]) -> float:
    """Return when the alert ended, 0 while it fires.

    Its own status decides; without one, an end that has passed; without an end either, the
    status of the group.
    """
    ends_at = parse_timestamp(raw.get("endsAt"), now)
    status = parse_status(raw.get("status"))
    if not status:
        record_repair(repairs, "status", True)
        if raw.get("endsAt") is None:
            status = group_status
        elif 0.0 < ends_at <= now:
            status = "resolved"
    if status != "resolved":
        return 0.0
    record_repair(repairs, "endsAt", ends_at == 0.0)
    return min(ends_at, now) or now
