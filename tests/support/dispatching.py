"""A dispatcher whose outcomes a test can read, and a rate limiter that permits everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from receiver.engine.dispatcher import Dispatcher
from receiver.engine.health import DeliveryHealthRecorder, TargetHealth
from receiver.engine.ports import Channel
from receiver.engine.rate_limit import Permit, RateLimiter
from receiver.errors import DeliveryError
from receiver.incidents.deliveries import DeliveryOutcome, IncidentSubject
from receiver.incidents.store import RedisIncidents
from receiver.model.actions import Action
from receiver.model.incident import Incident


class UnlimitedRate(RateLimiter):
    """Grants every permit, and records each DeliveryError that it was given."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, DeliveryError]] = []

    def acquire(self, action: Action, incident: Incident, now: float) -> Permit:
        return Permit()

    def acquire_by_priority(self, action: Action, who: str, priority: float, now: float) -> Permit:
        return Permit()

    def list_waiters(self, action: Action) -> list[str]:
        return []

    def apply_retry_after(self, action: Action, error: DeliveryError) -> None:
        self.errors.append((action.queue, error))


@dataclass
class FakeHealth:
    """Keeps the last success and failure of each target in memory."""

    targets: dict[tuple[str, str], TargetHealth] = field(default_factory=dict)

    def record_arrival(self, channel: str, target: str, at: float) -> None:
        self.targets[channel, target] = TargetHealth(channel, target, arrived_at=at)

    def record_failure(self, channel: str, target: str, reason: str, at: float) -> None:
        self.targets[channel, target] = TargetHealth(channel, target, failed_at=at, since=at, reason=reason)

    def list_targets(self) -> list[TargetHealth]:
        return list(self.targets.values())


@dataclass
class FakeNotices:
    """Keeps notices in memory, by their id."""

    texts: dict[str, str] = field(default_factory=dict)

    def save_notice(
        self,
        notice_id: str,
        text: str,
        now: float,
        *,
        about: str = "",
        every: float = 0.0,
        count: int = 1,
    ) -> bool:
        return self.texts.setdefault(notice_id, text) is text


@dataclass
class RecordedOutcomes:
    """What a dispatcher reported."""

    health: FakeHealth = field(default_factory=FakeHealth)
    notices: FakeNotices = field(default_factory=FakeNotices)
    rate_limiter: UnlimitedRate = field(default_factory=UnlimitedRate)


def a_dispatcher(
    channels: Mapping[str, Channel], clock: Callable[[], float], outcomes: RecordedOutcomes | None = None
) -> Dispatcher:
    """Return a dispatcher through *channels* that reports to *outcomes*."""
    outcomes = outcomes or RecordedOutcomes()
    health = DeliveryHealthRecorder(outcomes.health)
    return Dispatcher(channels, outcomes.rate_limiter, health, outcomes.notices, {}, clock)


def incident_subject(
    incidents: RedisIncidents, incident: Incident, clock: Callable[[], float]
) -> IncidentSubject:
    """Return the subject of a delivery of *incident* that saves its outcome at once."""

    def save(outcome: DeliveryOutcome) -> None:
        incidents.record_delivery(
            outcome.incident.id,
            outcome.action.key,
            outcome.delivery,
            queue=outcome.action.queue,
            events=outcome.events,
        )

    return IncidentSubject(incidents, incident, clock, save)
