"""What takes people's words out of Slack."""

from __future__ import annotations

from functools import partial

from receiver.channels.slack.porter import SlackInteractions
from receiver.domain.calendar import next_business_day_start
from receiver.domain.person import Person
from receiver.engine.desk import SlackInteractionHandler
from receiver.engine.duties import TASKS
from receiver.engine.roster import OnCallReport
from receiver.lookups.oncall import PagerDutyOnCallLookup
from receiver.wiring.channels import build_rest
from receiver.wiring.parts import Parts
from receiver.wiring.speakers import build_review_service

# Slack waits 3 s for the answer to a button, and what we do meanwhile must fit.
_SLACK_TIMEOUT_S = 2.0


def build_slack_interactions(parts: Parts) -> SlackInteractions:
    """Return what does what people ask in Slack, over HTTP and over a socket alike."""
    routing, rest = parts.routing, build_rest(parts)
    hours = routing.business_hours
    review_service = build_review_service(parts, timeout_s=_SLACK_TIMEOUT_S)

    def mark_reviewed(review_id: str, by: Person, now: float) -> None:
        record = review_service.mark_reviewed(review_id, by, now)
        if record.edit_at is not None:  # Slack could not be told just now
            parts.work_queue.enqueue(TASKS, f"review-{record.review.route}", max(now, record.edit_at))

    handler = SlackInteractionHandler(
        parts.incident_service,
        parts.incidents,
        routing,
        OnCallReport(routing.responders, PagerDutyOnCallLookup(rest, parts.clock) if rest else None),
        parts.clock,
        zone=routing.zone,
        next_business_day_start=partial(next_business_day_start, hours) if hours is not None else None,
        can_silence=lambda incident: incident.source in routing.alertmanagers,
        mark_reviewed=mark_reviewed,
        acknowledge_storm=lambda storm_id, by, now: parts.storms.respond(
            storm_id, "acknowledge", by, now, is_renewing=True
        ),
    )
    return SlackInteractions(
        handler.handle,
        routing.slack_token,
        parts.settings.slack_api_url,
        clock=parts.clock,
        responders=routing.slack_responders,
    )
