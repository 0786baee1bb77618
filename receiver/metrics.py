"""All Prometheus metrics; docs/metrics.md describes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial

import prometheus_client


class Counter(prometheus_client.Counter):
    """A counter that looks each child up once: `labels` takes as long as counting."""

    labels: Callable[..., prometheus_client.Counter] = cache(prometheus_client.Counter.labels)  # type: ignore[assignment]


class Histogram(prometheus_client.Histogram):
    """The same for histograms."""

    labels: Callable[..., prometheus_client.Histogram] = cache(prometheus_client.Histogram.labels)  # type: ignore[assignment]


# Of all processes of one host, the value set last.
Gauge = partial(prometheus_client.Gauge, multiprocess_mode="mostrecent")

WEBHOOKS = Counter("receiver_webhooks_total", "Webhooks answered, by status code.", ["code"])
ALERTS = Counter("receiver_alerts_total", "Alerts taken, by what became of them.", ["outcome"])
DELIVERIES = Counter(
    "receiver_deliveries_total", "Attempts to deliver, by channel and outcome.", ["channel", "outcome"]
)
DELIVERY_SECONDS = Histogram(
    "receiver_delivery_seconds",
    "How long one attempt to deliver took.",
    ["channel"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RATE_LIMITED = Counter("receiver_rate_limited_total", "Calls that a vendor answered with 429.", ["channel"])
ESCALATIONS = Counter(
    "receiver_escalations_total", "Steps of an escalation notified.", ["policy", "responder"]
)
ESCALATION_LATENESS = Histogram(
    "receiver_escalation_lateness_seconds",
    "How long after its due time a step was notified for the first time.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300),
)
HTTP_REJECTED = Counter("receiver_http_rejected_total", "Requests not let in, by the reason.", ["reason"])
STORMS = Counter("receiver_storms_total", "Storms begun.", ["target"])
WORKER_ERRORS = Counter("receiver_worker_errors_total", "Unhandled errors in the worker.")
UPTIME_PINGS = Counter(
    "receiver_uptime_pings_total", "Times heartbeat_url was to be called, by outcome.", ["outcome"]
)
UNUSABLE_RUNBOOKS = Counter(
    "receiver_unusable_runbook_links_total",
    "Messages posted whose alert has a runbook that is no web address.",
)
NOTICES = Counter("receiver_notices_total", "Notices, by what became of them.", ["outcome"])
# Set from the store at each scrape.
INCIDENTS = Gauge("receiver_incidents", "Incidents by state and severity.", ["state", "severity"])
QUEUE_DEPTH = Gauge("receiver_queue_depth", "Incidents that are due and not yet taken up.", ["queue"])
QUEUE_LAG = Gauge("receiver_queue_lag_seconds", "How long the first of them has been due.", ["queue"])
FAILED_DELIVERIES = Gauge(
    "receiver_failed_deliveries", "Deliveries that failed permanently and were not sent since."
)
REDIS_MEMORY = Gauge(
    "receiver_redis_memory_used_ratio",
    "How much of its maxmemory the fullest Redis server uses; 0 where none has a limit.",
)
MAINTENANCE = Gauge("receiver_maintenance", "1 while maintenance keeps everybody from being paged.")
CONFIG_SUCCESSFUL = Gauge(
    "receiver_config_last_reload_successful",
    "0 while a process goes on with an old configuration, as it refused a new one; else 1.",
)
CONFIG_TIMESTAMP = Gauge(
    "receiver_config_last_reload_timestamp_seconds", "When the configuration in force was loaded."
)
LAST_WEBHOOK = Gauge(
    "receiver_last_webhook_timestamp_seconds", "When the last webhook of a source came.", ["source"]
)
# In multiprocess mode a label value can't be removed again, and senders choose the source names.
_MAX_SOURCES = 100
OTHER_SOURCES = "(others)"


def record_last_webhooks(times: Mapping[str, float]) -> None:
    """Set the time of the last webhook of each source; sources after the first hundred share one label."""
    others = 0.0
    for source, at in times.items():
        if source in _sources or len(_sources) < _MAX_SOURCES:
            _sources.add(source)
            LAST_WEBHOOK.labels(source).set(at)
        else:
            others = max(others, at)
    if others:
        LAST_WEBHOOK.labels(OTHER_SOURCES).set(others)


_sources: set[str] = set()


def record_incident_counts(counts: dict[tuple[str, str], int]) -> None:
    """Set the number of unresolved incidents from *counts* by (state, severity); missing pairs become 0."""
    for state in ("open", "acknowledged"):
        for severity in ("critical", "error", "warning", "info", "none"):
            INCIDENTS.labels(state, severity).set(counts.get((state, severity), 0))
