"""What was done in PagerDuty, done here: once, without an echo, and only to the page it was about."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from receiver.domain.paged import ResponderPage
from receiver.engine.ports import Incidents
from receiver.incidents.service import IncidentService
from receiver.model import transitions
from receiver.model.delivery import Delivery
from receiver.model.incident import Incident, IncidentChange, Person

Transition = Callable[[Incident, float], IncidentChange]


class PagerDutySync:
    """Has answers that somebody gave in PagerDuty. All raise NotFound and StoreError.

    *occurred_at* is when PagerDuty says it was done (0: how it stands now, or nobody knows); what is older
    than the last that was heard changes nothing. Nor does what was meant for an earlier run.
    """

    def __init__(
        self, incident_service: IncidentService, incidents: Incidents, clock: Callable[[], float]
    ) -> None:
        self._incident_service = incident_service
        self._incidents = incidents
        self._clock = clock

    def acknowledge(self, page: ResponderPage, by: Person, occurred_at: float = 0.0) -> None:
        """Acknowledge; again, where that is newer than all that was heard: it renews."""
        now = self._clock()

        def transition(incident: Incident, now: float) -> IncidentChange:
            is_newer = occurred_at > incident.last_pagerduty_event_at
            return transitions.acknowledge(incident, by, now, is_renewing=is_newer)

        self._record(page, page.mark_done("acknowledge", now))
        self._update(page, occurred_at, transition, now)

    def unacknowledge(self, page: ResponderPage, by: Person, occurred_at: float = 0.0) -> None:
        # PagerDuty tells its people again by itself; a page known to be acknowledged would be closed
        # and opened anew for it.
        self._record(page, page.mark_undone())
        self._update(page, occurred_at, lambda incident, now: transitions.unacknowledge(incident, by, now))

    def resolve(self, page: ResponderPage, by: Person, occurred_at: float = 0.0) -> None:
        self._record(page, page.mark_done("resolve", self._clock()))
        self._update(page, occurred_at, lambda incident, now: transitions.resolve(incident, by, now))

    def mark_seen(self, page: ResponderPage, occurred_at: float) -> None:
        """Remember that something was told which is so here already: what is older is outdated."""
        self._update(page, occurred_at, lambda incident, _: IncidentChange(incident))

    def _update(
        self, page: ResponderPage, occurred_at: float, transition: Transition, now: float = 0.0
    ) -> None:
        now, run = now or self._clock(), page.incident.run

        def update(latest: Incident) -> IncidentChange:
            if latest.run != run or 0 < occurred_at < latest.last_pagerduty_event_at:
                return IncidentChange(latest)
            change = transition(latest, now)
            if change.incident is None or occurred_at <= latest.last_pagerduty_event_at:
                return change
            updated = replace(change.incident, last_pagerduty_event_at=occurred_at)
            return IncidentChange(updated, is_changed=True, events=change.events)

        self._incident_service.update(page.incident.id, update, now)

    def _record(self, page: ResponderPage, done: tuple[str, Delivery] | None) -> None:
        if done is not None:
            self._incidents.record_delivery(page.incident.id, *done)
