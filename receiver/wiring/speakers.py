"""Who says what is no single incident: reviews, notices, storms."""

from __future__ import annotations

from receiver.channels.pagerduty.storm import PagerDutyStorms
from receiver.channels.slack.address_book import UserDirectory
from receiver.channels.slack.client import SlackClient
from receiver.channels.slack.notice_channel import SlackNotices
from receiver.channels.slack.poster import MessagePoster, SimulatedPoster, SlackPoster
from receiver.channels.slack.review_channel import SlackReviews
from receiver.channels.slack.storm_channel import SlackStorms
from receiver.domain.calendar import BusinessHours
from receiver.domain.policy import PAGERDUTY, SLACK, Target
from receiver.engine.health import DeliveryHealthRecorder
from receiver.engine.notices import NoticeService
from receiver.engine.pager_questions import PagerDutyStatusClient
from receiver.engine.review import ReviewService
from receiver.engine.routing_keys import RoutingKeys
from receiver.engine.storm_keeper import StormRates, StormReconciler
from receiver.engine.turns import RateLimiter
from receiver.wiring.channels import build_link_settings, build_rate_limiter, build_recorder
from receiver.wiring.parts import Parts

_TIMEOUT_S = 10.0


def build_review_service(parts: Parts, *, timeout_s: float = _TIMEOUT_S) -> ReviewService:
    """Return what posts the reviews of the routes that ask for them."""
    clock = parts.clock
    hours = parts.routing.business_hours or BusinessHours()
    routing = parts.routing
    return ReviewService(
        parts.reviews,
        parts.incidents,
        SlackReviews(_build_poster(parts, timeout_s)),
        hours,
        clock,
        link_settings=build_link_settings(parts),
        # A responder is not woken for what nobody was woken for.
        fallbacks={r.name: r.fallback for r in routing.routes if r.fallback not in routing.responders},
        notices=parts.notices,
        rate_limiter=build_rate_limiter(parts),
    )


def build_notice_service(parts: Parts) -> NoticeService:
    """Return what posts the receiver's own troubles."""
    name = parts.routing.notices_channel
    channel = SlackNotices(name, _build_poster(parts))
    return NoticeService(parts.notices, channel, parts.clock, build_rate_limiter(parts), Target(SLACK, name))


def build_storm_reconciler(
    parts: Parts, rate_limiter: RateLimiter, keys: RoutingKeys, status_client: PagerDutyStatusClient | None
) -> StormReconciler:
    """Return what says what storms have to say; simulated where there are no credentials."""
    routing, settings, clock = parts.routing, parts.settings, parts.clock
    book = UserDirectory(_build_client(parts), clock) if routing.slack_token else None
    slack = SlackStorms(_build_poster(parts), book)
    pager = PagerDutyStorms(settings.pagerduty_events_url, clock=clock, record=build_recorder(parts))
    limits = routing.limits
    rates = StormRates(
        limits.slack_posts.count / limits.slack_posts.per_s, limits.pagerduty.count / limits.pagerduty.per_s
    )
    return StormReconciler(
        parts.storm_store,
        parts.storms,
        parts.incidents,
        heads=parts.incidents,
        channels={SLACK: slack, PAGERDUTY: pager},
        routing=routing,
        rates=rates,
        clock=clock,
        rate_limiter=rate_limiter,
        paused_until=parts.maintenance.paused_until,
        public_url=settings.public_url,
        status_client=status_client,
        keys=keys,
        notices=parts.notices,
        health=DeliveryHealthRecorder(parts.health),
    )


def _build_poster(parts: Parts, timeout_s: float = _TIMEOUT_S) -> MessagePoster:
    """Return what posts to Slack; simulated where there is no token."""
    if not parts.routing.slack_token:
        return SimulatedPoster(build_recorder(parts), parts.clock)
    return SlackPoster(_build_client(parts, timeout_s), parts.clock)


def _build_client(parts: Parts, timeout_s: float = _TIMEOUT_S) -> SlackClient:
    return SlackClient(parts.routing.slack_token, parts.settings.slack_api_url, timeout_s)
