"""What people do to incidents: whatever side an answer comes from, it is one change of one state."""

from __future__ import annotations

from collections.abc import Callable

from receiver.domain.ports import Incidents
from receiver.engine.intake import MAX_PASSES
from receiver.errors import NotFound, StoreError
from receiver.model import transitions
from receiver.model.incident import Incident, IncidentChange, IncidentUpdate, Person, VersionedIncident
from receiver.model.plan import queues_for
from receiver.model.silences import choose_matchers


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
