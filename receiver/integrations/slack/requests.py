"""Requests from Slack (button click, form, slash command), the responses to them, signatures and parsing.

The handlers and renderers do not depend on whether a request came by HTTP or by Socket Mode.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from msgspec import DecodeError, json

from receiver.errors import PayloadError
from receiver.http_client import as_object, as_objects
from receiver.model.escalation import EscalationState
from receiver.model.incident import Incident, Person
from receiver.text import Secret, one_line

# The form for a silence, and its fields: used for rendering and for parsing it.
SILENCE_FORM = "silence"
FIELD_CHOICE = "choice"
FIELD_CUSTOM = "own"
FIELD_COMMENT = "comment"
# Choices that are not durations.
UNTIL_BUSINESS_DAY = "opening"
UNTIL_RESOLVED = "resolved"


@dataclass(frozen=True)
class ButtonClick:
    """A click on a button. *value* is the incident's ID, followed by `#NUMBER` for one of its silences.

    *trigger_id* allows opening a form for about 3 s; replies to the user can be posted to *response_url*.
    As in every request, *team* is the user's workspace, *origin_team* that of the click; empty if not given.
    """

    button: str
    value: str
    by: Person
    trigger_id: str = ""
    response_url: str = ""
    team: str = ""
    origin_team: str = ""


@dataclass(frozen=True)
class ModalSubmit:
    """A submitted form for a silence: a choice or a custom duration, and a comment."""

    incident_id: str
    choice: str
    custom: str
    comment: str
    by: Person
    team: str = ""
    origin_team: str = ""


@dataclass(frozen=True)
class Command:
    """A slash command: *text* is what follows its name, like `ack 0h2k…`."""

    text: str
    by: Person
    response_url: str = ""
    team: str = ""
    origin_team: str = ""

    @property
    def name(self) -> str:
        """The subcommand in lower case; empty if there is none, which lists the open incidents."""
        return self.text.strip().partition(" ")[0].lower()


Request = ButtonClick | ModalSubmit | Command
# Commands that change nothing; all others may.
_READ_ONLY_COMMANDS = frozenset({"", "list", "show", "oncall", "help"})


def is_read_only(request: Request) -> bool:
    """Return whether *request* changes nothing."""
    return isinstance(request, Command) and request.name in _READ_ONLY_COMMANDS


@dataclass(frozen=True)
class TextLine:
    """A line of text, plain and not escaped yet; *until* is a time to append (0: none)."""

    text: str
    until: float = 0.0


@dataclass(frozen=True)
class TextReply(TextLine):
    """A reply to the user, with *lines* and a line for each of *incidents*; in the silence form, the error
    message at *field*.
    """

    lines: tuple[TextLine, ...] = ()
    incidents: tuple[Incident, ...] = ()
    field: str = FIELD_CHOICE


@dataclass(frozen=True)
class IncidentDetails:
    """The details of one incident and its escalation at *now*."""

    incident: Incident
    escalation: EscalationState
    now: float


@dataclass(frozen=True)
class OpenModal:
    """Open the form for a silence. *next_business_day_at* is the start of the next business day (0: not
    known), *zone* the name of the time zone of times of day.
    """

    incident: Incident
    trigger_id: str
    next_business_day_at: float = 0.0
    zone: str = "UTC"


# None: done without a reply, because the update of the incident's message shows it.
InteractionResponse = TextReply | IncidentDetails | OpenModal | None


SOURCE = "slack"
# Older requests may be replayed: https://docs.slack.dev/authentication/verifying-requests-from-slack
MAX_AGE_S = 300.0
# Far above what Slack sends: a click includes the whole message, of 13,000 characters at most.
MAX_BODY = 1024 * 1024
MAX_ID = 100
MAX_TEXT = 1000
_MAX_FIELDS = 100
_MAX_NAME = 80
_MAX_TOKEN = 2000
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_USER = re.compile(r"[UW][A-Z0-9]{1,30}", re.ASCII)
Json = Mapping[str, Any]


def verify_signature(secret: Secret, headers: Iterable[tuple[str, str]], body: bytes, now: float) -> bool:
    """Return whether Slack signed the raw *body* with *secret*, within five minutes of *now*.

    Always false if *secret* is empty.
    """
    found = {name.lower(): value for name, value in headers}
    timestamp = found.get("x-slack-request-timestamp", "")
    presented = found.get("x-slack-signature", "")
    if not secret or not _TIMESTAMP.fullmatch(timestamp) or abs(now - int(timestamp)) > MAX_AGE_S:
        return False
    return hmac.compare_digest(
        sign_body(secret, timestamp, body).encode(), presented.encode("utf-8", "replace")
    )


def sign_body(secret: Secret, timestamp: str, body: bytes) -> str:
    """Return Slack's signature of *body*, sent at *timestamp* (seconds since 1970, as text)."""
    signed = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.reveal().encode(), signed, hashlib.sha256).hexdigest()


