"""Background callbacks, one-time jobs, and periodic tasks.

`Background` runs callbacks in a thread of the process. `JobQueue` stores one-time jobs in Redis, such as a
webhook to be handled later. `PeriodicTasks` is the reconciler of the `tasks` queue: it runs jobs and tasks.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

import msgspec

from receiver.engine.queue import WorkQueue
from receiver.errors import DeliveryError, NotFound, PermanentDeliveryError, StoreError
from receiver.storage.connection import Client, Scripts, store_errors
from receiver.storage.keys import JOB_FOR_S, TASKS, WAKE, Keys, shard_of
from receiver.storage.script_clock import ScriptClock

logger = logging.getLogger(__name__)
EVERY_S = 2.0
# A callback waits for Redis at most this long.
_LAST_ROUND_S = 2.0


@dataclass(frozen=True)
class Background:
    """Runs *callbacks* every *every_s* seconds in a daemon thread.

    A StoreError is only logged at debug level, since other components report it; the next round tries again.
    """

    callbacks: Sequence[Callable[[], None]]
    every_s: float = EVERY_S
    _stopped: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        threading.Thread(target=self._run_until_stopped, name="background", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def finish(self) -> None:
        """Stop after the current round, for which this waits, and run the callbacks once more."""
        self.stop()
        self._ended.wait(_LAST_ROUND_S)
        self._run_callbacks()

    def _run_until_stopped(self) -> None:
        while not self._stopped.wait(self.every_s):
            self._run_callbacks()
        self._ended.set()

    def _run_callbacks(self) -> None:
        for callback in self.callbacks:
            try:
                callback()
            except StoreError as error:
                logger.debug("redis unavailable", extra={"fields": {"error": str(error)}})


_DONE = b"done"


class JobQueue:
    """Stores jobs until they are done. Raises StoreError if Redis fails."""

    def __init__(self, client: Client, *, script_clock: ScriptClock, shards: int = 1) -> None:
        self._redis = client
        self._script_clock = script_clock
        self._scripts = Scripts(client)
        self._keys = Keys(shard_of("job", shards))

    def enqueue(
        self,
        kind: str,
        id: str,  # noqa: A002
        payload: Mapping[str, Any],
        now: float,
        *,
        also: Sequence[str] = (),
    ) -> bool:
        """Store a job and enqueue it; return False if its *id*, or one of *also*, is known already."""
        name, *others = (_hash_id(kind, one) for one in (id, *also))
        keys = [self._keys.queue(TASKS), self._keys.job(name), *map(self._keys.job, others)]
        packed = msgspec.json.encode({"kind": kind, "payload": payload})
        args = [packed, JOB_FOR_S, f"job-{name}", self._script_clock.format_time(now), WAKE, TASKS]
        with store_errors():
            return bool(self._scripts.run_script("enqueue_job", keys, args))

    def record_once(self, kind: str, id: str, for_s: int) -> bool:  # noqa: A002
        """Record an ID for *for_s* seconds; return False if it is recorded already."""
        # Unique per call: if the connection breaks and the command is sent again, it finds its own value.
        mark = _DONE + b" " + token_hex(8).encode()
        with store_errors():
            found = self._redis.set(self._keys.job(_hash_id(kind, id)), mark, ex=for_s, nx=True, get=True)
        return found is None or found == mark

    def find_job(self, name: str) -> tuple[str, dict[str, Any]] | None:
        """Return kind and payload of a job that is not done; else None."""
        with store_errors():
            packed = self._redis.get(self._keys.job(name))
        if packed is None or packed.startswith(_DONE):
            return None
        job = msgspec.json.decode(packed)
        return str(job["kind"]), dict(job["payload"])

    def finish_job(self, name: str) -> None:
        """Replace the job by a marker, so that a repeated request for it is recognized."""
        with store_errors():
            self._redis.set(self._keys.job(name), _DONE, ex=JOB_FOR_S)


def _hash_id(kind: str, id: str) -> str:  # noqa: A002
    return hashlib.sha256(f"{kind}/{id}".encode("utf-8", "replace")).hexdigest()[:32]


_JOB_RETRY_AFTER_S = 5.0
ENSURE_EVERY_S = 30.0
# A task that repeats takes the current time, and returns the time of its next run.
PeriodicTask = Callable[[float], float]


@dataclass(frozen=True, repr=False)
class PeriodicTasks:
    """Runs the entries of the `tasks` queue: `job-ID` is a job, any other name a periodic task."""

    tasks: Mapping[str, PeriodicTask]
    jobs: JobQueue
    job_handlers: Mapping[str, Callable[[dict[str, Any]], None]]
    clock: Callable[[], float]

    def enqueue_all(self, work_queue: WorkQueue) -> None:
        """Enqueue every periodic task now; a task that is already due earlier keeps its time."""
        for name in self.tasks:
            work_queue.enqueue(TASKS, name, self.clock())

    def enqueue_missing(self, work_queue: WorkQueue) -> None:
        """Enqueue the periodic tasks that are missing in the queue, for example after Redis lost its data.

        A task that is running is not in the queue either. So they are due in `ENSURE_EVERY_S`, not now: a
        running task is not started twice.
        """
        for name in self.tasks:
            work_queue.enqueue(TASKS, name, self.clock() + ENSURE_EVERY_S, if_absent=True)

    def reconcile(self, entry_id: str, queue: str, worker: str) -> dict[str, float | None]:
        """Run the job or task that *entry_id* names; return when it is due again. Raises StoreError."""
        del worker
        kind, _, name = entry_id.partition("-")
        if kind == "job":
            return {queue: self._run_job(name)}
        task = self.tasks.get(entry_id)
        if task is None:  # removed from the configuration
            return {}
        return {queue: task(self.clock())}

    def _run_job(self, name: str) -> float | None:
        if (job := self.jobs.find_job(name)) is None:
            return None
        kind, payload = job
        handler = self.job_handlers.get(kind)
        if handler is None:  # enqueued by a newer version
            return self.clock() + _JOB_RETRY_AFTER_S
        try:
            handler(payload)
        except (PermanentDeliveryError, NotFound) as error:
            logger.warning("job failed", extra={"fields": {"kind": kind, "error": repr(error)}})
        except DeliveryError as error:
            fields = {"kind": kind, "error": str(error)}
            logger.warning("job retried", extra={"fields": fields, "state": kind})
            return self.clock() + _JOB_RETRY_AFTER_S
        self.jobs.finish_job(name)
        return None
