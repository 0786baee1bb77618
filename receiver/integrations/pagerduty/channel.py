"""Pages by PagerDuty: one event for each call, its outcome a receipt or one of our two failures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from receiver import clock
from receiver.engine.notification import Notification
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

Record = Callable[[Notification, Mapping[str, Any]], None]
# A 429 that names no wait: long enough to help, short enough for a page.
_WAIT_WHEN_LIMITED_S = 5.0
_TRY_LATER = (408, 425)
# A server that failed at its work, or a gateway that lost its answer, may have taken the event; one
# that says 503 has not.
_MAYBE_ACCEPTED = (500, 502, 504)
_NO_SUCH_KEY = (401, 403, 404)
_MENTIONS_KEY = re.compile(r"routing.?key|integration.?key|invalid.?key", re.IGNORECASE)


def _discard_event(_notification: Notification, _event: Mapping[str, Any]) -> None:
    """Record nothing."""


class PagerDutyChannel:
    """Pages, acknowledges and resolves; the routing key is the target's secret.

    Without a key it is simulated: *record* is handed what would have been sent. *timeout_s* bounds
    connecting, and each wait for the answer's next bytes.
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

    def send(self, notification: Notification) -> Receipt:
        """Send the event once; the receipt's reference is the dedup key.

        A page that is refused for what it says is sent again at once with next to nothing in it: a
        page without details still wakes. Raises a DeliveryError otherwise; never sleeps.
        """
        event = render_event(notification)
        routing_key = notification.action.target.secret
        dedup_key = str(event["dedup_key"])
        if not routing_key:
            self._record(notification, event)
            return Receipt(self._clock(), dedup_key, is_simulated=True)
        note = send_event(self._client, routing_key, event)
        return Receipt(self._clock(), dedup_key, note=note)

    def find_receipt(self, notification: Notification, since: float) -> None:  # noqa: ARG002
        """Return None always: the dedup key makes sending again harmless, so nobody need look.

        A trigger of an open key joins its alert; acknowledging or resolving twice changes nothing.
        """
        return


def send_event(client: EventsClient, routing_key: Secret, event: Mapping[str, Any]) -> str:
    """Send *event*, a refused trigger once more with next to nothing in it, and return what that gave up.

    Raises a DeliveryError when it is not accepted.
    """
    response, note = client.post_event(routing_key, event), ""
    if event["event_action"] == "trigger" and _is_refused(response):
        response = client.post_event(routing_key, render_minimal(event))
        note = "without details: PagerDuty refused the full event"
    if not response.is_accepted:
        raise _convert_refusal(response)
    return note


def _is_refused(response: ApiResponse) -> bool:
    """Tell whether PagerDuty refused what the event says, rather than us or the moment."""
    if response.status in _NO_SUCH_KEY or response.status in _TRY_LATER or response.status == 429:
        return False
    return 400 <= response.status < 500 and not _MENTIONS_KEY.search(response.message)


def _convert_refusal(response: ApiResponse) -> DeliveryError:
    """Return the error that an answer other than a 2xx means."""
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
    # A redirect or stranger: a proxy in between, which may be gone the next time.
    return TemporaryDeliveryError("unexpected_answer", detail)


Json = dict[str, Any]
StormRecord = Callable[[Mapping[str, object]], None]
_MAX_NAMES_IN_TITLE = 3
_MAX_NAMES = 50
_MAX_CHANNELS = 3


class PagerDutyStorms:
    """Pages, acknowledges and resolves for storms; without a routing key it is simulated."""

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
