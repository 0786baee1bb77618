"""The webhooks of the mock PagerDuty: they wait until the test delivers them.

    pagerduty.acknowledges(pagerduty.opened()[0], by="Alice Doe")
    pagerduty.webhooks.deliver(post)   # post(body, headers) returns the status of the response

As with PagerDuty, an attempt that gets no 2xx is repeated, and a 4xx drops the event.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import threading
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError, URLError

from tests.mocks.pagerduty_account import PagedIncident, reference_of

Post = Callable[[bytes, dict[str, str]], int]


@dataclass
class Webhook:
    """One event to be delivered. *answers* are the statuses of its attempts."""

    event_type: str
    body: bytes
    headers: dict[str, str]
    answers: list[int] = field(default_factory=list)


class Webhooks:
    """An outbox in order. *secrets* sign the events; there are several while a secret is being replaced."""

    def __init__(self, clock: Callable[[], float], secrets: tuple[str, ...] = ("pagerduty-secret",)) -> None:
        self.secrets = secrets
        self.names_keys = False  # include the dedup key, as PagerDuty does for incidents with a single event
        self.waiting: list[Webhook] = []
        self.done: list[Webhook] = []
        self.dropped: list[Webhook] = []
        self._clock = clock
        self._lock = threading.Lock()

    def add(self, event: str, incident: PagedIncident, by: str, details: dict[str, Any]) -> None:
        """Enqueue the event of a change."""
        body = render_event(event, incident, by, self._clock(), names_key=self.names_keys, **details)
        with self._lock:
            self.waiting.append(self.seal(event, body))

    def seal(self, event: str, body: bytes) -> Webhook:
        """Return a webhook with *body*, its headers and its signatures."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "PagerDuty-Webhook/V3.0",
            "X-Webhook-Id": uuid.uuid4().hex,
            "X-Webhook-Subscription": "PSUBSCR",
            "X-PagerDuty-Signature": ", ".join(sign(secret, body) for secret in self.secrets),
        }
        return Webhook(event, body, headers)

    def deliver(self, post: Post) -> list[int]:
        """Attempt everything that waits, in order, until one attempt must be repeated; return the statuses."""
        answers = []
        while self.waiting:
            webhook = self.waiting[0]
            status = post(webhook.body, webhook.headers)
            webhook.answers.append(status)
            answers.append(status)
            if status >= 500 or status in (429, 0):
                break
            with self._lock:
                self.waiting.remove(webhook)
                (self.done if 200 <= status < 300 else self.dropped).append(webhook)
        return answers


def render_event(
    event: str,
    incident: PagedIncident,
    by: str,
    at: float,
    *,
    responder: str = "",
    state: str = "",
    names_key: bool = False,
) -> bytes:
    """Return the body of a v3 event; without the incident key, which incidents with alerts do not have,
    unless *names_key*.
    """
    reference = {"id": incident.id, "type": "incident_reference", "summary": incident.summary}
    to = {"id": "PUSER", "type": "user_reference", "summary": responder or incident.assigned_to}
    data: dict[str, Any] = {
        "id": incident.id,
        "type": "incident",
        "number": int(incident.id[4:]),
        "status": incident.state,
        "incident_key": incident.dedup_key if names_key else None,
        "title": incident.summary,
        "assignees": [to],
        "escalation_policy": {**to, "type": "escalation_policy_reference"},
        "resolve_reason": {
            "type": "merge_resolve_reason",
            "incident": {"id": incident.merged_into, "type": "incident_reference"},
        }
        if incident.merged_into
        else None,
    }
    if responder:
        data = {"type": "incident_responder", "incident": reference, "user": to, "state": state}
    occurred_at = dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds")
    return json.dumps(
        {
            "event": {
                "id": uuid.uuid4().hex[:26].upper(),
                "event_type": event,
                "resource_type": "incident",
                "occurred_at": occurred_at.replace("+00:00", "Z"),
                "agent": {"id": "PAGENT", "type": reference_of(by), "summary": by} if by else None,
                "client": None,
                "data": data,
            }
        }
    ).encode()


def sign(secret: str, body: bytes) -> str:
    return "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def post_to(url: str, timeout_s: float = 5.0) -> Post:
    """Return a function that posts to a receiver in another process; it returns 0 if there is no response in
    time.
    """

    def post(body: bytes, headers: dict[str, str]) -> int:
        request = urllib.request.Request(url, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return int(answer.status)
        except HTTPError as error:
            return error.code
        except (URLError, OSError):
            return 0

    return post
