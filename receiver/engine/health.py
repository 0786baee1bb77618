"""Noting how deliveries go, and telling somebody outside every minute that all is well."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from receiver import metrics
from receiver.domain.health import TargetHealth, evaluate_channel
from receiver.errors import DeliveryError, StoreError
from receiver.model.delivery import Delivery
from receiver.text import one_line

logger = logging.getLogger(__name__)

TASK_NAME = "heartbeat_url"
PING_EVERY_S = 60.0
LATE_AFTER_S = 60.0
# The same news of the same place is written no oftener.
_RECORD_EVERY_S = 5.0
_MAX_REASON = 100


class HealthStore(Protocol):
    """Where health is kept; every method may raise StoreError."""

    def record_arrival(self, channel: str, target: str, at: float) -> None: ...
    def record_failure(self, channel: str, target: str, reason: str, at: float) -> None: ...
    def list_targets(self) -> list[TargetHealth]: ...


class QueueDepths(Protocol):
    def depth(self, queue: str, now: float) -> tuple[int, float]: ...


class DeliveryHealthRecorder:
    """Notes how deliveries go; that can't be noted disturbs no delivery. Threads may share it."""

    def __init__(self, store: HealthStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._recorded: dict[tuple[str, str], tuple[str, float]] = {}

    def record_delivery(self, channel: str, target: str, delivery: Delivery, now: float) -> None:
        """Note what became of a delivery to a place."""
        reason = "" if delivery.receipt else one_line(delivery.reason, _MAX_REASON) or "unknown"
        with self._lock:
            known, at = self._recorded.get((channel, target), (None, 0.0))
            if known == reason and abs(now - at) < _RECORD_EVERY_S:
                return
            self._recorded[channel, target] = reason, now
        try:
            if reason:
                self._store.record_failure(channel, target, reason, now)
            else:
                self._store.record_arrival(channel, target, now)
        except StoreError:
            with self._lock:
                self._recorded.pop((channel, target), None)


class UptimePinger:
    """Calls an address while all is well. A call that fails is logged once until that changes.

    *call* raises a DeliveryError, and says nothing of the address in it: it may be a secret.
    """

    def __init__(
        self,
        ping: Callable[[], None],
        store: HealthStore,
        work_queue: QueueDepths,
        queues: Sequence[str],
        channels: Iterable[str],
    ) -> None:
        self._ping = ping
        self._store = store
        self._work_queue = work_queue
        self._queues = queues
        self._channels = tuple(channels)
        self._logged_problem = ""

    def run(self, now: float) -> float:
        """Call if all is well; return when to do it again. Raises StoreError: then nothing is well."""
        problem = self.find_problem(now)
        outcome = "withheld"
        if not problem:
            outcome, problem = self._send_ping()
        metrics.UPTIME_PINGS.labels(outcome).inc()
        if problem != self._logged_problem:
            if problem:
                logger.warning("heartbeat_url not called", extra={"fields": {"because": problem}})
            else:
                logger.info("heartbeat_url is called again")
            self._logged_problem = problem
        return now + PING_EVERY_S

    def find_problem(self, now: float) -> str:
        """Return what is not well, in a few words that stay the same while it is; empty when all is."""
        for queue in self._queues:
            if self._work_queue.depth(queue, now)[1] >= LATE_AFTER_S:
                return f"queue {queue} is late"
        targets = self._store.list_targets()
        for channel in self._channels:
            if not evaluate_channel(channel, targets, now).is_healthy:
                return f"nothing goes through to {channel}"
        return ""

    def _send_ping(self) -> tuple[str, str]:
        try:
            self._ping()
        except DeliveryError as error:
            return "failed", f"the call failed: {error.reason}"
        return "called", ""
