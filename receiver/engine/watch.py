"""Watching open incidents through the witness: one look for all of them, again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from receiver.domain.judge import PollPolicy, evaluate_poll
from receiver.engine.witness import AlertmanagerStatusCheck
from receiver.errors import NotFound
from receiver.incidents.service import IncidentService
from receiver.model.incident import Incident


class PolledIncidents(Protocol):
    """Where open incidents are listed."""

    def list_open(self) -> Iterator[Incident]: ...


class AlertmanagerPoller:
    """Finds silences, their ends, and resolves that never arrived."""

    def __init__(
        self,
        status_check: AlertmanagerStatusCheck,
        incidents: PolledIncidents,
        incident_service: IncidentService,
        poll_policies: Mapping[str, PollPolicy],
        clock: Callable[[], float],
    ) -> None:
        self._status_check = status_check
        self._incidents = incidents
        self._incident_service = incident_service
        self._poll_policies = poll_policies
        self._clock = clock

    def poll_source(self, source: str) -> None:
        """Look once, and note on each open incident of *source* what has changed.

        Incidents that nothing has changed for are read and not written. Raises StoreError.
        """
        mine = [incident for incident in self._incidents.list_open() if incident.source == source]
        if not mine:
            return
        snapshot, policy, now = (
            self._status_check.fetch_status(source),
            self._poll_policies[source],
            self._clock(),
        )

        for incident in mine:
            if not evaluate_poll(
                incident, snapshot.poll, snapshot.silences, policy, now, is_for_step=False
            ).is_changed:
                continue
            try:
                self._incident_service.update(
                    incident.id,
                    lambda latest: evaluate_poll(
                        latest, snapshot.poll, snapshot.silences, policy, now, is_for_step=False
                    ),
                    now,
                )
            except NotFound:
                continue
