"""Transitions of incidents by request (acknowledge, resolve, snooze, silence, …), and short descriptions of
incidents for replies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from receiver.errors import NotFound, StoreError
from receiver.incidents.ingest import MAX_PASSES
from receiver.incidents.store import RedisIncidents
from receiver.model import transitions
from receiver.model.heading import find_heading
from receiver.model.incident import (
    Incident,
    IncidentChange,
    IncidentUpdate,
    Person,
    SilenceRequest,
    VersionedIncident,
)
from receiver.model.plan import queues_for
from receiver.text import one_line

_MAX_NAME = 100


def incident_label(incident: Incident) -> str:
    """Return name and ID, such as `DiskFull (0h2k…)`."""
    heading = find_heading(incident)
    name = one_line(heading.name or heading.summary, _MAX_NAME) or "The incident"
    return f"{name} ({incident.id})"


def describe_state(incident: Incident) -> str:
    """Return the state of an incident as text, for a person whose request changed nothing."""
    name = incident_label(incident)
    if incident.is_resolved:
        by = f", by {incident.resolved_by}" if incident.resolved_by else ""
        return f"{name} is resolved already{by}"
    if incident.is_acknowledged:
        return f"{name} is acknowledged already, by {incident.acknowledged_by}"
    return f"{name} is not acknowledged"


@dataclass(frozen=True)
class IncidentService:
    """Applies transitions to incidents.

    When a method returns, the change is stored and the incident is enqueued; workers do the rest. All methods
    raise NotFound and StoreError, and may be repeated: a second acknowledgement restarts its timeout.
    """

    incidents: RedisIncidents

    def acknowledge(self, incident_id: str, by: Person, now: float) -> IncidentChange:
        return self.update(incident_id, lambda incident: transitions.acknowledge(incident, by, now), now)

    def unacknowledge(self, incident_id: str, by: Person, now: float) -> IncidentChange:
        return self.update(incident_id, lambda incident: transitions.unacknowledge(incident, by, now), now)

    def resolve(self, incident_id: str, by: Person, now: float) -> IncidentChange:
        return self.update(incident_id, lambda incident: transitions.resolve(incident, by, now), now)

    def snooze(self, incident_id: str, by: Person, for_s: float, now: float) -> IncidentChange:
        return self.update(incident_id, lambda incident: transitions.snooze(incident, by, for_s, now), now)

    def silence(self, incident_id: str, by: Person, for_s: float, comment: str, now: float) -> IncidentChange:
        """Request a silence of the firing alerts for *for_s* seconds (0: until the incident resolves)."""
        matchers = transitions.choose_matchers(self.incidents.load_incident(incident_id))
        return self.update(
            incident_id,
            lambda incident: transitions.silence(
                incident, by, matchers=matchers, for_s=for_s, comment=comment, now=now
            ),
            now,
        )

    def expire_silence(self, incident_id: str, number: int, by: Person, now: float) -> IncidentChange:
        return self.update(
            incident_id, lambda incident: transitions.expire_silence(incident, number, by, now), now
        )

    def update(
        self, incident_id: str, transition: Callable[[Incident], IncidentChange], now: float
    ) -> IncidentChange:
        """Apply *transition* to an incident, commit and enqueue it. Raises NotFound and StoreError.

        An incident whose group has a newer one cannot change any more: *transition* is called with it, but
        the result is not stored.
        """
        group_id = incident_id.partition("-")[0]
        for _ in range(MAX_PASSES):
            loaded: VersionedIncident = self.incidents.load_latest([group_id])[0]
            if loaded.incident is None or loaded.incident.id != incident_id:
                past = self.incidents.load_incident(incident_id)
                if past.is_past:
                    return transition(past)
                raise NotFound("incident", incident_id)
            change = transition(loaded.incident)
            if not change.is_changed or change.incident is None:
                return change
            if self.incidents.commit_updates(
                [IncidentUpdate(loaded, change, queues_for(change.incident), now)]
            )[0]:
                return change
        raise StoreError("an incident kept being changed by other processes")


# The receiver accepts Slack's requests for five minutes; an equal request within them is a repetition.
REPEATED_WITHIN_S = 300.0


@dataclass(frozen=True)
class SilenceService:
    """Requests silences. *can_silence* tells whether an Alertmanager is configured for an incident."""

    incident_service: IncidentService
    can_silence: Callable[[Incident], bool]

    def silence_refusal_reason(self, incident: Incident) -> str:
        """Return why *incident* cannot be silenced; empty if it can."""
        if incident.is_resolved:
            return "It is resolved: there is nothing to silence"
        return "" if self.can_silence(incident) else "No Alertmanager is configured that could silence it"

    def request_silence(self, incident: Incident, by: Person, for_s: float, comment: str, now: float) -> None:
        """Request a silence of *for_s* seconds (0: until it resolves), unless the same one is requested."""
        if not any(is_same_silence(request, by, for_s, comment, now) for request in incident.silences):
            self.incident_service.silence(incident.id, by, for_s, comment, now)


def is_same_silence(request: SilenceRequest, by: Person, for_s: float, comment: str, now: float) -> bool:
    """Return whether a request for a silence at *now* repeats *request*, which is in force."""
    length = request.until - request.requested_at if request.until else 0.0
    is_alike = (request.by, request.comment) == (by.name, comment) and abs(length - for_s) < 1.0
    return is_alike and request.is_active(now) and now - request.requested_at <= REPEATED_WITHIN_S
