"""The worker: claims due entries of the work queues, reconciles them in threads, and renews its leases.

A `QueueConsumer` works on one queue; a `Worker` runs one consumer per queue, the heartbeat, and the listener
for wake-ups.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue

from receiver import metrics
from receiver.clock import CLOCKS_AGREE_WITHIN_S
from receiver.engine.jobs import ENSURE_EVERY_S
from receiver.engine.ports import Reconciles
from receiver.engine.queue import WorkQueue
from receiver.engine.reconcilers import Reconcilers
from receiver.errors import LeaseLost, StoreError
from receiver.model.routing import SLACK

logger = logging.getLogger(__name__)
# A wake-up may be lost with its connection; polling limits the delay to this.
_CHECK_AT_LEAST_EVERY_S = 0.5
# After an unhandled error the entry is reconciled again, but not in a hot loop.
_AFTER_FAULT_S = 5.0
_AFTER_OUTAGE_S = 0.5
# A message of a killed worker may still be in flight: Slack gets this time to show it to the search for an
# earlier attempt. PagerDuty deduplicates events by itself.
_IN_FLIGHT_S = {SLACK: 2.0}


@dataclass(eq=False, repr=False)
class QueueConsumer:
    """Claims, reconciles and releases the entries of one queue, in several threads."""

    name: str
    worker: str
    work_queue: WorkQueue
    get_reconciler: Callable[[], Reconciles]
    clock: Callable[[], float]
    threads: int

    def __post_init__(self) -> None:
        self._claimed: set[str] = set()
        self._claimed_again: set[str] = set()  # of these, the ones claimed a second time
        # When to expire our leases that no thread works on, left from before a restart or an outage of Redis.
        self._leases_expire_in_s: float | None = _IN_FLIGHT_S.get(self.name, 0.0)
        self._state = threading.Condition()
        self._next_check_at: float | None = None
        self._is_stopping = False
        self._entries: SimpleQueue[str | None] = SimpleQueue()

    def start(self) -> None:
        """Start the threads; they end after `stop`."""
        for number in range(self.threads):
            threading.Thread(target=self._run_thread, name=f"{self.name}-{number}", daemon=True).start()
        threading.Thread(target=self._run_dispatcher, name=f"{self.name}-dispatch", daemon=True).start()

    def wake(self, timestamp: float) -> None:
        """Tell the consumer that an entry of its queue is due at *timestamp*."""
        with self._state:
            if self._next_check_at is None or timestamp < self._next_check_at:
                self._next_check_at = timestamp
                self._state.notify_all()

    def list_claimed(self) -> list[str]:
        """Return the entries on which this consumer holds a lease."""
        with self._state:
            return list(self._claimed)

    def stop(self) -> None:
        """Claim no further entry; those already claimed are finished."""
        with self._state:
            self._is_stopping = True
            self._state.notify_all()
        for _ in range(self.threads):
            self._entries.put(None)

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait up to *timeout_s* for the claimed entries; return whether all are finished."""
        with self._state:
            return self._state.wait_for(lambda: not self._claimed, timeout_s)

    def _run_dispatcher(self) -> None:
        while not self._is_stopping:
            with self._state:
                free = self.threads - len(self._claimed)
                self._next_check_at = None
            next_check_at = self._claim_due(free) if free else None
            with self._state:
                if self._is_stopping:
                    return
                if self._next_check_at is not None:
                    next_check_at = min(self._next_check_at, next_check_at or self._next_check_at)
                self._next_check_at = next_check_at
                self._state.wait_for(self._is_check_due, _CHECK_AT_LEAST_EVERY_S)

    def _is_check_due(self) -> bool:
        """Return whether to claim now. Waits until the next known due time if that is near."""
        if self._is_stopping:
            return True
        if len(self._claimed) >= self.threads or self._next_check_at is None:
            return False
        left = self._next_check_at - self.clock()
        if left > 0 and left < _CHECK_AT_LEAST_EVERY_S:
            self._state.wait(left)
            return True
        return left <= 0

    def _claim_due(self, free: int) -> float | None:
        try:
            self._expire_unheld_leases()
            claims = self.work_queue.claim(self.name, self.worker, self.clock(), free)
        except StoreError as error:
            fields = {"queue": self.name, "error": str(error)}
            logger.warning("work queue unavailable", extra={"fields": fields, "state": self.name})
            self._schedule_lease_expiry()  # the answer with a lease may be lost
            return None
        except Exception:
            # Any error: without its dispatcher thread a queue would send no pages.
            metrics.WORKER_ERRORS.inc()
            fields = {"queue": self.name}
            logger.exception("unhandled error in claim", extra={"fields": fields, "state": self.name})
            self._schedule_lease_expiry()
            return None
        with self._state:
            # A lease may expire while Redis is unavailable, and this worker may claim the entry again. A
            # thread still reconciles it, perhaps from an old state, and the claim took the entry off the
            # queue. So it is reconciled once more afterwards.
            added = [entry_id for entry_id in claims.entries if entry_id not in self._claimed]
            self._claimed_again.update(self._claimed.intersection(claims.entries))
            self._claimed.update(added)
        for entry_id in added:
            self._entries.put(entry_id)
        return claims.next_check_at

    def _expire_unheld_leases(self) -> None:
        with self._state:
            wait_s, claimed = self._leases_expire_in_s, list(self._claimed)
            self._leases_expire_in_s = None
        if wait_s is None:
            return
        try:
            self.work_queue.expire_leases(self.name, self.worker, claimed, self.clock() + wait_s)
        except BaseException:
            self._schedule_lease_expiry(wait_s)
            raise

    def _schedule_lease_expiry(self, wait_s: float = _AFTER_OUTAGE_S) -> None:
        """Expire our leases that no thread is working on in *wait_s* seconds, or later if a later expiry is
        already scheduled.
        """
        with self._state:
            self._leases_expire_in_s = max(wait_s, self._leases_expire_in_s or 0.0)

    def _run_thread(self) -> None:
        while (entry_id := self._entries.get()) is not None:
            is_released = False
            try:
                is_released = self._reconcile_entry(entry_id)
            finally:
                with self._state:
                    is_claimed_again = entry_id in self._claimed_again
                    # Else the dispatcher does not wait for a free thread, nor `stop` for the last entry.
                    is_awaited = len(self._claimed) >= self.threads or self._is_stopping
                    self._claimed.discard(entry_id)
                    self._claimed_again.discard(entry_id)
                    if not is_released:
                        self._schedule_lease_expiry()
                    if is_awaited:
                        self._state.notify_all()
                if is_claimed_again and is_released:
                    self._requeue_entry(entry_id)

    def _reconcile_entry(self, entry_id: str) -> bool:
        """Reconcile and release an entry; return True if it is released or the lease was lost before."""
        fields = {"incident": entry_id, "queue": self.name}
        try:
            dues = self.get_reconciler().reconcile(entry_id, self.name, self.worker)
            with self._state:
                if entry_id in self._claimed_again:
                    self._claimed_again.discard(entry_id)
                    dues[self.name] = self.clock()
            self.work_queue.release(self.name, self.worker, entry_id, dues)
        except LeaseLost:
            logger.info("claim lost", extra={"fields": fields})
        except StoreError as error:
            # The next worker that claims it reads it again.
            self._log_unavailable({**fields, "error": str(error)})
            return False
        except Exception as error:
            metrics.WORKER_ERRORS.inc()
            # Many entries may fail with the same error, each of them again every 5 s.
            state = f"{self.name} {type(error).__name__}"
            logger.exception("unhandled error in reconcile", extra={"fields": fields, "state": state})
            return self._release_after_fault(entry_id)
        return True

    def _requeue_entry(self, entry_id: str) -> None:
        """Enqueue an entry that was claimed again while it was being released. No thread works on the
        second lease, so it expires now. The release may have ended that second lease instead, so the entry
        is also enqueued.
        """
        now, fields = self.clock(), {"incident": entry_id, "queue": self.name}
        self._schedule_lease_expiry(0.0)
        try:
            self.work_queue.enqueue(self.name, entry_id, now)
        except StoreError:
            self._log_unavailable(fields)
        except Exception:  # without its threads a queue would send no pages
            metrics.WORKER_ERRORS.inc()
            logger.exception("unhandled error in release", extra={"fields": fields, "state": self.name})
        self.wake(now)

    def _release_after_fault(self, entry_id: str) -> bool:
        try:
            due = self.clock() + _AFTER_FAULT_S
            self.work_queue.release(self.name, self.worker, entry_id, {self.name: due})
        except StoreError:
            self._log_unavailable({"incident": entry_id, "queue": self.name})
            return False
        return True

    def _log_unavailable(self, fields: dict[str, str]) -> None:
        logger.warning("redis unavailable", extra={"fields": fields, "state": self.name})


