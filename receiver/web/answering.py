"""Answers over the API: acknowledge, un-acknowledge, resolve and snooze, and who gives them."""

from __future__ import annotations

from receiver.clock import parse_duration
from receiver.model.incident import Person
from receiver.text import one_line
from receiver.web.answers import RequestError
from receiver.web.bodies import IncidentDetail
from receiver.web.incident_json import describe_incident
from receiver.web.people.visitor import current_principal
from receiver.web.questions import MAX_VIA, ActorFields, SnoozeRequest
from receiver.wiring.parts import Services

_MAX_NAME = 200
_LONGEST_S = 366 * 86400.0
_API = "api"


def acknowledge(services: Services, incident_id: str, asked: ActorFields) -> IncidentDetail:
    """Acknowledge the incident and return it as it then is; given again, its time begins anew."""
    services.incident_service.acknowledge(incident_id, read_actor(asked), services.clock())
    return describe_incident(services, incident_id)


def unacknowledge(services: Services, incident_id: str, asked: ActorFields) -> IncidentDetail:
    """Take the acknowledgement back and return the incident as it then is."""
    services.incident_service.unacknowledge(incident_id, read_actor(asked), services.clock())
    return describe_incident(services, incident_id)


def resolve(services: Services, incident_id: str, asked: ActorFields) -> IncidentDetail:
    """Close the incident by hand and return it as it then is."""
    services.incident_service.resolve(incident_id, read_actor(asked), services.clock())
    return describe_incident(services, incident_id)


def snooze(services: Services, incident_id: str, asked: SnoozeRequest) -> IncidentDetail:
    """Hold the incident's escalation for a time and return it as it then is."""
    services.incident_service.snooze(incident_id, read_actor(asked), parse_for_field(asked), services.clock())
    return describe_incident(services, incident_id)


def read_actor(asked: ActorFields) -> Person:
    """Return who it is that answers; without a name it is the API.

    Whoever signed in, or is named by a trusted proxy, answers by that name and no other.
    """
    principal, via = current_principal(), one_line(asked.via or "", MAX_VIA) or _API
    if principal is not None and principal.is_verified:
        return Person(principal.name, via)
    return Person(one_line(asked.by or "", _MAX_NAME) or _API, via)


def parse_for_field(asked: SnoozeRequest) -> float:
    """Return for how many seconds it is asked; Refusal with a sentence for what is no such time."""
    try:
        for_s = parse_duration(asked.for_)
    except ValueError:
        for_s = 0.0
    if not 0 < for_s <= _LONGEST_S:
        raise RequestError(
            400, f"for is {one_line(asked.for_, 100)!r}, expected a time like 30m or 2h, a year at most"
        )
    return for_s
