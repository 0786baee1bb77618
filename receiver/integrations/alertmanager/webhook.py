"""Parsing Alertmanager's webhook, version 4, similar ones (Grafana, older versions), and the arrays of alerts
that Prometheus, a ruler or vmalert sends to Alertmanager's API v2.

Bodies in Alertmanager's format are decoded into typed structs; all others go to `parse_leniently`, which is
slower and accepts almost anything.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import DecodeError, Meta, Struct, field, json

from receiver.integrations import payload
from receiver.integrations.alertmanager.grafana import LINKS, add_grafana_fields
from receiver.integrations.alertmanager.lenient import (
    UNIDENTIFIED,
    clean_labels,
    find_times,
    group_alerts,
    parse_leniently,
    too_large,
)
from receiver.model.alert import Alert, Group, ReceivedAlerts
from receiver.model.labels import is_private

# The limits are checked while decoding, which is cheap; `parse_leniently` truncates what exceeds them.
_Name = Annotated[str, Meta(max_length=payload.MAX_NAME)]
_Labels = Annotated[
    dict[_Name, Annotated[str, Meta(max_length=payload.MAX_LABEL)]], Meta(max_length=payload.MAX_ENTRIES)
]
_Annotations = Annotated[
    dict[_Name, Annotated[str, Meta(max_length=payload.MAX_ANNOTATION)]], Meta(max_length=payload.MAX_ENTRIES)
]
_Link = Annotated[str, Meta(max_length=payload.MAX_LINK)]
_Timestamp = Annotated[datetime, Meta(tz=True)]


class _WebhookAlert(Struct, gc=False, rename="camel"):
    """One alert in Alertmanager's format: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config."""

    status: Literal["firing", "resolved"]
    labels: _Labels
    starts_at: _Timestamp
    ends_at: _Timestamp | None = None  # 0001-01-01T00:00:00Z while it fires
    annotations: _Annotations | None = None
    generator_url: _Link | None = field(name="generatorURL", default=None)
    fingerprint: Annotated[str, Meta(max_length=payload.MAX_FINGERPRINT)] | None = None  # since 0.19
    # Of Grafana:
    silence_url: _Link | None = field(name="silenceURL", default=None)
    dashboard_url: _Link | None = field(name="dashboardURL", default=None)
    panel_url: _Link | None = field(name="panelURL", default=None)
    image_url: _Link | None = field(name="imageURL", default=None)
    values: dict[_Name, float | None] | None = None
    value_string: Annotated[str, Meta(max_length=payload.MAX_ANNOTATION)] | None = None

    def list_annotations(self) -> dict[str, str]:
        links = (self.silence_url, self.dashboard_url, self.panel_url, self.image_url)
        found = self.annotations or {}
        if any(links) or self.values or self.value_string or any(map(is_private, found)):
            named = ((name, link or "") for name, link in zip(LINKS, links, strict=True))
            return add_grafana_fields(found, named, self.values, self.value_string or "")
        return found


class _PostedAlert(Struct, gc=False, rename="camel"):
    """`postableAlert`: https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml."""

    labels: _Labels
    starts_at: _Timestamp | None = None
    ends_at: _Timestamp | None = None
    annotations: _Annotations | None = None
    generator_url: _Link | None = field(name="generatorURL", default=None)
    fingerprint: None = None  # in an array of other alerts, which are parsed leniently
    status: None = None


class _WebhookBody(Struct, gc=False, rename="camel"):
    alerts: list[_WebhookAlert]
    receiver: _Name = ""
    group_key: str = ""
    group_labels: _Labels | None = None
    truncated_alerts: Annotated[int, Meta(ge=0)] = 0
    external_url: _Link = field(name="externalURL", default="")
    version: str | float | None = None


_decoder = json.Decoder(_WebhookBody)
_array_decoder = json.Decoder(list[_PostedAlert])
# An alert takes at least 20 bytes.
_SMALLEST_WITH_TOO_MANY = 20 * payload.MAX_ALERTS
_TOO_MANY = f"has more than {payload.MAX_ALERTS:,} alerts"


