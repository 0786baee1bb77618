"""What can be wanted: each action is one thing to do, known by its key and what it is about.

A key names the kind of notification within its incident, *instance* which instance of it; once
that instance is delivered or given up, the action is no longer missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from receiver.model.heading import IncidentHeading
from receiver.model.routing import Responder, Step, Target


@dataclass(frozen=True)
class Action:
    """One thing to do. *lane* is the channel kind whose workers do it."""

    key: str
    instance: str
    queue: str
    target: Target
    ready_at: float  # not before this moment: a retry's wait
    content_version: str  # for messages that follow the state: which state


@dataclass(frozen=True)
class Post(Action):
    """The incident's message in its channel. *replaces* links the message it stands in for."""

    replaces: str = ""


@dataclass(frozen=True)
class FallbackMention(Post):
    """A step told in the fallback channel, with a mention: *why* nobody could be told otherwise.

    *link* leads to the incident's message, where there is one.
    """

    step: Step | None = None
    why: str = ""
    link: str = ""


@dataclass(frozen=True)
class Update(Action):
    """Bring the message up to what is so now. *message* is the message's reference."""

    message: str


@dataclass(frozen=True)
class Reply(Action):
    """A reply in the message's thread.

    *reply_kind* is `step` (a step of the escalation, with a mention), `page_delayed` (the same where
    PagerDuty can't be reached), `instead` (the fallback responder), `joined`, `renamed` (*instance* a label),
    `resolved`, `reopened` or `reminder`; *fingerprints* are the alerts that joined.
    """

    message: str
    reply_kind: str
    step: Step | None = None
    fingerprints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page(Action):
    """Wake a responder. *key_digest* is of the routing key it goes out under, empty where it is simulated;
    *former_key_digest* that of the page before it, where that is open under another key.
    """

    dedup_key: str
    step: Step
    key_digest: str = ""
    former_key_digest: str = ""


@dataclass(frozen=True)
class AcknowledgePage(Action):
    """Tell the pager that somebody has it, under the routing key that the page went out under."""

    dedup_key: str
    key_digest: str = ""


@dataclass(frozen=True)
class ResolvePage(Action):
    """Tell the pager that it is over, under the routing key that the page went out under."""

    dedup_key: str
    key_digest: str = ""


@dataclass(frozen=True)
class ExpireAcknowledgement(Action):
    """Take an acknowledgement back that has run out."""

    acknowledged_at: float


@dataclass(frozen=True)
class EndFlapping(Action):
    """End the flapping that was marked until that moment."""

    flapping_until: float


@dataclass(frozen=True)
class CompactAlerts(Action):
    """Let go of the many alerts that ended long ago."""


@dataclass(frozen=True)
class UpdateHeading(Action):
    """Keep with the incident what it is called, for lists: *heading* was computed at *revision*."""

    heading: IncidentHeading
    revision: int


@dataclass(frozen=True)
class CheckAlertmanager(Action):
    """Ask Alertmanager whether the incident's alerts still fire unmuted, later than *since*."""

    since: float = 0.0


@dataclass(frozen=True)
class CheckPagerDuty(Action):
    """Ask PagerDuty whether somebody has answered the pages of *responders*."""

    responders: tuple[Responder, ...] = ()


@dataclass(frozen=True)
class CheckPage(Action):
    """Ask PagerDuty what it has of a responder's page.

    *event_key* is the delivery key of the event to ask about: a page, or a resolve of ours. *hint* names
    the webhook that tells of a resolve there, empty without one; *is_repeated* says that the alerts are
    repeated. Both are for where PagerDuty can't be asked.
    """

    responder: Responder
    event_key: str
    hint: str = ""
    is_repeated: bool = False


@dataclass(frozen=True)
class AddTimelineEntry(Action):
    """Say something in the timeline, once."""

    text: str


@dataclass(frozen=True)
class Plan:
    """What is missing now, and when to look again if nothing else happens (None: never)."""

    actions: tuple[Action, ...]
    next_check_at: float | None = None


@dataclass(frozen=True)
class CreateSilence(Action):
    """Have Alertmanager silence what has exactly these labels, from now until *ends_at*.

    *silence_id* is the one to be prolonged, empty for a new one.
    """

    matchers: tuple[tuple[str, str], ...]
    ends_at: float
    by: str
    comment: str
    silence_id: str = ""


@dataclass(frozen=True)
class ExpireSilence(Action):
    """End a silence in Alertmanager."""

    silence_id: str