_HEARTBEAT_EVERY_S = 0.7
_RECONNECT_AFTER_S = 0.5
# NTP corrects clocks by less than this all the time.
_CLOCK_STEP_S = 1.0
# With a slower answer the round trip distorts the measured difference of the clocks.
_PROMPT_S = 0.5


class Worker:
    """Processes all work queues until stopped. Any number of workers may share one Redis."""

    def __init__(
        self,
        name: str,
        work_queue: WorkQueue,
        reconcilers: Reconcilers,
        clock: Callable[[], float],
        *,
        threads: Mapping[str, int],
    ) -> None:
        self.name = name
        self._work_queue = work_queue
        self._clock = clock
        self._reconcilers = reconcilers
        self._stopped = threading.Event()
        self._is_redis_unavailable = False
        self._ahead_s: float | None = None  # of Redis' clock, at the last heartbeat
        self._clocks_differ = False
        self._consumers = {
            queue: QueueConsumer(queue, name, work_queue, lambda: self._reconcilers, clock, threads=count)
            for queue, count in threads.items()
        }

    def run_until_stopped(self) -> None:
        """Run until `stop`; then finish the claimed entries, for 6 seconds at most."""
        for consumer in self._consumers.values():
            consumer.start()
        threading.Thread(target=self._listen_for_wakes, name="listen", daemon=True).start()
        logger.info("worker started", extra={"fields": {"worker": self.name}})
        ensure_at = 0.0  # 0: the periodic tasks are not enqueued yet
        while not self._stopped.is_set():
            ensure_at = self._ensure_tasks(ensure_at)
            self._record_heartbeat()
            self._stopped.wait(_HEARTBEAT_EVERY_S)
        self._shut_down()

    def stop(self) -> None:
        """Ask `run_until_stopped` to end; may be called from a signal handler."""
        self._stopped.set()

    def use_reconcilers(self, reconcilers: Reconcilers) -> None:
        """Switch to another configuration; claimed entries are finished with the old one."""
        self._reconcilers = reconcilers
        self._enqueue_tasks(reconcilers.periodic_tasks.enqueue_all)

    def _ensure_tasks(self, ensure_at: float) -> float:
        """Enqueue the periodic tasks, and later those that were lost; return the time of the next check."""
        now = self._clock()
        if now < ensure_at <= now + ENSURE_EVERY_S:  # further off: the clock was set back
            return ensure_at
        tasks = self._reconcilers.periodic_tasks
        is_done = self._enqueue_tasks(tasks.enqueue_missing if ensure_at else tasks.enqueue_all)
        return now + ENSURE_EVERY_S if is_done else ensure_at

    def _enqueue_tasks(self, enqueue: Callable[[WorkQueue], None]) -> bool:
        try:
            enqueue(self._work_queue)
        except StoreError as error:
            _log_unavailable("tasks", error)
            return False
        return True

    def _check_clocks(self, now: float, ahead_s: float) -> None:
        """Reschedule all queues to now if Redis' clock or ours was set, or another Redis took over: all due
        times are wrong by that step. Entries that are not due get a new due time. Raises StoreError.
        """
        if self._ahead_s is not None and abs(ahead_s - self._ahead_s) > _CLOCK_STEP_S:
            seconds = round(ahead_s - self._ahead_s, 3)
            logger.warning("clock step detected", extra={"fields": {"seconds": seconds}, "state": "clock"})
            for queue in self._consumers:
                self._work_queue.reschedule_all(queue, now)
        self._ahead_s = ahead_s
        clocks_differ = abs(ahead_s) > CLOCKS_AGREE_WITHIN_S
        if clocks_differ and not self._clocks_differ:
            logger.warning("clock differs from redis", extra={"fields": {"ahead_s": round(ahead_s, 1)}})
        self._clocks_differ = clocks_differ

    def _listen_for_wakes(self) -> None:
        """Pass wake-ups from Redis to the consumers. A lost wake-up costs half a second at most."""
        while not self._stopped.is_set():
            try:
                for wake in self._work_queue.listen_for_wakes():
                    if self._stopped.is_set():
                        return
                    if wake is not None and wake[0] in self._consumers:
                        self._consumers[wake[0]].wake(wake[1])
            except StoreError as error:
                fields = {"error": str(error)}
                logger.warning("wake-ups unavailable", extra={"fields": fields, "state": "wake-ups"})
                self._stopped.wait(_RECONNECT_AFTER_S)

    def _record_heartbeat(self) -> None:
        """Renew all leases, record the heartbeat, and compare our clock with Redis' clock."""
        try:
            now = self._clock()
            for queue, consumer in self._consumers.items():
                if claimed := consumer.list_claimed():
                    self._work_queue.renew(queue, self.name, claimed, now)
            asked_at = self._clock()
            ahead_s = self._work_queue.record_heartbeat(self.name, asked_at)
            if 0 <= self._clock() - asked_at < _PROMPT_S:  # else the round trip distorts it
                self._check_clocks(asked_at, ahead_s)
        except StoreError as error:
            self._is_redis_unavailable = True
            _log_unavailable("heartbeat", error)
            return
        if self._is_redis_unavailable:
            self._is_redis_unavailable = False
            logger.info(
                "redis available again", extra={"fields": {"worker": self.name}, "state": "heartbeat"}
            )

    def _shut_down(self, timeout_s: float = 6.0) -> None:
        for consumer in self._consumers.values():
            consumer.stop()
        end = time.monotonic() + timeout_s
        for queue, consumer in self._consumers.items():
            while not consumer.wait_until_idle(min(_HEARTBEAT_EVERY_S, max(0.0, end - time.monotonic()))):
                if time.monotonic() >= end:
                    logger.warning(
                        "shutdown: leases left to expire",
                        extra={"fields": {"queue": queue, "incidents": consumer.list_claimed()}},
                    )
                    break
                self._record_heartbeat()
        try:
            self._work_queue.deregister_worker(self.name)
        except StoreError as error:
            _log_unavailable("deregister", error)
        logger.info("worker stopped", extra={"fields": {"worker": self.name}})


def _log_unavailable(what: str, error: StoreError) -> None:
    fields = {"what": what, "error": str(error)}
    logger.warning("redis unavailable", extra={"fields": fields, "state": what})
