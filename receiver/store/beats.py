"""Beats in Redis: when each heartbeat last came from each source, and since when we have listened."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from receiver.domain.heartbeat import HeartbeatSignal
from receiver.storage.connection import Client, Scripts, store_errors
from receiver.storage.keys import (
    HEARTBEAT_UPTIME,
    HEARTBEAT_UPTIME_FOR_S,
    HEARTBEATS,
    HEARTBEATS_FIRST,
    HEARTBEATS_FOR_S,
    HEARTBEATS_MISSED,
)
from receiver.storage.timestamps import BY_WALL_CLOCK, Moments

_json = msgspec.json
_Value = tuple[float, str]


class RedisHeartbeats:
    """Keeps the last beats. Every method raises StoreError when Redis can't do it."""

    def __init__(self, client: Client, *, moments: Moments = BY_WALL_CLOCK) -> None:
        self._redis = client
        self._scripts = Scripts(client)
        self._moments = moments

    def save_signals(self, signals: Sequence[HeartbeatSignal]) -> list[float | None]:
        """Keep *signals* as the last ones, in one round trip; return when each had come before."""
        fields = [_field(signal) for signal in signals]
        values = {
            field: _json.encode((b.at, b.external_url)) for field, b in zip(fields, signals, strict=True)
        }
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(HEARTBEATS, fields)
            pipe.hset(HEARTBEATS, mapping=values)
            pipe.expire(HEARTBEATS, HEARTBEATS_FOR_S)
            former = pipe.execute()[0]
        return [_decode(packed)[0] if packed else None for packed in former]

    def admit_source(self, source: str, now: float, *, at_most: int, within_s: float) -> bool:
        """Tell whether *source* is known, or new where fewer than *at_most* others were within *within_s*.

        It is written first and then counted, so that of several at once none is one too many.
        """
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hsetnx(HEARTBEATS_FIRST, source, repr(now))
            pipe.expire(HEARTBEATS_FIRST, HEARTBEATS_FOR_S)
            pipe.hgetall(HEARTBEATS_FIRST)
            is_new, _, rows = pipe.execute()
        others = sum(float(at) > now - within_s for name, at in rows.items() if name != source.encode())
        is_admitted = not is_new or others < at_most
        if not is_admitted:
            with store_errors():
                self._redis.hdel(HEARTBEATS_FIRST, source)
        return is_admitted

    def list_signals(self) -> list[HeartbeatSignal]:
        """Return the last beat of each heartbeat and source, newest first."""
        with store_errors():
            rows = self._redis.hgetall(HEARTBEATS)
        signals = [
            HeartbeatSignal(*_json.decode(field, type=tuple[str, str]), *_decode(row))
            for field, row in rows.items()
        ]
        return sorted(signals, key=lambda signal: (-signal.at, signal.heartbeat, signal.source))

    def delete_signal(self, signal: HeartbeatSignal) -> None:
        """Wait for the first beat again."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hdel(HEARTBEATS, _field(signal))
            pipe.hdel(HEARTBEATS_MISSED, _field(signal))
            pipe.execute()

    def check_missed(self, signals: Sequence[HeartbeatSignal]) -> list[bool]:
        """Tell for each of *signals* whether it was noted that the next one is missing."""
        if not signals:
            return []
        with store_errors():
            moments = self._redis.hmget(HEARTBEATS_MISSED, [_field(signal) for signal in signals])
        return [bool(at) and float(at) == signal.at for signal, at in zip(signals, moments, strict=True)]

    def record_missed(self, signal: HeartbeatSignal) -> None:
        """Note that the beat after this one is missing."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(HEARTBEATS_MISSED, _field(signal), repr(signal.at))
            pipe.expire(HEARTBEATS_MISSED, HEARTBEATS_FOR_S)
            pipe.execute()

    def record_uptime(
        self, now: float, ahead_s: float | None, *, down_after_s: float, differ_s: float
    ) -> tuple[float, float]:
        """Note that we listen; return since when we have, and by how much *now* is ahead of Redis' clock.

        It is since *now* where no worker noted it in the last *down_after_s* seconds, by Redis' own clock, or
        where ours was set by more than *differ_s* since it was *ahead_s* ahead.
        """
        with store_errors():
            since, ahead = self._scripts.run(
                "listen",
                [HEARTBEAT_UPTIME],
                [
                    self._moments.after(now),
                    repr(now),
                    "" if ahead_s is None else f"{ahead_s:.6f}",
                    differ_s,
                    down_after_s,
                    HEARTBEAT_UPTIME_FOR_S,
                ],
            )
        return float(since), float(ahead)


def _field(signal: HeartbeatSignal) -> bytes:
    return _json.encode((signal.heartbeat, signal.source))


def _decode(packed: bytes) -> _Value:
    at, external_url = _json.decode(packed, type=_Value)
    return at, external_url
