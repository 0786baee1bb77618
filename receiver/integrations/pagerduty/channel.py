"""The PagerDuty channel: sends the events of incidents and storms through the Events API v2."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from receiver import clock
from receiver.engine.notification import Notification
from receiver.errors import DeliveryError, PermanentDeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.http_client import as_object
from receiver.http_connection import HttpResponse
from receiver.integrations.pagerduty.event import render_event, render_minimal
from receiver.integrations.pagerduty.routing_keys import RoutingKeys
from receiver.integrations.pagerduty.session import find_retry_after, post_event
from receiver.model.delivery import Receipt
from receiver.text import Secret, one_line

Record = Callable[[Mapping[str, object]], None]
# The pause after a 429 without Retry-After: long enough to help, short enough for a page.
_WAIT_WHEN_LIMITED_S = 5.0
_MAX_RETRY_AFTER_S = 3600.0
_TRY_LATER = (408, 425)
# After an internal error or a gateway error the event may have been accepted; after a 503 it was not.
_MAYBE_ACCEPTED = (500, 502, 504)
_NO_SUCH_KEY = (401, 403, 404)
_ABOUT_CONTENT = (400, 413, 422)
_MENTIONS_KEY = re.compile(r"routing.?key|integration.?key|invalid.?key", re.IGNORECASE)
_MAX_MESSAGE = 300
_MAX_RESPONSE = 64 * 1024


@dataclass(frozen=True)
class PagerDutyChannel:
    """Triggers, acknowledges and resolves pages, under the routing key whose digest the action names.

    An action without a digest is simulated: *record* is called with the event instead of sending it.
    *timeout_s* limits each request.
    """

    keys: RoutingKeys
    events_url: str
    timeout_s: float = 8.0
    clock: Callable[[], float] = clock.now
    record: Record = field(kw_only=True)

    def send(self, notification: Notification) -> Receipt:
        """Send the event once; the receipt's reference is the dedup key.

        A page whose content PagerDuty refuses is sent again at once with the required fields only: a page
        without details still wakes the responder. Raises a DeliveryError otherwise; never sleeps.
        """
        routing_key = self.keys.find_routing_key(notification, self.clock())
        event = render_event(notification)
        dedup_key = str(event["dedup_key"])
        if not routing_key:
            self._record_event(notification, event)
            return Receipt(self.clock(), dedup_key, is_simulated=True)
        response, note = post_event(self.events_url, routing_key, event, self.timeout_s), ""
        if event["event_action"] == "trigger" and _is_refused(response, routing_key):
            response = post_event(self.events_url, routing_key, render_minimal(event), self.timeout_s)
            note = "without details: PagerDuty refused the full event"
        if not _is_accepted(response):
            raise _convert_refusal(response, routing_key)
        return Receipt(self.clock(), dedup_key, note=note)

    def _record_event(self, notification: Notification, event: Mapping[str, Any]) -> None:
        action, subject = notification.action, notification.subject
        self.record(
            {
                "at": self.clock(),
                "incident": "",
                subject.kind: subject.id,
                "to": f"{action.target.kind}:{action.target.address}",
                "key": action.key,
                "text": event.get("payload", {}).get("summary", event["event_action"]),
                "event": event,
            }
        )

    def find_receipt(self, notification: Notification) -> None:
        """Return None always: the dedup key makes sending again harmless, so no lookup is needed."""


def _is_accepted(response: HttpResponse) -> bool:
    """Return whether PagerDuty accepted the event, not only a proxy that answers with a sign-in page."""
    if response.status == 202 or not response.is_ok:
        return response.is_ok
    return bool(as_object(response.parse_json()).get("status") == "success")


def _is_by_pagerduty(response: HttpResponse) -> bool:
    """Return whether a 4xx is PagerDuty's, which sends JSON, or means the event whoever sends it."""
    return response.status in _ABOUT_CONTENT or isinstance(response.parse_json(), dict)


def _is_refused(response: HttpResponse, routing_key: Secret) -> bool:
    """Return whether PagerDuty refused the content of the event, not the routing key or the rate."""
    if response.status in (*_NO_SUCH_KEY, *_TRY_LATER, 429) or not _is_by_pagerduty(response):
        return False
    return 400 <= response.status < 500 and not _MENTIONS_KEY.search(_parse_message(response, routing_key))


def _convert_refusal(response: HttpResponse, routing_key: Secret) -> DeliveryError:
    """Return the DeliveryError for a response other than a 2xx."""
    status, message = response.status, _parse_message(response, routing_key)
    detail = f"HTTP {status}: {message}" if message else f"HTTP {status}"
    wait = find_retry_after(response, "retry-after", at_most=_MAX_RETRY_AFTER_S)
    if status == 429:
        retry_after = _WAIT_WHEN_LIMITED_S if wait is None else wait
        return TemporaryDeliveryError("rate_limited", detail, retry_after=retry_after)
    if status >= 500 or status in _TRY_LATER:
        maybe_sent = status in _MAYBE_ACCEPTED
        return TemporaryDeliveryError("server_error", detail, retry_after=wait or 0.0, maybe_sent=maybe_sent)
    if _is_refused(response, routing_key):
        return PermanentDeliveryError("invalid_event", detail)
    if status >= 400 and _is_by_pagerduty(response):
        return PermanentDeliveryError("invalid_routing_key", detail, kind=RefusalKind.CREDENTIALS)
    # A redirect, a page, or another unexpected answer is that of a proxy in between; a retry may get past it.
    return TemporaryDeliveryError("unexpected_answer", detail)


def _parse_message(response: HttpResponse, routing_key: Secret) -> str:
    """Return the response's message and errors, or its text when it is not a JSON object."""
    response = replace(response, body=response.body[:_MAX_RESPONSE])
    text, content = response.body.decode("utf-8", "replace"), response.parse_json()
    if isinstance(content, dict):
        errors = content.get("errors")
        rest = errors if isinstance(errors, list) else [errors]
        messages = [content.get("message"), content.get("error"), *rest]
        text = "; ".join(str(word) for word in messages if word)
    # Some gateways quote the refused request; our key must not reach the log.
    return one_line(text.replace(routing_key.reveal(), "***"), _MAX_MESSAGE)
