"""The work queues in Redis (IDs of entries by due time, with leases) and the list of live workers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from receiver.errors import StoreError
from receiver.model.alert import Severity
from receiver.storage.connection import Client, ScriptCall, Scripts, raise_if_error, store_errors
from receiver.storage.keys import CLOCKS, CLOCKS_FOR_S, WAKE, WORKERS, WORKERS_FOR_S, Keys, shard_of
from receiver.storage.script_clock import ScriptClock


@dataclass(frozen=True)
class Claims:
    """The claimed entries, and the time at which to claim again (None: the queue is empty)."""

    entries: tuple[str, ...]
    next_check_at: float | None


class DueTimes(dict[str, float | None]):
    """When an entry is due again by queue (None: never), and the write that its release does first.

    If the write finds the entry changed by another process, and so replies None, the lease stays, and
    *plan_again* returns the due times after it.
    """

    def __init__(
        self,
        dues: Mapping[str, float | None] | None = None,
        write: ScriptCall | None = None,
        plan_again: Callable[[], DueTimes] | None = None,
    ) -> None:
        super().__init__(dues or {})
        self.write, self.plan_again = write, plan_again


# A worker sends a heartbeat every 0.7 s.
SILENT_AFTER_S = 3.0
# The leases of a killed worker expire after this long. Other workers poll twice a second, so they claim its
# entries within 3 s.
LEASE_S = 2.4
# A lease that ends this much later than a new one was made before Redis' clock was set back, or on another
# Redis before a failover.
_SET_BACK_S = 2.0
# Scheduled entries (a step, a retry) are claimed before incoming changes that arrived up to this many seconds
# earlier. So a backlog of new alerts delays no step, and an incoming change waits no longer than that for it.
_INCOMING_DELAY_S = {
    Severity.CRITICAL: 20.0,
    Severity.ERROR: 25.0,
    Severity.WARNING: 30.0,
    Severity.INFO: 40.0,
    Severity.NONE: 40.0,
}


class WorkQueue:
    """Leases due entries to workers. Raises StoreError if Redis fails.

    Due times, leases and heartbeats use Redis' own clock; callers pass and get times of their own clock.
    """

    def __init__(self, client: Client, *, script_clock: ScriptClock, shards: int = 1) -> None:
        self._redis = client
        self._scripts = Scripts(client)
        self._shards = shards
        self._script_clock = script_clock

    def claim(self, queue: str, worker: str, now: float, count: int) -> Claims:
        """Lease up to *count* due entries of *queue* to *worker* for `LEASE_S`."""
        if self._shards == 1:
            return self._claim_on_shard(Keys(0), queue, worker, now, count)
        dues, fault = self._find_next_due(queue, now)
        claimed: list[str] = []
        for shard in sorted(dues, key=dues.__getitem__):  # longest wait first
            if dues[shard] > now:
                break
            if len(claimed) >= count:
                return Claims(tuple(claimed), now)
            try:
                claims = self._claim_on_shard(Keys(shard), queue, worker, now, count - len(claimed))
            except StoreError as error:  # claim from the other nodes all the same
                fault = fault or error
                del dues[shard]
                continue
            claimed += claims.entries
            dues[shard] = math.inf if claims.next_check_at is None else claims.next_check_at
        if fault is not None and not claimed:
            raise fault
        earliest = min(dues.values(), default=math.inf)
        return Claims(tuple(claimed), None if earliest == math.inf else earliest)

    def _claim_on_shard(self, keys: Keys, queue: str, worker: str, now: float, count: int) -> Claims:
        """Lease due entries of one shard."""
        after = self._script_clock.format_after
        leases = [keys.leases(queue), keys.lease_owners(queue), *_queue_keys(keys, queue)]
        times = [after(now), after(now, LEASE_S), worker, count, after(now, LEASE_S + _SET_BACK_S)]
        with store_errors():
            next_check_at, *members = self._scripts.run_script(
                "claim", leases, [*times, 0, *_INCOMING_DELAY_S.values()]
            )
        claimed = tuple(member.decode() for member in members)
        return Claims(claimed, self._script_clock.parse_time(next_check_at, now) if next_check_at else None)

    def _find_next_due(self, queue: str, now: float) -> tuple[dict[int, float], StoreError | None]:
        """Return the next due time of each shard, and the error of those that cannot be read.

        One round trip per node, since an idle queue is polled twice a second.
        """
        calls = [self._build_next_due_call(keys, queue, now) for keys in map(Keys, range(self._shards))]
        with store_errors():
            replies = self._scripts.run_each(calls, raise_on_error=False)
        dues: dict[int, float] = {}
        fault: StoreError | None = None
        for shard, reply in enumerate(replies):
            try:
                with store_errors():
                    raise_if_error(reply)
            except StoreError as error:
                fault = error
                continue
            dues[shard] = self._script_clock.parse_time(reply, now) if reply else math.inf
        return dues, fault

    def _build_next_due_call(self, keys: Keys, queue: str, now: float) -> ScriptCall:
        args = [
            self._script_clock.format_after(now),
            self._script_clock.format_after(now, LEASE_S + _SET_BACK_S),
        ]
        return "due", [keys.leases(queue), *_queue_keys(keys, queue)], args

    def renew(self, queue: str, worker: str, entries: Sequence[str], now: float) -> None:
        """Extend the leases that *worker* still holds; leases of other workers stay as they are."""
        by_shard: dict[int, list[str]] = {}
        for entry_id in entries:
            by_shard.setdefault(self._shard(entry_id), []).append(entry_id)
        until = self._script_clock.format_after(now, LEASE_S)
        with store_errors():
            for keys, members in ((Keys(shard), members) for shard, members in by_shard.items()):
                leases = [keys.leases(queue), keys.lease_owners(queue)]
                self._scripts.run_script("renew", leases, [worker, until, *members])

    def expire_leases(self, queue: str, worker: str, in_progress: Sequence[str], at: float) -> None:
        """Expire *worker*'s leases at *at*, or earlier if they end earlier, except those *in_progress*."""
        args = [worker, self._script_clock.format_time(at), *in_progress]
        with store_errors():
            for keys in map(Keys, range(self._shards)):
                leases = [keys.leases(queue), keys.lease_owners(queue)]
                self._scripts.run_script("expire_leases", leases, args)

    def release(self, queue: str, worker: str, entry_id: str, dues: Mapping[str, float | None]) -> bool:
        """Release a lease, and enqueue the entry in each queue of *dues* at the given time, or earlier if
        a change enqueued it earlier. False, without any of these effects, if *worker* no longer holds the
        lease. The write of `DueTimes` is done before, in the same script: if Redis refuses it, the lease
        stays.
        """
        keys = Keys(self._shard(entry_id))
        writes = [dues.write] if isinstance(dues, DueTimes) and dues.write else []
        args: list[Any] = [entry_id, worker, WAKE]
        for other, due in dues.items():
            args += ["" if due is None else self._script_clock.format_time(due), other]
        queue_keys = (keys.queue(other) for other in dues)
        release = ("release", [keys.leases(queue), keys.lease_owners(queue), *queue_keys], args)
        with store_errors():
            is_released = self._scripts.run_as_one([*writes, release])[-1]
        if is_released is None and isinstance(dues, DueTimes) and dues.plan_again:
            return self.release(queue, worker, entry_id, dues.plan_again())
        return bool(is_released)

    def enqueue(self, queue: str, entry_id: str, due: float, *, if_absent: bool = False) -> None:
        """Enqueue an entry in *queue* at *due*; an earlier due time is kept, with *if_absent* any."""
        key = Keys(self._shard(entry_id)).queue(queue)
        args = [entry_id, self._script_clock.format_time(due), WAKE, queue, "NX" if if_absent else ""]
        with store_errors():
            self._scripts.run_script("enqueue", [key], args)

    def reschedule_all(self, queue: str, now: float) -> None:
        """Make every entry of *queue* due now, and let no lease end later than one made now."""
        args = [self._script_clock.format_after(now), self._script_clock.format_after(now, LEASE_S)]
        with store_errors():
            for keys in map(Keys, range(self._shards)):
                self._scripts.run_script("reschedule", [keys.leases(queue), *_queue_keys(keys, queue)], args)

    def measure_depth(self, queue: str, now: float) -> tuple[int, float]:
        """Return how many entries are due in *queue*, and for how many seconds the oldest has been due."""
        shards = map(Keys, range(self._shards))
        calls = [(_queue_keys(keys, queue), [self._script_clock.format_after(now)]) for keys in shards]
        with store_errors():
            rows = self._scripts.run_all("queue_depth", calls)
        first = min((self._script_clock.parse_time(at, now) for _, at in rows if at), default=math.inf)
        return sum(int(due) for due, _ in rows), max(0.0, now - first)

    def listen_for_wakes(self) -> Iterator[tuple[str, float] | None]:
        """Yield `(queue, due time)` for each entry that is enqueued, and None about once a second."""
        with store_errors():
            subscription = self._redis.pubsub(ignore_subscribe_messages=True)
            try:
                subscription.subscribe(WAKE)
                while True:
                    message = subscription.get_message(timeout=1.0)
                    yield None if message is None else self._parse_wake(message["data"])
            finally:
                subscription.close()

    # --- heartbeats of workers ---

    def record_heartbeat(self, worker: str, now: float) -> float:
        """Record a heartbeat of *worker*; return by how many seconds *now* is ahead of Redis' own clock."""
        after, host = self._script_clock.format_after, worker.partition(".")[2] or worker
        args = [after(now), worker, after(now, -WORKERS_FOR_S), WORKERS_FOR_S]
        clocks = self._build_clocks_call(f"worker {host}", now)
        with store_errors():
            time, _ = self._scripts.run_each([("worker_heartbeat", [WORKERS], args), clocks])
        return now - float(time)

    def compare_clocks(self, process: str, now: float) -> dict[str, float]:
        """Record that the clock of *process* shows *now*; return for each process that did so in the last two
        minutes by how many seconds its clock is ahead of Redis' own.
        """
        with store_errors():
            found = self._scripts.run_each([self._build_clocks_call(process, now)])[0]
        notes = zip(found[::2], found[1::2], strict=True)
        return {name.decode(): float(note.split()[1]) for name, note in sorted(notes)}

    def _build_clocks_call(self, process: str, now: float) -> ScriptCall:
        return (
            "compare_clocks",
            [CLOCKS],
            [self._script_clock.format_after(now), process, repr(now), CLOCKS_FOR_S],
        )

    def deregister_worker(self, worker: str) -> None:
        """Remove *worker* from the list of workers after an orderly shutdown."""
        with store_errors():
            self._redis.zrem(WORKERS, worker)

    def list_workers(self, since: float, until: float = math.inf) -> list[str]:
        """Return the workers whose last heartbeat lies between *since* and *until*."""
        latest = "+inf" if until == math.inf else self._script_clock.format_time(until)
        with store_errors():
            found = self._scripts.run_script(
                "list_workers", [WORKERS], [self._script_clock.format_time(since), latest]
            )
        return [name.decode() for name in found]

    def _parse_wake(self, data: bytes) -> tuple[str, float] | None:
        queue, _, timestamp = data.decode("utf-8", "replace").partition(" ")
        try:
            return queue, self._script_clock.parse_wake(timestamp)
        except ValueError:
            return None

    def _shard(self, entry_id: str) -> int:
        return shard_of(entry_id.partition("-")[0], self._shards)


@cache
def _queue_keys(keys: Keys, queue: str) -> tuple[str, ...]:
    """Return the keys of a queue: scheduled entries, then incoming changes by severity."""
    return (keys.queue(queue), *(keys.incoming(queue, severity) for severity in _INCOMING_DELAY_S))
