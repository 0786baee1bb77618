"""Builds the channels and the clients of the vendors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from receiver.app.services import Services
from receiver.business_hours import BusinessHours
from receiver.engine.dispatcher import Dispatcher
from receiver.engine.health import DeliveryHealthRecorder
from receiver.engine.ports import Channel
from receiver.engine.rate_limit import RateLimiter
from receiver.http_client import parse_base_url
from receiver.incidents.notification_builder import LinkSettings, NotificationBuilder
from receiver.incidents.service import SilenceService
from receiver.integrations.alertmanager.channel import AlertmanagerChannel
from receiver.integrations.alertmanager.client import AlertmanagerClient
from receiver.integrations.pagerduty.acknowledgement_check import PagerDutyStatusClient
from receiver.integrations.pagerduty.channel import PagerDutyChannel
from receiver.integrations.pagerduty.rest_api import PagerDutyOnCallLookup, PagerDutyRestClient
from receiver.integrations.pagerduty.routing_keys import RoutingKeys
from receiver.integrations.slack.channel import SimulatedSlack, SlackChannel
from receiver.integrations.slack.commands import OnCallReport, SlackInteractionHandler
from receiver.integrations.slack.interactions import SlackInteractions
from receiver.model.incident import Person
from receiver.model.routing import ALERTMANAGER, PAGERDUTY, SLACK, Target
from receiver.notices import NoticeService
from receiver.reviews.service import ReviewService, ReviewSettings
from receiver.storage.keys import TASKS
from receiver.storms.reconciler import StormReconciler, StormSettings

logger = logging.getLogger(__name__)
_SLACK_TIMEOUT_S = 10.0


def build_alertmanager_clients(services: Services) -> dict[str, AlertmanagerClient]:
    """Return the client of each source's Alertmanager."""
    configured = services.routing.alertmanagers.items()
    return {
        source: AlertmanagerClient(one.urls, clock=services.clock) for source, one in configured if one.urls
    }


@dataclass(frozen=True)
class ChannelContext:
    """What channels are built from. *record* stores a message of a simulated channel; *timeout_s* limits a
    call where a person waits for it, None: the channel's own.
    """

    services: Services
    keys: RoutingKeys
    record: Callable[[Mapping[str, Any]], None]
    timeout_s: float | None = None


@dataclass(frozen=True)
class ChannelType:
    """A kind of channel. An entry in `CHANNEL_TYPES` is all that a new one needs beside its package.

    *name* is the kind of its targets and its work queue, and *threads* is how many of a worker's threads send
    through it. *limits* are the keys of its rate limits in `limits`, that of new messages first.
    *responder_key* is its key in a responder; empty where no responder is notified through it.
    """

    name: str
    limits: tuple[str, ...]
    threads: int
    responder_key: str
    build: Callable[[ChannelContext], Channel]


def _build_slack(context: ChannelContext) -> Channel:
    services = context.services
    token, clock = services.routing.slack_token, services.clock
    if not token:
        return SimulatedSlack(context.record, clock=clock)
    timeout_s = context.timeout_s or _SLACK_TIMEOUT_S
    return SlackChannel(token, services.settings.slack_api_url, timeout_s, clock=clock)


def _build_pagerduty(context: ChannelContext) -> Channel:
    url, clock = context.services.settings.pagerduty_events_url, context.services.clock
    return PagerDutyChannel(context.keys, url, clock=clock, record=context.record)


def _build_alertmanager(context: ChannelContext) -> Channel:
    clients = build_alertmanager_clients(context.services)
    return AlertmanagerChannel(clients, clock=context.services.clock)


# A slow vendor occupies a thread until the timeout; the others go on. A hundred calls a second to a vendor
# that answers after 200 ms are 20 at once. A thread without work waits for its queue: it costs no CPU, no
# connection to Redis, and about 0.1 MiB.
CHANNEL_TYPES: dict[str, ChannelType] = {
    one.name: one
    for one in (
        ChannelType(SLACK, ("slack_posts", "slack_updates"), 24, "slack", _build_slack),
        ChannelType(PAGERDUTY, ("pagerduty",), 24, "pagerduty", _build_pagerduty),
        ChannelType(ALERTMANAGER, (), 4, "", _build_alertmanager),
    )
}
_TASK_THREADS = 4


def list_threads() -> dict[str, int]:
    """Return the number of threads for each work queue of a worker."""
    return {**{one.name: one.threads for one in CHANNEL_TYPES.values()}, TASKS: _TASK_THREADS}


def list_notifying_channels() -> tuple[str, ...]:
    """Return the names of the channels through which responders are notified."""
    return tuple(one.name for one in CHANNEL_TYPES.values() if one.responder_key)


def build_channels(
    services: Services, keys: RoutingKeys, timeout_s: float | None = None
) -> dict[str, Channel]:
    """Return the channel of each type by name; simulated if there are no credentials."""
    context = ChannelContext(services, keys, build_simulated_recorder(services), timeout_s)
    return {name: one.build(context) for name, one in CHANNEL_TYPES.items()}


def build_dispatcher(
    services: Services, channels: Mapping[str, Channel], rate_limiter: RateLimiter
) -> Dispatcher:
    """Return the dispatcher of every kind of message through *channels*."""
    health, digests = DeliveryHealthRecorder(services.health), services.routing.secret_digests
    return Dispatcher(channels, rate_limiter, health, services.notices, digests, services.clock)


