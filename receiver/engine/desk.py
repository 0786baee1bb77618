"""The desk: takes what people ask from a chat, does it, and says what became of it.

It changes nothing but through the hands, so the same request is harmless the second time; an acknowledgement
that a person gives again begins its time anew.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo

from receiver.domain.incident import Incident, IncidentChange
from receiver.domain.person import Person
from receiver.domain.ports import RoutingTable
from receiver.domain.request import (
    FIELD_CHOICE,
    Answer,
    Command,
    FormFaults,
    ModalSubmit,
    OpenModal,
    Outcome,
    Press,
    Request,
)
from receiver.engine.commands import Commands, Shelf
from receiver.engine.hands import IncidentService
from receiver.engine.lengths import FormFieldError, parse_duration_form
from receiver.engine.roster import OnCallReport
from receiver.engine.silencer import SilenceService
from receiver.engine.standing import describe_state
from receiver.errors import NotFound

_EXPIRE = "expire:"


class Desk:
    """Carries requests out. Threads may share it.

    A time of day is one in *zone*. *next_business_day_start* tells when the next business day starts, None
    where that isn't configured;
    *can_silence* whether there is an Alertmanager for an incident. *mark_reviewed* is for the button of
    a review, whose value is the review's id; *acknowledge_storm* for that of a storm.
    """

    def __init__(
        self,
        incident_service: IncidentService,
        incidents: Shelf,
        routing: RoutingTable,
        on_call_report: OnCallReport,
        clock: Callable[[], float],
        *,
        zone: tzinfo,
        next_business_day_start: Callable[[float], float] | None = None,
        can_silence: Callable[[Incident], bool] = lambda _: True,
        mark_reviewed: Callable[[str, Person, float], object] | None = None,
        acknowledge_storm: Callable[[str, Person, float], object] | None = None,
    ) -> None:
        self._acknowledge_storm = acknowledge_storm
        self._incident_service = incident_service
        self._incidents = incidents
        self._clock = clock
        self._zone = zone
        self._next_business_day_start = next_business_day_start
        self._mark_reviewed = mark_reviewed
        self._silencer = SilenceService(incident_service, can_silence)
        self._commands = Commands(
            incident_service,
            incidents,
            routing,
            silencer=self._silencer,
            on_call_report=on_call_report,
            clock=clock,
            zone=zone,
        )

    def take(self, request: Request) -> Outcome:
        """Do what is asked; when this returns, it is in the store. Raises StoreError, else nothing."""
        try:
            match request:
                case Press():
                    return self._press(request)
                case ModalSubmit():
                    return self._submit(request)
                case Command():
                    return self._commands.do(request)
        except NotFound as error:
            gone = f"There is no {error.kind} {error.name}; it may have been closed longer ago than is kept"
            return FormFaults({FIELD_CHOICE: gone}) if isinstance(request, ModalSubmit) else Answer(gone)

    def _press(self, press: Press) -> Outcome:
        """Do what a button stands for; buttons that are none of ours ask nothing of us."""
        now, by, incident_id = self._clock(), press.by, press.value
        match press.button:
            case "acknowledge":
                return _unless_done(self._incident_service.acknowledge(incident_id, by, now), by)
            case "unacknowledge":
                return _unless_done(self._incident_service.unacknowledge(incident_id, by, now), by)
            case "resolve":
                return _unless_done(self._incident_service.resolve(incident_id, by, now), by)
            case "silence":
                return self._open_form(press, now)
            case "reviewed" | "acknowledge_storm":
                answer = self._mark_reviewed if press.button == "reviewed" else self._acknowledge_storm
                if answer is not None:
                    answer(press.value, by, now)
                return None
        return self._expire(press, now) if press.button.startswith(_EXPIRE) else None

    def _expire(self, press: Press, now: float) -> Outcome:
        incident_id, _, number = press.value.partition("#")
        if not number.isascii() or not number.isdigit() or len(number) > 9:
            return None
        change = self._incident_service.expire_silence(incident_id, int(number), press.by, now)
        return None if change.is_changed else Answer("That silence has ended already")

    def _open_form(self, press: Press, now: float) -> Outcome:
        incident = self._incidents.load(press.value)
        refusal = self._silencer.silence_refusal_reason(incident)
        if refusal:
            return Answer(refusal)
        opening_at = self._next_business_day_start(now) if self._next_business_day_start else 0.0
        return OpenModal(incident, press.trigger_id, opening_at, str(self._zone))

    def _submit(self, form: ModalSubmit) -> Outcome:
        now = self._clock()
        try:
            for_s = parse_duration_form(form, now, self._next_business_day_start, self._zone)
        except FormFieldError as fault:
            return FormFaults({fault.field: str(fault)})
        incident = self._incidents.load(form.incident_id)
        refusal = self._silencer.silence_refusal_reason(incident)
        if refusal:
            return FormFaults({FIELD_CHOICE: refusal})
        self._silencer.request_silence(incident, form.by, for_s, form.comment, now)
        return None


def _unless_done(change: IncidentChange, by: Person) -> Outcome:
    """Return nothing where a press did something, or repeats what its presser did before."""
    incident = change.incident
    if change.is_changed or incident is None:
        return None
    author = incident.resolved_ref if incident.is_resolved else incident.acknowledged_ref
    return None if author and author == by.slack_id else Answer(describe_state(incident))
