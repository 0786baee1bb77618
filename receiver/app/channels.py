"""Builds the channels and the clients of the vendors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from receiver.app.services import Services
from receiver.business_hours import BusinessHours, next_business_day_start
from receiver.engine.health import DeliveryHealthRecorder
from receiver.engine.notification import IncidentNotification
from receiver.engine.ports import Channel
from receiver.engine.rate_limit import RateLimiter
from receiver.http_client import parse_base_url
from receiver.incidents.notifications import LinkSettings, NotificationBuilder
from receiver.incidents.routing_keys import RoutingKeys
from receiver.incidents.service import SilenceService
from receiver.integrations.alertmanager.channel import AlertmanagerChannel
from receiver.integrations.alertmanager.client import AlertmanagerClient
from receiver.integrations.pagerduty.acknowledgement_check import AcknowledgementCheck, PagerDutyStatusClient
from receiver.integrations.pagerduty.channel import PagerDutyChannel, PagerDutyStorms
from receiver.integrations.pagerduty.oncall import PagerDutyOnCallLookup
from receiver.integrations.pagerduty.page_checks import PageChecker
from receiver.integrations.pagerduty.rest_api import PagerDutyRestClient
from receiver.integrations.pagerduty.sync import PagerDutySync
from receiver.integrations.slack.channel import SimulatedSlack, SlackChannel
from receiver.integrations.slack.client import SlackClient
from receiver.integrations.slack.commands import OnCallReport, SlackCommands
from receiver.integrations.slack.directory import UserDirectory
from receiver.integrations.slack.interactions import SlackInteractionHandler, SlackInteractions
from receiver.integrations.slack.posts import (
    MessagePoster,
    SimulatedPoster,
    SlackNotices,
    SlackPoster,
    SlackReviews,
    SlackStorms,
)
from receiver.model.incident import Person
from receiver.model.routing import ALERTMANAGER, PAGERDUTY, SLACK, Target
from receiver.notices import NoticeService
from receiver.reviews.service import ReviewService
from receiver.storage.keys import TASKS
from receiver.storms.reconciler import StormRates, StormReconciler

logger = logging.getLogger(__name__)


def build_alertmanager_clients(services: Services) -> dict[str, AlertmanagerClient]:
    """Return the client of each source's Alertmanager."""
    configured = services.routing.alertmanagers.items()
    return {
        source: AlertmanagerClient(one.urls, clock=services.clock) for source, one in configured if one.urls
    }


def build_channels(services: Services) -> dict[str, Channel]:
    """Return the channel of each queue; simulated if there are no credentials."""
    settings, clock = services.settings, services.clock
    token = services.routing.slack_token

    record = build_simulated_recorder(services)

    def record_event(notification: IncidentNotification, event: Mapping[str, Any]) -> None:
        target = notification.action.target
        record(
            {
                "at": notification.now,
                "incident": notification.incident.id,
                "to": f"{target.kind}:{target.address}",
                "key": notification.action.key,
                "text": event.get("payload", {}).get("summary", event.get("event_action", "")),
                "event": event,
            }
        )

    slack: Channel = (
        SlackChannel(token, settings.slack_api_url, clock=clock)
        if token
        else SimulatedSlack(record, clock=clock)
    )
    pager = PagerDutyChannel(settings.pagerduty_events_url, clock=clock, record=record_event)
    silences = AlertmanagerChannel(build_alertmanager_clients(services), clock=clock)
    return {SLACK: slack, PAGERDUTY: pager, ALERTMANAGER: silences}


def build_simulated_recorder(services: Services) -> Callable[[Mapping[str, Any]], None]:
    """Return a function that records each message that was simulated because credentials are missing."""

    def record(message: Mapping[str, Any]) -> None:
        fields = {name: message.get(name) for name in ("incident", "to", "key", "text")}
        logger.info("simulated send", extra={"fields": fields})
        services.simulated.save_message(message)

    return record


def build_pagerduty_rest(services: Services) -> PagerDutyRestClient | None:
    """Return a client for PagerDuty's incidents and schedules; None without a token."""
    token = services.routing.pagerduty_api_token
    return (
        PagerDutyRestClient(services.settings.pagerduty_api_url, token, clock=services.clock)
        if token
        else None
    )


def build_acknowledgement_check(
    services: Services, status_client: PagerDutyStatusClient | None
) -> AcknowledgementCheck | None:
    """Return the check for an acknowledgement in PagerDuty before a further step; None without a token."""
    if status_client is None:
        return None
    answers = PagerDutySync(services.incident_service, services.incidents, services.clock)
    return AcknowledgementCheck(
        status_client,
        answers,
        services.incident_service,
        services.storms,
        services.incidents,
        clock=services.clock,
    )


def build_page_checker(services: Services, status_client: PagerDutyStatusClient | None) -> PageChecker:
    """Return the check that PagerDuty has each page; without a token it relies on PagerDuty's webhooks."""
    answers = PagerDutySync(services.incident_service, services.incidents, services.clock)
    return PageChecker(
        services.incidents,
        answers,
        status_client,
        services.clock,
        notices=services.notices,
        health=DeliveryHealthRecorder(services.health),
    )


def build_link_settings(services: Services) -> LinkSettings:
    """Return the URLs that messages link to."""
    routing = services.routing
    more: dict[str, tuple[tuple[str, str], ...]] = {route.name: route.links for route in routing.routes}
    return LinkSettings(
        public_url=services.settings.public_url,
        # Without a login, since users see these.
        alertmanagers={
            source: parse_base_url(one.urls[0]).url
            for source, one in routing.alertmanagers.items()
            if one.urls
        },
        more={**more, "": routing.links},
    )


