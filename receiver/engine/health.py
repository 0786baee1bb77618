"""Delivery health of the channels, and the uptime ping that depends on it.

The last success and the last failure of each target lie in Redis. `evaluate_channel` derives the state of a
channel from them; `UptimePinger` calls the `heartbeat_url` while queues and channels are healthy.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from receiver import metrics
from receiver.engine.queue import WorkQueue
from receiver.errors import DeliveryError, StoreError, TemporaryDeliveryError
from receiver.http_client import parse_base_url, send_request
from receiver.model.delivery import Delivery
from receiver.model.page_confirmation import RESOLVED_THERE, UNCONFIRMED
from receiver.storage.connection import Client, store_errors
from receiver.storage.keys import HEALTH, HEALTH_FOR_S
from receiver.text import one_line

# A channel is unhealthy when deliveries have been tried for this long without a success.
UNHEALTHY_AFTER_S = 300.0
# Reasons why a page that PagerDuty accepted created no open incident there. They hold until the responder's
# next event succeeds.
DOUBTS = frozenset({UNCONFIRMED, RESOLVED_THERE})
# Reasons that concern one target only, whatever arrives at others. PagerDuty does not report when they end,
# so they expire.
REFUSALS = frozenset({"invalid_routing_key"})
REFUSED_FOR_S = 3600.0
# A pending delivery is retried every 30 s; a failure older than this belongs to no pending delivery.
PENDING_WITHIN_S = 120.0


@dataclass(frozen=True)
class TargetHealth:
    """Last results of one target; all times are Unix times.

    *since* is the first failure after *arrived_at*.
    """

    channel: str
    target: str
    arrived_at: float = 0.0
    failed_at: float = 0.0
    since: float = 0.0
    reason: str = ""

    @property
    def is_failing(self) -> bool:
        return self.failed_at > self.arrived_at


@dataclass(frozen=True)
class ChannelHealth:
    """State of a channel: `ok`, `failing` (the last delivery failed) or `unknown` (nothing was tried)."""

    channel: str
    state: str
    since: float = 0.0
    reason: str = ""
    is_healthy: bool = True


def evaluate_channel(channel: str, targets: Iterable[TargetHealth], now: float) -> ChannelHealth:
    """Return the state of *channel* at *now*, from the last deliveries to each of its *targets*."""
    own = [target for target in targets if target.channel == channel]
    arrived_at = max((target.arrived_at for target in own), default=0.0)
    failing = [target for target in own if target.is_failing]
    worst = max(failing, key=lambda p: p.failed_at, default=None)
    doubtful = next((target for target in failing if _is_lasting(target, now)), None)
    if doubtful is not None:
        # PagerDuty still accepts events for other responders: their success says nothing about this one.
        return ChannelHealth(channel, "failing", doubtful.since or doubtful.failed_at, doubtful.reason)
    if worst is None or worst.failed_at <= arrived_at:
        return ChannelHealth(channel, "ok" if own else "unknown", arrived_at)
    since = min(target.since or target.failed_at for target in own if target.is_failing)
    silent_for, is_pending = now - max(arrived_at, since), abs(now - worst.failed_at) <= PENDING_WITHIN_S
    is_healthy = not (is_pending and silent_for > UNHEALTHY_AFTER_S)
    return ChannelHealth(channel, "failing", since, worst.reason, is_healthy)


def _is_lasting(target: TargetHealth, now: float) -> bool:
    """Return whether a target's failure stands even when deliveries to other targets succeed."""
    is_refused = target.reason in REFUSALS and abs(now - target.failed_at) <= REFUSED_FOR_S
    return is_refused or target.reason in DOUBTS


