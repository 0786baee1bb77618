"""The worker: one lane for each channel kind, woken when something is due, loans kept alive."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from receiver.clock import CLOCKS_AGREE_WITHIN_S
from receiver.domain.ports import LeaseQueue
from receiver.engine.duties import ENSURE_EVERY_S, PeriodicTasks
from receiver.engine.lane import QueueConsumer, Reconciles
from receiver.engine.reconcile import Reconciler
from receiver.errors import StoreError
from receiver.storage.keys import TASKS

logger = logging.getLogger(__name__)

_HEARTBEAT_EVERY_S = 0.7
_RECONNECT_AFTER_S = 0.5
# A clock is corrected by less than this all the time.
_CLOCK_STEP_S = 1.0
# Only an answer as prompt as this tells how clocks differ.
_PROMPT_S = 0.5


class Worker:
    """Works off the agenda until stopped. Any number of workers may share one store."""

    def __init__(
        self,
        name: str,
        work_queue: LeaseQueue,
        reconciler: Reconciler,
        periodic_tasks: PeriodicTasks,
        clock: Callable[[], float],
        *,
        threads: Mapping[str, int],
    ) -> None:
        self.name = name
        self._work_queue = work_queue
        self._clock = clock
        self._reconciler = reconciler
        self._periodic_tasks = periodic_tasks
        self._stopped = threading.Event()
        self._is_redis_unavailable = False
        self._ahead_s: float | None = None  # of Redis' clock, at the last beat
        self._clocks_differ = False
        self._consumers = {
            queue: QueueConsumer(queue, name, work_queue, self._find_reconciler(queue), clock, threads=count)
            for queue, count in threads.items()
        }

    def _find_reconciler(self, queue: str) -> Callable[[], Reconciles]:
        return (lambda: self._periodic_tasks) if queue == TASKS else (lambda: self._reconciler)

    def run(self) -> None:
        """Work until `stop`; what is in hand then is finished, for some seconds at most."""
        for consumer in self._consumers.values():
            consumer.start()
        threading.Thread(target=self._listen_for_wakes, name="listen", daemon=True).start()
        logger.info("worker started", extra={"fields": {"worker": self.name}})
        ensure_at = 0.0  # until the duties are begun
        while not self._stopped.is_set():
            ensure_at = self._ensure_tasks(ensure_at)
            self._heartbeat()
            self._stopped.wait(_HEARTBEAT_EVERY_S)
        self._shut_down()

    def stop(self) -> None:
        """Ask `run` to end; may be called from a signal handler."""
        self._stopped.set()

    def use_configuration(self, reconciler: Reconciler, periodic_tasks: PeriodicTasks) -> None:
        """Go on with another configuration; what is in hand is finished with the old one."""
        self._reconciler = reconciler
        self._periodic_tasks = periodic_tasks
        self._enqueue_all_tasks()

    def _ensure_tasks(self, ensure_at: float) -> float:
        """Begin the duties, and see now and then that none was lost; return when to do so next."""
        now = self._clock()
        if now < ensure_at <= now + ENSURE_EVERY_S:  # further off: the clock was put back
            return ensure_at
        is_done = self._enqueue_missing_tasks() if ensure_at else self._enqueue_all_tasks()
        return now + ENSURE_EVERY_S if is_done else ensure_at

    def _enqueue_missing_tasks(self) -> bool:
        return self._call_with_queue(self._periodic_tasks.enqueue_missing)

    def _enqueue_all_tasks(self) -> bool:
        return self._call_with_queue(self._periodic_tasks.enqueue_all)

    def _call_with_queue(self, enqueue: Callable[[LeaseQueue], None]) -> bool:
        try:
            enqueue(self._work_queue)
        except StoreError as error:
            _log_unavailable("tasks", error)
            return False
        return True

    def _check_clocks(self, now: float, ahead_s: float) -> None:
        """Have everything looked at once where Redis' clock or ours was set, or another Redis took over: what
        waits would be early or late by as much, and what is not due goes on waiting. Raises StoreError.
        """
        if self._ahead_s is not None and abs(ahead_s - self._ahead_s) > _CLOCK_STEP_S:
            seconds = round(ahead_s - self._ahead_s, 3)
            logger.warning(
                "the clock was set, or Redis' was", extra={"fields": {"seconds": seconds}, "state": "clock"}
            )
            for queue in self._consumers:
                self._work_queue.reschedule_all(queue, now)
        self._ahead_s = ahead_s
        clocks_differ = abs(ahead_s) > CLOCKS_AGREE_WITHIN_S
        if clocks_differ and not self._clocks_differ:
            logger.warning("the clock differs from Redis'", extra={"fields": {"ahead_s": round(ahead_s, 1)}})
        self._clocks_differ = clocks_differ

    def _listen_for_wakes(self) -> None:
        """Pass on what the store says is due. Lost wake-ups cost half a second, no more."""
        while not self._stopped.is_set():
            try:
                for wake in self._work_queue.listen():
                    if self._stopped.is_set():
                        return
                    if wake is not None and wake[0] in self._consumers:
                        self._consumers[wake[0]].wake(wake[1])
            except StoreError as error:
                fields = {"error": str(error)}
                logger.warning("wake-ups unavailable", extra={"fields": fields, "state": "wake-ups"})
                self._stopped.wait(_RECONNECT_AFTER_S)

    def _heartbeat(self) -> None:
        """Say that we live, and keep what we have on loan."""
        try:
            now = self._clock()
            for queue, consumer in self._consumers.items():
                if claimed := consumer.list_claimed():
                    self._work_queue.renew(queue, self.name, claimed, now)
            asked_at = self._clock()
            ahead_s = self._work_queue.heartbeat(self.name, asked_at)
            if 0 <= self._clock() - asked_at < _PROMPT_S:  # else the way there and back counts, too
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
                self._heartbeat()
        try:
            self._work_queue.deregister(self.name)
        except StoreError as error:
            _log_unavailable("deregister", error)
        logger.info("worker stopped", extra={"fields": {"worker": self.name}})


def _log_unavailable(what: str, error: StoreError) -> None:
    fields = {"what": what, "error": str(error)}
    logger.warning("redis unavailable", extra={"fields": fields, "state": what})