def build_notification_builder(
    services: Services, rest: PagerDutyRestClient | None = None
) -> NotificationBuilder:
    """Return the builder of notifications under this configuration."""
    return NotificationBuilder(
        services.runbooks,
        build_link_settings(services),
        build_on_call(services, rest),
    )


def build_on_call(services: Services, rest: PagerDutyRestClient | None) -> PagerDutyOnCallLookup:
    """Return who is on call by PagerDuty; without a token it knows nobody."""
    return PagerDutyOnCallLookup(rest.find_on_call if rest else lambda _: (), services.clock)


def build_rate_limiter(services: Services) -> RateLimiter:
    """Return the limiter that makes all processes keep this configuration's rate limits."""
    simulated = () if services.routing.slack_token else (SLACK,)
    return RateLimiter(services.token_buckets, services.routing.limits, services.clock, simulated=simulated)


_TIMEOUT_S = 10.0


def build_review_service(services: Services, *, timeout_s: float = _TIMEOUT_S) -> ReviewService:
    """Return the service that posts the reviews of the routes that have them."""
    clock = services.clock
    hours = services.routing.business_hours or BusinessHours()
    routing = services.routing
    return ReviewService(
        services.reviews,
        services.incidents,
        SlackReviews(_build_poster(services, timeout_s)),
        hours,
        clock,
        link_settings=build_link_settings(services),
        # A review pages no responder: its incidents paged none.
        fallbacks={r.name: r.fallback for r in routing.routes if r.fallback not in routing.responders},
        notices=services.notices,
        rate_limiter=build_rate_limiter(services),
    )


def build_notice_service(services: Services) -> NoticeService:
    """Return the service that posts notices."""
    name = services.routing.notices_channel
    channel = SlackNotices(name, _build_poster(services))
    return NoticeService(
        services.notices, channel, services.clock, build_rate_limiter(services), Target(SLACK, name)
    )


def build_storm_reconciler(
    services: Services,
    rate_limiter: RateLimiter,
    keys: RoutingKeys,
    status_client: PagerDutyStatusClient | None,
) -> StormReconciler:
    """Return the reconciler of storms; simulated if there are no credentials."""
    routing, settings, clock = services.routing, services.settings, services.clock
    book = UserDirectory(_build_client(services), clock) if routing.slack_token else None
    slack = SlackStorms(_build_poster(services), book)
    pager = PagerDutyStorms(
        settings.pagerduty_events_url, clock=clock, record=build_simulated_recorder(services)
    )
    limits = routing.limits
    rates = StormRates(
        limits.slack_posts.count / limits.slack_posts.per_s, limits.pagerduty.count / limits.pagerduty.per_s
    )
    return StormReconciler(
        services.storm_store,
        services.storms,
        services.incidents,
        heads=services.incidents,
        channels={SLACK: slack, PAGERDUTY: pager},
        routing=routing,
        rates=rates,
        clock=clock,
        rate_limiter=rate_limiter,
        paused_until=services.maintenance.paused_until,
        public_url=settings.public_url,
        status_client=status_client,
        keys=keys,
        notices=services.notices,
        health=DeliveryHealthRecorder(services.health),
    )


def _build_poster(services: Services, timeout_s: float = _TIMEOUT_S) -> MessagePoster:
    """Return the client that posts to Slack; simulated without a token."""
    if not services.routing.slack_token:
        return SimulatedPoster(build_simulated_recorder(services), services.clock)
    return SlackPoster(_build_client(services, timeout_s), services.clock)


def _build_client(services: Services, timeout_s: float = _TIMEOUT_S) -> SlackClient:
    return SlackClient(services.routing.slack_token, services.settings.slack_api_url, timeout_s)


# Slack waits 3 s for the response to a button click, so our calls within it must be shorter.
_SLACK_TIMEOUT_S = 2.0


def build_slack_interactions(services: Services) -> SlackInteractions:
    """Return the handler of Slack's buttons and commands, over HTTP and Socket Mode alike."""
    routing, rest = services.routing, build_pagerduty_rest(services)
    hours = routing.business_hours
    review_service = build_review_service(services, timeout_s=_SLACK_TIMEOUT_S)

    def mark_reviewed(review_id: str, by: Person, now: float) -> None:
        record = review_service.mark_reviewed(review_id, by, now)
        if record.edit_at is not None:  # Slack could not be updated now
            services.work_queue.enqueue(TASKS, f"review-{record.review.route}", max(now, record.edit_at))

    def acknowledge_storm(storm_id: str, by: Person, now: float) -> None:
        services.storms.respond(storm_id, "acknowledge", by, now, is_renewing=True)

    commands = SlackCommands(
        services.incident_service,
        services.incidents,
        routing,
        silencer=SilenceService(
            services.incident_service, lambda incident: incident.source in routing.alertmanagers
        ),
        on_call_report=OnCallReport(routing.responders if rest else {}, build_on_call(services, rest)),
        clock=services.clock,
        zone=routing.zone,
    )
    handler = SlackInteractionHandler(
        services.incident_service,
        services.incidents,
        commands,
        zone=routing.zone,
        next_business_day_start=(
            partial(next_business_day_start, hours) if hours is not None else lambda _: 0.0
        ),
        buttons={"reviewed": mark_reviewed, "acknowledge_storm": acknowledge_storm},
        clock=services.clock,
    )
    return SlackInteractions(
        handler.handle,
        routing.slack_token,
        services.settings.slack_api_url,
        clock=services.clock,
        responders=routing.slack_responders,
    )
