"""The channels' health in Redis: for each place, when something last arrived there and when it did not."""

from __future__ import annotations

from receiver.domain.health import TargetHealth
from receiver.storage.connection import Client, store_errors
from receiver.storage.keys import HEALTH, HEALTH_FOR_S


class RedisHealth:
    """Keeps how deliveries went. Every method raises StoreError when Redis can't do it."""

    def __init__(self, client: Client) -> None:
        self._redis = client

    def record_arrival(self, channel: str, target: str, at: float) -> None:
        """Note that something arrived."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(HEALTH, f"arrived {channel} {target}", repr(at))
            pipe.hdel(HEALTH, f"since {channel} {target}")
            pipe.expire(HEALTH, HEALTH_FOR_S)
            pipe.execute()

    def record_failure(self, channel: str, target: str, reason: str, at: float) -> None:
        """Note that something did not arrive, and why."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(HEALTH, f"failed {channel} {target}", f"{at!r} {reason}")
            pipe.hsetnx(HEALTH, f"since {channel} {target}", repr(at))
            pipe.expire(HEALTH, HEALTH_FOR_S)
            pipe.execute()

    def list_targets(self) -> list[TargetHealth]:
        """Return every place that something was tried at in the last week."""
        with store_errors():
            rows = {key.decode(): value.decode() for key, value in self._redis.hgetall(HEALTH).items()}
        names = sorted({key.partition(" ")[2] for key in rows})
        return [_parse_target(name, rows) for name in names]


def _parse_target(name: str, rows: dict[str, str]) -> TargetHealth:
    channel, _, target = name.partition(" ")
    failed_at, _, reason = rows.get(f"failed {name}", "0").partition(" ")
    return TargetHealth(
        channel=channel,
        target=target,
        arrived_at=float(rows.get(f"arrived {name}", 0.0)),
        failed_at=float(failed_at),
        since=float(rows.get(f"since {name}", 0.0)),
        reason=reason,
    )
