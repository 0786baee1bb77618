"""Parsing Alertmanager's API responses: ignores unknown fields, requires the needed ones.

For the API v2 of Alertmanager 0.25 to 0.34. Matchers are not parsed: since 0.32 there may be several sets. An
invalid response raises TemporaryDeliveryError `odd_answer`, whose detail says why.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from receiver.clock import format_iso_time
from receiver.errors import TemporaryDeliveryError
from receiver.http_client import parse_timestamp
from receiver.integrations.alertmanager.status import RemoteAlert, RemoteSilence
from receiver.model.alert import fingerprint
from receiver.text import one_line

_MAX_TEXT = 10_000
_MAX_MESSAGE = 300
# Alertmanager adds its retention to the end of a silence, and refuses a sum beyond the year 9999.
_LAST = datetime(9000, 1, 1, tzinfo=UTC).timestamp()


class _AlertStatus(Struct, rename="camel"):
    state: Any = None
    silenced_by: Any = None
    inhibited_by: Any = None
    muted_by: Any = None


class _ApiAlert(Struct, rename="camel"):
    # Labels and annotations are most of a response; they are decoded only without a fingerprint.
    fingerprint: Any = None
    labels: msgspec.Raw = msgspec.Raw(b"null")
    ends_at: Any = None
    status: _AlertStatus | None = None


class _Silence(Struct, rename="camel"):
    id: str
    status: _AlertStatus | None = None
    starts_at: Any = None
    ends_at: Any = None
    created_by: Any = None
    comment: Any = None


class _Uptime(Struct):
    uptime: str


def parse_alerts(body: bytes, now: float) -> dict[str, RemoteAlert]:
    """Return the alerts of `GET /alerts` by fingerprint; *now* is by Alertmanager's clock.

    One invalid alert makes the whole response invalid: without it, the alert would count as gone.
    """
    alerts = (_build_alert(alert, now) for alert in _decode_body(body, list[_ApiAlert] | None) or ())
    return {alert.fingerprint: alert for alert in alerts}


def _build_alert(alert: _ApiAlert, now: float) -> RemoteAlert:
    status = alert.status or _AlertStatus()
    return RemoteAlert(
        fingerprint=_text(alert.fingerprint)
        or fingerprint(_decode_body(bytes(alert.labels), dict[str, str])),
        # `active`, `suppressed` and `unprocessed` all fire; Alertmanager omits resolved alerts.
        is_firing=not 0 < parse_timestamp(alert.ends_at) <= now,
        silenced_by=_texts(status.silenced_by),
        inhibited_by=_texts(status.inhibited_by),
        muted_by=_texts(status.muted_by),
    )


def parse_silences(body: bytes) -> tuple[RemoteSilence, ...]:
    """Return the silences of `GET /silences`."""
    return tuple(_build_silence(silence) for silence in _decode_body(body, list[_Silence] | None) or ())


def parse_silence(body: bytes) -> RemoteSilence:
    """Return the silence of `GET /silence/ID`."""
    return _build_silence(_decode_body(body, _Silence))


def _build_silence(silence: _Silence) -> RemoteSilence:
    return RemoteSilence(
        id=silence.id,
        is_expired=silence.status is not None and silence.status.state == "expired",
        starts_at=parse_timestamp(silence.starts_at),
        ends_at=parse_timestamp(silence.ends_at),
        by=_text(silence.created_by),
        # Not truncated, as our mark is at its end.
        comment=silence.comment if isinstance(silence.comment, str) else "",
    )


def parse_uptime(body: bytes) -> float:
    """Return the start time of Alertmanager in `GET /status`, by its clock."""
    if timestamp := parse_timestamp(_decode_body(body, _Uptime).uptime):
        return timestamp
    raise TemporaryDeliveryError("odd_answer", "it doesn't say since when it is up")


def parse_silence_id(body: bytes) -> str:
    """Return the ID in the response to `POST /silences`: the silence may exist, also if it is invalid."""
    if silence_id := _text(_decode_body(body, dict[str, Any], maybe_sent=True).get("silenceID")):
        return silence_id
    raise TemporaryDeliveryError("odd_answer", "no silence id in the answer", maybe_sent=True)


def parse_error_message(body: bytes) -> str:
    """Return the message of an error response, on one line; empty without a message."""
    try:
        message = msgspec.json.decode(body[:_MAX_TEXT])
    except (msgspec.DecodeError, RecursionError):
        message = body[:_MAX_TEXT].decode("utf-8", "replace")
    if isinstance(message, dict):
        message = message.get("message") or message.get("error") or ""
    return one_line(str(message), _MAX_MESSAGE) if message is not None else ""


def format_timestamp(at: float) -> str:
    """Return *at* as ISO 8601 in UTC, limited to the year 9000."""
    return format_iso_time(min(max(at, 0.0), _LAST))


def _decode_body(body: bytes, kind: Any, *, maybe_sent: bool = False) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        detail = one_line(f"not as Alertmanager answers: {error}", _MAX_MESSAGE)
        raise TemporaryDeliveryError("odd_answer", detail, maybe_sent=maybe_sent) from None


def _text(value: object) -> str:
    return value[:_MAX_TEXT] if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    """Return the strings in a list; none for null, which Go writes for an empty list."""
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()
