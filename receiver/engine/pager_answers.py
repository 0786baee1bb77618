"""What was done in PagerDuty, done here: once, without an echo, and only to the page it was about."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from receiver.domain import answers
from receiver.domain.delivery import Delivery
from receiver.domain.incident import Incident, IncidentChange
from receiver.domain.paged import Paged
from receiver.domain.person import Person
from receiver.domain.ports import Incidents
from receiver.engine.hands import IncidentService

How = Callable[[Incident, float], IncidentChange]


class PagerAnswers:
    """Has answers that somebody gave in PagerDuty. All raise NotFound and StoreError.

    *told_at* is when PagerDuty says it was done (0: how it stands now, or nobody knows); what is older
    than the last that was heard changes nothing. Nor does what was meant for an earlier run.
    """

    def __init__(
        self, incident_service: IncidentService, incidents: Incidents, clock: Callable[[], float]
    ) -> None:
        self._incident_service = incident_service
        self._incidents = incidents
        self._clock = clock

    def acknowledge(self, page: Paged, by: Person, told_at: float = 0.0) -> None:
        """Acknowledge; again, where that is newer than all that was heard: it renews."""
        now = self._clock()

        def how(incident: Incident, now: float) -> IncidentChange:
            is_newer = told_at > incident.last_pagerduty_event_at
            return answers.acknowledge(incident, by, now, is_renewing=is_newer)

        self._keep(page, page.settle("acknowledge", now))
        self._change(page, told_at, how, now)

    def unacknowledge(self, page: Paged, by: Person, told_at: float = 0.0) -> None:
        # PagerDuty tells its people again by itself; a page known to be acknowledged would be closed
        # and opened anew for it.
        self._keep(page, page.unsettle())
        self._change(page, told_at, lambda incident, now: answers.unacknowledge(incident, by, now))

    def resolve(self, page: Paged, by: Person, told_at: float = 0.0) -> None:
        self._keep(page, page.settle("resolve", self._clock()))
        self._change(page, told_at, lambda incident, now: answers.resolve(incident, by, now))

    def hear(self, page: Paged, told_at: float) -> None:
        """Remember that something was told which is so here already: what is older is outdated."""
        self._change(page, told_at, lambda incident, _: IncidentChange(incident))

    def _change(self, page: Paged, told_at: float, how: How, now: float = 0.0) -> None:
        now, run = now or self._clock(), page.incident.run

        def change(latest: Incident) -> IncidentChange:
            if latest.run != run or 0 < told_at < latest.last_pagerduty_event_at:
                return IncidentChange(latest)
            done = how(latest, now)
            if done.incident is None or told_at <= latest.last_pagerduty_event_at:
                return done
            heard = replace(done.incident, last_pagerduty_event_at=told_at)
            return IncidentChange(heard, is_changed=True, events=done.events)

        self._incident_service.update(page.incident.id, change, now)

    def _keep(self, page: Paged, settled: tuple[str, Delivery] | None) -> None:
        if settled is not None:
            self._incidents.record_delivery(page.incident.id, *settled)
