"""The slash command: parsing its text, durations (also of the silence form), the handlers, who is on call."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import tzinfo

from receiver.clock import format_duration, parse_duration, parse_time
from receiver.engine.ports import OnCallLookup
from receiver.errors import NotFound
from receiver.incidents.service import IncidentService, SilenceService, describe_state, incident_label
from receiver.incidents.store import RedisIncidents
from receiver.integrations.slack.requests import (
    FIELD_CHOICE,
    FIELD_CUSTOM,
    UNTIL_BUSINESS_DAY,
    UNTIL_RESOLVED,
    Command,
    IncidentDetails,
    InteractionResponse,
    ModalSubmit,
    TextLine,
    TextReply,
)
from receiver.model.delivery_keys import FALLBACK, MESSAGE, REPLACEMENT
from receiver.model.escalation import evaluate_escalation
from receiver.model.incident import Incident, IncidentChange, OnCallPerson, Person
from receiver.model.plan import resolve_policy
from receiver.model.routing import Responder, RoutingTable

# To mute alerts for longer, change the alerting rule.
MAX_DURATION_S = 366 * 86400.0
UNTIL = "until"


class FormFieldError(ValueError):
    """A field of a form is invalid; *field* is its name, *what* the error message for the user."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(what)
        self.field = field


def parse_duration_field(text: str, now: float, zone: tzinfo) -> tuple[float, str]:
    """Return the duration in seconds and an empty string, or 0 and the error message for the user.

    *text* is a duration like `2h`, or an end time in *zone*: `14:00`, `until 14:00`, `2026-11-23T14:00`.
    """
    words = "".join(text.lower().split())
    if not words:
        return 0.0, "For how long?"
    try:
        end = words.removeprefix(UNTIL)
        seconds = parse_time(end, now, zone) - now if ":" in end else parse_duration(words)
    except ValueError:
        return 0.0, f"A time is written like 30m, 2h or 1h30m, or until 14:00 ({zone})"
    if not 1.0 <= seconds <= MAX_DURATION_S:
        return 0.0, "It must be between a second and a year"
    return seconds, ""


def parse_duration_form(
    form: ModalSubmit, now: float, next_business_day_start: Callable[[float], float], zone: tzinfo
) -> float:
    """Return the duration that *form* asks for in seconds, 0 for "until it resolves".

    A custom duration takes precedence over the choice. Raises FormFieldError.
    """
    field, text = (FIELD_CUSTOM, form.custom) if form.custom else (FIELD_CHOICE, form.choice)
    if field == FIELD_CHOICE and text == UNTIL_RESOLVED:
        return 0.0
    if field == FIELD_CHOICE and text == UNTIL_BUSINESS_DAY and (start := next_business_day_start(now)):
        return max(1.0, start - now)
    seconds, fault = parse_duration_field(text, now, zone)
    if fault:
        raise FormFieldError(field, fault)
    return seconds


_AT_ONCE = 16


@dataclass(frozen=True)
class OnCallReport:
    """Lists who is on call for each of *responders*; says so where none has a schedule."""

    responders: Mapping[str, Responder]
    on_call: OnCallLookup

    def list_lines(self) -> tuple[TextLine, ...]:
        """Return a line for each responder and person on call.

        The look-ups run in parallel: each may take 2 s, and Slack waits 3 s for the response.
        """
        responders = [responder for responder in self.responders.values() if responder.schedule]
        if not responders:
            return (
                TextLine("That isn't configured: it takes pagerduty's api_token and a responder's schedule"),
            )
        with ThreadPoolExecutor(min(len(responders), _AT_ONCE)) as pool:
            found = list(pool.map(self.on_call.list_on_call, responders))
        return tuple(
            line
            for responder, people in zip(responders, found, strict=True)
            for line in _format_responder(responder, people)
        )


def _format_responder(responder: Responder, people: Sequence[OnCallPerson]) -> list[TextLine]:
    if not people:
        return [TextLine(f"{responder.title}: nobody is known")]
    return [
        TextLine(
            f"{responder.title}: {one.name}{', as PagerDuty last said,' if one.as_of else ''}", one.until
        )
        for one in people
    ]


MAX_LISTED = 20
_SCANNED_AT_MOST = 1000
_LINKED = (MESSAGE, REPLACEMENT, FALLBACK)  # the deliveries whose receipts have the link to the message
_OPEN = frozenset({"open", "acknowledged"})
_WHOLE_ID = re.compile(r"[0-9a-z]{12}-[0-9a-z]{9}", re.ASCII)
HELP = tuple(
    TextLine(text)
    for text in (
        "list: the open incidents",
        "show ID: how one stands",
        "ack ID, unack ID, resolve ID; ack again: the time after which paging goes on begins anew",
        "snooze ID 1h: it is yours, and paging goes on when the time is over",
        "silence ID 2h [comment]: in Alertmanager; with “resolved” in place of 2h until it resolves",
        "In place of 1h or 2h you can also say “until 14:00”.",
        "oncall: who has the pager",
        "An ID may be cut short while only one open incident's begins so.",
    )
)


