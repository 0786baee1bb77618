"""How a group's hash holds what its incident is made of: which field holds what, packed and unpacked."""

from __future__ import annotations

from hashlib import sha256

from msgspec.structs import replace

from receiver.domain.alert import Alert
from receiver.domain.delivery import Delivery
from receiver.domain.incident import Incident
from receiver.store import codec

# A delivery's field begins so; the rest is its key.
DELIVERY = b"d:"
_ALERT, _BATCH = b"a:", b"b:"
# As many alerts at once are kept in one field: a hundred fields cost Redis and us three times as much.
_BATCH_FROM = 5


def alert_fields(alerts: tuple[Alert, ...]) -> list[str | bytes | int | float]:
    """Return the fields in which alerts are kept; the same set of alerts goes where it went before."""
    if len(alerts) < _BATCH_FROM:
        fields: list[str | bytes | int | float] = []
        for alert in alerts:
            fields += (_ALERT + alert.fingerprint.encode(), codec.encode(alert))
        return fields
    names = "".join(sorted(alert.fingerprint for alert in alerts)).encode()
    return [_BATCH + sha256(names).hexdigest()[:16].encode(), codec.encode_batch(alerts)]


def sweep(fields: dict[bytes, bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return the fields that hold forgotten alerts only, and names and values of those that hold some."""
    known = codec.decode_incident(fields[b"head"]).standings
    gone: list[bytes] = []
    kept: list[bytes] = []
    for name, packed in fields.items():
        if name.startswith(_ALERT):
            if name.removeprefix(_ALERT).decode() not in known:
                gone.append(name)
        elif name.startswith(_BATCH):
            batch = codec.decode_batch(packed)
            left = [alert for alert in batch if alert.fingerprint in known]
            if not left:
                gone.append(name)
            elif len(left) < len(batch):
                kept += (name, codec.encode_batch(left))
    return gone, kept


def unpack(fields: dict[bytes, bytes], *, is_past: bool) -> Incident:
    alerts: dict[str, Alert] = {}
    deliveries: dict[str, Delivery] = {}
    for name, packed in fields.items():
        if name.startswith(_ALERT):
            _add_newer(alerts, codec.decode_alert(packed))
        elif name.startswith(_BATCH):
            for alert in codec.decode_batch(packed):
                _add_newer(alerts, alert)
        elif name.startswith(DELIVERY):
            deliveries[name.removeprefix(DELIVERY).decode()] = codec.decode_delivery(packed)
    head = codec.decode_incident(fields[b"head"])
    known = {name: alert for name, alert in alerts.items() if name in head.standings}
    return replace(head, alerts=known, deliveries=deliveries, is_past=is_past)


def _add_newer(alerts: dict[str, Alert], alert: Alert) -> None:
    """Add an alert unless a later word on it is known: it may be kept alone and in batches."""
    known = alerts.get(alert.fingerprint)
    if known is None or (alert.starts_at, alert.ends_at) >= (known.starts_at, known.ends_at):
        alerts[alert.fingerprint] = alert
