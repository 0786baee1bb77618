"""Encoding of incidents, alerts, deliveries and events as MessagePack, with field names so that the fields
can be extended; and the layout of an incident's Redis hash.

The hash has a field `head` (the incident without alerts and deliveries), `a:FINGERPRINT` for a single alert,
`b:DIGEST` for a batch of alerts, and `d:KEY` for a delivery. The head has two parts, of which lists read the
first alone: the length of the incident without its alert states in four bytes and that incident, then the
alert states.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

import msgspec
from msgspec.structs import replace

from receiver.model.alert import Alert
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import DeliveryKey
from receiver.model.incident import AlertState, Incident, TimelineEvent

_LENGTH = 4
_encoder = msgspec.msgpack.Encoder()
_incidents = msgspec.msgpack.Decoder(Incident)
_alert_states = msgspec.msgpack.Decoder(dict[str, AlertState])


def encode_incident(incident: Incident) -> bytes:
    """Encode an incident without its alerts and deliveries, which have fields of their own."""
    brief = _encoder.encode(replace(incident, alert_states={}, alerts={}, deliveries={}, is_past=False))
    return len(brief).to_bytes(_LENGTH, "big") + brief + _encoder.encode(incident.alert_states)


def decode_incident(head: bytes) -> Incident:
    """Return the incident of a head, without alerts and deliveries."""
    end = _LENGTH + int.from_bytes(head[:_LENGTH], "big")
    alert_states = _alert_states.decode(memoryview(head)[end:])
    return replace(_incidents.decode(memoryview(head)[_LENGTH:end]), alert_states=alert_states)


def decode_brief(head: bytes) -> Incident:
    """Return the incident of the first part of a head; it has no alert states."""
    return _incidents.decode(memoryview(head)[_LENGTH:])


encode = _encoder.encode  # alerts, deliveries and events, and lists of alerts or names
decode_alert = msgspec.msgpack.Decoder(Alert).decode
decode_alerts = msgspec.msgpack.Decoder(list[Alert]).decode
decode_delivery = msgspec.msgpack.Decoder(Delivery).decode
decode_event = msgspec.msgpack.Decoder(TimelineEvent).decode


# Prefix of a delivery's field; the rest is its key.
DELIVERY = b"d:"
_ALERT, _BATCH = b"a:", b"b:"
# From this many alerts on, one field holds all of them: a hundred fields take three times as long.
_BATCH_FROM = 5
Fields = list[str | bytes | int | float]


def build_own_fields(alerts: Iterable[Alert]) -> list[bytes]:
    """Return one field for each alert."""
    fields: list[bytes] = []
    for alert in alerts:
        fields += (_own_field(alert.fingerprint), encode(alert))
    return fields


def build_alert_fields(alerts: Sequence[Alert]) -> list[bytes]:
    """Return the fields that store *alerts*; the same set of alerts always has the same field names."""
    if len(alerts) < _BATCH_FROM:
        return build_own_fields(alerts)
    names = "".join(sorted(alert.fingerprint for alert in alerts)).encode()
    return [_BATCH + sha256(names).hexdigest()[:16].encode(), encode(alerts)]


def split_compacted_fields(fields: dict[bytes, bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return the fields that hold only compacted alerts, and the new names and values of mixed batches."""
    known = decode_incident(fields[b"head"]).alert_states
    gone: list[bytes] = []
    kept: list[bytes] = []
    for name, packed in fields.items():
        if name.startswith(_ALERT) and name.removeprefix(_ALERT).decode() not in known:
            gone.append(name)
        elif name.startswith(_BATCH):
            batch = decode_alerts(packed)
            left = [alert for alert in batch if alert.fingerprint in known]
            if not left:
                gone.append(name)
            elif len(left) < len(batch):
                kept += (name, encode(left))
    return gone, kept


def may_have_batches(incident: Incident) -> bool:
    return len(incident.alert_states) >= _BATCH_FROM


def build_reworded_fields(
    fields: Mapping[bytes, bytes], alerts: Sequence[Alert]
) -> tuple[list[bytes], list[bytes]]:
    """Return the fields of a group's hash to delete, and names and values of those to write, so that it
    holds *alerts*.

    An alert in a batch is replaced there; if it also has a field of its own, it is removed from the batch. So
    each alert is stored once, however often its labels and annotations change.
    """
    words = {alert.fingerprint: alert for alert in alerts}
    own = {name for name in words if _own_field(name) in fields}
    placed = set(own)
    gone: list[bytes] = []
    kept: list[bytes] = []
    for field, packed in fields.items():
        if not field.startswith(_BATCH):
            continue
        batch = decode_alerts(packed)
        left = []
        for alert in batch:
            name = alert.fingerprint
            if name not in words:
                left.append(alert)
            elif name not in placed:
                placed.add(name)
                left.append(words[name])
        if not left:
            gone.append(field)
        elif left != batch:
            kept += (field, encode(left))
    rest = (alert for name, alert in words.items() if name in own or name not in placed)
    return gone, [*kept, *build_own_fields(rest)]


def _own_field(fingerprint: str) -> bytes:
    return _ALERT + fingerprint.encode()


def unpack_incident(fields: dict[bytes, bytes], *, is_past: bool) -> Incident:
    head = decode_incident(fields[b"head"])
    alerts: dict[str, Alert] = {}
    deliveries: dict[DeliveryKey, Delivery] = {}
    for name, packed in fields.items():
        if name.startswith(_ALERT):
            _add_newer(alerts, decode_alert(packed), head.alert_states)
        elif name.startswith(_BATCH):
            for alert in decode_alerts(packed):
                _add_newer(alerts, alert, head.alert_states)
        elif name.startswith(DELIVERY):
            deliveries[DeliveryKey(name.removeprefix(DELIVERY).decode())] = decode_delivery(packed)
    return replace(head, alerts=alerts, deliveries=deliveries, is_past=is_past)


def _add_newer(alerts: dict[str, Alert], alert: Alert, alert_states: Mapping[str, AlertState]) -> None:
    """Add an alert of *alert_states* unless *alerts* has a newer copy of it from another field.

    Of several copies, the one counts whose checksum is equal to that of its alert state.
    """
    alert_state = alert_states.get(alert.fingerprint)
    if alert_state is None:
        return
    known = alerts.get(alert.fingerprint)
    if known is None or _freshness(alert, alert_state) >= _freshness(known, alert_state):
        alerts[alert.fingerprint] = alert


def _freshness(alert: Alert, alert_state: AlertState) -> tuple[bool, float, float]:
    return (alert.checksum == alert_state.checksum, alert.starts_at, alert.ends_at)
