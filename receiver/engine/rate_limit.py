"""Rate limits of the vendors' APIs, and the order of the calls that wait for them.

Each limit is a token bucket; each call takes a token. If none is left, the call waits in a queue by priority.
A priority is a time: when the action was first wanted, plus an offset for less important actions. So every
waiting call comes first at some time, and none starves.

If a vendor answers 429 nevertheless, the dispatcher calls `apply_retry_after`, which pauses the whole bucket.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from receiver import metrics
from receiver.errors import DeliveryError, TemporaryDeliveryError
from receiver.model.actions import AcknowledgePage, DeliveryAction, Page, Post, Reply, ResolvePage, Update
from receiver.model.alert import Severity
from receiver.model.delivery_keys import UPDATE
from receiver.model.incident import Incident
from receiver.model.routing import SLACK, RateLimit
from receiver.storage.connection import Client, Scripts, store_errors
from receiver.storage.keys import TokenBucketKeys
from receiver.storage.script_clock import ScriptClock


@dataclass(frozen=True)
class Permit:
    """The answer of a token bucket: a token was taken if *retry_after_s* is 0, else ask again after it.

    *initial_wait_s* is how long an incident's first message or page that came now would wait for those before
    it; a pause of the bucket is not counted. Both are seconds.
    """

    retry_after_s: float = 0.0
    initial_wait_s: float = 0.0


# Slack accepts one message per second in a channel, and "short bursts": three is one incident with its
# replies. https://docs.slack.dev/apis/web-api/rate-limits
_POST_BURST = 3
# Within a minute a bucket grants its burst plus the tokens of that minute; so the burst is subtracted from
# the rate. Edits come in clusters and get a larger burst; pages need a steady rate.
_UPDATES_AT_ONCE = 1 / 5
_EVENTS_AT_ONCE = 1 / 10
# Priority offsets in seconds. Due escalation steps go before everything new, whatever its severity.
_DUE_STEP_S = -30.0
_PAGE_S = 0.0
_POST_S = 2.0
_ACKNOWLEDGE_PAGE_S = 10.0
_RESOLVE_PAGE_S = 15.0
# After the first messages of every severity.
_RESOLVED_REPLY_S = 65.0
_REPLY_S = 70.0
_EDIT_S = 80.0
# Reviews and notices: after the first messages of all incidents, and after resolves.
LOW_PRIORITY_OFFSET_S = _REPLY_S
_SEVERITY_S = {
    Severity.CRITICAL: 0.0,
    Severity.ERROR: 10.0,
    Severity.WARNING: 30.0,
    Severity.INFO: 60.0,
    Severity.NONE: 60.0,
}


class VendorLimits(Protocol):
    """The configured rate limits of the vendors."""

    @property
    def slack_posts(self) -> RateLimit: ...
    @property
    def slack_updates(self) -> RateLimit: ...
    @property
    def pagerduty(self) -> RateLimit: ...


@dataclass(frozen=True)
class TokenBucket:
    """One rate limit: *burst* tokens at most, *rate* new ones per second."""

    name: str
    burst: int
    rate: float


def find_bucket(action: DeliveryAction, limits: VendorLimits) -> TokenBucket | None:
    """Return the bucket from which *action* takes a token; None if it is not limited."""
    match action:
        case Update():
            return build_update_bucket(limits)
        case Post() | Reply():
            return build_post_bucket(action.target.address, limits)
        case Page(key_digest=key) | AcknowledgePage(key_digest=key) | ResolvePage(key_digest=key) if key:
            return _build_window_bucket(f"pagerduty:{key}", limits.pagerduty, _EVENTS_AT_ONCE)
    return None


def build_post_bucket(channel: str, limits: VendorLimits) -> TokenBucket:
    """Return the bucket of all new messages in a Slack channel, replies too."""
    rate = limits.slack_posts.count / limits.slack_posts.per_s
    return TokenBucket(f"slack:post:{channel}", max(_POST_BURST, int(rate)), rate)


def build_update_bucket(limits: VendorLimits) -> TokenBucket:
    """Return the bucket of all edits in the Slack workspace."""
    return _build_window_bucket("slack:update", limits.slack_updates, _UPDATES_AT_ONCE)


def _build_window_bucket(name: str, rate: RateLimit, at_once: float) -> TokenBucket:
    """Return a bucket that grants at most *rate* in every window, wherever the window begins."""
    burst = max(1, int(rate.count * at_once))
    return TokenBucket(name, burst, max(1, rate.count - burst) / rate.per_s)


def priority_at(action: DeliveryAction, incident: Incident, now: float) -> float:
    """Return the priority as a time: the lowest goes first.

    It is the time at which the action was first wanted, plus its offset. That time is never later than *now*,
    so a clock that was ahead delays nothing. The priority depends only on the state of the incident: a retry,
    also by another worker, gets the same place.
    """
    wanted_at, priority_offset = _find_origin_and_offset(action, incident)
    return min(wanted_at, now) + priority_offset


def _find_origin_and_offset(action: DeliveryAction, incident: Incident) -> tuple[float, float]:
    """Return when *action* was first wanted, and its priority offset in seconds."""
    severity_offset = _SEVERITY_S[incident.severity]
    wanted_at, priority_offset = _changed_at(incident), _EDIT_S + severity_offset
    match action:
        case Page(step=step) | Reply(step=step) if step is not None:
            wanted_at, priority_offset = incident.run.started_at, _DUE_STEP_S
            if action.instance == "1" and step.after == 0:
                # A reply to a responder without a Slack target only records that a page was sent.
                wakes = isinstance(action, Page) or step.responder.find_target(SLACK)
                priority_offset = _PAGE_S + severity_offset if wakes else _REPLY_S
        case ResolvePage() if not incident.is_resolved:  # a repeated page waits for this resolve
            wanted_at, priority_offset = incident.run.started_at, _DUE_STEP_S
        case ResolvePage():
            wanted_at, priority_offset = incident.resolved_at, _RESOLVE_PAGE_S
        case AcknowledgePage():
            wanted_at, priority_offset = incident.acknowledged_at, _ACKNOWLEDGE_PAGE_S
        case Post():
            wanted_at, priority_offset = incident.opened_at, _POST_S + severity_offset
        case Reply(reply_kind="resolved"):
            wanted_at, priority_offset = incident.resolved_at, _RESOLVED_REPLY_S
        case Reply():
            priority_offset = _REPLY_S
    return wanted_at, priority_offset


def is_initial(action: DeliveryAction) -> bool:
    """Return whether *action* is an incident's first message in its channel, or its first page."""
    if isinstance(action, Page):
        return action.instance == "1" and action.step.after == 0
    return isinstance(action, Post) and not action.replaces


