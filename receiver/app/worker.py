"""Builds the worker: reconciler, periodic tasks and queues under one configuration, and reloads it."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Mapping
from functools import partial

from receiver.app.channels import (
    build_alertmanager_clients,
    build_channels,
    build_dispatcher,
    build_notice_service,
    build_notification_builder,
    build_pagerduty_rest,
    build_rate_limiter,
    build_review_service,
    build_slack_interactions,
    build_storm_reconciler,
    list_notifying_channels,
    list_threads,
)
from receiver.app.services import Services, build_services, open_store
from receiver.config.model import Routing
from receiver.config.settings import Settings
from receiver.config_state import ConfigState
from receiver.engine.dispatcher import Dispatcher
from receiver.engine.health import TASK_NAME as UPTIME_PING
from receiver.engine.health import DeliveryHealthRecorder, UptimePinger, build_ping
from receiver.engine.jobs import Background, PeriodicTask, PeriodicTasks
from receiver.engine.ports import Channel, PreEscalationCheck
from receiver.engine.rate_limit import RateLimiter
from receiver.engine.reconcilers import Reconcilers
from receiver.engine.worker import Worker
from receiver.errors import ConfigError
from receiver.heartbeats.service import TASK_NAME as HEARTBEATS
from receiver.heartbeats.service import HeartbeatMonitor
from receiver.incidents.deliveries import IncidentDeliveries
from receiver.incidents.failures import TASK_NAME as REFUSED
from receiver.incidents.failures import RefusedDeliveries
from receiver.incidents.reconciler import IncidentReconciler, TransitionExecutor
from receiver.incidents.routing_preview import SeverityNotices
from receiver.integrations.alertmanager.status import PollPolicy
from receiver.integrations.alertmanager.status_check import AlertmanagerStatusCheck
from receiver.integrations.pagerduty.acknowledgement_check import AcknowledgementCheck, PagerDutyStatusClient
from receiver.integrations.pagerduty.page_confirmation import PageConfirmer
from receiver.integrations.pagerduty.rest_api import PagerDutyRestClient
from receiver.integrations.pagerduty.routing_keys import RoutingKeys
from receiver.integrations.pagerduty.sync import PagerDutySync, PagerDutyWebhookHandler
from receiver.integrations.slack.socket_mode import SlackSocket
from receiver.maintenance import TASK_NAME as MAINTENANCE
from receiver.maintenance import MaintenancePolicies, MaintenanceTask
from receiver.model.routing import ALERTMANAGER, PAGERDUTY
from receiver.notices import TASK_NAME as NOTICES
from receiver.notices import RedisNotices

logger = logging.getLogger(__name__)


def build_reconcilers(
    services: Services,
    channels: Mapping[str, Channel] | None = None,
    keys: RoutingKeys | None = None,
    rest: PagerDutyRestClient | None = None,
) -> Reconcilers:
    """Return the reconcilers and the periodic tasks under this configuration.

    *channels* and *rest* replace those of the configuration. *keys* are the routing keys that the process
    remembers; those of this configuration are added.
    """
    routing, clock = services.routing, services.clock
    keys = keys or RoutingKeys()
    keys.remember_keys(routing.responders.values())
    rest, rate_limiter = rest or build_pagerduty_rest(services), build_rate_limiter(services)
    status_client = PagerDutyStatusClient(rest, clock) if rest is not None else None
    incidents, incident_service, storms = services.incidents, services.incident_service, services.storms
    configured = routing.alertmanagers.items()
    poll_policies = {source: PollPolicy(one.missing_polls, one.min_uptime_s) for source, one in configured}
    status_check = AlertmanagerStatusCheck(
        build_alertmanager_clients(services), poll_policies, incidents, incident_service, clock
    )
    sync = PagerDutySync(incident_service, incidents, clock)
    checks: dict[str, PreEscalationCheck] = {ALERTMANAGER: status_check}
    if status_client is not None:
        checks[PAGERDUTY] = AcknowledgementCheck(status_client, sync, incident_service, storms, clock)
    health = DeliveryHealthRecorder(services.health)
    page_confirmer = PageConfirmer(incidents, sync, status_client, services.notices, health, clock)
    webhook_handler = PagerDutyWebhookHandler(sync, incidents, rest, routing, storms, clock)
    dispatcher = build_dispatcher(services, channels or build_channels(services, keys), rate_limiter)
    notification_builder = build_notification_builder(services, rest)
    incident_reconciler = IncidentReconciler(
        incidents=incidents,
        policies=MaintenancePolicies(routing),
        deliveries=IncidentDeliveries(incidents, notification_builder, dispatcher, clock),
        transitions=TransitionExecutor(incident_service, checks, page_confirmer),
        severity_notices=SeverityNotices(services.notices, routing),
        rate_limiter=rate_limiter,
        storms=storms,
        clock=clock,
    )
    periodic_tasks = PeriodicTasks(
        _build_periodic_tasks(services, status_check, dispatcher, rate_limiter),
        services.job_queue,
        {"pagerduty": webhook_handler.handle_event},
        clock,
    )
    storm_reconciler = build_storm_reconciler(services, dispatcher, rate_limiter, status_client)
    return Reconcilers(incident_reconciler, storm_reconciler, periodic_tasks)


def _build_periodic_tasks(
    services: Services,
    status_check: AlertmanagerStatusCheck,
    dispatcher: Dispatcher,
    rate_limiter: RateLimiter,
) -> dict[str, PeriodicTask]:
    """Return the periodic tasks by name."""
    routing, review_service = services.routing, build_review_service(services, dispatcher, rate_limiter)
    report_problem = partial(_report_problem, services.notices)
    maintenance_task = MaintenanceTask(
        services.maintenance, services.incidents, services.work_queue, report_problem
    )
    heartbeat_monitor = HeartbeatMonitor(
        routing,
        routing.heartbeats,
        services.heartbeat_store,
        services.ingester,
        services.incidents,
        services.incident_service,
    )
    tasks: dict[str, PeriodicTask] = {
        MAINTENANCE: maintenance_task.announce_state,
        HEARTBEATS: heartbeat_monitor.check_signals,
        REFUSED: RefusedDeliveries(services.failures, routing.secret_digests).retry_refused,
    }
    for source, one in routing.alertmanagers.items():
        if one.urls:
            tasks[f"poll-{source}"] = partial(_run_poll, status_check, source, one.poll_interval_s)
    for route in routing.routes:
        if route.review:
            tasks[f"review-{route.name}"] = partial(review_service.run_due, route)
    if routing.heartbeat_url:
        ping, queues = build_ping(routing.heartbeat_url), tuple(list_threads())
        pinger = UptimePinger(ping, services.health, services.work_queue, queues, list_notifying_channels())
        tasks[UPTIME_PING] = pinger.ping_if_healthy
    if routing.notices_channel:
        tasks[NOTICES] = build_notice_service(services, dispatcher, rate_limiter).run_due
    return tasks


def _report_problem(notices: RedisNotices, notice_id: str, text: str, now: float) -> None:
    """Report a problem in the log and, if configured, in the channel of `notices`."""
    logger.warning(text)
    notices.save_notice(notice_id, text, now)


def _run_poll(status_check: AlertmanagerStatusCheck, source: str, every_s: float, now: float) -> float:
    status_check.poll_source(source)
    return now + every_s


class ReceiverWorker:
    """A worker whose configuration can be replaced."""

    def __init__(self, settings: Settings, routing: Routing) -> None:
        self._settings = settings
        host = socket.gethostname()
        self._client = open_store(settings)  # shared by all configurations
        services = build_services(
            settings,
            routing,
            client=self._client,
            process=f"worker on {host} (process {os.getpid()})",
            find_config_state=lambda: self._config_state,
        )
        self._clock = services.clock
        self._config_state = ConfigState(services.clock())
        self._background = Background([services.config.publish_state])
        self._keys = RoutingKeys()
        # Under `run` our successor has the same name, and so inherits our leases.
        name = f"{services.run_id or secrets.token_hex(8)}.{host}"
        reconcilers = build_reconcilers(services, keys=self._keys)
        self._worker = Worker(name, services.work_queue, reconcilers, services.clock, threads=list_threads())
        self._socket: SlackSocket | None = None
        if token := settings.slack_app_token:
            self._socket = SlackSocket(token, settings.slack_api_url, build_slack_interactions(services))

    def run_until_stopped(self) -> None:
        """Work until `stop`."""
        if self._socket is not None:
            self._socket.open_connection()
        self._background.start()
        self._worker.run_until_stopped()
        self._background.stop()
        if self._socket is not None:
            self._socket.close_connection()

    def stop(self) -> None:
        """Ask `run_until_stopped` to return."""
        self._worker.stop()

    def reload_routing(self, routing: Routing) -> None:
        """Replace the configuration."""
        services = build_services(self._settings, routing, client=self._client)
        self._worker.use_reconcilers(build_reconcilers(services, keys=self._keys))
        if self._socket is not None:
            self._socket.handler = build_slack_interactions(services)
        self._config_state = ConfigState(self._clock())

    def record_refused_config(self, error: ConfigError) -> None:
        """Keep the configuration in force after a faulty one was refused, and report that."""
        self._config_state = self._config_state.with_refusal(error.problems, self._clock())
