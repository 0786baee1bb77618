"""What becomes of events inside PagerDuty: incidents open, are joined, and close.

One open alert for each routing key and dedup key; what has nothing open to act on is dropped:
https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """One event that was taken."""

    at: float
    action: str
    routing_key: str
    dedup_key: str
    body: dict[str, Any]


@dataclass
class PagedIncident:
    """One incident: opening it woke somebody, events that join it don't."""

    routing_key: str
    dedup_key: str
    opened_at: float
    state: str = "triggered"
    history: list[Event] = field(default_factory=list)

    @property
    def summary(self) -> str:
        return str(self.history[0].body["payload"]["summary"])


class Account:
    """All that PagerDuty keeps; its methods may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.events: list[Event] = []
        self.dropped: list[Event] = []  # taken, but there was nothing open for them
        self.incidents: dict[tuple[str, str], list[PagedIncident]] = {}
        self._opened: list[PagedIncident] = []
        self._clock = clock
        self._changed = threading.Condition()

    def triggers(self, routing_key: str | None = None) -> list[Event]:
        """Return the trigger events taken, also those that joined an open incident."""
        return [
            e for e in list(self.events) if e.action == "trigger" and routing_key in (None, e.routing_key)
        ]

    def opened(self, routing_key: str | None = None) -> list[PagedIncident]:
        """Return every incident ever opened, in order: each woke somebody once."""
        return [incident for incident in list(self._opened) if routing_key in (None, incident.routing_key)]

    def still_open(self, routing_key: str | None = None) -> list[PagedIncident]:
        return [incident for incident in self.opened(routing_key) if incident.state != "resolved"]

    def take(self, body: dict[str, Any]) -> str:
        """Do what the event asks for, and return its dedup key."""
        dedup_key = body.get("dedup_key") or uuid.uuid4().hex
        event = Event(self._clock(), body["event_action"], body["routing_key"], dedup_key, body)
        with self._changed:
            self.events.append(event)
            incident = self._find_open(event) or self._open(event)
            if incident is None:
                self.dropped.append(event)
            else:
                incident.history.append(event)
                incident.state = {"acknowledge": "acknowledged", "resolve": "resolved"}.get(
                    event.action, incident.state
                )
            self._changed.notify_all()
        return dedup_key

    def _find_open(self, event: Event) -> PagedIncident | None:
        line = self.incidents.get((event.routing_key, event.dedup_key), [])
        return line[-1] if line and line[-1].state != "resolved" else None

    def _open(self, event: Event) -> PagedIncident | None:
        if event.action != "trigger":
            return None
        incident = PagedIncident(event.routing_key, event.dedup_key, event.at)
        self.incidents.setdefault((event.routing_key, event.dedup_key), []).append(incident)
        self._opened.append(incident)
        return incident
