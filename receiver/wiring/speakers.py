"""Who says what is no single incident: reviews, notices, storms."""

from __future__ import annotations

from receiver.business_hours import BusinessHours
from receiver.engine.health import DeliveryHealthRecorder
from receiver.engine.rate_limit import RateLimiter
from receiver.incidents.routing_keys import RoutingKeys
from receiver.integrations.pagerduty.acknowledgement_check import PagerDutyStatusClient
from receiver.integrations.pagerduty.channel import PagerDutyStorms
from receiver.integrations.slack.client import SlackClient
from receiver.integrations.slack.directory import UserDirectory
from receiver.integrations.slack.posts import (
    MessagePoster,
    SimulatedPoster,
    SlackNotices,
    SlackPoster,
    SlackReviews,
    SlackStorms,
)
from receiver.model.routing import PAGERDUTY, SLACK, Target
from receiver.notices import NoticeService
from receiver.reviews.service import ReviewService
from receiver.storms.reconciler import StormRates, StormReconciler
from receiver.wiring.channels import build_link_settings, build_rate_limiter, build_simulated_recorder
from receiver.wiring.parts import Services

_TIMEOUT_S = 10.0


def build_review_service(services: Services, *, timeout_s: float = _TIMEOUT_S) -> ReviewService:
    """Return what posts the reviews of the routes that ask for them."""
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
        # A responder is not woken for what nobody was woken for.
        fallbacks={r.name: r.fallback for r in routing.routes if r.fallback not in routing.responders},
        notices=services.notices,
        rate_limiter=build_rate_limiter(services),
    )


def build_notice_service(services: Services) -> NoticeService:
    """Return what posts the receiver's own troubles."""
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
    """Return what says what storms have to say; simulated where there are no credentials."""
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
    """Return what posts to Slack; simulated where there is no token."""
    if not services.routing.slack_token:
        return SimulatedPoster(build_simulated_recorder(services), services.clock)
    return SlackPoster(_build_client(services, timeout_s), services.clock)


def _build_client(services: Services, timeout_s: float = _TIMEOUT_S) -> SlackClient:
    return SlackClient(services.routing.slack_token, services.settings.slack_api_url, timeout_s)
