"""Budgets in memory: who goes when, by the rig's clock. First come, first served."""

from __future__ import annotations

from dataclasses import dataclass, field

from receiver.domain.action import Action, Page, Post, Update
from receiver.domain.incident import Incident


@dataclass(frozen=True)
class Turn:
    wait_s: float = 0.0
    firsts_wait_s: float = 0.0


@dataclass
class Bucket:
    rate: float
    burst: float
    tokens: float
    at: float
    queue: dict[str, float] = field(default_factory=dict)


class Turns:
    """Posts by channel, pages by responder; everything else goes at once."""

    def __init__(self, posts: tuple[float, float] = (1.0, 3), pages: tuple[float, float] = (1.8, 12)) -> None:
        self._rates = {"post": posts, "page": pages}
        self._buckets: dict[str, Bucket] = {}

    def take(self, action: Action, incident: Incident, now: float) -> Turn:
        bucket = self._find(action, now)
        if bucket is None:
            return Turn()
        bucket.tokens = min(bucket.burst, bucket.tokens + (now - bucket.at) * bucket.rate)
        bucket.at = now
        # Who doesn't come again is forgotten.
        bucket.queue = {one: until for one, until in bucket.queue.items() if until >= now}
        who = f"{incident.id} {action.key}"
        place = list(bucket.queue).index(who) if who in bucket.queue else len(bucket.queue)
        if bucket.tokens >= place + 1:
            bucket.queue.pop(who, None)
            bucket.tokens -= 1
            return Turn(0.0, self._firsts(bucket))
        wait_s = max(0.05, (place + 1 - bucket.tokens) / bucket.rate)
        bucket.queue[who] = now + wait_s + 3.0
        return Turn(wait_s, self._firsts(bucket))

    def waiting(self, action: Action) -> list[str]:
        bucket = self._find(action, 0.0)
        return list(bucket.queue) if bucket else []

    def _firsts(self, bucket: Bucket) -> float:
        return max(0.0, len(bucket.queue) + 1 - bucket.tokens) / bucket.rate

    def _find(self, action: Action, now: float) -> Bucket | None:
        if isinstance(action, Page):
            kind, name = "page", action.step.responder.name
        elif isinstance(action, Post) and not isinstance(action, Update):
            kind, name = "post", action.target.address
        else:
            return None
        rate, burst = self._rates[kind]
        return self._buckets.setdefault(f"{kind}:{name}", Bucket(rate, burst, burst, now))