def build_simulated_recorder(services: Services) -> Callable[[Mapping[str, Any]], None]:
    """Return a function that records each message that was simulated because credentials are missing."""

    def record(message: Mapping[str, Any]) -> None:
        fields = {name: message.get(name) for name in ("incident", "to", "key", "text")}
        logger.info("simulated send", extra={"fields": fields})
        services.simulated.save_message(message)

    return record


def build_pagerduty_rest(services: Services) -> PagerDutyRestClient | None:
    """Return a client for PagerDuty's incidents and schedules; None without a token."""
    token, url = services.routing.pagerduty_api_token, services.settings.pagerduty_api_url
    return PagerDutyRestClient(url, token, clock=services.clock) if token else None


def build_link_settings(services: Services) -> LinkSettings:
    """Return the URLs that messages link to."""
    routing, configured = services.routing, services.routing.alertmanagers.items()
    more: dict[str, tuple[tuple[str, str], ...]] = {route.name: route.links for route in routing.routes}
    # Without a login, since users see these.
    alertmanagers = {source: parse_base_url(one.urls[0]).url for source, one in configured if one.urls}
    return LinkSettings(services.settings.public_url, alertmanagers, {**more, "": routing.links})


def build_notification_builder(services: Services, rest: PagerDutyRestClient | None) -> NotificationBuilder:
    """Return the builder of notifications under this configuration."""
    return NotificationBuilder(
        services.runbooks, build_link_settings(services), build_on_call(services, rest)
    )


def build_on_call(services: Services, rest: PagerDutyRestClient | None) -> PagerDutyOnCallLookup:
    """Return who is on call by PagerDuty; without a token it returns no name."""
    return PagerDutyOnCallLookup(rest.find_on_call if rest else lambda _: (), services.clock)


def build_rate_limiter(services: Services) -> RateLimiter:
    """Return the limiter that makes all processes keep this configuration's rate limits."""
    simulated = () if services.routing.slack_token else (SLACK,)
    return RateLimiter(services.token_buckets, services.routing.limits, services.clock, simulated=simulated)


def build_review_service(
    services: Services, dispatcher: Dispatcher, rate_limiter: RateLimiter
) -> ReviewService:
    """Return the service that posts the reviews of the routes that have them."""
    routing = services.routing
    settings = ReviewSettings(
        routing.business_hours or BusinessHours(),
        build_link_settings(services),
        # A review pages no responder: its incidents paged none.
        fallbacks={r.name: r.fallback for r in routing.routes if r.fallback not in routing.responders},
    )
    return ReviewService(services.reviews, services.incidents, dispatcher, rate_limiter, settings)


def build_notice_service(
    services: Services, dispatcher: Dispatcher, rate_limiter: RateLimiter
) -> NoticeService:
    """Return the service that posts notices."""
    target = Target(SLACK, services.routing.notices_channel)
    return NoticeService(services.notices, dispatcher, rate_limiter, target, services.clock)


def build_storm_reconciler(
    services: Services,
    dispatcher: Dispatcher,
    rate_limiter: RateLimiter,
    status_client: PagerDutyStatusClient | None,
) -> StormReconciler:
    """Return the reconciler of storms."""
    limits, paused_until = services.routing.limits, services.maintenance.paused_until
    first = {one.name: getattr(limits, one.limits[0]) for one in CHANNEL_TYPES.values() if one.limits}
    rates = {name: limit.count / limit.per_s for name, limit in first.items()}
    return StormReconciler(
        storms=services.storms,
        incidents=services.incidents,
        dispatcher=dispatcher,
        status_client=status_client,
        rate_limiter=rate_limiter,
        settings=StormSettings(services.routing, rates, paused_until, services.settings.public_url),
        clock=services.clock,
    )


# Slack waits 3 s for the response to a button click, so our calls within it must be shorter.
_BUTTON_TIMEOUT_S = 2.0


def build_slack_interactions(services: Services) -> SlackInteractions:
    """Return the handler of Slack's buttons and commands, over HTTP and Socket Mode alike."""
    routing, rest = services.routing, build_pagerduty_rest(services)
    rate_limiter = build_rate_limiter(services)
    channels = build_channels(services, RoutingKeys(), _BUTTON_TIMEOUT_S)
    dispatcher = build_dispatcher(services, channels, rate_limiter)
    review_service = build_review_service(services, dispatcher, rate_limiter)

    def mark_reviewed(review_id: str, by: Person, now: float) -> None:
        record = review_service.mark_reviewed(review_id, by, now)
        if (edit_at := record.find_edit_at(now)) is not None:  # Slack could not be updated now
            services.work_queue.enqueue(TASKS, f"review-{record.review.route}", max(now, edit_at))

    def acknowledge_storm(storm_id: str, by: Person, now: float) -> None:
        services.storms.record_response(storm_id, "acknowledge", by, now, is_renewing=True)

    handler = SlackInteractionHandler(
        incident_service=services.incident_service,
        silence_service=SilenceService(
            services.incident_service, lambda incident: incident.source in routing.alertmanagers
        ),
        incidents=services.incidents,
        routing=routing,
        on_call_report=OnCallReport(routing.responders if rest else {}, build_on_call(services, rest)),
        clock=services.clock,
        buttons={"reviewed": mark_reviewed, "acknowledge_storm": acknowledge_storm},
    )
    return SlackInteractions(
        handler.execute_request,
        routing.slack_token,
        services.settings.slack_api_url,
        clock=services.clock,
        responders=routing.slack_responders,
    )
