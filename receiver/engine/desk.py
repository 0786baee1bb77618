"""The desk: takes what people ask from a chat, does it, and says what became of it.

It changes nothing but through the hands, so the same request is harmless the second time; an acknowledgement
that a person gives again begins its time anew.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo

from receiver.domain.request import (
    FIELD_CHOICE,
    ButtonClick,
    Command,
    FormErrors,
    InteractionResponse,
    ModalSubmit,
    OpenModal,
    Request,
    TextReply,
)
from receiver.engine.commands import IncidentQueries, SlackCommands
from receiver.engine.lengths import FormFieldError, parse_duration_form
from receiver.engine.roster import OnCallReport
from receiver.errors import NotFound
from receiver.incidents.service import IncidentService, SilenceService, describe_state
from receiver.model.incident import Incident, IncidentChange, Person
from receiver.model.routing import RoutingTable

_EXPIRE = "expire:"


class SlackInteractionHandler:
    """Carries requests out. Threads may share it.

    A time of day is one in *zone*. *next_business_day_start* tells when the next business day starts, None
    where that isn't configured;
    *can_silence* whether there is an Alertmanager for an incident. *mark_reviewed* is for the button of
    a review, whose value is the review's id; *acknowledge_storm* for that of a storm.
    """

    def __init__(
        self,
        incident_service: IncidentService,
        incidents: IncidentQueries,
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
        self._commands = SlackCommands(
            incident_service,
            incidents,
            routing,
            silencer=self._silencer,
            on_call_report=on_call_report,
            clock=clock,
            zone=zone,
        )

    def handle(self, request: Request) -> InteractionResponse:
        """Do what is asked; when this returns, it is in the store. Raises StoreError, else nothing."""
        try:
            match request:
                case ButtonClick():
                    return self._handle_click(request)
                case ModalSubmit():
                    return self._handle_form(request)
                case Command():
                    return self._commands.handle_command(request)
        except NotFound as error:
            gone = f"There is no {error.kind} {error.name}; it may have been closed longer ago than is kept"
            return FormErrors({FIELD_CHOICE: gone}) if isinstance(request, ModalSubmit) else TextReply(gone)

    def _handle_click(self, click: ButtonClick) -> InteractionResponse:
        """Do what a button stands for; buttons that are none of ours ask nothing of us."""
        now, by, incident_id = self._clock(), click.by, click.value
        match click.button:
            case "acknowledge":
                return _reply_unless_done(self._incident_service.acknowledge(incident_id, by, now), by)
            case "unacknowledge":
                return _reply_unless_done(self._incident_service.unacknowledge(incident_id, by, now), by)
            case "resolve":
                return _reply_unless_done(self._incident_service.resolve(incident_id, by, now), by)
            case "silence":
                return self._open_form(click, now)
            case "reviewed" | "acknowledge_storm":
                record_response = (
                    self._mark_reviewed if click.button == "reviewed" else self._acknowledge_storm
                )
                if record_response is not None:
                    record_response(click.value, by, now)
                return None
        return self._expire_silence(click, now) if click.button.startswith(_EXPIRE) else None

    def _expire_silence(self, click: ButtonClick, now: float) -> InteractionResponse:
        incident_id, _, number = click.value.partition("#")
        if not number.isascii() or not number.isdigit() or len(number) > 9:
            return None
        change = self._incident_service.expire_silence(incident_id, int(number), click.by, now)
        return None if change.is_changed else TextReply("That silence has ended already")

    def _open_form(self, click: ButtonClick, now: float) -> InteractionResponse:
        incident = self._incidents.load(click.value)
        refusal = self._silencer.silence_refusal_reason(incident)
        if refusal:
            return TextReply(refusal)
        next_business_day_at = self._next_business_day_start(now) if self._next_business_day_start else 0.0
        return OpenModal(incident, click.trigger_id, next_business_day_at, str(self._zone))

    def _handle_form(self, form: ModalSubmit) -> InteractionResponse:
        now = self._clock()
        try:
            for_s = parse_duration_form(form, now, self._next_business_day_start, self._zone)
        except FormFieldError as fault:
            return FormErrors({fault.field: str(fault)})
        incident = self._incidents.load(form.incident_id)
        refusal = self._silencer.silence_refusal_reason(incident)
        if refusal:
            return FormErrors({FIELD_CHOICE: refusal})
        self._silencer.request_silence(incident, form.by, for_s, form.comment, now)
        return None


def _reply_unless_done(change: IncidentChange, by: Person) -> InteractionResponse:
    """Return nothing where a press did something, or repeats what its presser did before."""
    incident = change.incident
    if change.is_changed or incident is None:
        return None
    author = incident.resolved_ref if incident.is_resolved else incident.acknowledged_ref
    return None if author and author == by.slack_id else TextReply(describe_state(incident))
