"""What somebody asks of us from a chat, and what they hear back.

A request is a button pressed, a form sent or a command typed; who carries it out (the desk) and
who words the reply know nothing of how it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from receiver.model.escalation import EscalationState
from receiver.model.incident import Incident, Person

# The form for a silence, and its fields: shared by who draws it and who reads it.
SILENCE_FORM = "silence"
FIELD_CHOICE = "choice"
FIELD_CUSTOM = "own"
FIELD_COMMENT = "comment"
# Choices that are no duration.
UNTIL_BUSINESS_DAY = "opening"
UNTIL_RESOLVED = "resolved"


@dataclass(frozen=True)
class ButtonClick:
    """A button was pressed. *value* is the incident's id, and `#NUMBER` behind it for one silence.

    *trigger_id* allows to open a form, for some 3 s; *response_url* takes words for the presser. As in every
    request, *team* is the workspace the user is of and *place* that in which it was made, as far as is said.
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
    """The form for a silence was sent: a choice or an own duration, and a comment."""

    incident_id: str
    choice: str
    custom: str
    comment: str
    by: Person
    team: str = ""
    origin_team: str = ""


@dataclass(frozen=True)
class Command:
    """A line was typed: `ack 0h2k…`, without the command's own name."""

    text: str
    by: Person
    response_url: str = ""
    team: str = ""
    origin_team: str = ""

    @property
    def name(self) -> str:
        """What the command is, in small letters; empty for none, which lists what is open."""
        return self.text.strip().partition(" ")[0].lower()


Request = ButtonClick | ModalSubmit | Command

# Commands that change nothing; any other may.
_READ_ONLY_COMMANDS = frozenset({"", "list", "show", "oncall", "help"})


def is_read_only(request: Request) -> bool:
    """Tell whether a request only asks how things stand."""
    return isinstance(request, Command) and request.name in _READ_ONLY_COMMANDS


@dataclass(frozen=True)
class TextLine:
    """Words on a line, plain and not escaped yet; *until* is a moment to be said behind them (0: none)."""

    text: str
    until: float = 0.0


@dataclass(frozen=True)
class TextReply:
    """Words for who asked, as in a line; more *lines* come below, then one for each of *incidents*."""

    text: str
    until: float = 0.0
    lines: tuple[TextLine, ...] = ()
    incidents: tuple[Incident, ...] = ()


@dataclass(frozen=True)
class IncidentDetails:
    """One incident, as it stands at *now*."""

    incident: Incident
    escalation: EscalationState
    now: float


@dataclass(frozen=True)
class OpenModal:
    """Show the form for a silence. *next_business_day_at* is when that day starts (0: not known),
    *zone* the name of the time zone that times of day are in.
    """

    incident: Incident
    trigger_id: str
    next_business_day_at: float = 0.0
    zone: str = "UTC"


@dataclass(frozen=True)
class FormErrors:
    """The form can't be taken: a sentence for each field that is wrong."""

    fields: Mapping[str, str] = field(default_factory=dict)


# None: it is done, and the incident's message says so by itself.
InteractionResponse = TextReply | IncidentDetails | OpenModal | FormErrors | None
