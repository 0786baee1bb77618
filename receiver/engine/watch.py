"""Watching open incidents through the witness: one look for all of them, again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from receiver.domain.incident import Incident
from receiver.domain.judge import Trust, judge
from receiver.engine.hands import IncidentService
from receiver.engine.witness import Witness
from receiver.errors import NotFound


class OpenIncidents(Protocol):
    """Where open incidents are listed."""

    def list_open(self) -> Iterator[Incident]: ...


class Watch:
    """Finds silences, their ends, and resolves that never arrived."""

    def __init__(
        self,
        witness: Witness,
        incidents: OpenIncidents,
        incident_service: IncidentService,
        trusts: Mapping[str, Trust],
        clock: Callable[[], float],
    ) -> None:
        self._witness = witness
        self._incidents = incidents
        self._incident_service = incident_service
        self._trusts = trusts
        self._clock = clock

    def work(self, source: str) -> None:
        """Look once, and note on each open incident of *source* what has changed.

        Incidents that nothing has changed for are read and not written. Raises StoreError.
        """
        mine = [incident for incident in self._incidents.list_open() if incident.source == source]
        if not mine:
            return
        sight, trust, now = self._witness.look(source), self._trusts[source], self._clock()

        for incident in mine:
            if not judge(incident, sight.look, sight.silences, trust, now, is_for_step=False).is_changed:
                continue
            try:
                self._incident_service.update(
                    incident.id,
                    lambda latest: judge(latest, sight.look, sight.silences, trust, now, is_for_step=False),
                    now,
                )
            except NotFound:
                continue
