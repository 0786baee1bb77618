"""The witness: Alertmanager, asked whether what we escalate still fires unmuted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from receiver.domain.judge import Trust, judge
from receiver.domain.witness import Look, SilenceSeen
from receiver.engine.hands import IncidentService
from receiver.errors import DeliveryError

# Many steps may be due at once; one answer does for all of them.
_GOOD_FOR_S = 2.0


class Alertmanager(Protocol):
    """One Alertmanager, or the members of one cluster."""

    def look(self, matchers: Mapping[str, str] = ...) -> Look: ...
    def find_silences(self, mark: str) -> Sequence[SilenceSeen]: ...


@dataclass(frozen=True)
class Sight:
    """A look, and the silences that it names."""

    look: Look
    silences: Mapping[str, SilenceSeen]


class Witness:
    """Asks the Alertmanager of a source, seldom enough; threads may share it."""

    def __init__(
        self,
        alertmanagers: Mapping[str, Alertmanager],
        trusts: Mapping[str, Trust],
        incident_service: IncidentService,
        clock: Callable[[], float],
    ) -> None:
        self._alertmanagers = alertmanagers
        self._trusts = trusts
        self._incident_service = incident_service
        self._clock = clock
        self._asking = {source: threading.Lock() for source in alertmanagers}
        self._sights: dict[str, Sight] = {}

    def look(self, source: str, *, since: float = 0.0) -> Sight:
        """Return how things stand in Alertmanager, asked a moment ago and after *since*."""
        with self._asking[source]:
            known = self._sights.get(source)
            if (
                known is not None
                and known.look.at > since
                and abs(self._clock() - known.look.at) <= _GOOD_FOR_S
            ):
                return known
            look = self._alertmanagers[source].look()
            self._sights[source] = sight = Sight(look, self._silences(source, look))
            return sight

    def look_for_step(self, incident_id: str, source: str, since: float) -> None:
        """Note on an incident what Alertmanager says of it now; raises StoreError."""
        sight = self.look(source, since=since)
        # Where *since* was noted by a host whose clock is ahead, this look came after it all the same.
        now = max(self._clock(), since)
        trust = self._trusts[source]
        self._incident_service.update(
            incident_id,
            lambda incident: judge(incident, sight.look, sight.silences, trust, now, is_for_step=True),
            now,
        )

    def _silences(self, source: str, look: Look) -> dict[str, SilenceSeen]:
        """Return the silences in force, where something is silenced: whose they are and until when."""
        if not any(alert.silenced_by for replica in look.replicas for alert in replica.alerts.values()):
            return {}
        try:
            return {silence.id: silence for silence in self._alertmanagers[source].find_silences("")}
        except DeliveryError:
            return {}
