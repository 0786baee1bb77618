"""Packing: what lies in Redis as MessagePack, with field names, so that old forms stay readable."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from receiver.model.alert import Alert
from receiver.model.delivery import Delivery
from receiver.model.incident import Incident, TimelineEvent

_encoder = msgspec.msgpack.Encoder()
_incidents = msgspec.msgpack.Decoder(Incident)
_alerts = msgspec.msgpack.Decoder(Alert)
_batches = msgspec.msgpack.Decoder(list[Alert])
_deliveries = msgspec.msgpack.Decoder(Delivery)
_events = msgspec.msgpack.Decoder(TimelineEvent)


def encode_incident(incident: Incident) -> bytes:
    """Pack an incident without its alerts and deliveries, which lie in fields of their own."""
    if incident.alerts or incident.deliveries or incident.is_past:
        incident = msgspec.structs.replace(incident, alerts={}, deliveries={}, is_past=False)
    return _encoder.encode(incident)


def encode(value: Alert | Delivery | TimelineEvent) -> bytes:
    return _encoder.encode(value)


def encode_alerts(alerts: Sequence[Alert]) -> bytes:
    return _encoder.encode(alerts)


def encode_names(names: Sequence[str]) -> bytes:
    return _encoder.encode(names)


decode_alerts = _batches.decode
decode_incident = _incidents.decode
decode_alert = _alerts.decode
decode_delivery = _deliveries.decode
decode_event = _events.decode
