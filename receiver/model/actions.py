"""The actions that a plan may contain, and the plan itself.

An action's key names the kind of notification within its incident, its `instance` which one of that kind.
Once that instance is delivered or has failed for good, the action is no longer missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from receiver.model.heading import IncidentHeading
from receiver.model.routing import Responder, Step, Target


@dataclass(frozen=True)
class Action:
    """One thing to do. *queue* is the kind of channel whose workers do it."""

    key: str
    instance: str
    queue: str
    target: Target
    ready_at: float  # do it no earlier than this: the end of a retry's wait
    content_version: str  # of messages that are edited when the state changes: the state they show


@dataclass(frozen=True)
class Post(Action):
    """The incident's message in its channel. *replaces* is the reference of the message it replaces."""

    replaces: str = ""


@dataclass(frozen=True)
class FallbackMention(Post):
    """A mention of the step's responder in the fallback channel, because the step's own targets failed.

    *why* is the reason of that failure, *link* the address of the incident's message, where there is one.
    """

    step: Step | None = None
    why: str = ""
    link: str = ""


@dataclass(frozen=True)
class Update(Action):
    """Edit the message to show the current state. *message* is the message's reference."""

    message: str


@dataclass(frozen=True)
class Reply(Action):
    """A reply in the message's thread.

    *reply_kind* is `step` (an escalation step, with a mention), `page_delayed` (the same where PagerDuty
    can't be reached), `instead` (the fallback responder), `joined`, `renamed` (*instance* is the label),
    `resolved`, `reopened`, `reminder`, `ack_reminder`, `not_asked`, `silence_ends`, `left_open`,
    `unconfirmed` or `resolved_there`. *fingerprints* are the alerts that joined.
    """

    message: str
    reply_kind: str
    step: Step | None = None
    fingerprints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page(Action):
    """Page a responder.

    *key_digest* is the digest of the routing key it is sent with, empty where the page is simulated;
    *former_key_digest* is that of the page before it, where that one is open under another key.
    """

    dedup_key: str
    step: Step
    key_digest: str = ""
    former_key_digest: str = ""


@dataclass(frozen=True)
class AcknowledgePage(Action):
    """Acknowledge a page at PagerDuty, under the routing key that the page was sent with."""

    dedup_key: str
    key_digest: str = ""


@dataclass(frozen=True)
class ResolvePage(Action):
    """Resolve a page at PagerDuty, under the routing key that the page was sent with."""

    dedup_key: str
    key_digest: str = ""


@dataclass(frozen=True)
class ExpireAcknowledgement(Action):
    """End the acknowledgement given at *acknowledged_at*, whose timeout is over."""

    acknowledged_at: float


@dataclass(frozen=True)
class EndFlapping(Action):
    """End the flapping whose window ends at *flapping_until*."""

    flapping_until: float


@dataclass(frozen=True)
class CompactAlerts(Action):
    """Compact the incident: drop the states of alerts that ended long ago."""


@dataclass(frozen=True)
class UpdateHeading(Action):
    """Store the heading with the incident, for lists. *heading* was computed at *revision*."""

    heading: IncidentHeading
    revision: int


@dataclass(frozen=True)
class CheckAlertmanager(Action):
    """Ask Alertmanager, later than *since*, whether the incident's alerts still fire unmuted."""

    since: float = 0.0


@dataclass(frozen=True)
class CheckPagerDuty(Action):
    """Ask PagerDuty whether a person has acknowledged or resolved the pages of *responders*."""

    responders: tuple[Responder, ...] = ()


@dataclass(frozen=True)
class CheckPage(Action):
    """Ask PagerDuty for the state of a responder's page.

    *event_key* is the delivery key of the event to ask about: a page, or a resolve of ours. *hint* names
    the webhook that reported a resolve there, empty without one; *is_repeated* says that Alertmanager has
    repeated the alerts since. Both are used where PagerDuty can't be asked.
    """

    responder: Responder
    event_key: str
    hint: str = ""
    is_repeated: bool = False


@dataclass(frozen=True)
class AddTimelineEntry(Action):
    """Add an entry to the incident's timeline, once."""

    text: str


@dataclass(frozen=True)
class Plan:
    """The missing actions, and when to plan again if nothing else happens (None: never)."""

    actions: tuple[Action, ...]
    next_check_at: float | None = None


@dataclass(frozen=True)
class CreateSilence(Action):
    """Create or prolong a silence in Alertmanager for exactly these labels, from now until *ends_at*.

    *silence_id* is the silence to prolong, empty for a new one.
    """

    matchers: tuple[tuple[str, str], ...]
    ends_at: float
    by: str
    comment: str
    silence_id: str = ""


@dataclass(frozen=True)
class ExpireSilence(Action):
    """Expire a silence in Alertmanager."""

    silence_id: str
