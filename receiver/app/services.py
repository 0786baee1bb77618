"""Builds the services that web process and worker share, connected to Redis."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from receiver import clock as wall
from receiver.clock import Clock
from receiver.config.model import Routing
from receiver.config.settings import Settings
from receiver.config_state import ConfigReport, ConfigState
from receiver.engine.health import RedisHealth
from receiver.engine.jobs import JobQueue
from receiver.engine.queue import WorkQueue
from receiver.engine.rate_limit import TokenBuckets
from receiver.engine.simulated_messages import RedisSimulatedMessages
from receiver.heartbeats.service import TASK_NAME as HEARTBEATS
from receiver.heartbeats.service import HeartbeatFilter, RedisHeartbeats
from receiver.incidents.failures import RedisFailures
from receiver.incidents.former_routes import FormerRoutes, build_route_settings
from receiver.incidents.ingest import IncidentIngester
from receiver.incidents.service import IncidentService
from receiver.incidents.store import RedisIncidents
from receiver.last_webhooks import LastWebhooks
from receiver.maintenance import MaintenanceService, RedisMaintenance
from receiver.notices import RedisNotices, RejectedWebhooks
from receiver.reviews.service import RedisReviews
from receiver.runbooks.catalogue import RunbookCatalogue
from receiver.runbooks.remote import PinnedConnection, RunbookFetcher, resolve_host
from receiver.storage.connection import Client, connect, count_shards
from receiver.storage.keys import TASKS
from receiver.storage.script_clock import ScriptClock
from receiver.storage.server_check import RedisServerCheck
from receiver.storms.service import MAX_INITIAL_WAIT_S, StormService
from receiver.storms.store import RedisStorms


@dataclass(frozen=True)
class Services:
    """The services under one configuration."""

    settings: Settings
    routing: Routing
    incidents: RedisIncidents
    work_queue: WorkQueue
    simulated: RedisSimulatedMessages
    job_queue: JobQueue
    reviews: RedisReviews
    token_buckets: TokenBuckets
    maintenance: RedisMaintenance
    maintenance_service: MaintenanceService
    heartbeat_store: RedisHeartbeats
    health: RedisHealth
    server_check: RedisServerCheck
    config: ConfigReport
    last_webhooks: LastWebhooks
    notices: RedisNotices
    rejected_webhooks: RejectedWebhooks
    failures: RedisFailures
    storm_store: RedisStorms
    storms: StormService
    ingester: IncidentIngester
    incident_service: IncidentService
    runbooks: RunbookCatalogue
    clock: Clock
    run_id: str = ""


def build_services(
    settings: Settings,
    routing: Routing,
    clock: Clock = wall.now,
    *,
    client: Client | None = None,
    script_clock: ScriptClock | None = None,
    storms_after_s: float = MAX_INITIAL_WAIT_S,
    pause: Callable[[float], None] = time.sleep,
    process: str = "",
    find_config_state: Callable[[], ConfigState] | None = None,
) -> Services:
    """Return the services, connected to the Redis of *settings* at first use, or through *client*.

    A storm begins when a new message or page would wait longer than *storms_after_s*. Lua scripts use the
    time of Redis unless another *script_clock* is given. *pause* sleeps for so many seconds within a webhook.
    *find_config_state* returns the state of this *process*'s configuration, where that can change later.
    """
    loaded = ConfigState(clock())
    url = settings.redis_url.reveal()
    client, shards = open_store(settings) if client is None else client, count_shards(url)
    script_clock = ScriptClock(clock) if script_clock is None else script_clock
    incidents = RedisIncidents(
        client,
        history_s=routing.history,
        flap_window_s=routing.flap_window,
        shards=shards,
        script_clock=script_clock,
    )
    work_queue, maintenance = (
        WorkQueue(client, shards=shards, script_clock=script_clock),
        RedisMaintenance(client),
    )
    heartbeat_store = RedisHeartbeats(client, script_clock=script_clock)
    notices = RedisNotices(
        client, is_wanted=bool(routing.notices_channel), shards=shards, script_clock=script_clock
    )
    storm_store = RedisStorms(client, history_s=routing.history, shards=shards, script_clock=script_clock)
    heartbeat_filter = HeartbeatFilter(
        routing.heartbeats,
        heartbeat_store,
        partial(work_queue.enqueue, TASKS, HEARTBEATS),
        routing.sources,
        notices,
    )
    former_routes = FormerRoutes(incidents, build_route_settings(routing), pause)
    return Services(
        settings=settings,
        routing=routing,
        incidents=incidents,
        work_queue=work_queue,
        storm_store=storm_store,
        storms=StormService(storm_store, incidents, work_queue, clock, storms_after_s),
        simulated=RedisSimulatedMessages(client),
        job_queue=JobQueue(client, shards=shards, script_clock=script_clock),
        reviews=RedisReviews(client, shards=shards),
        server_check=RedisServerCheck(client, clock, shards=shards),
        token_buckets=TokenBuckets(client, script_clock=script_clock),
        maintenance=maintenance,
        maintenance_service=MaintenanceService(maintenance, work_queue),
        heartbeat_store=heartbeat_store,
        health=RedisHealth(client),
        config=ConfigReport(process, find_config_state or (lambda: loaded), client),
        last_webhooks=LastWebhooks(client),
        notices=notices,
        rejected_webhooks=RejectedWebhooks(notices, clock),
        failures=RedisFailures(client, incidents, shards=shards),
        ingester=IncidentIngester(incidents, routing, former_routes, heartbeat_filter.extract_signals, pause),
        incident_service=IncidentService(incidents),
        runbooks=build_runbook_catalogue(settings, routing, clock),
        clock=clock,
        run_id=os.environ.get("RECEIVER_RUN_ID", ""),
    )


def open_store(settings: Settings) -> Client:
    """Return a client for the Redis of *settings*, with their maximum of connections."""
    return connect(settings.redis_url.reveal(), max_connections=settings.redis_max_connections)


def build_runbook_catalogue(
    settings: Settings, routing: Routing, clock: Clock = wall.now
) -> RunbookCatalogue:
    """Return the catalogue of the runbooks that *routing* names."""
    return RunbookCatalogue(
        routing.runbooks,
        settings.public_url,
        fetcher=RunbookFetcher(
            routing.runbook_hosts, clock, PinnedConnection, resolve_host, routing.section_titles
        ),
        section_titles=routing.section_titles,
        clock=clock,
    )
