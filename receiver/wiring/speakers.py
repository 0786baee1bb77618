"""Who says what is no single incident: reviews, notices, storms."""

from __future__ import annotations

from receiver.channels.pagerduty.storm import PagerDutyStorms
from receiver.channels.slack.notice_channel import SimulatedNotices, SlackNotices
from receiver.channels.slack.review_channel import SimulatedReviews, SlackReviews
from receiver.channels.slack.storm_channel import SimulatedStorms, SlackStorms
from receiver.domain.calendar import BusinessHours
from receiver.domain.notice import NoticeChannel
from receiver.domain.policy import PAGERDUTY, SLACK
from receiver.domain.review_ports import ReviewChannel
from receiver.domain.storm_ports import StormChannel
from receiver.engine.notices import NoticeBoard
from receiver.engine.paced_reviews import PacedReviews
from receiver.engine.review import Reviewer
from receiver.engine.storm_keeper import Pace, StormKeeper
from receiver.engine.turns import Turns
from receiver.wiring.channels import build_places, build_recorder, build_turns
from receiver.wiring.parts import Parts


def build_reviewer(parts: Parts, *, timeout_s: float = 10.0) -> Reviewer:
    """Return what posts the reviews of the routes that ask for them."""
    token, clock = parts.routing.slack_token, parts.clock
    channel: ReviewChannel = (
        PacedReviews(
            SlackReviews(token, parts.settings.slack_api_url, timeout_s, clock),
            build_turns(parts),
            parts.routing.limits,
        )
        if token
        else SimulatedReviews(build_recorder(parts), clock=clock)
    )
    hours = parts.routing.business_hours or BusinessHours()
    routing = parts.routing
    return Reviewer(
        parts.reviews,
        parts.incidents,
        channel,
        hours,
        clock,
        places=build_places(parts),
        # A responder is not woken for what nobody was woken for.
        fallbacks={r.name: r.fallback for r in routing.routes if r.fallback not in routing.responders},
        notices=parts.notices,
    )


def build_notice_board(parts: Parts) -> NoticeBoard:
    """Return what posts the receiver's own troubles."""
    name, token = parts.routing.notices_channel, parts.routing.slack_token
    channel: NoticeChannel = (
        SlackNotices(name, token, parts.settings.slack_api_url, clock=parts.clock)
        if token
        else SimulatedNotices(name, build_recorder(parts), clock=parts.clock)
    )
    return NoticeBoard(parts.notices, channel, parts.clock)


def build_keeper(parts: Parts, turns: Turns) -> StormKeeper:
    """Return what says what storms have to say; simulated where there are no credentials."""
    routing, settings, clock = parts.routing, parts.settings, parts.clock
    record = build_recorder(parts)
    slack: StormChannel = (
        SlackStorms(routing.slack_token, settings.slack_api_url, clock=clock)
        if routing.slack_token
        else SimulatedStorms(record, clock=clock)
    )
    pager = PagerDutyStorms(settings.pagerduty_events_url, clock=clock, record=record)
    limits = routing.limits
    pace = Pace(
        limits.slack_posts.count / limits.slack_posts.per_s, limits.pagerduty.count / limits.pagerduty.per_s
    )
    return StormKeeper(
        parts.shelf_of_storms,
        parts.storms,
        parts.incidents,
        heads=parts.incidents,
        channels={SLACK: slack, PAGERDUTY: pager},
        rules=routing,
        pace=pace,
        clock=clock,
        turns=turns,
        paused_until=parts.maintenance.paused_until,
        public_url=settings.public_url,
    )