def _changed_at(incident: Incident) -> float:
    """Return the latest time at which the incident can have changed since its message was last edited."""
    sent_at = (d.receipt.at for key, d in incident.deliveries.items() if d.receipt and key != UPDATE)
    return max(incident.updated_at, max(sent_at, default=0.0))


# A caller with a longer wait asks again after this many seconds, plus one second per hundred waiters.
_MAX_RETRY_AFTER_S = 5.0
# A waiter that is this late in asking again loses its place; if it asks later, its priority is the same.
_DEADLINE_GRACE_S = 2.0
# A larger step back means that Redis' clock was set back, or that another Redis took over in a failover.
_SET_BACK_S = 2.0
# Longer than any Retry-After of a vendor.
_RETENTION_S = 2 * 3600


class TokenBuckets:
    """Token buckets in Redis. Raises StoreError if Redis fails; each call is one round trip."""

    def __init__(self, client: Client, *, script_clock: ScriptClock) -> None:
        self._redis = client
        self._script_clock = script_clock
        self._scripts = Scripts(client)

    def acquire_token(
        self, bucket: TokenBucket, who: str, priority_at: float, now: float, *, is_initial: bool
    ) -> Permit:
        """Take a token if *who* is among the first in the queue; else queue it until it should ask again."""
        keys = TokenBucketKeys(bucket.name)
        names = [keys.state, keys.waiters, keys.waiter_deadlines, keys.initial_waiters]
        asked = [
            self._script_clock.format_after(now),
            bucket.burst,
            repr(bucket.rate),
            who,
            f"{priority_at:.3f}",
        ]
        waits = [_MAX_RETRY_AFTER_S, _DEADLINE_GRACE_S, _SET_BACK_S]
        keep_s = _RETENTION_S + math.ceil(bucket.burst / bucket.rate)
        with store_errors():
            retry_after, initial_wait = self._scripts.run_script(
                "take_token", names, [*asked, int(is_initial), *waits, keep_s]
            )
        return Permit(float(retry_after), float(initial_wait))

    def pause_bucket(self, bucket: TokenBucket, until: float) -> None:
        """Grant no token before *until*; a pause that ends later is kept."""
        with store_errors():
            self._scripts.run_script(
                "pause_bucket",
                [TokenBucketKeys(bucket.name).state],
                [self._script_clock.format_time(until), _RETENTION_S],
            )

    def list_waiters(self, bucket: TokenBucket) -> list[str]:
        """Return the callers that wait to send a first message or page, by priority."""
        with store_errors():
            members = self._redis.zrange(TokenBucketKeys(bucket.name).initial_waiters, 0, -1)
        return [member.decode() for member in members]


