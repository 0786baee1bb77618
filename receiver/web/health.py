"""Whether the process lives, whether it can do its work, and its numbers."""

from __future__ import annotations

import os

from flask import Blueprint, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from receiver import telemetry
from receiver.store.keys import LANES
from receiver.web.answers import refuse
from receiver.wiring import Parts

# A worker beats every 0.7 s.
_SILENT_AFTER_S = 3.0


def build_health(parts: Parts) -> Blueprint:
    """Return the routes that monitoring asks."""
    health = Blueprint("health", __name__)

    @health.get("/healthz")
    def healthz() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @health.get("/readyz")
    def readyz() -> Response:
        """Ready: Redis answers, and a worker (under `run`: this run's) gave a sign of life."""
        workers = parts.agenda.workers(parts.clock() - _SILENT_AFTER_S)
        ours = [name for name in workers if not parts.run_id or name.startswith(f"{parts.run_id}.")]
        if not ours:
            return refuse(
                503, "no worker is alive: start `receiver worker`, or look into its log", "no_worker"
            )
        return jsonify({"ready": True, "workers": len(ours)})

    @health.get("/metrics")
    def metrics() -> Response:
        _look(parts)
        registry = REGISTRY
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return health


def _look(parts: Parts) -> None:
    """Bring the numbers that are read from the store up to now."""
    for lane in LANES:
        depth, lag = parts.agenda.depth(lane, parts.clock())
        telemetry.AGENDA_DEPTH.labels(lane).set(depth)
        telemetry.AGENDA_LAG.labels(lane).set(lag)
    telemetry.FAILED_DELIVERIES.set(parts.incidents.count_failed())
    telemetry.count_incidents(parts.incidents.census())
