"""Sending PagerDuty events for incidents (`PagerDutyChannel`) and for storms (`PagerDutyStorms`).

Each call sends one event and returns a receipt, or raises a temporary or a permanent DeliveryError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from receiver import clock
from receiver.engine.notification import IncidentNotification
from receiver.errors import DeliveryError, PermanentDeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.integrations.pagerduty.event import (
    MAX_NAME,
    MAX_SUMMARY,
    SEVERITIES,
    format_iso_time,
    render_action,
    render_event,
    render_minimal,
    sanitize_line,
    sanitize_link,
)
from receiver.integrations.pagerduty.events_api import ApiResponse, EventsClient
from receiver.model.delivery import Receipt
from receiver.storms.model import StormNotification, StormSummary
from receiver.text import Secret

Record = Callable[[IncidentNotification, Mapping[str, Any]], None]
# The pause after a 429 without Retry-After: long enough to help, short enough for a page.
_WAIT_WHEN_LIMITED_S = 5.0
_TRY_LATER = (408, 425)
# After an internal error or a gateway error the event may have been accepted; after a 503 it was not.
_MAYBE_ACCEPTED = (500, 502, 504)
_NO_SUCH_KEY = (401, 403, 404)
_MENTIONS_KEY = re.compile(r"routing.?key|integration.?key|invalid.?key", re.IGNORECASE)


def _discard_event(_notification: IncidentNotification, _event: Mapping[str, Any]) -> None:
    """Record nothing."""


class PagerDutyChannel:
    """Triggers, acknowledges and resolves pages; the routing key is the target's secret.

    Without a key the channel is simulated: *record* is called with the event instead of sending it.
    *timeout_s* limits connecting, and each wait for the next bytes of the response.
    """

    def __init__(
        self,
        events_url: str,
        timeout_s: float = 8.0,
        clock: Callable[[], float] = clock.now,
        record: Record = _discard_event,
    ) -> None:
        self._client = EventsClient(events_url, timeout_s)
        self._clock = clock
        self._record = record

    def send(self, notification: IncidentNotification) -> Receipt:
        """Send the event once; the receipt's reference is the dedup key.

        A page whose content PagerDuty refuses is sent again at once with the required fields only: a page
        without details still wakes the responder. Raises a DeliveryError otherwise; never sleeps.
        """
        event = render_event(notification)
        routing_key = notification.action.target.secret
        dedup_key = str(event["dedup_key"])
        if not routing_key:
            self._record(notification, event)
            return Receipt(self._clock(), dedup_key, is_simulated=True)
        note = send_event(self._client, routing_key, event)
        return Receipt(self._clock(), dedup_key, note=note)

    def find_receipt(self, notification: IncidentNotification, since: float) -> None:  # noqa: ARG002
        """Return None always: the dedup key makes sending again harmless, so no lookup is needed.

        A trigger with the key of an open alert is merged into it; acknowledging or resolving a second time
        changes nothing.
        """
        return


def send_event(client: EventsClient, routing_key: Secret, event: Mapping[str, Any]) -> str:
    """Send *event*; send a refused trigger once more with the required fields only.

    Returns the note for the receipt, which says that details were left out; empty if they were not. Raises a
    DeliveryError when the event is not accepted.
    """
    response, note = client.post_event(routing_key, event), ""
    if event["event_action"] == "trigger" and _is_refused(response):
        response = client.post_event(routing_key, render_minimal(event))
        note = "without details: PagerDuty refused the full event"
    if not response.is_accepted:
        raise _convert_refusal(response)
    return note


def _is_refused(response: ApiResponse) -> bool:
    """Return whether PagerDuty refused the content of the event, not the routing key or the rate."""
    if response.status in _NO_SUCH_KEY or response.status in _TRY_LATER or response.status == 429:
        return False
    return 400 <= response.status < 500 and not _MENTIONS_KEY.search(response.message)


def _convert_refusal(response: ApiResponse) -> DeliveryError:
    """Return the DeliveryError for a response other than a 2xx."""
    detail = f"HTTP {response.status}: {response.message}" if response.message else f"HTTP {response.status}"
    if response.status == 429:
        wait = _WAIT_WHEN_LIMITED_S if response.retry_after is None else response.retry_after
        return TemporaryDeliveryError("rate_limited", detail, retry_after=wait)
    if response.status >= 500 or response.status in _TRY_LATER:
        wait = response.retry_after or 0.0
        return TemporaryDeliveryError(
            "server_error", detail, retry_after=wait, maybe_sent=response.status in _MAYBE_ACCEPTED
        )
    if _is_refused(response):
        return PermanentDeliveryError("invalid_event", detail)
    if response.status >= 400:
        return PermanentDeliveryError("invalid_routing_key", detail, kind=RefusalKind.CREDENTIALS)
    # A redirect or another unexpected status comes from a proxy in between; a retry may get past it.
    return TemporaryDeliveryError("unexpected_answer", detail)


Json = dict[str, Any]
StormRecord = Callable[[Mapping[str, object]], None]
_MAX_NAMES_IN_TITLE = 3
_MAX_NAMES = 50
_MAX_CHANNELS = 3


class PagerDutyStorms:
    """Triggers, acknowledges and resolves storm pages; without a routing key it is simulated."""

    def __init__(
        self,
        events_url: str,
        timeout_s: float = 8.0,
        clock: Callable[[], float] = clock.now,
        record: StormRecord = lambda _: None,
    ) -> None:
        self._client = EventsClient(events_url, timeout_s)
        self._clock = clock
        self._record = record

    def send_storm(self, notification: StormNotification) -> Receipt:
        """Send the event once; the receipt's reference is the dedup key. Raises a DeliveryError."""
        event, target = render_storm_event(notification), notification.action.target
        if not target.secret:
            rendered = event.get("payload", {}).get("summary", event["event_action"])
            self._record(
                {
                    "at": notification.now,
                    "incident": "",
                    "storm": notification.storm.id,
                    "to": f"{target.kind}:{target.address}",
                    "key": notification.action.key,
                    "text": rendered,
                    "event": event,
                }
            )
            return Receipt(self._clock(), str(event["dedup_key"]), is_simulated=True)
        note = send_event(self._client, target.secret, event)
        return Receipt(self._clock(), str(event["dedup_key"]), note=note)

    def find_storm(self, notification: StormNotification, since: float) -> Receipt | None:  # noqa: ARG002  # the port's
        """Return None always: the dedup key makes sending again harmless."""
        return None


