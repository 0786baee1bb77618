"""What a worker does under one configuration."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from receiver.domain.judge import PollPolicy
from receiver.domain.policy import PAGERDUTY, SLACK
from receiver.domain.ports import Channel
from receiver.engine.duties import PeriodicTask, PeriodicTasks
from receiver.engine.health import TASK_NAME as UPTIME_PING
from receiver.engine.health import DeliveryHealthRecorder, UptimePinger
from receiver.engine.heartbeats import TASK_NAME as HEARTBEATS
from receiver.engine.heartbeats import HeartbeatMonitor
from receiver.engine.maintenance import TASK_NAME as MAINTENANCE
from receiver.engine.maintenance import MaintenanceTask
from receiver.engine.pager_desk import PagerDutyWebhookHandler
from receiver.engine.pager_questions import PagerDutyStatusClient
from receiver.engine.reconcile import Reconciler
from receiver.engine.refused import TASK_NAME as REFUSED
from receiver.engine.refused import RefusedDeliveries
from receiver.engine.routing_keys import RoutingKeys
from receiver.engine.watch import AlertmanagerPoller
from receiver.engine.witness import AlertmanagerStatusCheck
from receiver.lookups.heartbeat_url import build_call
from receiver.lookups.pagerduty import PagerDutyRestClient
from receiver.store.keys import QUEUES
from receiver.store.notices import TASK_NAME as NOTICES
from receiver.wiring.channels import (
    build_acknowledgement_check,
    build_channels,
    build_clients,
    build_notification_builder,
    build_page_checker,
    build_rate_limiter,
    build_rest,
)
from receiver.wiring.parts import Parts
from receiver.wiring.speakers import build_notice_service, build_review_service, build_storm_reconciler

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Machine:
    """What a worker works with under one configuration."""

    reconciler: Reconciler
    periodic_tasks: PeriodicTasks


def build_machine(
    parts: Parts,
    channels: Mapping[str, Channel] | None = None,
    keys: RoutingKeys | None = None,
    rest: PagerDutyRestClient | None = None,
) -> Machine:
    """Return what a worker does with incidents and duties under this configuration.

    *channels* and *rest* are used in place of those that it names. *keys* are the routing keys that the
    process has known; those of this configuration are added.
    """
    routing, clock = parts.routing, parts.clock
    keys = keys or RoutingKeys()
    keys.remember_keys(routing.responders.values())
    rest, rate_limiter = rest or build_rest(parts), build_rate_limiter(parts)
    status_client = PagerDutyStatusClient(rest, clock) if rest is not None else None
    poll_policies = {
        source: PollPolicy(one.looks, one.trust_after) for source, one in routing.alertmanagers.items()
    }
    status_check = AlertmanagerStatusCheck(build_clients(parts), poll_policies, parts.incident_service, clock)
    poller = AlertmanagerPoller(status_check, parts.incidents, parts.incident_service, poll_policies, clock)
    webhook_handler = PagerDutyWebhookHandler(
        parts.incident_service, parts.incidents, rest, routing, clock, storms=parts.storms
    )
    return Machine(
        Reconciler(
            parts.incidents,
            channels or build_channels(parts),
            routing,
            build_notification_builder(parts, rest),
            status_check,
            clock=clock,
            rate_limiter=rate_limiter,
            paused_until=parts.maintenance.paused_until,
            health=DeliveryHealthRecorder(parts.health),
            acknowledgement_check=build_acknowledgement_check(parts, status_client),
            notices=parts.notices,
            storms=parts.storms,
            storm_reconciler=build_storm_reconciler(parts, rate_limiter, keys, status_client),
            checker=build_page_checker(parts, status_client),
            keys=keys,
        ),
        PeriodicTasks(
            _list_repeated(parts, poller), parts.job_queue, {"pagerduty": webhook_handler.handle_event}, clock
        ),
    )


def _list_repeated(parts: Parts, poller: AlertmanagerPoller) -> dict[str, PeriodicTask]:
    """Return by name what is done again and again."""
    routing, review_service = parts.routing, build_review_service(parts)
    upkeep = MaintenanceTask(parts.maintenance, parts.incidents, parts.work_queue, _saying(parts))
    heartbeat_monitor = HeartbeatMonitor(
        routing, routing.heartbeats, parts.heartbeat_store, parts.ingester, parts.incidents
    )
    refused = RefusedDeliveries(parts.failures, routing.digests)
    works: dict[str, Callable[[float], float]] = {
        MAINTENANCE: upkeep.run,
        HEARTBEATS: heartbeat_monitor.run,
        REFUSED: refused.run,
    }
    for source, one in routing.alertmanagers.items():
        if one.urls:
            works[f"watch-{source}"] = _watching(poller, source, one.look_every)
    for route in routing.routes:
        if route.review:
            works[f"review-{route.name}"] = partial(review_service.run, route)
    if routing.heartbeat_url:
        call = build_call(routing.heartbeat_url)
        works[UPTIME_PING] = UptimePinger(
            call, parts.health, parts.work_queue, QUEUES, (SLACK, PAGERDUTY)
        ).run
    if routing.notices_channel:
        works[NOTICES] = build_notice_service(parts).run
    return {name: PeriodicTask(work) for name, work in works.items()}


def _saying(parts: Parts) -> Callable[[str, str, float], None]:
    """Return what says a trouble in the log, and in the channel of notices where there is one."""

    def say(notice_id: str, text: str, now: float) -> None:
        logger.warning(text)
        parts.notices.save_notice(notice_id, text, now)

    return say


def _watching(poller: AlertmanagerPoller, source: str, every_s: float) -> Callable[[float], float]:
    def work(now: float) -> float:
        poller.poll_source(source)
        return now + every_s

    return work
