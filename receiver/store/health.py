"""The channels' health in Redis: for each place, when something last arrived there and when it did not."""

from __future__ import annotations

from receiver.domain.health import PlaceHealth
from receiver.store.connection import Client, store_errors
from receiver.store.keys import HEALTH, HEALTH_FOR_S


class RedisHealth:
    """Keeps how deliveries went. Every method raises StoreError when Redis can't do it."""

    def __init__(self, client: Client) -> None:
        self._redis = client

    def note_arrival(self, kind: str, place: str, at: float) -> None:
        """Note that something arrived."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(HEALTH, f"arrived {kind} {place}", repr(at))
            pipe.hdel(HEALTH, f"since {kind} {place}")
            pipe.expire(HEALTH, HEALTH_FOR_S)
            pipe.execute()

    def note_failure(self, kind: str, place: str, reason: str, at: float) -> None:
        """Note that something did not arrive, and why."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(HEALTH, f"failed {kind} {place}", f"{at!r} {reason}")
            pipe.hsetnx(HEALTH, f"since {kind} {place}", repr(at))
            pipe.expire(HEALTH, HEALTH_FOR_S)
            pipe.execute()

    def find_all(self) -> list[PlaceHealth]:
        """Return every place that something was tried at in the last week."""
        with store_errors():
            rows = {key.decode(): value.decode() for key, value in self._redis.hgetall(HEALTH).items()}
        names = sorted({key.partition(" ")[2] for key in rows})
        return [_read(name, rows) for name in names]


def _read(name: str, rows: dict[str, str]) -> PlaceHealth:
    kind, _, place = name.partition(" ")
    failed_at, _, reason = rows.get(f"failed {name}", "0").partition(" ")
    return PlaceHealth(
        kind=kind,
        place=place,
        arrived_at=float(rows.get(f"arrived {name}", 0.0)),
        failed_at=float(failed_at),
        since=float(rows.get(f"since {name}", 0.0)),
        reason=reason,
    )