logger = logging.getLogger(__name__)
RATE_LIMITED = "rate_limited"


@dataclass(repr=False)
class RateLimiter:
    """Grants permits by the configured limits. The queues in *simulated* call no vendor: always granted."""

    token_buckets: TokenBuckets
    limits: VendorLimits
    clock: Callable[[], float]
    simulated: Collection[str] = ()

    def acquire(self, action: DeliveryAction, incident: Incident, now: float) -> Permit:
        """Return a permit for *action*; a token is taken if it may be dispatched now. Raises StoreError."""
        bucket = self._find_bucket(action)
        if bucket is None:
            return Permit()
        who, priority = f"{incident.id} {action.key}", priority_at(action, incident, now)
        return self.token_buckets.acquire_token(bucket, who, priority, now, is_initial=is_initial(action))

    def acquire_by_priority(self, action: DeliveryAction, who: str, priority: float, now: float) -> Permit:
        """Return a permit as `acquire` does, for an action that belongs to no single incident."""
        bucket = self._find_bucket(action)
        if bucket is None:
            return Permit()
        return self.token_buckets.acquire_token(bucket, who, priority, now, is_initial=False)

    def list_waiters(self, action: DeliveryAction) -> list[str]:
        """Return `INCIDENT KEY` of the first messages or pages that wait for the bucket of *action*."""
        bucket = self._find_bucket(action)
        return [] if bucket is None else self.token_buckets.list_waiters(bucket)

    def apply_retry_after(self, action: DeliveryAction, error: DeliveryError) -> None:
        """Pause the whole bucket of *action* after a 429: the vendor's limit is shared. Raises StoreError."""
        bucket = self._find_bucket(action)
        if bucket is None or error.reason != RATE_LIMITED or not isinstance(error, TemporaryDeliveryError):
            return
        metrics.RATE_LIMITED.labels(action.queue).inc()
        self.token_buckets.pause_bucket(bucket, self.clock() + error.retry_after)
        fields = {"bucket": bucket.name, "pause_s": round(error.retry_after, 1)}
        logger.warning("rate limited", extra={"fields": fields, "state": bucket.name})

    def _find_bucket(self, action: DeliveryAction) -> TokenBucket | None:
        return None if action.queue in self.simulated else find_bucket(action, self.limits)
