"""The state of the mock PagerDuty: events open incidents, join open ones, acknowledge and resolve them.

There is one open alert for each routing key and dedup key; an event that needs an open alert is dropped
without one: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class AcceptedEvent:
    """One event that PagerDuty accepted."""

    at: float
    action: str
    routing_key: str
    dedup_key: str
    body: dict[str, Any]


@dataclass
class PagedIncident:
    """One incident: opening it pages a person, events that join it do not."""

    routing_key: str
    dedup_key: str
    opened_at: float
    state: str = "triggered"
    history: list[AcceptedEvent] = field(default_factory=list)
    id: str = ""
    changed_at: float = 0.0
    acknowledged_by: str = ""
    changed_by: str = ""
    assigned_to: str = "Alice Doe"
    merged_into: str = ""

    @property
    def summary(self) -> str:
        return str(self.history[0].body["payload"]["summary"])

    def change_state(self, state: str, at: float, by: str) -> None:
        """Change the state to *state*; the same state changes nothing."""
        if state != self.state:
            self.state, self.changed_at, self.changed_by = state, at, by
        self.acknowledged_by = by if state == "acknowledged" else ""


# The actor of a change: a person's name, or the integration by which our own events arrive.
INTEGRATION = "Events API v2"
SERVICE = "Payments service"
_REFERENCES = {INTEGRATION: "inbound_integration_reference", SERVICE: "service_reference"}


def reference_of(by: str) -> str:
    """Return the type of the reference by which PagerDuty names the actor *by*."""
    return _REFERENCES.get(by, "user_reference")


ChangeListener = Callable[[str, PagedIncident, str, dict[str, Any]], None]


class Account:
    """Everything that PagerDuty stores; its methods may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.events: list[AcceptedEvent] = []
        self.dropped: list[AcceptedEvent] = []  # accepted, but there was no open alert for them
        self.incidents: dict[tuple[str, str], list[PagedIncident]] = {}
        # Services in a maintenance window or disabled, by routing key: their events are answered 202 and dropped.
        self.deaf: set[str] = set()
        self.on_change: ChangeListener | None = (
            None  # called for each change with the event, the incident, the actor, details
        )
        self._opened: list[PagedIncident] = []
        self._clock = clock
        self._changed = threading.Condition()

    def triggers(self, routing_key: str | None = None) -> list[AcceptedEvent]:
        """Return the accepted trigger events, also those that joined an open incident."""
        return [
            e for e in list(self.events) if e.action == "trigger" and routing_key in (None, e.routing_key)
        ]

    def opened(self, routing_key: str | None = None) -> list[PagedIncident]:
        """Return every incident ever opened, in order: each paged a person once."""
        return [incident for incident in list(self._opened) if routing_key in (None, incident.routing_key)]

    def still_open(self, routing_key: str | None = None) -> list[PagedIncident]:
        return [incident for incident in self.opened(routing_key) if incident.state != "resolved"]

    def process_event(self, body: dict[str, Any]) -> str:
        """Process an event and return its dedup key."""
        dedup_key = body.get("dedup_key") or uuid.uuid4().hex
        event = AcceptedEvent(self._clock(), body["event_action"], body["routing_key"], dedup_key, body)
        with self._changed:
            self.events.append(event)
            is_accepted = event.routing_key not in self.deaf
            incident = (self._find_open(event) or self._open(event)) if is_accepted else None
            if incident is None:
                self.dropped.append(event)
            else:
                incident.history.append(event)
                former = incident.state
                state = {"acknowledge": "acknowledged", "resolve": "resolved"}.get(event.action, former)
                if state != former:  # an event that only joins changes no state and no assignee
                    incident.change_state(state, event.at, INTEGRATION)
                if state != former or len(incident.history) == 1:
                    self._notify(f"incident.{state}", incident, INTEGRATION)
            self._changed.notify_all()
        return dedup_key

    # --- actions of people ---

    def acknowledges(self, incident: PagedIncident, by: str = "Alice Doe") -> None:
        self._change_state(incident, "acknowledged", "incident.acknowledged", by)

    def unacknowledges(self, incident: PagedIncident, by: str = "") -> None:
        """Unacknowledge it; without an actor when the acknowledgement timed out."""
        self._change_state(incident, "triggered", "incident.unacknowledged", by)

    def resolves(self, incident: PagedIncident, by: str = "Alice Doe") -> None:
        self._change_state(incident, "resolved", "incident.resolved", by)

    def auto_resolves(self, incident: PagedIncident, by: str = SERVICE) -> None:
        """Resolve it by its service's `auto_resolve_timeout` or an event rule, not by a person."""
        self._change_state(incident, "resolved", "incident.resolved", by)

    def reopens(self, incident: PagedIncident, by: str = "Alice Doe") -> None:
        self._change_state(incident, "triggered", "incident.reopened", by)

    def assigns(self, incident: PagedIncident, to: str, by: str = "", how: str = "escalated") -> None:
        """Assign it to *to*: *how* is escalated, reassigned or delegated."""
        with self._changed:
            incident.assigned_to = to
            self._notify(f"incident.{how}", incident, by)
            self._changed.notify_all()

    def requests_responder(self, incident: PagedIncident, of: str, by: str = "Alice Doe") -> None:
        with self._changed:
            self._notify("incident.responder.added", incident, by, {"responder": of, "state": "pending"})

    def merges(self, incident: PagedIncident, into: PagedIncident, by: str = "Alice Doe") -> None:
        """Move the alerts into *into*; *incident* is resolved."""
        with self._changed:
            incident.merged_into = into.id
        self._change_state(incident, "resolved", "incident.resolved", by)

    def _change_state(self, incident: PagedIncident, state: str, event: str, by: str) -> None:
        with self._changed:
            incident.change_state(state, self._clock(), by)
            self._notify(event, incident, by)
            self._changed.notify_all()

    def _notify(
        self, event: str, incident: PagedIncident, by: str, details: dict[str, Any] | None = None
    ) -> None:
        if self.on_change is not None:
            self.on_change(event, incident, by, details or {})

    def find(self, incident_id: str) -> PagedIncident | None:
        return next((incident for incident in list(self._opened) if incident.id == incident_id), None)

    def alert_keys(self, incident: PagedIncident) -> list[str]:
        """Return the dedup keys of its alerts, including those of incidents merged into it."""
        if incident.merged_into:
            return []
        merged = [one.dedup_key for one in list(self._opened) if one.merged_into == incident.id]
        return [incident.dedup_key, *merged]

    def _find_open(self, event: AcceptedEvent) -> PagedIncident | None:
        incidents = self.incidents.get((event.routing_key, event.dedup_key), [])
        return incidents[-1] if incidents and incidents[-1].state != "resolved" else None

    def _open(self, event: AcceptedEvent) -> PagedIncident | None:
        if event.action != "trigger":
            return None
        number = len(self._opened) + 1
        incident = PagedIncident(
            event.routing_key, event.dedup_key, event.at, id=f"PINC{number:04d}", changed_at=event.at
        )
        self.incidents.setdefault((event.routing_key, event.dedup_key), []).append(incident)
        self._opened.append(incident)
        return incident
