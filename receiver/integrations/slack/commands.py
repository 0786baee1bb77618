"""Executes the requests of Slack's users: button clicks, the form for a silence, and slash commands.

Incidents change only through IncidentService, so that repeating a request is harmless; a repeated
acknowledgement restarts the acknowledgement timeout.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import tzinfo
from itertools import chain
from typing import Protocol

from receiver.business_hours import BusinessHours, next_business_day_start
from receiver.clock import format_duration, parse_duration, parse_time
from receiver.engine.ports import OnCallLookup
from receiver.errors import NotFound
from receiver.incidents.service import IncidentService, SilenceService, describe_state, incident_label
from receiver.incidents.store import RedisIncidents
from receiver.integrations.slack import requests
from receiver.integrations.slack.requests import ButtonClick, Command, ModalSubmit, TextLine, TextReply
from receiver.model.delivery_keys import FALLBACK, MESSAGE, REPLACEMENT
from receiver.model.escalation import evaluate_escalation
from receiver.model.incident import Incident, IncidentChange, OnCallPerson, Person
from receiver.model.plan import resolve_policy
from receiver.model.routing import Responder, RoutingTable
from receiver.text import format_count

# To mute alerts for longer, change the alerting rule.
MAX_DURATION_S = 366 * 86400.0
UNTIL = "until"


class RequestRefused(Exception):
    """A request can't be executed; *reply* tells the user why."""

    def __init__(self, reply: TextReply) -> None:
        super().__init__(reply.text)
        self.reply = reply


def parse_duration_field(
    text: str, now: float, zone: tzinfo, *, field: str = requests.FIELD_CHOICE, example: str = ""
) -> float:
    """Return the duration in *text*, in seconds: one like `2h`, or until an end time in *zone*, like `14:00`,
    `until 14:00` or `2026-11-23T14:00`. Raises RequestRefused at *field*, with the *example* of a command.
    """
    words = "".join(text.lower().split())
    end = words.removeprefix(UNTIL)
    try:
        seconds = parse_time(end, now, zone) - now if ":" in end else parse_duration(words)
    except ValueError:
        written = f"A time is written like 30m, 2h or 1h30m, or until 14:00 ({zone})"
        fault = written if words else "For how long?"
    else:
        if 1.0 <= seconds <= MAX_DURATION_S:
            return seconds
        fault = "It must be between a second and a year"
    raise RequestRefused(TextReply(f"{fault}. Say it like: {example}" if example else fault, field=field))


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
            found = pool.map(self.on_call.list_on_call, responders)
        return tuple(chain.from_iterable(map(_format_responder, responders, found)))


def _format_responder(responder: Responder, people: Sequence[OnCallPerson]) -> Iterator[TextLine]:
    if not people:
        yield TextLine(f"{responder.title}: nobody is known")
    for one in people:
        as_of = ", as PagerDuty last said," if one.as_of else ""
        yield TextLine(f"{responder.title}: {one.name}{as_of}", one.until)


MAX_LISTED = 20
_SCANNED_AT_MOST = 1000
_LINKED = (MESSAGE, REPLACEMENT, FALLBACK)  # the deliveries whose receipts have the link to the message
_OPEN = frozenset({"open", "acknowledged"})
_WHOLE_ID = re.compile(r"[0-9a-z]{12}-[0-9a-z]{9}", re.ASCII)
_EXPIRE = "expire:"
_SILENCE_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
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
Transition = Callable[[str, Person, float], IncidentChange]


class SlackRoutingTable(RoutingTable, Protocol):
    """The part of the configuration that requests need: with the business hours, and the zone of times."""

    @property
    def business_hours(self) -> BusinessHours | None: ...
    @property
    def zone(self) -> tzinfo: ...


