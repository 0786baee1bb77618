"""What takes people's words out of Slack."""

from __future__ import annotations

from functools import partial

from receiver.business_hours import next_business_day_start
from receiver.integrations.pagerduty.oncall import PagerDutyOnCallLookup
from receiver.integrations.slack.commands import OnCallReport
from receiver.integrations.slack.interactions import SlackInteractionHandler, SlackInteractions
from receiver.model.incident import Person
from receiver.storage.keys import TASKS
from receiver.wiring.channels import build_pagerduty_rest
from receiver.wiring.parts import Services
from receiver.wiring.speakers import build_review_service

# Slack waits 3 s for the answer to a button, and what we do meanwhile must fit.
_SLACK_TIMEOUT_S = 2.0


def build_slack_interactions(services: Services) -> SlackInteractions:
    """Return what does what people ask in Slack, over HTTP and over a socket alike."""
    routing, rest = services.routing, build_pagerduty_rest(services)
    hours = routing.business_hours
    review_service = build_review_service(services, timeout_s=_SLACK_TIMEOUT_S)

    def mark_reviewed(review_id: str, by: Person, now: float) -> None:
        record = review_service.mark_reviewed(review_id, by, now)
        if record.edit_at is not None:  # Slack could not be told just now
            services.work_queue.enqueue(TASKS, f"review-{record.review.route}", max(now, record.edit_at))

    handler = SlackInteractionHandler(
        services.incident_service,
        services.incidents,
        routing,
        OnCallReport(routing.responders, PagerDutyOnCallLookup(rest, services.clock) if rest else None),
        services.clock,
        zone=routing.zone,
        next_business_day_start=partial(next_business_day_start, hours) if hours is not None else None,
        can_silence=lambda incident: incident.source in routing.alertmanagers,
        mark_reviewed=mark_reviewed,
        acknowledge_storm=lambda storm_id, by, now: services.storms.respond(
            storm_id, "acknowledge", by, now, is_renewing=True
        ),
    )
    return SlackInteractions(
        handler.handle,
        routing.slack_token,
        services.settings.slack_api_url,
        clock=services.clock,
        responders=routing.slack_responders,
    )
