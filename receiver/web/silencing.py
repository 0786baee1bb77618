"""A silence over the API: wished for here, made by a worker, and waited for."""

from __future__ import annotations

import time
from collections.abc import Sequence

from receiver.domain.delivery import Delivery
from receiver.domain.incident import Incident
from receiver.domain.person import Person
from receiver.text import one_line
from receiver.web.answering import read_for, read_person
from receiver.web.answers import Refusal
from receiver.web.bodies import WholeIncident
from receiver.web.incident_json import describe
from receiver.web.questions import SilenceWish
from receiver.wiring import Parts

_MAX_COMMENT = 1000
# How long a silence over the API waits for Alertmanager; the worker's own call takes 3 s at most.
_WAIT_S = 4.5
_LOOK_EVERY_S = 0.05


def silence(parts: Parts, incident_id: str, asked: SilenceWish) -> WholeIncident:
    """Silence what fires of the incident, and return it once Alertmanager has the silence.

    Raises Refusal: 409 where nothing fires, 502 when Alertmanager can't be reached; the wish is
    then taken back.
    """
    by, for_s, now = read_person(asked), read_for(asked), parts.clock()
    incident = parts.incidents.load(incident_id)
    if incident.is_resolved:
        raise Refusal(409, "the incident is resolved: nothing of it fires")
    if incident.source not in parts.routing.alertmanagers:
        raise Refusal(502, "no Alertmanager is configured; set alertmanager.url in routing.yaml")
    change = parts.incident_service.silence(
        incident_id, by, for_s, one_line(asked.comment or "", _MAX_COMMENT), now
    )
    if not change.is_changed or change.incident is None:
        raise Refusal(409, "nothing of the incident fires that could be silenced")
    wished = _find_wished(incident, change.incident, by, now)
    try:
        _wait(parts, incident_id, wished)
    except Refusal:
        _withdraw(parts, incident_id, wished, by)
        raise
    return describe(parts, incident_id)


def _find_wished(before: Incident, after: Incident, by: Person, now: float) -> list[int]:
    """Return the numbers of the silences just wished for; somebody else may have done so meanwhile."""
    former = {note.number for note in before.silences}
    return [
        note.number
        for note in after.silences
        if note.number not in former and (note.by, note.requested_at) == (by.name, now)
    ]


def _wait(parts: Parts, incident_id: str, wished: Sequence[int]) -> None:
    """Return once Alertmanager has all silences; Refusal when one can't be made, or it takes too long."""
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        deliveries = parts.incidents.load(incident_id).deliveries
        made = [deliveries.get(f"silence:{number}", Delivery()) for number in wished]
        if all(one.receipt for one in made):
            return
        reason = next((one.reason for one in made if one.reason), "")
        if reason:
            raise Refusal(502, f"Alertmanager could not be reached ({reason}); nothing is silenced")
        time.sleep(_LOOK_EVERY_S)
    raise Refusal(502, "Alertmanager could not be reached in time; nothing is silenced")


def _withdraw(parts: Parts, incident_id: str, numbers: Sequence[int], by: Person) -> None:
    """Take the wish back: one that was refused must not come true later, unasked."""
    for number in numbers:
        parts.incident_service.expire_silence(incident_id, number, by, parts.clock())
