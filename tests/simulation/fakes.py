"""Slack and PagerDuty in the simulation: they accept what is sent, or fail as the seed says.

They replace the channels, so that thousands of schedules take seconds; the channels themselves are tested
against mock servers elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from receiver.engine.notification import IncidentNotification
from receiver.errors import PermanentDeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.integrations.pagerduty.routing_keys import RoutingKeys
from receiver.integrations.slack.channel import SEARCH_FOR_S, matches_metadata, metadata_for
from receiver.model.actions import AcknowledgePage, Page, ResolvePage, Update
from receiver.model.delivery import Receipt
from receiver.model.incident import Incident
from tests.mocks.pagerduty_account import Account, PagedIncident
from tests.simulation.scheduler import Scheduler, pick_by_chance

TIMEOUT_S = 8.0


@dataclass(frozen=True)
class Sent:
    """One call of a channel: the notification, its time, and its outcome."""

    number: int  # the number of the effect
    at: float
    notification: IncidentNotification
    fate: str  # empty if it was accepted and answered
    seen: tuple[int, ...]  # the effects of the actor before this one
    opened: PagedIncident | None = None


@dataclass
class PostedMessage:
    """One message in Slack: its author and all its versions, the latest last."""

    reference: str
    channel: str
    notification: IncidentNotification
    metadata: dict[str, Any]
    versions: list[Incident] = field(default_factory=list)


class FakeChannel:
    """The failures that both channels have in common."""

    def __init__(self, scheduler: Scheduler, queue: str) -> None:
        self.scheduler = scheduler
        self.queue = queue
        self.chances: dict[str, float] = {}
        self.sent: list[Sent] = []
        self._before: tuple[int, ...] = ()

    def send(self, notification: IncidentNotification) -> Receipt:
        """Accept the notification and return a receipt; or fail, before or after accepting it."""
        action = notification.action
        actor = self.scheduler.wait_for_turn(
            f"{self.queue} <- {type(action).__name__} {action.key} {action.instance}"
        )
        self._before = tuple(actor.effects) if actor else ()
        fate = pick_by_chance(self.scheduler.rng, self.chances) if actor else ""
        if fate:
            self.scheduler.add_trace(f"{self.queue}: {fate}")
        if fate in ("refused", "limited", "silent", "permanent"):
            self._record_sent(notification, fate)
            self._fail(fate)
        receipt = self.accept_notification(notification, fate)
        if fate == "slow":
            self.scheduler.wait_until(self.scheduler.moment + self.scheduler.rng.uniform(0.1, TIMEOUT_S))
            receipt = Receipt(self.scheduler.clock(), receipt.reference)
        if fate == "lost":
            self._fail(fate)
        return receipt

    def _record_sent(
        self, notification: IncidentNotification, fate: str, opened: PagedIncident | None = None
    ) -> None:
        self.sent.append(
            Sent(self.scheduler.number, self.scheduler.moment, notification, fate, self._before, opened)
        )

    def _fail(self, fate: str) -> None:
        if fate == "permanent":
            raise PermanentDeliveryError("refused_for_good")
        if fate == "refused":
            raise TemporaryDeliveryError("server_error")
        if fate == "limited":
            raise TemporaryDeliveryError("rate_limited", retry_after=self.scheduler.rng.uniform(1, 10))
        self.scheduler.wait_until(self.scheduler.moment + TIMEOUT_S)
        raise TemporaryDeliveryError("no_answer", maybe_sent=True)

    def accept_notification(self, notification: IncidentNotification, fate: str) -> Receipt:
        raise NotImplementedError


class FakeSlack(FakeChannel):
    """Stores messages as Slack does; a posted message can be found again unless the search fails."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__(scheduler, "slack")
        self.messages: list[PostedMessage] = []
        self.blind = 0.0  # the probability that the search fails

    def accept_notification(self, notification: IncidentNotification, fate: str) -> Receipt:
        action, incident = notification.action, notification.incident
        self._record_sent(notification, fate)
        if isinstance(action, Update):
            message = next((one for one in self.messages if one.reference == action.message), None)
            if message is None:
                raise PermanentDeliveryError("message_not_found", kind=RefusalKind.MESSAGE_GONE)
            message.versions.append(incident)
            return Receipt(self.scheduler.clock(), message.reference)
        reference = f"C1:{len(self.messages) + 1}.000000"
        self.messages.append(
            PostedMessage(
                reference, action.target.address, notification, metadata_for(notification), [incident]
            )
        )
        return Receipt(self.scheduler.clock(), reference)

    def find_receipt(self, notification: IncidentNotification) -> Receipt | None:
        """Return the receipt of a message with the same marker, if one was posted."""
        actor = self.scheduler.wait_for_turn(f"slack: find {notification.action.key}")
        if actor is not None and self.scheduler.rng.random() < self.blind:
            self.scheduler.add_trace("slack: can't be searched")
            if abs(self.scheduler.clock() - notification.searched_since) < SEARCH_FOR_S:
                raise TemporaryDeliveryError("no_answer")
            return None
        for message in self.messages:
            if matches_metadata({"metadata": message.metadata}, notification):
                return Receipt(self.scheduler.clock(), message.reference)
        return None

    def replies_and_roots(self) -> dict[tuple[str, str, str, str], int]:
        """Return how often each message was posted, by incident, key, instance and joined alerts."""
        counts: dict[tuple[str, str, str, str], int] = {}
        for message in self.messages:
            action = message.notification.action
            shown = action.content_version if action.key == "joined" else ""
            name = (message.notification.incident.id, action.key, action.instance, shown)
            counts[name] = counts.get(name, 0) + 1
        return counts


class FakePagerDuty(FakeChannel):
    """PagerDuty with the rules of the mock account: a dedup key opens one incident at a time."""

    def __init__(self, scheduler: Scheduler, keys: RoutingKeys) -> None:
        super().__init__(scheduler, "pagerduty")
        self.keys = keys
        self.account = Account(scheduler.redis_clock)

    def accept_notification(self, notification: IncidentNotification, fate: str) -> Receipt:
        action = notification.action
        kinds: dict[type, str] = {Page: "trigger", AcknowledgePage: "acknowledge", ResolvePage: "resolve"}
        before = len(self.account.opened())
        key = str(getattr(action, "dedup_key", ""))
        event = {
            "event_action": kinds[type(action)],
            "routing_key": self.keys.find_routing_key(notification, self.scheduler.clock()).reveal(),
            "dedup_key": key,
        }
        self.account.process_event(event)
        opened = self.account.opened()[before:]
        self._record_sent(notification, fate, opened[0] if opened else None)
        return Receipt(self.scheduler.clock(), key)

    def find_receipt(self, notification: IncidentNotification) -> None:
        """Never searches: the dedup key makes a repetition harmless."""

    def pages(self, incident_id: str) -> list[Sent]:
        return [
            one
            for one in self.sent
            if isinstance(one.notification.action, Page) and one.notification.incident.id == incident_id
        ]