@dataclass(frozen=True, kw_only=True)
class SlackCommands:
    """Executes slash commands. Raises NotFound and StoreError."""

    incident_service: IncidentService
    silence_service: SilenceService
    incidents: RedisIncidents
    routing: RoutingTable
    on_call_report: OnCallReport
    clock: Callable[[], float]
    zone: tzinfo

    def handle_command(self, command: Command) -> InteractionResponse:
        """Execute *command* and return the response; for an unknown command, the help text."""
        word, _, rest = command.text.strip().partition(" ")
        arguments, by, service = rest.strip(), command.by, self.incident_service
        response: InteractionResponse
        match command.name:
            case "" | "list":
                response = self._list_open()
            case "show":
                response = self._show_incident(arguments)
            case "ack":
                response = self._change_incident(service.acknowledge, "Acknowledged", arguments, by)
            case "unack":
                response = self._change_incident(service.unacknowledge, "Un-acknowledged", arguments, by)
            case "resolve":
                response = self._change_incident(service.resolve, "Resolved", arguments, by)
            case "snooze":
                response = self._snooze_incident(arguments, by)
            case "silence":
                response = self._silence_incident(arguments, by)
            case "oncall":
                response = TextReply("On call now:", lines=self.on_call_report.list_lines())
            case "help":
                response = TextReply("What you can ask:", lines=HELP)
            case _:
                response = TextReply(f"“{word}” is nothing I know. What you can ask:", lines=HELP)
        return response

    def _list_open(self) -> TextReply:
        found = self.incidents.list_newest(states=_OPEN, limit=MAX_LISTED, deliveries=_LINKED)
        count = len(found.incidents)
        if not count:
            return TextReply("No incident is open")
        some = f"The newest {count}" if found.next_cursor else str(count)
        return TextReply(
            f"{some} open {'incident' if count == 1 else 'incidents'}:", incidents=found.incidents
        )

    def _show_incident(self, arguments: str) -> TextReply | IncidentDetails:
        incident = self._find_incident(arguments)
        if isinstance(incident, TextReply):
            return incident
        whole = self.incidents.load_incident(incident.id)
        now, policy = self.clock(), resolve_policy(self.routing, whole)
        return IncidentDetails(whole, evaluate_escalation(whole, policy, now), now)

    def _change_incident(
        self, transition: Callable[[str, Person, float], IncidentChange], done: str, name: str, by: Person
    ) -> TextReply:
        """Apply *transition* to the named incident, and reply with *done*."""
        incident = self._find_incident(name)
        if isinstance(incident, TextReply):
            return incident
        change = transition(incident.id, by, self.clock())
        if change.is_changed:
            return TextReply(f"{done}: {incident_label(incident)}")
        return TextReply(describe_state(change.incident or incident))

    def _snooze_incident(self, arguments: str, by: Person) -> TextReply:
        which, _, duration = arguments.partition(" ")
        incident = self._find_incident(which)
        if isinstance(incident, TextReply):
            return incident
        now = self.clock()
        for_s, fault = parse_duration_field(duration, now, self.zone)
        if fault:
            return TextReply(f"{fault}. Say it like: snooze {which} 1h")
        change = self.incident_service.snooze(incident.id, by, for_s, now)
        if not change.is_changed:
            return TextReply(describe_state(change.incident or incident))
        text = f"Snoozed for {format_duration(for_s)}: {incident_label(incident)}"
        return TextReply(text, until=now + for_s)

    def _silence_incident(self, arguments: str, by: Person) -> TextReply:
        which, _, rest = arguments.partition(" ")
        duration, _, comment = rest.strip().partition(" ")
        if duration.lower() == UNTIL:
            duration, _, comment = comment.strip().partition(" ")
        incident = self._find_incident(which)
        if isinstance(incident, TextReply):
            return incident
        now = self.clock()
        is_until_resolved = duration.lower() == UNTIL_RESOLVED
        for_s, fault = (0.0, "") if is_until_resolved else parse_duration_field(duration, now, self.zone)
        refusal = self.silence_service.silence_refusal_reason(incident)
        if fault or refusal:
            return TextReply(refusal or f"{fault}. Say it like: silence {which} 2h")
        self.silence_service.request_silence(incident, by, for_s, comment.strip(), now)
        if not for_s:
            return TextReply(f"Silenced until it resolves: {incident_label(incident)}")
        text = f"Silenced for {format_duration(for_s)}: {incident_label(incident)}"
        return TextReply(text, until=now + for_s)

    def _find_incident(self, arguments: str) -> Incident | TextReply:
        """Return the incident that *arguments* name: by its full ID, or by a unique prefix if it is open.

        Returns a TextReply if the ID is missing or ambiguous. Raises NotFound if no incident matches.
        """
        name = arguments.strip("`'\"<>“” ").lower()
        if _WHOLE_ID.fullmatch(name):
            return self.incidents.load_incident(name)
        if not name:
            return TextReply("Which one? Say its ID, or how it begins; “list” shows those that are open")
        page = self.incidents.list_newest(states=_OPEN, limit=_SCANNED_AT_MOST, deliveries=_LINKED)
        fitting = tuple(incident for incident in page.incidents if incident.id.startswith(name))
        if not fitting:
            raise NotFound("open incident", name)
        if len(fitting) > 1:
            return TextReply(
                f"Several IDs begin with {name}; say more of it:", incidents=fitting[:MAX_LISTED]
            )
        return fitting[0]
