"""What people do to incidents: whatever side an answer comes from, it is one change of one state."""

from __future__ import annotations

from collections.abc import Callable

from receiver.domain import answers
from receiver.domain.incident import Change, Incident
from receiver.domain.person import Person
from receiver.domain.ports import Held, Incidents, Write
from receiver.domain.silences import choose_matchers
from receiver.engine.intake import ROUNDS, lanes_of
from receiver.errors import NotFound, StoreError


class Hands:
    """Changes incidents at somebody's word.

    When a method returns, the answer is in the store and on the agenda; workers do the rest. All
    raise NotFound and StoreError, and all are harmless the second time: an acknowledgement given again begins
    its time anew.
    """

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents

    def acknowledge(self, incident_id: str, by: Person, now: float) -> Change:
        return self.change(incident_id, lambda incident: answers.acknowledge(incident, by, now), now)

    def unacknowledge(self, incident_id: str, by: Person, now: float) -> Change:
        return self.change(incident_id, lambda incident: answers.unacknowledge(incident, by, now), now)

    def resolve(self, incident_id: str, by: Person, now: float) -> Change:
        return self.change(incident_id, lambda incident: answers.resolve(incident, by, now), now)

    def snooze(self, incident_id: str, by: Person, for_s: float, now: float) -> Change:
        return self.change(incident_id, lambda incident: answers.snooze(incident, by, for_s, now), now)

    def silence(self, incident_id: str, by: Person, for_s: float, comment: str, now: float) -> Change:
        """Wish for a silence of what fires, for *for_s* seconds (0: until it resolves)."""
        matchers = choose_matchers(self._incidents.load(incident_id))
        return self.change(
            incident_id,
            lambda incident: answers.silence(
                incident, by, matchers=matchers, for_s=for_s, comment=comment, now=now
            ),
            now,
        )

    def expire_silence(self, incident_id: str, number: int, by: Person, now: float) -> Change:
        return self.change(
            incident_id, lambda incident: answers.expire_silence(incident, number, by, now), now
        )

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
