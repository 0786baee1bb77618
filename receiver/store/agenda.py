"""The agenda in Redis: incidents by the next moment to look at them, one for each lane."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from receiver.domain.alert import Severity
from receiver.domain.ports import Claims
from receiver.errors import StoreError
from receiver.store.connection import Client, Scripts, store_errors
from receiver.store.keys import WAKE, WORKERS, WORKERS_FOR_S, Keys, format_due, shard_of

# A worker that was killed frees what it held after this long; others look twice a second, so
# its incidents are taken up within 3 s.
LEASE_S = 2.4
# A loan that ends later than any clock of ours could have said was made before the clock was set back.
_CLOCKS_DIFFER_S = 60.0

# What has a moment of its own (a step, a retry) is taken up before news that came this many seconds
# earlier, so no backlog of new alerts delays a step; and news is overtaken for no longer than that.
_NEWS_LAST_S = {
    Severity.CRITICAL: 20.0,
    Severity.ERROR: 25.0,
    Severity.WARNING: 30.0,
    Severity.INFO: 40.0,
    Severity.NONE: 40.0,
}


class RedisAgenda:
    """Lends incidents to workers when they are due. Raises StoreError when Redis can't do it."""

    def __init__(self, client: Client, *, shards: int = 1) -> None:
        self._redis = client
        self._scripts = Scripts(client)
        self._shards = shards

    def claim(self, lane: str, worker: str, now: float, count: int) -> Claims:
        """Lend up to *count* incidents that are due in *lane* to *worker* until its lease ends."""
        if self._shards == 1:
            return self._claim(Keys(0), lane, worker, now, count)
        moments, fault = self._look(lane, now)
        taken: list[str] = []
        for shard in sorted(moments, key=moments.__getitem__):  # whoever waits longest is first
            if moments[shard] > now:
                break
            if len(taken) >= count:
                return Claims(tuple(taken), now)
            try:
                claims = self._claim(Keys(shard), lane, worker, now, count - len(taken))
            except StoreError as error:  # what lies on other nodes need not wait for this one
                fault = fault or error
                del moments[shard]
                continue
            taken += claims.incidents
            moments[shard] = math.inf if claims.look_at is None else claims.look_at
        if fault is not None and not taken:
            raise fault
        earliest = min(moments.values(), default=math.inf)
        return Claims(tuple(taken), None if earliest == math.inf else earliest)

    def _claim(self, keys: Keys, lane: str, worker: str, now: float, count: int) -> Claims:
        """Lend what is due on one shard."""
        ends_at = now + LEASE_S
        with store_errors():
            look_at, *members = self._scripts.run(
                "claim",
                [keys.claims(lane), keys.owners(lane), *_queues(keys, lane)],
                [
                    repr(now),
                    f"{ends_at:.3f}",
                    worker,
                    count,
                    f"{ends_at + _CLOCKS_DIFFER_S:.3f}",
                    0,
                    *_NEWS_LAST_S.values(),
                ],
            )
        return Claims(tuple(member.decode() for member in members), float(look_at) if look_at else None)

    def _look(self, lane: str, now: float) -> tuple[dict[int, float], StoreError | None]:
        """Return when each shard has something to do next, and the fault of those that can't be asked.

        One round trip for each node, since an idle lane does this twice a second.
        """
        latest = now + LEASE_S + _CLOCKS_DIFFER_S
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            for keys in map(Keys, range(self._shards)):
                pipe.zrange(keys.claims(lane), -1, -1, withscores=True)
                pipe.zrange(keys.claims(lane), 0, 0, withscores=True)
                for queue in _queues(keys, lane):
                    pipe.zrange(queue, 0, 0, withscores=True)
            rows = pipe.execute(raise_on_error=False)
        each = len(rows) // self._shards
        moments: dict[int, float] = {}
        fault: StoreError | None = None
        for shard in range(self._shards):
            try:
                with store_errors():
                    last, *firsts = map(_parse_score, rows[each * shard : each * (shard + 1)])
            except StoreError as error:
                fault = error
                continue
            is_void = last != math.inf and last > latest
            moments[shard] = now if is_void else min(firsts)
        return moments, fault

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

    def end_loans(self, lane: str, worker: str, at_work: Sequence[str], at: float) -> None:
        """Let *worker*'s loans end at *at*, if not earlier, but for those it is *at_work* on."""
        with store_errors():
            for keys in map(Keys, range(self._shards)):
                self._scripts.run(
                    "end", [keys.claims(lane), keys.owners(lane)], [worker, f"{at:.3f}", *at_work]
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

    def look_at_all(self, lane: str, now: float) -> None:
        """Have *lane* look at everything that waits in it, and let no loan last longer than one made now."""
        loan_end = now + LEASE_S
        for keys in map(Keys, range(self._shards)):
            with store_errors():
                for queue in _queues(keys, lane):
                    self._draw_near(queue, now, format_due(now))
                self._draw_near(keys.claims(lane), loan_end, f"{loan_end:.3f}")

    def _draw_near(self, key: str, latest: float, moment: str) -> None:
        """Let what lies after *latest* come at *moment*; what somebody took up meanwhile (xx) is theirs."""
        later = self._redis.zrangebyscore(key, f"({latest:.3f}", "+inf")
        if later:
            self._redis.zadd(key, dict.fromkeys(later, moment), xx=True, lt=True)

    def put_missing(self, lane: str, incident_id: str, due: float) -> None:
        """Have *lane* look at it at *due*, unless it waits for some moment already."""
        keys = Keys(self._shard(incident_id))
        with store_errors():
            self._redis.zadd(keys.agenda(lane), {incident_id: format_due(due)}, nx=True)

    def depth(self, lane: str, now: float) -> tuple[int, float]:
        """Return how many incidents are due in *lane*, and for how many seconds the first has been."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            for keys in map(Keys, range(self._shards)):
                for queue in _queues(keys, lane):
                    pipe.zcount(queue, "-inf", now)
                    pipe.zrange(queue, 0, 0, withscores=True)
            rows = pipe.execute()
        first = min(map(_parse_score, rows[1::2]))
        return sum(map(int, rows[::2])), max(0.0, now - first)

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

    def workers(self, since: float, until: float = math.inf) -> list[str]:
        """Return the workers that gave their last sign of life after *since*, and not after *until*."""
        with store_errors():
            return [name.decode() for name in self._redis.zrangebyscore(WORKERS, since, until)]

    def _shard(self, incident_id: str) -> int:
        return shard_of(incident_id.partition("-")[0], self._shards)


def _queues(keys: Keys, lane: str) -> list[str]:
    """Return a lane's queues: what has a moment of its own, then news by severity."""
    return [keys.agenda(lane), *(keys.news(lane, severity) for severity in _NEWS_LAST_S)]


def _parse_score(row: Any) -> float:
    """Return the score in an answer of one member or none; raises what stands there in its place."""
    if isinstance(row, Exception):
        raise row
    return float(row[0][1]) if row else math.inf


def _parse_wake(data: bytes) -> tuple[str, float] | None:
    lane, _, moment = data.decode("utf-8", "replace").partition(" ")
    try:
        return lane, float(moment)
    except ValueError:
        return None
