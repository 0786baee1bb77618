"""What people do to incidents: whatever side an answer comes from, it is one change of one state."""

from __future__ import annotations

from collections.abc import Callable

from receiver.domain.incident import Change, Incident
from receiver.domain.ports import Held, Incidents, Write
from receiver.engine.intake import ROUNDS, lanes_of
from receiver.errors import NotFound, StoreError


class Hands:
    """What people do to an incident: acknowledge, un-acknowledge, resolve."""

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents

    def change(self, incident_id: str, how: Callable[[Incident], Change], now: float) -> Change:
        """Change an incident by *how*, and have it on the agenda. Raises NotFound and StoreError.

        An incident whose group has a newer one is closed for good: it is handed to *how*, but
        nothing of it is kept.
        """
        slot = incident_id.partition("-")[0]
        for _ in range(ROUNDS):
            held: Held = self._incidents.read([slot])[0]
            if held.incident is None or held.incident.id != incident_id:
                past = self._incidents.load(incident_id)
                if past.is_past:
                    return how(past)
                raise NotFound("incident", incident_id)
            change = how(held.incident)
            if not change.is_changed or change.incident is None:
                return change
            if self._incidents.commit([Write(held, change, lanes_of(change.incident), now)])[0]:
                return change
        raise StoreError("an incident kept changing under our hands")
