"""The maintenance switch in Redis: one key, so that every process sees the same."""

from __future__ import annotations

import math

import msgspec

from receiver.domain.maintenance import Maintenance
from receiver.storage.connection import Client, store_errors
from receiver.storage.keys import (
    MAINTENANCE,
    MAINTENANCE_ANNOUNCED,
    MAINTENANCE_ANNOUNCED_FOR_S,
    MAINTENANCE_FOR_S,
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Maintenance)


class RedisMaintenance:
    """Keeps the latest maintenance. Every method raises StoreError when Redis can't do it."""

    def __init__(self, client: Client) -> None:
        self._redis = client

    def find_latest(self) -> Maintenance | None:
        """Return the latest maintenance, over or not; None when the last one is long over."""
        with store_errors():
            packed = self._redis.get(MAINTENANCE)
        return _decoder.decode(packed) if packed else None

    def find_active(self, now: float) -> Maintenance | None:
        """Return the maintenance that is in force at *now*."""
        latest = self.find_latest()
        return latest if latest is not None and latest.is_in_force(now) else None

    def paused_until(self, now: float) -> float:
        """Return until when nobody is paged; 0 when there is no maintenance."""
        found = self.find_active(now)
        return found.until if found is not None else 0.0

    def save(self, maintenance: Maintenance, now: float) -> None:
        """Keep it in place of the one before, for a day longer than it lasts."""
        expires_in_s = math.ceil(max(0.0, maintenance.until - now)) + MAINTENANCE_FOR_S
        with store_errors():
            self._redis.set(MAINTENANCE, _encoder.encode(maintenance), ex=expires_in_s)

    def load_announced(self) -> str:
        """Return the name under which it was last told."""
        with store_errors():
            return (self._redis.get(MAINTENANCE_ANNOUNCED) or b"").decode()

    def save_announced(self, name: str) -> None:
        """Remember that it is told."""
        with store_errors():
            self._redis.set(MAINTENANCE_ANNOUNCED, name, ex=MAINTENANCE_ANNOUNCED_FOR_S)
