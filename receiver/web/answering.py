"""Answers over the API: acknowledge, un-acknowledge, resolve, snooze, silence."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from flask import Response, jsonify, request

from receiver.clock import parse_duration
from receiver.domain.incident import Change, Incident
from receiver.domain.person import Person
from receiver.errors import NotFound
from receiver.text import one_line
from receiver.web.answers import refuse
from receiver.web.incident_json import describe
from receiver.wiring import Parts

_MAX_NAME = 200
_MAX_COMMENT = 1000
_LONGEST_S = 366 * 86400.0
# How long a silence over the API waits for Alertmanager; the worker's own call takes 3 s at most.
_SILENCE_WAIT_S = 4.5
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True)
class _Asked:
    """What a body asks for."""

    by: Person
    for_s: float
    comment: str


def answer_incident(parts: Parts, incident_id: str, answer: str) -> Response:
    """Do as the body says and return the incident as it then is; the second time changes nothing."""
    answers: dict[str, Callable[[_Asked], Change]] = {
        "acknowledge": lambda a: parts.hands.acknowledge(incident_id, a.by, parts.clock()),
        "unacknowledge": lambda a: parts.hands.unacknowledge(incident_id, a.by, parts.clock()),
        "resolve": lambda a: parts.hands.resolve(incident_id, a.by, parts.clock()),
        "snooze": lambda a: parts.hands.snooze(incident_id, a.by, a.for_s, parts.clock()),
        "silence": lambda a: parts.hands.silence(incident_id, a.by, a.for_s, a.comment, parts.clock()),
    }
    if answer not in answers:
        raise NotFound("answer", answer)
    try:
        asked = _read(needs_for=answer in ("snooze", "silence"))
    except ValueError as error:
        return refuse(400, str(error))
    if answer == "silence":
        return _silence(parts, incident_id, asked, answers[answer])
    answers[answer](asked)
    return jsonify(describe(parts, incident_id))


def _silence(parts: Parts, incident_id: str, asked: _Asked, wish: Callable[[_Asked], Change]) -> Response:
    """Wish for the silence, and wait until Alertmanager has it; 502 and no wish when it can't be reached."""
    incident = parts.incidents.load(incident_id)
    if incident.is_resolved:
        return refuse(409, "the incident is resolved: nothing of it fires", "conflict")
    if incident.source not in parts.routing.alertmanagers:
        return refuse(
            502, "no Alertmanager is configured; set alertmanager.url in routing.yaml", "bad_gateway"
        )
    before = {note.number for note in incident.silences}
    change = wish(asked)
    wished = [note.number for note in (change.incident or incident).silences if note.number not in before]
    end = time.monotonic() + _SILENCE_WAIT_S
    while time.monotonic() < end:
        incident = parts.incidents.load(incident_id)
        made = [incident.deliveries.get(f"silence:{number}") for number in wished]
        if wished and all(delivery and delivery.receipt for delivery in made):
            return jsonify(describe(parts, incident_id))
        if any(delivery and (delivery.failed_at or delivery.reason) for delivery in made) or not wished:
            break
        time.sleep(_LOOK_EVERY_S)
    _withdraw(parts, incident, wished, asked.by)
    return refuse(502, "Alertmanager could not be reached; nothing is silenced", "bad_gateway")


def _withdraw(parts: Parts, incident: Incident, numbers: list[int], by: Person) -> None:
    """Take the wish back: one that was refused must not come true later, unasked."""
    for number in numbers:
        parts.hands.expire_silence(incident.id, number, by, parts.clock())


def _read(*, needs_for: bool) -> _Asked:
    """Return what the body asks for; ValueError with a sentence when it can't be read."""
    body = request.get_json(silent=True, force=True) if request.get_data(cache=True) else {}
    if not isinstance(body, dict):
        raise ValueError(  # noqa: TRY004  # for whoever sent it, it is the value that is wrong
            'expected a JSON object like {"by": "name"}'
        )
    texts = {name: body.get(name) for name in ("by", "for", "comment")}
    for name, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise ValueError(f'{name!r} is no text, expected something like {{"by": "name"}}')
    for_s = 0.0
    if needs_for:
        for_s = parse_duration(texts["for"] or "")
        if not 0 < for_s <= _LONGEST_S:
            raise ValueError("'for' is expected to be a time like 30m or 2h, a year at most")
    return _Asked(
        Person(one_line(texts["by"] or "", _MAX_NAME) or "api", "api"),
        for_s,
        one_line(texts["comment"] or "", _MAX_COMMENT),
    )
