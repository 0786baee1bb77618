"""The actions of a plan that change the incident itself: the change takes the place of a receipt."""

from __future__ import annotations

from receiver.engine.ports import PageAcknowledgementCheck, PageEventCheck, StatusCheck
from receiver.incidents.service import IncidentService
from receiver.incidents.store import RedisIncidents
from receiver.model.actions import (
    CheckAlertmanager,
    CheckPage,
    CheckPagerDuty,
    CompactAlerts,
    EndFlapping,
    ExpireAcknowledgement,
    Transition,
    UpdateHeading,
)
from receiver.model.heading import update_heading
from receiver.model.incident import Incident
from receiver.model.transitions import compact_alerts, end_flapping, expire_acknowledgement


class IncidentTransitions:
    """Applies transitions and checks to incidents."""

    def __init__(
        self,
        incidents: RedisIncidents,
        status_check: StatusCheck,
        acknowledgement_check: PageAcknowledgementCheck | None,
        page_check: PageEventCheck,
    ) -> None:
        self._incidents = incidents
        self._incident_service = IncidentService(incidents)
        self._status_check = status_check
        self._acknowledgement_check = acknowledgement_check
        self._page_check = page_check

    def apply_transition(self, action: Transition, incident: Incident, worker: str, now: float) -> None:
        """Apply *action* to the latest state of the incident. Raises StoreError, ClaimLost."""
        update = self._incident_service.update
        match action:
            case CheckPage():
                self._page_check.check_page(action, incident, worker)
            case CheckAlertmanager():
                self._status_check.check_for_step(incident.id, incident.source, action.since)
            case CheckPagerDuty():
                if self._acknowledgement_check is not None:
                    self._acknowledgement_check.check_pages(incident, action.responders)
            case ExpireAcknowledgement(acknowledged_at=at):
                update(incident.id, lambda latest: expire_acknowledgement(latest, at, now), now)
            case EndFlapping(flapping_until=until):
                update(incident.id, lambda latest: end_flapping(latest, until, now), now)
            case UpdateHeading(heading=heading, revision=revision):
                update(incident.id, lambda latest: update_heading(latest, heading, revision), now)
            case CompactAlerts():
                update(incident.id, lambda latest: compact_alerts(latest, now), now)
                self._incidents.drop_compacted(incident.id)
