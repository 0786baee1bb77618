"""The actions that a plan may contain, and the plan itself.

There are two kinds: a delivery leaves a receipt, a transition changes the incident itself.
"""

from __future__ import annotations

from msgspec import Struct

from receiver.model.delivery import ContentVersion
from receiver.model.delivery_keys import DeliveryKey
from receiver.model.heading import IncidentHeading
from receiver.model.routing import PAGERDUTY, SLACK, Responder, Step, Target


class DeliveryAction(Struct, frozen=True, kw_only=True):
    """An action whose receipt is stored. The workers of its target's kind of channel dispatch it.

    Once its *instance* is delivered or has failed for good, the action is no longer missing.
    """

    key: DeliveryKey  # the kind of notification within its incident
    target: Target
    instance: str = ""  # which one of that kind
    ready_at: float = 0.0  # when to dispatch it, for example at the end of a retry's wait
    content_version: ContentVersion = None  # what the message shows, where it is edited when that changes

    @property
    def queue(self) -> str:
        return self.target.kind


class Transition(Struct, frozen=True, kw_only=True):
    """An action that changes the incident itself; the change takes the place of a receipt."""

    queue: str  # the kind of channel whose workers apply it
    ready_at: float = 0.0  # when to apply it at the earliest


Action = DeliveryAction | Transition


class Post(DeliveryAction, frozen=True, kw_only=True):
    """The incident's message in its channel. *replaces* is the reference of the message it replaces."""

    replaces: str = ""


class FallbackMention(Post, frozen=True, kw_only=True):
    """A mention of the step's responder in the fallback channel, because the step's own targets failed."""

    step: Step
    why: str = ""  # the reason of that failure
    link: str = ""  # the address of the incident's message; empty without one


class Update(DeliveryAction, frozen=True, kw_only=True):
    """Edit the message to show the current state. *message* is the message's reference."""

    message: str


class Reply(DeliveryAction, frozen=True, kw_only=True):
    """A reply in the message's thread.

    *reply_kind* is `step` (an escalation step, with a mention), `page_delayed` (the same where PagerDuty
    can't be reached), `fallback` (the fallback responder), `joined`, `renamed` (*instance* is the label),
    `resolved`, `reopened`, `reminder`, `ack_reminder`, `check_failed`, `silence_ends`, `left_open`,
    `unconfirmed` or `resolved_there`.
    """

    message: str
    reply_kind: str
    step: Step | None = None
    fingerprints: tuple[str, ...] = ()  # of the alerts that joined


class PageEvent(DeliveryAction, frozen=True, kw_only=True):
    """An event to PagerDuty."""

    dedup_key: str
    key_digest: str = ""  # of the routing key that its page is or was sent with; empty: simulated


class Page(PageEvent, frozen=True, kw_only=True):
    """Page a responder. *former_key_digest* is that of the page before, if open under another key."""

    step: Step
    former_key_digest: str = ""


class AcknowledgePage(PageEvent, frozen=True, kw_only=True):
    """Acknowledge a page."""


class ResolvePage(PageEvent, frozen=True, kw_only=True):
    """Resolve a page."""


class ExpireAcknowledgement(Transition, frozen=True, kw_only=True):
    """End the acknowledgement given at *acknowledged_at*, whose timeout is over."""

    acknowledged_at: float


class EndFlapping(Transition, frozen=True, kw_only=True):
    """End the flapping whose window ends at *flapping_until*."""

    flapping_until: float


class ExpireAlerts(Transition, frozen=True, kw_only=True):
    """End the alerts that their senders have not renewed until the end that they named."""


class CompactAlerts(Transition, frozen=True, kw_only=True):
    """Compact the incident: drop the states of alerts that ended long ago."""

    queue: str = SLACK


class UpdateHeading(Transition, frozen=True, kw_only=True):
    """Store the heading with the incident, for lists. *heading* was computed at *revision*."""

    heading: IncidentHeading
    revision: int
    queue: str = SLACK


class CheckBeforeStep(Transition, frozen=True, kw_only=True):
    """Ask a vendor before an escalation step whether the step is still needed; *check* names the vendor.

    Alertmanager is asked, later than *since*, whether the incident's alerts still fire unmuted; PagerDuty
    whether a person has acknowledged or resolved the pages of *responders*.
    """

    check: str
    since: float = 0.0
    responders: tuple[Responder, ...] = ()


class ConfirmPage(Transition, frozen=True, kw_only=True):
    """Ask PagerDuty for the state of a responder's page.

    Where PagerDuty can't be asked, *hint* and *is_repeated* are used instead.
    """

    responder: Responder
    event_key: DeliveryKey  # of the event to ask about: a page, or a resolve of ours
    hint: str = ""  # the webhook that reported a resolve there; empty without one
    is_repeated: bool = False  # Alertmanager has repeated the alerts since
    queue: str = PAGERDUTY


class AddTimelineEntry(DeliveryAction, frozen=True, kw_only=True):
    """Add an entry to the incident's timeline, once."""

    text: str


class CreateSilence(DeliveryAction, frozen=True, kw_only=True):
    """Create or prolong a silence in Alertmanager for exactly these labels, from now until *ends_at*."""

    matchers: tuple[tuple[str, str], ...]
    ends_at: float
    by: str
    comment: str
    silence_id: str = ""  # the silence to prolong; empty for a new one


class ExpireSilence(DeliveryAction, frozen=True, kw_only=True):
    """Expire a silence in Alertmanager."""

    silence_id: str


class Plan(Struct, frozen=True):
    """The missing actions, and when to plan again if nothing else happens (None: never)."""

    actions: tuple[Action, ...]
    next_check_at: float | None = None