def parse_webhook(body: bytes, source: str, now: float) -> ReceivedAlerts:
    """Return the alerts of *body* in their groups; none when its `alerts` is empty or null.

    In an array each alert is its own group. *source* identifies the Alertmanager cluster ("" for the only
    one), *now* is the time of receipt. Raises PayloadError when the body is no JSON object or array or has no
    valid alert, PayloadTooLarge when it would take too long, and no other exception for any body.
    """
    # Counted before decoding, for the memory that it takes, and after it, since a key may be escaped.
    if len(body) > _SMALLEST_WITH_TOO_MANY and body.count(b'"labels"') > payload.MAX_ALERTS:
        raise too_large(_TOO_MANY)
    if body.lstrip()[:1] == b"[":
        return _parse_array(body, source, now)
    try:
        typed = _decoder.decode(body)
        if len(typed.alerts) > payload.MAX_ALERTS:
            raise too_large(_TOO_MANY)
        # An implausible time is repaired like an invalid one.
        alerts = _to_alerts(typed.alerts, now)
    except (DecodeError, UnicodeDecodeError, RecursionError, _ImplausibleTimestamp):
        return parse_leniently(body, source, now)
    labels, truncated = typed.group_labels or {}, min(typed.truncated_alerts, payload.MAX_TRUNCATED)
    is_version_4 = typed.version == "4"
    header = Group(
        source, typed.receiver, typed.group_key, labels, (), truncated, typed.external_url, is_version_4
    )
    return ReceivedAlerts(group_alerts(header, alerts))


def _parse_array(body: bytes, source: str, now: float) -> ReceivedAlerts:
    try:
        posted = _array_decoder.decode(body)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return parse_leniently(body, source, now)
    if len(posted) > payload.MAX_ALERTS:
        raise too_large(_TOO_MANY)
    left = 4 * payload.MAX_UNIDENTIFIED  # no alert of an array has a fingerprint: 1.6 seconds
    alerts = []
    for raw in posted:
        labels = clean_labels(raw.labels)
        if (left := left - payload.count_characters(labels)) < 0:
            raise too_large(UNIDENTIFIED)
        starts_at = raw.starts_at.timestamp() if raw.starts_at is not None else 0.0
        ends_at = raw.ends_at.timestamp() if raw.ends_at is not None else 0.0
        starts_at, ends_at, expires_at = find_times(max(0.0, starts_at), ends_at, now)
        alerts.append(
            Alert(
                payload.compute_fingerprint(labels),
                labels,
                add_grafana_fields(raw.annotations or {}, (), None, ""),
                starts_at,
                ends_at,
                raw.generator_url or "",
                expires_at,
            )
        )
    return ReceivedAlerts(group_alerts(Group(source, "", "", {}, ()), alerts))


class _ImplausibleTimestamp(Exception):
    """A time that cannot be right, such as a start in the year 1 or in a hundred years."""


def _to_alerts(typed: list[_WebhookAlert], now: float) -> list[Alert]:
    latest = payload.latest_plausible_at(now)
    left = payload.MAX_UNIDENTIFIED
    alerts = []
    for raw in typed:
        starts_at = raw.starts_at.timestamp()
        is_firing = raw.status == "firing"
        ends_at = 0.0 if is_firing or raw.ends_at is None else raw.ends_at.timestamp()
        if not (0.0 < starts_at < latest and (is_firing or 0.0 < ends_at < latest)):
            raise _ImplausibleTimestamp
        if not raw.fingerprint and (left := left - payload.count_characters(raw.labels)) < 0:
            raise too_large(UNIDENTIFIED)
        alerts.append(
            Alert(
                raw.fingerprint or payload.compute_fingerprint(raw.labels),
                raw.labels,
                raw.list_annotations(),
                # The sender's clock may be ahead of ours. A start in the future would hide the next start.
                min(starts_at, now),
                min(ends_at, now),
                raw.generator_url or "",
            )
        )
    return alerts
