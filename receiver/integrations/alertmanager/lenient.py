"""Lenient parsing of bodies that do not match the format; the groups and the ends of alerts of any body."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from msgspec import json
from msgspec.structs import replace

from receiver.errors import PayloadError, PayloadTooLarge
from receiver.integrations import payload
from receiver.integrations.alertmanager.grafana import LINKS, add_grafana_fields
from receiver.model.alert import Alert, Group, ReceivedAlerts
from receiver.text import truncate_text

# The characters that Go's regexp.QuoteMeta escapes. Alertmanager escapes its receiver's name:
# https://github.com/prometheus/alertmanager/issues/2447
_QUOTED = re.compile(r"\\([\\.+*?()|\[\]{}^$])")
_encode = json.Encoder(order="sorted").encode
UNIDENTIFIED = "has too many labels in alerts without fingerprint"


def group_alerts(header: Group, alerts: Sequence[Alert]) -> tuple[Group, ...]:
    """Return *alerts* in their groups, identified by the group key, else by the group labels.

    *header* has the body's other fields, its receiver still escaped. If the body has neither, each alert is
    a group of its own, identified by its labels. Grafana and SigNoz, whose generatorURL begins with the
    externalURL, have no form like Alertmanager's. Raises PayloadTooLarge for more than `MAX_GROUPS` of these.
    """
    if not alerts:
        return ()
    if "\\" in header.receiver:
        header = replace(header, receiver=_QUOTED.sub(r"\1", header.receiver))
    origin = header.external_url
    if origin and header.has_silence_form and any(one.generator_url.startswith(origin) for one in alerts):
        header = replace(header, has_silence_form=False)
    key = header.group_key
    if not key and header.group_labels:
        key = _encode(header.group_labels).decode()
    if key:
        return (replace(header, group_key=payload.shorten_name(key, payload.MAX_KEY), alerts=tuple(alerts)),)
    apart: dict[str, list[Alert]] = {}
    for alert in alerts:
        key = _encode(alert.labels).decode() if alert.labels else alert.fingerprint
        apart.setdefault(key, []).append(alert)
    if len(apart) > payload.MAX_GROUPS:
        raise too_large(
            f"has {len(apart):,} alerts without a group key, and {payload.MAX_GROUPS:,} are taken"
        )
    return tuple(
        replace(
            header,
            group_key=payload.shorten_name(key, payload.MAX_KEY),
            group_labels=members[0].labels,
            alerts=tuple(members),
        )
        for key, members in apart.items()
    )


def clean_labels(labels: dict[str, str]) -> dict[str, str]:
    """Return *labels* without empty values, as Alertmanager does before it computes the fingerprint."""
    return labels if all(labels.values()) else {name: value for name, value in labels.items() if value}


def find_times(starts_at: float, ends_at: float, now: float) -> tuple[float, float, float]:
    """Return `starts_at`, `ends_at` and `expires_at` of an alert of API v2 from the times that it came with,
    each 0 where it is absent.

    It fires until its end, which is the sender's to name, and without one until a resolve comes:
    https://prometheus.io/docs/alerting/latest/alerts_api/
    """
    if ends_at <= 0.0:
        return min(starts_at, now) or now, 0.0, math.inf
    if ends_at <= now:
        return min(starts_at, ends_at) or ends_at, ends_at, ends_at
    return min(starts_at, now) or now, 0.0, ends_at


def too_large(how: str) -> PayloadTooLarge:
    """Return the error for a body that would take too long to process, with advice for the operator."""
    advice = "send fewer alerts at once, see max_alerts in Alertmanager"
    return PayloadTooLarge("alertmanager", f"the body {how}: {advice}")


def parse_leniently(body: bytes, source: str, now: float) -> ReceivedAlerts:
    """Return the alerts of *body*, repaired where necessary; *now* is the time of receipt.

    The body is a webhook or an array of alerts of API v2. Raises PayloadTooLarge when the repair would take
    too long, PayloadError when the body is neither or has no valid alert.
    """
    _check_size(body)
    try:
        raw = payload.parse_json(body)
    except ValueError as error:
        raise PayloadError("alertmanager", str(error)) from None
    is_array = isinstance(raw, list)
    if isinstance(raw, list):
        entries, raw = raw, {}
    elif isinstance(raw, dict):
        entries = _find_alerts(raw)
    else:
        raise PayloadError("alertmanager", f"the body is {payload.describe_type(raw)}, not a JSON object")
    readable = [entry for entry in entries if isinstance(entry, dict) and _find_refusal_reason(entry) is None]
    if entries and not readable:
        raise _unreadable(f"the first one {_find_refusal_reason(entries[0])}")
    fields = payload.LenientObject(raw)
    header = Group(
        source=source,
        receiver=truncate_text(fields.parse_text("receiver"), payload.MAX_NAME),
        group_key=fields.parse_text("groupKey"),
        group_labels=fields.truncate_texts(fields.parse_texts("groupLabels"), payload.MAX_LABEL),
        alerts=(),
        truncated=fields.parse_count("truncatedAlerts"),
        external_url=fields.parse_link("externalURL"),
        has_silence_form=raw.get("version") == "4",
    )
    status = None if is_array else payload.parse_status(raw.get("status"))
    alerts, repaired = _parse_alerts(readable, status, now)
    return ReceivedAlerts(
        group_alerts(header, alerts),
        len(entries) - len(readable),
        len(alerts) if fields.is_repaired else repaired,
    )


def _check_size(body: bytes) -> None:
    prefix = "is not quite as Alertmanager writes it, and"
    if len(body) > payload.MAX_REPAIRED:
        limit_mib = payload.MAX_REPAIRED // 1024 // 1024
        raise too_large(f"{prefix} larger than the {limit_mib} MiB that are mended")
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > payload.MAX_REPAIRED_VALUES:
        raise too_large(f"{prefix} of more than the {payload.MAX_REPAIRED_VALUES:,} values that are mended")


def _find_alerts(raw: payload.Object) -> list[object]:
    """Return the entries of `alerts`; a single alert without a list is accepted, too."""
    if "alerts" not in raw:
        name = next((name for field, name in _RESEMBLANCES.items() if field in raw), "")
        looks = f" and looks like {name}" if name else ""
        raise _unreadable(f"it has no `alerts`{looks}{_CUSTOM}")
    entries = raw["alerts"]
    if entries is None:
        return []
    if isinstance(entries, list):
        return entries
    if _find_refusal_reason(entries) is None:
        return [entries]
    raise _unreadable(f"`alerts` is {payload.describe_type(entries)}, not a list")


def _unreadable(why: str) -> PayloadError:
    return PayloadError("alertmanager", f"no readable alert: {why}")


def _find_refusal_reason(entry: object) -> str | None:
    """Return why *entry* is not a valid alert, or None when it is one."""
    if not isinstance(entry, dict):
        return f"is {payload.describe_type(entry)}, not an object"
    if "labels" not in entry:
        return "has no `labels`"
    if not isinstance(entry["labels"], dict):
        return f"has `labels` that are {payload.describe_type(entry['labels'])}, not an object"
    return None


# Payloads that are sent here by mistake, by a field that identifies them.
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


def _parse_alerts(
    readable: list[payload.Object], group_status: str | None, now: float
) -> tuple[list[Alert], int]:
    """Return the alerts, and how many of them were repaired; *group_status* is None for an array."""
    alerts, repaired, left = [], 0, payload.MAX_UNIDENTIFIED
    for raw in readable:
        fields = payload.LenientObject(raw)
        labels = fields.parse_texts("labels")
        if group_status is None:
            labels = clean_labels(labels)
        fingerprint = payload.shorten_name(fields.parse_text("fingerprint"), payload.MAX_FINGERPRINT)
        if not fingerprint:
            if (left := left - payload.count_characters(labels)) < 0:
                raise too_large(UNIDENTIFIED)
            # Before truncation, so that alerts that differ only in the truncated part stay different.
            fingerprint = payload.compute_fingerprint(labels)
        starts_at, ends_at, expires_at = _parse_times(fields, group_status, now)
        alerts.append(
            Alert(
                fingerprint,
                fields.truncate_texts(labels, payload.MAX_LABEL),
                fields.truncate_texts(_parse_annotations(fields), payload.MAX_ANNOTATION),
                starts_at,
                ends_at,
                fields.parse_link("generatorURL"),
                expires_at,
            )
        )
        repaired += fields.is_repaired
    return alerts, repaired


def _parse_annotations(fields: payload.LenientObject) -> dict[str, str]:
    links = ((name, fields.parse_link(name)) for name in LINKS)
    values, value_string = fields.raw.get("values"), fields.parse_text("valueString")
    if isinstance(values, dict):
        values = {name: payload.to_text(value) for name, value in values.items()}
    value_string = value_string[: payload.MAX_ANNOTATION]
    return add_grafana_fields(fields.parse_texts("annotations"), links, values, value_string)


def _parse_times(
    fields: payload.LenientObject, group_status: str | None, now: float
) -> tuple[float, float, float | None]:
    """Return `starts_at`, `ends_at` and `expires_at` of an alert."""
    starts_at = payload.parse_timestamp(fields.raw.get("startsAt"), now)
    if group_status is not None:
        fields.is_repaired |= starts_at == 0.0
        return min(starts_at, now) or now, _parse_end(fields, group_status, now), None
    fields.is_repaired |= not all(
        isinstance(fields.raw.get(name), str | None) for name in ("startsAt", "endsAt")
    )
    ends_at = payload.parse_timestamp(fields.raw.get("endsAt"), math.inf)
    if payload.parse_status(fields.raw.get("status")) == "resolved":
        ends_at = min(ends_at, now) or now
    return find_times(starts_at, ends_at, now)


def _parse_end(fields: payload.LenientObject, group_status: str, now: float) -> float:
    """Return when the alert ended, 0 while it fires.

    Its own status decides; without a status, whether its end has passed; without an end either, the status
    of the group.
    """
    given = fields.raw.get("endsAt")
    ends_at, status = payload.parse_timestamp(given, now), payload.parse_status(fields.raw.get("status"))
    if not status:
        fields.is_repaired = True
        if given is None:
            status = group_status
        elif 0.0 < ends_at <= now:
            status = "resolved"
    if status != "resolved":
        return 0.0
    fields.is_repaired |= ends_at == 0.0
    return min(ends_at, now) or now
