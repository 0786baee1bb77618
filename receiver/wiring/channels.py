"""What reaches the outside: channels, and those who may be asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from receiver.engine.health import DeliveryHealthRecorder
from receiver.engine.notification import Notification
from receiver.engine.ports import Channel
from receiver.engine.rate_limit import RateLimiter
from receiver.http_client import parse_base_url
from receiver.incidents.notifications import LinkSettings, NotificationBuilder
from receiver.integrations.alertmanager.channel import AlertmanagerChannel
from receiver.integrations.alertmanager.client import AlertmanagerClient
from receiver.integrations.pagerduty.acknowledgement_check import AcknowledgementCheck, PagerDutyStatusClient
from receiver.integrations.pagerduty.channel import PagerDutyChannel
from receiver.integrations.pagerduty.oncall import PagerDutyOnCallLookup
from receiver.integrations.pagerduty.page_checks import PageChecker
from receiver.integrations.pagerduty.rest_api import PagerDutyRestClient
from receiver.integrations.pagerduty.sync import PagerDutySync
from receiver.integrations.slack.channel import SimulatedSlack, SlackChannel
from receiver.model.routing import ALERTMANAGER, PAGERDUTY, SLACK
from receiver.wiring.parts import Services

logger = logging.getLogger(__name__)


def build_alertmanager_clients(services: Services) -> dict[str, AlertmanagerClient]:
    """Return who may be asked about the alerts of each source."""
    configured = services.routing.alertmanagers.items()
    return {
        source: AlertmanagerClient(one.urls, clock=services.clock) for source, one in configured if one.urls
    }


def build_channels(services: Services) -> dict[str, Channel]:
    """Return the channel of each lane: simulated where there are no credentials."""
    settings, clock = services.settings, services.clock
    token = services.routing.slack_token

    record = build_simulated_recorder(services)

    def record_event(notification: Notification, event: Mapping[str, Any]) -> None:
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
    """Return what is handed each message that went nowhere for want of credentials."""

    def record(message: Mapping[str, Any]) -> None:
        fields = {name: message.get(name) for name in ("incident", "to", "key", "text")}
        logger.info("simulated send", extra={"fields": fields})
        services.simulated.save_message(message)

    return record


def build_pagerduty_rest(services: Services) -> PagerDutyRestClient | None:
    """Return who may be asked about PagerDuty's incidents and schedules; None without a token."""
    token = services.routing.pagerduty_api_token
    return (
        PagerDutyRestClient(services.settings.pagerduty_api_url, token, clock=services.clock)
        if token
        else None
    )


def build_acknowledgement_check(
    services: Services, status_client: PagerDutyStatusClient | None
) -> AcknowledgementCheck | None:
    """Return what asks PagerDuty before a further step; None without a token."""
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
    """Return what checks that PagerDuty has each page; without a token it goes by PagerDuty's webhooks."""
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
    """Return the addresses that messages link to."""
    routing = services.routing
    more: dict[str, tuple[tuple[str, str], ...]] = {route.name: route.links for route in routing.routes}
    return LinkSettings(
        public_url=services.settings.public_url,
        # Without a login: these are shown to people.
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
    """Return what gathers the words of notifications under this configuration."""
    return NotificationBuilder(
        services.runbooks,
        build_link_settings(services),
        PagerDutyOnCallLookup(rest, services.clock) if rest else None,
    )


def build_rate_limiter(services: Services) -> RateLimiter:
    """Return what has everybody keep to the limits of this configuration."""
    simulated = () if services.routing.slack_token else (SLACK,)
    return RateLimiter(services.token_buckets, services.routing.limits, services.clock, simulated=simulated)
