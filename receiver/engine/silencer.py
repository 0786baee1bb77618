"""Silences as people ask for them: whether there can be one, and the same wish only once."""

from __future__ import annotations

from collections.abc import Callable

from receiver.engine.hands import IncidentService
from receiver.model.incident import Incident, Person, SilenceRequest

# Slack's requests are taken for five minutes; the same wish come again within them is no second one.
REPEATED_WITHIN_S = 300.0


class SilenceService:
    """Wishes for silences. *can_silence* tells whether there is an Alertmanager for an incident."""

    def __init__(self, incident_service: IncidentService, can_silence: Callable[[Incident], bool]) -> None:
        self._incident_service = incident_service
        self._can_silence = can_silence

    def silence_refusal_reason(self, incident: Incident) -> str:
        """Return why there can be no silence; empty when there can."""
        if incident.is_resolved:
            return "It is resolved: there is nothing to silence"
        return "" if self._can_silence(incident) else "No Alertmanager is configured that could silence it"

    def request_silence(self, incident: Incident, by: Person, for_s: float, comment: str, now: float) -> None:
        """Wish for a silence of *for_s* seconds (0: until it resolves), unless just that is wished for."""
        if not any(_is_same(request, by, for_s, comment, now) for request in incident.silences):
            self._incident_service.silence(incident.id, by, for_s, comment, now)


def _is_same(request: SilenceRequest, by: Person, for_s: float, comment: str, now: float) -> bool:
    length = request.until - request.requested_at if request.until else 0.0
    is_alike = (request.by, request.comment) == (by.name, comment) and abs(length - for_s) < 1.0
    return is_alike and request.is_active(now) and now - request.requested_at <= REPEATED_WITHIN_S
