"""Slack and PagerDuty on the stage: they take what they are sent, or fail as the seed says.

They stand where the channels stand, so that thousands of schedules take seconds; the channels
themselves are held to their contract against servers elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from receiver.channels.slack.metadata import matches_metadata, metadata_for
from receiver.domain.action import AcknowledgePage, Page, ResolvePage, Update
from receiver.domain.delivery import Receipt
from receiver.domain.incident import Incident
from receiver.domain.notification import Notification
from receiver.errors import PermanentDeliveryError, Refusal, TemporaryDeliveryError
from tests.mocks.pagerduty_account import Account, PagedIncident
from tests.simulation.stage import Stage, pick

TIMEOUT_S = 8.0


@dataclass(frozen=True)
class Sent:
    """One call of a channel: what was asked, when, and what became of it."""

    number: int  # of the effect
    at: float
    notification: Notification
    fate: str  # "" when it was taken and answered
    seen: tuple[int, ...]  # the actor's effects before
    opened: PagedIncident | None = None


@dataclass
class Shown:
    """One message in Slack: who posted it, and how it looked, last look last."""

    reference: str
    channel: str
    notification: Notification
    metadata: dict[str, Any]
    looks: list[Incident] = field(default_factory=list)


class Double:
    """What both have: the ways to fail."""

    def __init__(self, stage: Stage, queue: str) -> None:
        self.stage = stage
        self.queue = queue
        self.chances: dict[str, float] = {}
        self.sent: list[Sent] = []
        self._before: tuple[int, ...] = ()

    def send(self, notification: Notification) -> Receipt:
        """Take it and give the receipt; or fail, with or without having taken it."""
        action = notification.action
        actor = self.stage.reach(f"{self.queue} <- {type(action).__name__} {action.key} {action.instance}")
        self._before = tuple(actor.effects) if actor else ()
        fate = pick(self.stage.rng, self.chances) if actor else ""
        if fate:
            self.stage.note(f"{self.queue}: {fate}")
        if fate in ("refused", "limited", "silent", "hopeless"):
            self._note(notification, fate)
            self._fail(fate)
        receipt = self.take(notification, fate)
        if fate == "slow":
            self.stage.wait_until(self.stage.moment + self.stage.rng.uniform(0.1, TIMEOUT_S))
            receipt = Receipt(self.stage.clock(), receipt.reference)
        if fate == "lost":
            self._fail(fate)
        return receipt

    def _note(self, notification: Notification, fate: str, opened: PagedIncident | None = None) -> None:
        self.sent.append(Sent(self.stage.number, self.stage.moment, notification, fate, self._before, opened))

    def _fail(self, fate: str) -> None:
        if fate == "hopeless":
            raise PermanentDeliveryError("refused_for_good")
        if fate == "refused":
            raise TemporaryDeliveryError("server_error")
        if fate == "limited":
            raise TemporaryDeliveryError("rate_limited", retry_after=self.stage.rng.uniform(1, 10))
        self.stage.wait_until(self.stage.moment + TIMEOUT_S)
        raise TemporaryDeliveryError("no_answer", maybe_sent=True)

    def take(self, notification: Notification, fate: str) -> Receipt:
        raise NotImplementedError


class SlackDouble(Double):
    """Holds messages as Slack does; what was posted can be found again unless the search fails."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage, "slack")
        self.messages: list[Shown] = []
        self.blind = 0.0  # the chance that it can't be searched

    def take(self, notification: Notification, fate: str) -> Receipt:
        action, incident = notification.action, notification.incident
        self._note(notification, fate)
        if isinstance(action, Update):
            message = next((one for one in self.messages if one.reference == action.message), None)
            if message is None:
                raise PermanentDeliveryError("message_not_found", kind=Refusal.MESSAGE_GONE)
            message.looks.append(incident)
            return Receipt(self.stage.clock(), message.reference)
        reference = f"C1:{len(self.messages) + 1}.000000"
        self.messages.append(
            Shown(reference, action.target.address, notification, metadata_for(notification), [incident])
        )
        return Receipt(self.stage.clock(), reference)

    def find_receipt(self, notification: Notification, since: float) -> Receipt | None:
        """Return the receipt of a message of the same mark, if one was posted."""
        actor = self.stage.reach(f"slack: find {notification.action.key}")
        if actor is not None and self.stage.rng.random() < self.blind:
            self.stage.note("slack: can't be searched")
            return None
        for message in self.messages:
            if matches_metadata({"metadata": message.metadata}, notification):
                return Receipt(self.stage.clock(), message.reference)
        return None

    def replies_and_roots(self) -> dict[tuple[str, str, str, str], int]:
        """Return how often each thing was said: incident, key, about, and which joining alerts."""
        counts: dict[tuple[str, str, str, str], int] = {}
        for message in self.messages:
            action = message.notification.action
            shown = action.content_version if action.key == "joined" else ""
            name = (message.notification.incident.id, action.key, action.instance, shown)
            counts[name] = counts.get(name, 0) + 1
        return counts


class PagerDouble(Double):
    """PagerDuty's own keeping of events; a key opens one incident at a time."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage, "pagerduty")
        self.account = Account(stage.redis_clock)

    def take(self, notification: Notification, fate: str) -> Receipt:
        action = notification.action
        kinds: dict[type, str] = {Page: "trigger", AcknowledgePage: "acknowledge", ResolvePage: "resolve"}
        before = len(self.account.opened())
        key = str(getattr(action, "dedup_key", ""))
        event = {
            "event_action": kinds[type(action)],
            "routing_key": action.target.secret.reveal(),
            "dedup_key": key,
        }
        self.account.take(event)
        opened = self.account.opened()[before:]
        self._note(notification, fate, opened[0] if opened else None)
        return Receipt(self.stage.clock(), key)

    def find_receipt(self, notification: Notification, since: float) -> None:
        """Never looks: the key makes a repeat harmless."""

    def pages(self, incident_id: str) -> list[Sent]:
        return [
            one
            for one in self.sent
            if isinstance(one.notification.action, Page) and one.notification.incident.id == incident_id
        ]


Find = Callable[[Notification, float], Receipt | None]
