"""How well the channels do, from when something last arrived and when something last did not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from receiver.model.page_check import RESOLVED_THERE, UNCONFIRMED

# A kind through which nothing went for so long, while something is tried, is not well.
UNHEALTHY_AFTER_S = 300.0
# Reasons why a page that PagerDuty accepted wakes nobody: they last until the responder's next event is in
# order.
DOUBTS = frozenset({UNCONFIRMED, RESOLVED_THERE})
# Reasons why a place takes nothing that hold whatever arrives at others: for so long, as nobody says when
# they end.
REFUSALS = frozenset({"invalid_routing_key"})
REFUSED_FOR_S = 3600.0
# What is pending is tried every half minute; a failure older than this is of nothing that is pending.
PENDING_WITHIN_S = 120.0


@dataclass(frozen=True)
class TargetHealth:
    """One place of a channel kind: *since* is its first failure after *arrived_at*."""

    channel: str
    target: str
    arrived_at: float = 0.0
    failed_at: float = 0.0
    since: float = 0.0
    reason: str = ""

    @property
    def is_failing(self) -> bool:
        return self.failed_at > self.arrived_at


@dataclass(frozen=True)
class ChannelHealth:
    """A channel kind: `ok`, `failing` (its last word was a failure) or `unknown` (nothing was tried)."""

    channel: str
    state: str
    since: float = 0.0
    reason: str = ""
    is_healthy: bool = True


def evaluate_channel(channel: str, targets: Iterable[TargetHealth], now: float) -> ChannelHealth:
    """Return how *kind* does at *now*, by what became of the last deliveries to each of its places."""
    own = [target for target in targets if target.channel == channel]
    arrived_at = max((target.arrived_at for target in own), default=0.0)
    failing = [target for target in own if target.is_failing]
    worst = max(failing, key=lambda p: p.failed_at, default=None)
    doubtful = next((target for target in failing if _is_lasting(target, now)), None)
    if doubtful is not None:
        # PagerDuty takes every event meanwhile, also for other responders: that shows nothing of this one.
        return ChannelHealth(channel, "failing", doubtful.since or doubtful.failed_at, doubtful.reason)
    if worst is None or worst.failed_at <= arrived_at:
        return ChannelHealth(channel, "ok" if own else "unknown", arrived_at)
    since = min(target.since or target.failed_at for target in own if target.is_failing)
    silent_for, is_pending = now - max(arrived_at, since), abs(now - worst.failed_at) <= PENDING_WITHIN_S
    is_healthy = not (is_pending and silent_for > UNHEALTHY_AFTER_S)
    return ChannelHealth(channel, "failing", since, worst.reason, is_healthy)


def _is_lasting(target: TargetHealth, now: float) -> bool:
    """Tell whether why nothing arrives at a place is not disproved by what arrives at another."""
    is_refused = target.reason in REFUSALS and abs(now - target.failed_at) <= REFUSED_FOR_S
    return is_refused or target.reason in DOUBTS
