"""The endpoints for monitoring: /healthz (liveness), /readyz (readiness) and /metrics (Prometheus)."""

from __future__ import annotations

import logging
import os
import socket

from flask import Blueprint, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from receiver import metrics
from receiver.app.services import Services
from receiver.clock import CLOCKS_AGREE_WITHIN_S
from receiver.engine.queue import SILENT_AFTER_S
from receiver.errors import StoreError
from receiver.storage.keys import QUEUES
from receiver.web.environment import VARIABLE
from receiver.web.server.connection import request_timeout
from receiver.web.server.errors import error_response

logger = logging.getLogger(__name__)


def build_health(services: Services) -> Blueprint:
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
                services.server_check.check_writable()
                fault = services.server_check.find_problem()
                workers = _list_workers(services)
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
        _update_gauges(services)
        registry = REGISTRY
        if VARIABLE in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return health


def _list_workers(services: Services) -> list[str]:
    """Return the names of the living workers, under `run` only those of this run."""
    now = services.clock()
    # A heartbeat later than now was written before Redis' clock was set back.
    workers = services.work_queue.list_workers(now - SILENT_AFTER_S, now + SILENT_AFTER_S)
    compare_clocks(services)  # records this process's clock, so that /readyz of other processes sees it
    return [name for name in workers if not services.run_id or name.startswith(f"{services.run_id}.")]


def compare_clocks(services: Services) -> dict[str, float]:
    """Record this process's clock; return by how many seconds each process's clock is ahead of Redis' own.

    Returns an empty dict while all clocks agree. Raises StoreError.
    """
    ahead = services.work_queue.compare_clocks(f"web {socket.gethostname()}", services.clock())
    differences = (0.0, *ahead.values())
    return ahead if max(differences) - min(differences) > CLOCKS_AGREE_WITHIN_S else {}


def _update_gauges(services: Services) -> None:
    """Set the gauges whose values are read from Redis."""
    for queue in QUEUES:
        depth, lag = services.work_queue.depth(queue, services.clock())
        metrics.QUEUE_DEPTH.labels(queue).set(depth)
        metrics.QUEUE_LAG.labels(queue).set(lag)
    metrics.FAILED_DELIVERIES.set(services.incidents.count_failed())
    metrics.REDIS_MEMORY.set(services.server_check.get_memory_used_ratio())
    metrics.MAINTENANCE.set(services.maintenance.find_active(services.clock()) is not None)
    metrics.record_incident_counts(services.incidents.count_open())
    metrics.CONFIG_SUCCESSFUL.set(not services.config.list_refused())
    metrics.CONFIG_TIMESTAMP.set(services.config.state.loaded_at)
    metrics.record_last_webhooks(services.last_webhooks.list_all())