def parse_interaction(body: bytes) -> ButtonClick | ModalSubmit | None:
    """Return the click or form in a form-encoded body; None for interactions that are not handled.

    Raises PayloadError if the body can't be parsed.
    """
    text = _parse_form(body).get("payload")
    if text is None:
        raise PayloadError(SOURCE, "the form has no field named payload")
    try:
        payload = json.decode(text)
    except (DecodeError, RecursionError, UnicodeError):
        raise PayloadError(SOURCE, "the payload is no JSON") from None
    return parse_interaction_payload(payload)


def parse_interaction_payload(payload: object) -> ButtonClick | ModalSubmit | None:
    """Return the click or form in *payload*, None if not handled; raises PayloadError if malformed."""
    if not isinstance(payload, dict):
        raise PayloadError(SOURCE, "the payload is no JSON object")
    kind = payload.get("type")
    if kind == "block_actions":
        return _parse_click(payload)
    if kind == "view_submission":
        return _parse_submission(payload)
    return None


def parse_command(body: bytes) -> Command | None:
    """Return the command in a form-encoded body, None for Slack's `ssl_check` request.

    Raises PayloadError if the body is not a command.
    """
    fields = _parse_form(body)
    return None if fields.get("ssl_check") == "1" else parse_command_fields(fields)


def parse_command_fields(fields: object) -> Command:
    """Return the command in *fields*; raises PayloadError if they are malformed or have no user."""
    if not isinstance(fields, dict):
        raise PayloadError(SOURCE, "the command is no object")
    by = _parse_person(fields.get("user_id"), fields.get("user_name"))
    team = _parse_text(fields.get("team_id"))[:MAX_ID]
    text, url = one_line(_parse_text(fields.get("text")), MAX_TEXT), _parse_token(fields.get("response_url"))
    return Command(text, by, url, team=team, origin_team=team)


def _parse_form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except (UnicodeDecodeError, ValueError):
        raise PayloadError(SOURCE, "the body is no form") from None
    return dict(pairs)


def _parse_click(payload: Json) -> ButtonClick | None:
    """Return the clicked button; None for links, menus and other elements."""
    action = next(iter(as_objects(payload.get("actions"))), {})
    button = _parse_text(action.get("action_id"))
    if action.get("type") != "button" or not button:
        return None
    return ButtonClick(
        button=button[:MAX_ID],
        value=_parse_text(action.get("value"))[:MAX_ID],
        trigger_id=_parse_token(payload.get("trigger_id")),
        response_url=_parse_token(payload.get("response_url")),
        **_parse_sender(payload),
    )


def _parse_submission(payload: Json) -> ModalSubmit | None:
    view = as_object(payload.get("view"))
    if view.get("callback_id") != SILENCE_FORM:
        return None
    values = as_object(as_object(view.get("state")).get("values"))
    return ModalSubmit(
        incident_id=_parse_text(view.get("private_metadata"))[:MAX_ID],
        choice=_parse_field(values, FIELD_CHOICE),
        custom=_parse_field(values, FIELD_CUSTOM),
        comment=_parse_field(values, FIELD_COMMENT),
        **_parse_sender(payload),
    )


def _parse_sender(payload: Json) -> dict[str, Any]:
    """Return who clicked or submitted, and the workspaces of the user and of the click."""
    user = as_object(payload.get("user"))
    return {
        "by": _parse_person(user.get("id"), user.get("username") or user.get("name")),
        "team": _parse_text(user.get("team_id"))[:MAX_ID],
        "origin_team": _parse_text(as_object(payload.get("team")).get("id"))[:MAX_ID],
    }


def _parse_field(values: Json, name: str) -> str:
    """Return the value of the form field *name*: its text or its selected option."""
    element = as_object(as_object(values.get(name)).get(name))
    text = element.get("value") or as_object(element.get("selected_option")).get("value")
    return one_line(_parse_text(text), MAX_TEXT)


def _parse_person(user_id: object, name: object) -> Person:
    """Return the user; raises PayloadError without a valid user ID, which Slack always sends."""
    slack_id = _parse_text(user_id)
    if not _USER.fullmatch(slack_id):
        raise PayloadError(SOURCE, "it does not say which user it is from")
    return Person(one_line(_parse_text(name), _MAX_NAME) or slack_id, SOURCE, slack_id)


def _parse_token(thing: object) -> str:
    text = _parse_text(thing)
    return text if len(text) <= _MAX_TOKEN else ""


def _parse_text(thing: object) -> str:
    return thing if isinstance(thing, str) else ""
