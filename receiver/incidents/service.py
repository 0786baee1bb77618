"""An incident in a few words: which it is, and why an answer changed nothing."""

from __future__ import annotations

from collections.abc import Callable

from receiver.engine.ports import Incidents
from receiver.errors import NotFound, StoreError
from receiver.incidents.ingest import MAX_PASSES
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
from receiver.model.silences import choose_matchers
from receiver.text import one_line

_MAX_NAME = 100


def incident_label(incident: Incident) -> str:
    """Return name and ID, as `DiskFull (0h2k…)`."""
    heading = find_heading(incident)
    name = one_line(heading.name or heading.summary, _MAX_NAME) or "The incident"
    return f"{name} ({incident.id})"


def describe_state(incident: Incident) -> str:
    """Return how an incident stands already, for somebody whose answer came to nothing."""
    name = incident_label(incident)
    if incident.is_resolved:
        by = f", by {incident.resolved_by}" if incident.resolved_by else ""
        return f"{name} is resolved already{by}"
    if incident.is_acknowledged:
        return f"{name} is acknowledged already, by {incident.acknowledged_by}"
    return f"{name} is not acknowledged"


class IncidentService:
    """Changes incidents at somebody's word.

    When a method returns, the answer is in the store and on the agenda; workers do the rest. All
    raise NotFound and StoreError, and all are harmless the second time: an acknowledgement given again begins
    its time anew.
    """

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents

    def acknowledge(self, incident_id: str, by: Person, now: float) -> IncidentChange:
        return self.update(incident_id, lambda incident: transitions.acknowledge(incident, by, now), now)

    def unacknowledge(self, incident_id: str, by: Person, now: float) -> IncidentChange:
        return self.update(incident_id, lambda incident: transitions.unacknowledge(incident, by, now), now)

    def resolve(self, incident_id: str, by: Person, now: float) -> IncidentChange:
        return self.update(incident_id, lambda incident: transitions.resolve(incident, by, now), now)

    def snooze(self, incident_id: str, by: Person, for_s: float, now: float) -> IncidentChange:
        return self.update(incident_id, lambda incident: transitions.snooze(incident, by, for_s, now), now)

    def silence(self, incident_id: str, by: Person, for_s: float, comment: str, now: float) -> IncidentChange:
        """Wish for a silence of what fires, for *for_s* seconds (0: until it resolves)."""
        matchers = choose_matchers(self._incidents.load(incident_id))
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
        """Change an incident by *transition*, and have it on the agenda. Raises NotFound and StoreError.

        An incident whose group has a newer one is closed for good: it is handed to *transition*, but
        nothing of it is kept.
        """
        group_id = incident_id.partition("-")[0]
        for _ in range(MAX_PASSES):
            loaded: VersionedIncident = self._incidents.load_latest([group_id])[0]
            if loaded.incident is None or loaded.incident.id != incident_id:
                past = self._incidents.load(incident_id)
                if past.is_past:
                    return transition(past)
                raise NotFound("incident", incident_id)
            change = transition(loaded.incident)
            if not change.is_changed or change.incident is None:
                return change
            if self._incidents.commit([IncidentUpdate(loaded, change, queues_for(change.incident), now)])[0]:
                return change
        raise StoreError("an incident kept changing under our hands")


# Slack's requests are taken for five minutes; the same wish come again within them is no second one.
REPEATED_WITHIN_S = 300.0


class SilenceService:
    """Wishes for silences. *can_silence* tells whether there is an Alertmanager for an incident."""

    def __init__(self, incident_service: IncidentService, can_silence: Callable[[Incident], bool]) -> None:
        self._incident_service = incident_service
        self._can_silence = can_silence

    def silence_refusal_reason(self, incident: Incident) -> str:
        """Return why there can be no silence; empty when there can."""
        if incident.is_resolved:
            return "It is resolved: there is nothing to silence"
        return "" if self._can_silence(incident) else "No Alertmanager is configured that could silence it"

    def request_silence(self, incident: Incident, by: Person, for_s: float, comment: str, now: float) -> None:
        """Wish for a silence of *for_s* seconds (0: until it resolves), unless just that is wished for."""
        if not any(_is_same(request, by, for_s, comment, now) for request in incident.silences):
            self._incident_service.silence(incident.id, by, for_s, comment, now)


def _is_same(request: SilenceRequest, by: Person, for_s: float, comment: str, now: float) -> bool:
    length = request.until - request.requested_at if request.until else 0.0
    is_alike = (request.by, request.comment) == (by.name, comment) and abs(length - for_s) < 1.0
    return is_alike and request.is_active(now) and now - request.requested_at <= REPEATED_WITHIN_S
