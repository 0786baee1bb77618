"""The actions of a plan that change the incident itself: the change takes the place of a receipt."""

from __future__ import annotations

from collections.abc import Mapping

from receiver.engine.ports import PageEventConfirmer, PreEscalationCheck
from receiver.incidents.service import IncidentService
from receiver.incidents.store import RedisIncidents
from receiver.model.actions import (
    CheckBeforeStep,
    CompactAlerts,
    ConfirmPage,
    EndFlapping,
    ExpireAcknowledgement,
    Transition,
    UpdateHeading,
)
from receiver.model.heading import update_heading
from receiver.model.incident import Incident
from receiver.model.transitions import compact_alerts, end_flapping, expire_acknowledgement


class TransitionExecutor:
    """Applies transitions and checks to incidents. *checks* are the checks before a step by name."""

    def __init__(
        self,
        incidents: RedisIncidents,
        checks: Mapping[str, PreEscalationCheck],
        page_confirmer: PageEventConfirmer,
    ) -> None:
        self._incidents = incidents
        self._incident_service = IncidentService(incidents)
        self._checks = checks
        self._page_confirmer = page_confirmer

    def apply_transition(self, action: Transition, incident: Incident, worker: str, now: float) -> None:
        """Apply *action* to the latest state of the incident. Raises StoreError, LeaseLost."""
        update = self._incident_service.update
        match action:
            case ConfirmPage():
                self._page_confirmer.confirm_page(action, incident, worker)
            case CheckBeforeStep(check=name) if name in self._checks:
                self._checks[name].check_incident(action, incident)
            case ExpireAcknowledgement(acknowledged_at=at):
                update(incident.id, lambda latest: expire_acknowledgement(latest, at, now), now)
            case EndFlapping(flapping_until=until):
                update(incident.id, lambda latest: end_flapping(latest, until, now), now)
            case UpdateHeading(heading=heading, revision=revision):
                update(incident.id, lambda latest: update_heading(latest, heading, revision), now)
            case CompactAlerts():
                update(incident.id, lambda latest: compact_alerts(latest, now), now)
                self._incidents.drop_compacted(incident.id)