@dataclass(frozen=True)
class RedisHealth:
    """Stores the last success and failure of each target. Every method raises StoreError if Redis fails."""

    client: Client

    def record_arrival(self, channel: str, target: str, at: float) -> None:
        """Record a successful delivery."""
        with store_errors(), self.client.pipeline(transaction=False) as pipe:
            pipe.hset(HEALTH, f"arrived {channel} {target}", repr(at))
            pipe.hdel(HEALTH, f"since {channel} {target}")
            pipe.expire(HEALTH, HEALTH_FOR_S)
            pipe.execute()

    def record_failure(self, channel: str, target: str, reason: str, at: float) -> None:
        """Record a failed delivery and its reason."""
        with store_errors(), self.client.pipeline(transaction=False) as pipe:
            pipe.hset(HEALTH, f"failed {channel} {target}", f"{at!r} {reason}")
            pipe.hsetnx(HEALTH, f"since {channel} {target}", repr(at))
            pipe.expire(HEALTH, HEALTH_FOR_S)
            pipe.execute()

    def list_targets(self) -> list[TargetHealth]:
        """Return every target to which a delivery was tried in the last week."""
        with store_errors():
            rows = {key.decode(): value.decode() for key, value in self.client.hgetall(HEALTH).items()}
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


TIMEOUT_S = 5.0
_MAX_RESPONSE_BYTES = 64 * 1024


def build_ping(url: str) -> Callable[[], None]:
    """Return a function that GETs *url* and raises TemporaryDeliveryError unless the answer is 2xx.

    It takes five seconds at most and follows no redirect. Its error does not contain the URL.
    """
    address, end = parse_base_url(url), "/" if url.endswith("/") else ""

    def ping() -> None:
        response = send_request("GET", address, end, timeout_s=TIMEOUT_S, max_bytes=_MAX_RESPONSE_BYTES)
        if not response.is_ok:
            raise TemporaryDeliveryError(f"status_{response.status}")

    return ping


logger = logging.getLogger(__name__)
TASK_NAME = "heartbeat_url"
PING_EVERY_S = 60.0
LATE_AFTER_S = 60.0
# The same result for the same target is written at most this often.
_RECORD_EVERY_S = 5.0
_MAX_REASON = 100


@dataclass(eq=False)
class DeliveryHealthRecorder:
    """Records the results of deliveries, and ignores a StoreError: no delivery fails for it. Thread-safe."""

    store: RedisHealth

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._recorded: dict[tuple[str, str], tuple[str, float]] = {}

    def record_delivery(self, channel: str, target: str, delivery: Delivery, now: float) -> None:
        """Record the result of a delivery to a target."""
        reason = "" if delivery.receipt else one_line(delivery.reason, _MAX_REASON) or "unknown"
        with self._lock:
            known, at = self._recorded.get((channel, target), (None, 0.0))
            if known == reason and abs(now - at) < _RECORD_EVERY_S:
                return
            self._recorded[channel, target] = reason, now
        try:
            if reason:
                self.store.record_failure(channel, target, reason, now)
            else:
                self.store.record_arrival(channel, target, now)
        except StoreError:
            with self._lock:
                self._recorded.pop((channel, target), None)


@dataclass(repr=False)
class UptimePinger:
    """Calls the `heartbeat_url` while the receiver is healthy; each change of the problem is logged once.

    *ping* raises a DeliveryError that does not contain the URL, which may hold a secret.
    """

    ping: Callable[[], None]
    store: RedisHealth
    work_queue: WorkQueue
    queues: Sequence[str]
    channels: Sequence[str]
    _logged_problem: str = ""

    def ping_if_healthy(self, now: float) -> float:
        """Ping if the receiver is healthy; return the time of the next run.

        Raises StoreError, and sends no ping then.
        """
        outcome, problem = "withheld", self.find_problem(now)
        if not problem:
            try:
                self.ping()
                outcome = "called"
            except DeliveryError as error:
                outcome, problem = "failed", f"the call failed: {error.reason}"
        metrics.UPTIME_PINGS.labels(outcome).inc()
        if problem != self._logged_problem:
            if problem:
                event = "uptime ping failed" if outcome == "failed" else "uptime ping withheld"
                logger.warning(event, extra={"fields": {"because": problem}})
            else:
                logger.info("uptime ping succeeded again")
            self._logged_problem = problem
        return now + PING_EVERY_S

    def find_problem(self, now: float) -> str:
        """Return the first problem as a text that stays the same while it lasts; empty if there is none."""
        for queue in self.queues:
            if self.work_queue.measure_depth(queue, now)[1] >= LATE_AFTER_S:
                return f"queue {queue} is late"
        targets = self.store.list_targets()
        for channel in self.channels:
            if not evaluate_channel(channel, targets, now).is_healthy:
                return f"nothing goes through to {channel}"
        return ""