@dataclass(frozen=True, kw_only=True)
class SlackInteractionHandler:
    """Executes requests. Threads may share it.

    *buttons* are the actions of the buttons of reviews and storms; their first argument is the ID of the
    review or storm.
    """

    incident_service: IncidentService
    silence_service: SilenceService
    incidents: RedisIncidents
    routing: SlackRoutingTable
    on_call_report: OnCallReport
    clock: Callable[[], float]
    buttons: Mapping[str, Callable[[str, Person, float], object]]

    def execute_request(self, request: requests.Request) -> requests.InteractionResponse:
        """Execute *request*; when this returns, the change is stored. Raises only StoreError."""
        now = self.clock()
        try:
            match request:
                case ButtonClick():
                    return self._handle_click(request, now)
                case ModalSubmit():
                    return self._handle_form(request, now)
                case Command():
                    return self._handle_command(request, now)
        except NotFound as error:
            gone = f"There is no {error.kind} {error.name}; it may have been closed longer ago than is kept"
            return TextReply(gone)
        except RequestRefused as refusal:
            return refusal.reply

    def _handle_click(self, click: ButtonClick, now: float) -> requests.InteractionResponse:
        """Execute the action of a button; unknown buttons are ignored."""
        service = self.incident_service
        transitions: dict[str, Transition] = {
            "acknowledge": service.acknowledge,
            "unacknowledge": service.unacknowledge,
            "resolve": service.resolve,
        }
        if transition := transitions.get(click.button):
            return _reply_unless_done(transition(click.value, click.by, now), click.by)
        if click.button == "silence":
            incident = self.incidents.load_incident(click.value)
            self._check_silenceable(incident)
            starts_at = self._find_business_day_start(now)
            return requests.OpenModal(incident, click.trigger_id, starts_at, str(self.routing.zone))
        if press := self.buttons.get(click.button):
            press(click.value, click.by, now)
            return None
        return self._expire_silence(click, now) if click.button.startswith(_EXPIRE) else None

    def _expire_silence(self, click: ButtonClick, now: float) -> TextReply | None:
        incident_id, _, number = click.value.partition("#")
        if not _SILENCE_NUMBER.fullmatch(number):
            return None
        change = self.incident_service.expire_silence(incident_id, int(number), click.by, now)
        return None if change.is_changed else TextReply("That silence has ended already")

    def _handle_form(self, form: ModalSubmit, now: float) -> requests.InteractionResponse:
        for_s = self._parse_duration_form(form, now)
        incident = self.incidents.load_incident(form.incident_id)
        self._check_silenceable(incident)
        self.silence_service.request_silence(incident, form.by, for_s, form.comment, now)
        return None

    def _parse_duration_form(self, form: ModalSubmit, now: float) -> float:
        """Return the duration that *form* asks for in seconds, 0 for "until it resolves".

        A custom duration takes precedence over the choice.
        """
        if form.custom:
            return parse_duration_field(form.custom, now, self.routing.zone, field=requests.FIELD_CUSTOM)
        if form.choice == requests.UNTIL_RESOLVED:
            return 0.0
        if form.choice == requests.UNTIL_BUSINESS_DAY and (start := self._find_business_day_start(now)):
            return max(1.0, start - now)
        return parse_duration_field(form.choice, now, self.routing.zone)

    def _find_business_day_start(self, now: float) -> float:
        """Return the start of the next business day after *now*; 0 if business hours are not configured."""
        hours = self.routing.business_hours
        return next_business_day_start(hours, now) if hours is not None else 0.0

    def _check_silenceable(self, incident: Incident) -> None:
        if reason := self.silence_service.silence_refusal_reason(incident):
            raise RequestRefused(TextReply(reason))

    def _handle_command(self, command: Command, now: float) -> requests.InteractionResponse:
        """Execute *command* and return the response; for an unknown command, the help text."""
        word, _, rest = command.text.strip().partition(" ")
        arguments, by, service = rest.strip(), command.by, self.incident_service
        response: requests.InteractionResponse
        match command.name:
            case "" | "list":
                response = self._list_open()
            case "show":
                response = self._show_incident(arguments, now)
            case "ack":
                response = self._change_incident(service.acknowledge, "Acknowledged", arguments, by, now)
            case "unack":
                response = self._change_incident(service.unacknowledge, "Un-acknowledged", arguments, by, now)
            case "resolve":
                response = self._change_incident(service.resolve, "Resolved", arguments, by, now)
            case "snooze":
                response = self._snooze_incident(arguments, by, now)
            case "silence":
                response = self._silence_incident(arguments, by, now)
            case "oncall":
                response = TextReply("On call now:", lines=self.on_call_report.list_lines())
            case "help":
                response = TextReply("What you can ask:", lines=HELP)
            case _:
                response = TextReply(f"“{word}” is nothing I know. What you can ask:", lines=HELP)
        return response

    def _list_open(self) -> TextReply:
        found = self.incidents.list_newest(states=_OPEN, limit=MAX_LISTED, deliveries=_LINKED)
        if not found.incidents:
            return TextReply("No incident is open")
        some = "The newest " if found.next_cursor else ""
        count = format_count(len(found.incidents), "open incident")
        return TextReply(f"{some}{count}:", incidents=found.incidents)

    def _show_incident(self, name: str, now: float) -> requests.IncidentDetails:
        incident = self.incidents.load_incident(self._find_incident(name).id)
        policy = resolve_policy(self.routing, incident)
        return requests.IncidentDetails(incident, evaluate_escalation(incident, policy, now), now)

    def _change_incident(
        self, transition: Transition, done: str, name: str, by: Person, now: float
    ) -> TextReply:
        """Apply *transition* to the named incident, and reply with *done*."""
        incident = self._find_incident(name)
        change = transition(incident.id, by, now)
        return _format_change(change, incident, TextReply(f"{done}: {incident_label(incident)}"))

    def _snooze_incident(self, arguments: str, by: Person, now: float) -> TextReply:
        which, _, duration = arguments.partition(" ")
        incident = self._find_incident(which)
        for_s = parse_duration_field(duration, now, self.routing.zone, example=f"snooze {which} 1h")
        change = self.incident_service.snooze(incident.id, by, for_s, now)
        text = f"Snoozed for {format_duration(for_s)}: {incident_label(incident)}"
        return _format_change(change, incident, TextReply(text, until=now + for_s))

    def _silence_incident(self, arguments: str, by: Person, now: float) -> TextReply:
        which, _, rest = arguments.partition(" ")
        duration, _, comment = rest.strip().partition(" ")
        if duration.lower() == UNTIL:
            duration, _, comment = comment.strip().partition(" ")
        incident = self._find_incident(which)
        self._check_silenceable(incident)
        for_s = 0.0
        if duration.lower() != requests.UNTIL_RESOLVED:
            for_s = parse_duration_field(duration, now, self.routing.zone, example=f"silence {which} 2h")
        self.silence_service.request_silence(incident, by, for_s, comment.strip(), now)
        if not for_s:
            return TextReply(f"Silenced until it resolves: {incident_label(incident)}")
        text = f"Silenced for {format_duration(for_s)}: {incident_label(incident)}"
        return TextReply(text, until=now + for_s)

    def _find_incident(self, arguments: str) -> Incident:
        """Return the incident that *arguments* name: by its full ID, or by a unique prefix if it is open.

        Raises RequestRefused if the ID is missing or ambiguous, NotFound if no incident matches.
        """
        name = arguments.strip("`'\"<>“” ").lower()
        if _WHOLE_ID.fullmatch(name):
            return self.incidents.load_incident(name)
        if not name:
            which = "Which one? Say its ID, or how it begins; “list” shows those that are open"
            raise RequestRefused(TextReply(which))
        page = self.incidents.list_newest(states=_OPEN, limit=_SCANNED_AT_MOST, deliveries=_LINKED)
        fitting = tuple(incident for incident in page.incidents if incident.id.startswith(name))
        if not fitting:
            raise NotFound("open incident", name)
        if len(fitting) > 1:
            text = f"Several IDs begin with {name}; say more of it:"
            raise RequestRefused(TextReply(text, incidents=fitting[:MAX_LISTED]))
        return fitting[0]


def _format_change(change: IncidentChange, incident: Incident, done: TextReply) -> TextReply:
    """Return *done*, or the incident's state if nothing was changed."""
    return done if change.is_changed else TextReply(describe_state(change.incident or incident))


def _reply_unless_done(change: IncidentChange, by: Person) -> TextReply | None:
    """Return None if the click changed something or repeats this user's own; else the incident's state."""
    incident = change.incident
    if change.is_changed or incident is None:
        return None
    author = incident.resolved_ref if incident.is_resolved else incident.acknowledged_ref
    return None if author and author == by.slack_id else TextReply(describe_state(incident))
