"""The PagerDuty channel: sends the events of incidents and storms.

Each call sends one event and returns a receipt, or raises a temporary or a permanent DeliveryError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from receiver import clock
from receiver.engine.notification import IncidentNotification, Notification
from receiver.errors import DeliveryError, PermanentDeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.integrations.pagerduty.event import render_event, render_minimal
from receiver.integrations.pagerduty.events_api import ApiResponse, EventsClient
from receiver.integrations.pagerduty.routing_keys import RoutingKeys
from receiver.integrations.pagerduty.storm_event import render_storm_event
from receiver.model.delivery import Receipt
from receiver.storms.model import StormNotification
from receiver.text import Secret

Record = Callable[[Mapping[str, object]], None]
# The pause after a 429 without Retry-After: long enough to help, short enough for a page.
_WAIT_WHEN_LIMITED_S = 5.0
_TRY_LATER = (408, 425)
# After an internal error or a gateway error the event may have been accepted; after a 503 it was not.
_MAYBE_ACCEPTED = (500, 502, 504)
_NO_SUCH_KEY = (401, 403, 404)
_MENTIONS_KEY = re.compile(r"routing.?key|integration.?key|invalid.?key", re.IGNORECASE)


def render_notification(notification: Notification) -> dict[str, Any]:
    """Return the event for a Page, an AcknowledgePage or a ResolvePage, without its routing key."""
    match notification:
        case IncidentNotification():
            return render_event(notification)
        case StormNotification():
            return render_storm_event(notification)
    raise TypeError(f"no event for a {type(notification).__name__}")


class PagerDutyChannel:
    """Triggers, acknowledges and resolves pages, under the routing key whose digest the action names.

    An action without a digest is simulated: *record* is called with the event instead of sending it.
    *timeout_s* limits connecting, and each wait for the next bytes of the response.
    """

    def __init__(
        self,
        keys: RoutingKeys,
        events_url: str,
        timeout_s: float = 8.0,
        clock: Callable[[], float] = clock.now,
        *,
        record: Record,
    ) -> None:
        self._keys = keys
        self._client = EventsClient(events_url, timeout_s)
        self._clock = clock
        self._record = record

    def send(self, notification: Notification) -> Receipt:
        """Send the event once; the receipt's reference is the dedup key.

        A page whose content PagerDuty refuses is sent again at once with the required fields only: a page
        without details still wakes the responder. Raises a DeliveryError otherwise; never sleeps.
        """
        routing_key = self._keys.find_routing_key(notification, self._clock())
        event = render_notification(notification)
        dedup_key = str(event["dedup_key"])
        if not routing_key:
            self._record_event(notification, event)
            return Receipt(self._clock(), dedup_key, is_simulated=True)
        note = send_event(self._client, routing_key, event)
        return Receipt(self._clock(), dedup_key, note=note)

    def _record_event(self, notification: Notification, event: Mapping[str, Any]) -> None:
        action, subject = notification.action, notification.subject
        self._record(
            {
                "at": self._clock(),
                "incident": "",
                subject.kind: subject.id,
                "to": f"{action.target.kind}:{action.target.address}",
                "key": action.key,
                "text": event.get("payload", {}).get("summary", event["event_action"]),
                "event": event,
            }
        )

    def find_receipt(self, notification: Notification) -> None:  # noqa: ARG002
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