def render_storm_event(notification: StormNotification) -> Json:
    """Return the event for a Page, an AcknowledgePage or a ResolvePage; TypeError for anything else."""
    return render_action(notification.action, lambda key: _render_trigger(notification, key))


def render_storm_summary(summary: StormSummary) -> str:
    """Return the page's title: `37 incidents in #alerts-critical: 20 HighCPU, 12 DiskFull, 5 others`."""
    number = "1 incident" if summary.total == 1 else f"{summary.total} incidents"
    channels = [sanitize_line(name, MAX_NAME) for name in summary.channels[:_MAX_CHANNELS]]
    where = f" in {', '.join(channels)}" if channels else ""
    more = "" if len(summary.channels) <= _MAX_CHANNELS else " and others"
    rendered = [f"{number} {_name(name)}" for name, number in summary.names[:_MAX_NAMES_IN_TITLE]]
    rest = sum(number for _, number in summary.names[_MAX_NAMES_IN_TITLE:])
    rendered += [f"{rest} other{'s' if rest > 1 else ''}"] if rest else []
    return sanitize_line(f"{number}{where}{more}: {', '.join(rendered)}", MAX_SUMMARY)


def _render_trigger(notification: StormNotification, dedup_key: str) -> Json:
    storm, summary = notification.storm, notification.summary
    event: Json = {
        "event_action": "trigger",
        "dedup_key": dedup_key,
        "payload": {
            "summary": render_storm_summary(summary),
            "source": "receiver",
            "severity": SEVERITIES[summary.severity],
            "timestamp": format_iso_time(storm.began_at),
            "class": "storm",
            "custom_details": {
                "incidents": summary.total,
                "by_alertname": {_name(name): number for name, number in summary.names[:_MAX_NAMES]},
                "by_severity": {str(severity): number for severity, number in summary.severities},
                "note": "Acknowledging or resolving this does so to all incidents it counts.",
            },
        },
        "client": "receiver",
    }
    base = sanitize_link(notification.public_url)
    if base:
        event["client_url"] = f"{base.rstrip('/')}/storms/{storm.id}"
    return event


def _name(name: str) -> str:
    return sanitize_line(name, MAX_NAME) or "alert without a name"
