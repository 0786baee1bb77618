"""The endpoints for monitoring: /healthz (liveness), /readyz (readiness) and /metrics (Prometheus)."""

from __future__ import annotations

import logging
import os
import socket
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from flask import Blueprint, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from receiver import metrics
from receiver.app.channels import list_threads
from receiver.clock import CLOCKS_AGREE_WITHIN_S, Clock
from receiver.config_state import ConfigReport
from receiver.engine.queue import SILENT_AFTER_S, WorkQueue
from receiver.errors import StoreError
from receiver.incidents.failures import RedisFailures
from receiver.incidents.open_incidents import OpenIncidents
from receiver.last_webhooks import LastWebhooks
from receiver.maintenance import RedisMaintenance
from receiver.storage.server_check import RedisServerCheck
from receiver.web.process_environment import VARIABLE
from receiver.web.server.connection import request_timeout
from receiver.web.server.errors import error_response

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, repr=False)
class ProcessMonitor:
    """The living workers, and the clocks of all processes. Raises StoreError."""

    work_queue: WorkQueue
    run_id: str
    clock: Clock

    def list_workers(self) -> list[str]:
        """Return the names of the living workers."""
        now = self.clock()
        # A heartbeat later than now was written before Redis' clock was set back.
        return self.work_queue.list_workers(now - SILENT_AFTER_S, now + SILENT_AFTER_S)

    def list_own_workers(self) -> list[str]:
        """Return the names of the living workers, under `run` only those of this run."""
        self.compare_clocks()  # records this process's clock, so that /readyz of other processes sees it
        prefix = f"{self.run_id}." if self.run_id else ""
        return [name for name in self.list_workers() if name.startswith(prefix)]

    def compare_clocks(self) -> dict[str, float]:
        """Record this process's clock; return by how many seconds each process's clock is ahead of Redis'.

        Returns an empty dict while all clocks agree.
        """
        ahead = self.work_queue.compare_clocks(f"web {socket.gethostname()}", self.clock())
        differences = (0.0, *ahead.values())
        return ahead if max(differences) - min(differences) > CLOCKS_AGREE_WITHIN_S else {}


@dataclass(frozen=True, slots=True, repr=False)
class GaugeUpdater:
    """Sets the gauges that are read from Redis at each scrape. Raises StoreError."""

    work_queue: WorkQueue
    failures: RedisFailures
    server_check: RedisServerCheck
    maintenance: RedisMaintenance
    config: ConfigReport
    last_webhooks: LastWebhooks
    open_incidents: OpenIncidents

    def update_gauges(self, now: float) -> None:
        """Set the gauges to their values at *now*."""
        for queue in list_threads():
            depth, lag = self.work_queue.measure_depth(queue, now)
            metrics.QUEUE_DEPTH.labels(queue).set(depth)
            metrics.QUEUE_LAG.labels(queue).set(lag)
        metrics.FAILED_DELIVERIES.set(self.failures.count_failures())
        metrics.REDIS_MEMORY.set(self.server_check.get_memory_used_ratio())
        metrics.MAINTENANCE.set(self.maintenance.find_active(now) is not None)
        counts = Counter((one.state, one.severity.value) for one in self.open_incidents.list_all())
        metrics.record_incident_counts(counts)
        metrics.CONFIG_SUCCESSFUL.set(not self.config.list_refused())
        metrics.CONFIG_TIMESTAMP.set(self.config.find_state().loaded_at)
        metrics.record_last_webhooks(self.last_webhooks.list_all())


class FolderCollector(MultiProcessCollector):
    """Collects the metrics of all processes from their folder, whose path may contain `[`, `*` or `?`."""

    def collect(self) -> Iterable[Metric]:
        files = sorted(map(str, Path(os.environ[VARIABLE]).glob("*.db")))
        metrics: Iterable[Metric] = self.merge(files, accumulate=True)  # type: ignore[no-untyped-call]
        return metrics


def build_health(
    server_check: RedisServerCheck, processes: ProcessMonitor, gauges: GaugeUpdater, clock: Clock
) -> Blueprint:
    """Return the blueprint with the three endpoints."""
    health = Blueprint("health", __name__)

    @health.get("/healthz")
    def healthz() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @health.get("/readyz")
    def readyz() -> Response:
        """Return 200 if Redis takes and keeps writes and a worker (under `run`: of this run) is alive."""
        try:
            with request_timeout():
                server_check.check_writable()
                fault = server_check.find_problem()
                workers = processes.list_own_workers()
        except StoreError as error:
            logger.warning("not ready", extra={"fields": {"error": str(error)}, "state": "store"})
            return error_response(503, f"Redis: {error.advice or 'see the log'}", "store")
        if fault:
            return error_response(503, fault, "eviction")
        if not workers:
            return error_response(
                503, "no worker is alive: start `receiver worker`, or look into its log", "no_worker"
            )
        return jsonify({"ready": True, "workers": len(workers)})

    @health.get("/metrics")
    def metrics() -> Response:
        gauges.update_gauges(clock())
        registry = REGISTRY
        if VARIABLE in os.environ:
            registry = CollectorRegistry()
            FolderCollector(registry)  # type: ignore[no-untyped-call]
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return health
