"""A silence over the API: wished for here, made by a worker, and waited for."""

from __future__ import annotations

import time
from collections.abc import Sequence

from receiver.model.delivery import Delivery
from receiver.model.incident import Incident, Person
from receiver.text import one_line
from receiver.web.answering import parse_for_field, read_actor
from receiver.web.answers import RequestError
from receiver.web.bodies import IncidentDetail
from receiver.web.incident_json import describe_incident
from receiver.web.questions import CreateSilenceRequest
from receiver.wiring.parts import Services

_MAX_COMMENT = 1000
# How long a silence over the API waits for Alertmanager; the worker's own call takes 3 s at most.
_WAIT_S = 4.5
_POLL_EVERY_S = 0.05


def silence(services: Services, incident_id: str, asked: CreateSilenceRequest) -> IncidentDetail:
    """Silence what fires of the incident, and return it once Alertmanager has the silence.

    Raises Refusal: 409 where nothing fires, 502 when Alertmanager can't be reached; the wish is
    then taken back.
    """
    by, for_s, now = read_actor(asked), parse_for_field(asked), services.clock()
    incident = services.incidents.load(incident_id)
    if incident.is_resolved:
        raise RequestError(409, "the incident is resolved: nothing of it fires")
    if incident.source not in services.routing.alertmanagers:
        raise RequestError(502, "no Alertmanager is configured; set alertmanager.url in routing.yaml")
    change = services.incident_service.silence(
        incident_id, by, for_s, one_line(asked.comment or "", _MAX_COMMENT), now
    )
    if not change.is_changed or change.incident is None:
        raise RequestError(409, "nothing of the incident fires that could be silenced")
    requested = _find_requested(incident, change.incident, by, now)
    try:
        _wait_until_created(services, incident_id, requested)
    except RequestError:
        _withdraw_silences(services, incident_id, requested, by)
        raise
    return describe_incident(services, incident_id)


def _find_requested(before: Incident, after: Incident, by: Person, now: float) -> list[int]:
    """Return the numbers of the silences just wished for; somebody else may have done so meanwhile."""
    former = {request.number for request in before.silences}
    return [
        request.number
        for request in after.silences
        if request.number not in former and (request.by, request.requested_at) == (by.name, now)
    ]


def _wait_until_created(services: Services, incident_id: str, requested: Sequence[int]) -> None:
    """Return once Alertmanager has all silences; Refusal when one can't be made, or it takes too long."""
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        deliveries = services.incidents.load(incident_id).deliveries
        made = [deliveries.get(f"silence:{number}", Delivery()) for number in requested]
        if all(one.receipt for one in made):
            return
        reason = next((one.reason for one in made if one.reason), "")
        if reason:
            raise RequestError(502, f"Alertmanager could not be reached ({reason}); nothing is silenced")
        time.sleep(_POLL_EVERY_S)
    raise RequestError(502, "Alertmanager could not be reached in time; nothing is silenced")


def _withdraw_silences(services: Services, incident_id: str, numbers: Sequence[int], by: Person) -> None:
    """Take the wish back: one that was refused must not come true later, unasked."""
    for number in numbers:
        services.incident_service.expire_silence(incident_id, number, by, services.clock())
