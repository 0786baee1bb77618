"""The agenda in Redis: incidents by the next moment to look at them, one for each lane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from receiver.domain.ports import Claims
from receiver.store.connection import Client, Scripts, store_errors
from receiver.store.keys import WAKE, WORKERS, WORKERS_FOR_S, Keys, format_due, shard_of

# A worker that was killed frees what it held after this long; others look twice a second, so
# its incidents are taken up within 3 s.
LEASE_S = 2.4


class RedisAgenda:
    """Lends incidents to workers when they are due. Raises StoreError when Redis can't do it."""

    def __init__(self, client: Client, *, shards: int = 1) -> None:
        self._redis = client
        self._scripts = Scripts(client)
        self._shards = shards

    def claim(self, lane: str, worker: str, now: float, count: int) -> Claims:
        """Lend up to *count* incidents that are due in *lane* to *worker* until its lease ends."""
        taken: list[str] = []
        moments: list[float] = []
        for keys in map(Keys, range(self._shards)):
            with store_errors():
                look_at, *members = self._scripts.run(
                    "claim",
                    [keys.agenda(lane), keys.claims(lane), keys.owners(lane)],
                    [repr(now), f"{now + LEASE_S:.3f}", worker, count - len(taken)],
                )
            taken += [member.decode() for member in members]
            if look_at:
                moments.append(float(look_at))
            if len(taken) >= count:
                moments.append(now)
                break
        return Claims(tuple(taken), min(moments, default=None))

    def renew(self, lane: str, worker: str, incidents: Sequence[str], now: float) -> None:
        """Prolong the loans that are still *worker*'s."""
        by_shard: dict[int, list[str]] = {}
        for incident_id in incidents:
            by_shard.setdefault(self._shard(incident_id), []).append(incident_id)
        with store_errors():
            for shard, members in by_shard.items():
                keys = Keys(shard)
                self._scripts.run(
                    "renew",
                    [keys.claims(lane), keys.owners(lane)],
                    [worker, f"{now + LEASE_S:.3f}", *members],
                )

    def release(self, lane: str, worker: str, incident_id: str, dues: Mapping[str, float | None]) -> bool:
        """Give an incident back; each lane of *dues* looks at it then, or earlier where a change
        meanwhile asked for it. False when it was no longer *worker*'s.
        """
        keys = Keys(self._shard(incident_id))
        args: list[Any] = [incident_id, worker, WAKE]
        for other, due in dues.items():
            args += ["" if due is None else format_due(due), other]
        with store_errors():
            answer = self._scripts.run(
                "release",
                [keys.claims(lane), keys.owners(lane), *(keys.agenda(other) for other in dues)],
                args,
            )
        return bool(answer)

    def put(self, lane: str, incident_id: str, due: float) -> None:
        """Have *lane* look at an incident at *due*, or earlier if it would anyway."""
        keys = Keys(self._shard(incident_id))
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.zadd(keys.agenda(lane), {incident_id: format_due(due)}, lt=True)
            pipe.publish(WAKE, f"{lane} {format_due(due)}")
            pipe.execute()

    def put_missing(self, lane: str, incident_id: str, due: float) -> None:
        """Have *lane* look at it at *due*, unless it waits for some moment already."""
        keys = Keys(self._shard(incident_id))
        with store_errors():
            self._redis.zadd(keys.agenda(lane), {incident_id: format_due(due)}, nx=True)

    def depth(self, lane: str, now: float) -> tuple[int, float]:
        """Return how many incidents are due in *lane*, and for how many seconds the first has been."""
        depth, lag = 0, 0.0
        with store_errors():
            for keys in map(Keys, range(self._shards)):
                depth += int(self._redis.zcount(keys.agenda(lane), "-inf", now))
                first = self._redis.zrange(keys.agenda(lane), 0, 0, withscores=True)
                if first:
                    lag = max(lag, now - float(first[0][1]))
        return depth, lag

    def listen(self) -> Iterator[tuple[str, float] | None]:
        """Yield `(lane, moment)` whenever something was put on an agenda, None about once a second."""
        with store_errors():
            wakes = self._redis.pubsub(ignore_subscribe_messages=True)
            try:
                wakes.subscribe(WAKE)
                while True:
                    message = wakes.get_message(timeout=1.0)
                    yield None if message is None else _parse_wake(message["data"])
            finally:
                wakes.close()

    # --- who works here ---

    def beat(self, worker: str, now: float) -> None:
        """Say that *worker* lives."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.zadd(WORKERS, {worker: now})
            pipe.zremrangebyscore(WORKERS, "-inf", now - WORKERS_FOR_S)
            pipe.expire(WORKERS, WORKERS_FOR_S)
            pipe.execute()

    def leave(self, worker: str) -> None:
        """Say that *worker* ended in order."""
        with store_errors():
            self._redis.zrem(WORKERS, worker)

    def workers(self, since: float) -> list[str]:
        """Return the workers that gave a sign of life after *since*."""
        with store_errors():
            return [name.decode() for name in self._redis.zrangebyscore(WORKERS, since, "+inf")]

    def _shard(self, incident_id: str) -> int:
        return shard_of(incident_id.partition("-")[0], self._shards)


def _parse_wake(data: bytes) -> tuple[str, float] | None:
    lane, _, moment = data.decode("utf-8", "replace").partition(" ")
    try:
        return lane, float(moment)
    except ValueError:
        return None
