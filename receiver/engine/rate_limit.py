"""Budgets: how fast a vendor lets itself be called, and who goes first when more is wanted than that.

A budget is a token bucket: each call takes a token. Whoever finds none left waits in a queue by
*rank*, a moment: when it was first wanted, plus a handicap for what matters less. As time goes on
everybody's place comes, so nothing starves.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from receiver import metrics
from receiver.errors import DeliveryError, TemporaryDeliveryError
from receiver.model.actions import AcknowledgePage, Action, Page, Post, Reply, ResolvePage, Update
from receiver.model.alert import Severity
from receiver.model.incident import Incident
from receiver.model.routing import SLACK
from receiver.storage.connection import Client, Scripts, store_errors
from receiver.storage.keys import TokenBucketKeys
from receiver.storage.timestamps import BY_WALL_CLOCK, Moments


@dataclass(frozen=True)
class Permit:
    """Whether to go: a token was taken where *wait_s* is 0, else ask again after so many seconds.

    *firsts_wait_s* is how long a first message or page that came now would wait for those before it; a pause
    is not counted.
    """

    retry_after_s: float = 0.0
    initial_wait_s: float = 0.0


class TokenBuckets(Protocol):
    """Shares what a vendor takes among all that want to call it; every method may raise StoreError."""

    def acquire(
        self, bucket: TokenBucket, who: str, priority_at: float, now: float, *, is_initial: bool
    ) -> Permit:
        """Take a token where it is *who*'s turn. Who has to wait keeps its place by asking again."""
        ...

    def pause(self, bucket: TokenBucket, until: float) -> None:
        """Let nobody go before *until*: the vendor said so."""
        ...

    def list_waiters(self, bucket: TokenBucket) -> list[str]:
        """Return who waits for a first message or page."""
        ...


# Slack takes one message a second in a channel, and "short bursts": three is one incident with its replies.
# https://docs.slack.dev/apis/web-api/rate-limits
_POST_BURST = 3
# A limit for any minute allows what may go at once plus what comes in during that minute; so the part
# that may go at once is taken off the rest. Edits come in clusters, pages must go on coming.
_UPDATES_AT_ONCE = 1 / 5
_EVENTS_AT_ONCE = 1 / 10
# Handicaps, in seconds. Steps that are due go before all that is new, whatever its severity.
_DUE_STEP_S = -30.0
_PAGE_S = 0.0
_POST_S = 2.0
_ACKNOWLEDGE_PAGE_S = 10.0
_RESOLVE_PAGE_S = 15.0
# Beyond the first messages of every severity.
_RESOLVED_REPLY_S = 65.0
_REPLY_S = 70.0
_EDIT_S = 80.0
# Reviews and notices: behind all that is first said of an incident, and behind resolves.
LOW_PRIORITY_OFFSET_S = _REPLY_S
_SEVERITY_S = {
    Severity.CRITICAL: 0.0,
    Severity.ERROR: 10.0,
    Severity.WARNING: 30.0,
    Severity.INFO: 60.0,
    Severity.NONE: 60.0,
}


class CallRate(Protocol):
    """At most *count* calls in any *per_s* seconds."""

    @property
    def count(self) -> int: ...
    @property
    def per_s(self) -> float: ...


class VendorLimits(Protocol):
    """What the configuration says a vendor takes."""

    @property
    def slack_posts(self) -> CallRate: ...
    @property
    def slack_updates(self) -> CallRate: ...
    @property
    def pagerduty(self) -> CallRate: ...


@dataclass(frozen=True)
class TokenBucket:
    """One thing that is limited: *burst* tokens at most, *rate* new ones a second."""

    name: str
    burst: int
    rate: float


def find_bucket(action: Action, limits: VendorLimits) -> TokenBucket | None:
    """Return the bucket that *action* takes a token of; None for what nobody limits."""
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


def _build_window_bucket(name: str, rate: CallRate, at_once: float) -> TokenBucket:
    """Return a bucket that gives no more than *rate* in any window, wherever that begins."""
    burst = max(1, int(rate.count * at_once))
    return TokenBucket(name, burst, max(1, rate.count - burst) / rate.per_s)


def priority_at(action: Action, incident: Incident, now: float) -> float:
    """Return the place in the queue, as a moment: the least goes first.

    It is when the action was first wanted (never later than *now*, lest a clock that was ahead makes
    it wait) plus its handicap. It follows from how the incident stands, so whoever comes again, late or
    from another worker, gets the same place.
    """
    wanted_at, priority_offset = _find_origin_and_offset(action, incident)
    return min(wanted_at, now) + priority_offset


def _find_origin_and_offset(action: Action, incident: Incident) -> tuple[float, float]:
    """Return when *action* was first wanted, and its handicap."""
    severity_offset = _SEVERITY_S[incident.severity]
    wanted_at, priority_offset = _changed_at(incident), _EDIT_S + severity_offset
    match action:
        case Page(step=step) | Reply(step=step) if step is not None:
            wanted_at, priority_offset = incident.run.started_at, _DUE_STEP_S
            if action.instance == "1" and step.after == 0:
                # Where nobody is mentioned, the reply only says that somebody was paged.
                wakes = isinstance(action, Page) or step.responder.find_target(SLACK)
                priority_offset = _PAGE_S + severity_offset if wakes else _REPLY_S
        case ResolvePage() if not incident.is_resolved:  # a step that is told anew waits for it
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


def is_initial(action: Action) -> bool:
    """Tell whether *action* is an incident's first message in its channel, or its first page."""
    if isinstance(action, Page):
        return action.instance == "1" and action.step.after == 0
    return isinstance(action, Post) and not action.replaces


def _changed_at(incident: Incident) -> float:
    """Return when the incident last became something that its message doesn't show yet, at the latest."""
    sent_at = (d.receipt.at for key, d in incident.deliveries.items() if d.receipt and key != "update")
    return max(incident.updated_at, max(sent_at, default=0.0))


# Whoever waits for longer asks again after so many seconds, and one more for each hundred that wait.
_MAX_RETRY_AFTER_S = 5.0
# Who waits and is this late is forgotten; whoever comes later still gets the same place.
_DEADLINE_GRACE_S = 2.0
# Where Redis' clock is further back than this it was set back, or another Redis has taken over.
_SET_BACK_S = 2.0
# Longer than any pause that a vendor asks for.
_RETENTION_S = 2 * 3600


class RedisTokenBuckets:
    """Gives turns. Raises StoreError when Redis can't; each call is one round trip."""

    def __init__(self, client: Client, *, moments: Moments = BY_WALL_CLOCK) -> None:
        self._redis = client
        self._moments = moments
        self._scripts = Scripts(client)

    def acquire(
        self, bucket: TokenBucket, who: str, priority_at: float, now: float, *, is_initial: bool
    ) -> Permit:
        """Take a token where it is *who*'s turn, else queue it until it asks again, or fails to."""
        keys = TokenBucketKeys(bucket.name)
        with store_errors():
            retry_after, initial_wait = self._scripts.run(
                "take_token",
                [keys.state, keys.waiters, keys.waiter_deadlines, keys.initial_waiters],
                [
                    self._moments.after(now),
                    bucket.burst,
                    repr(bucket.rate),
                    who,
                    f"{priority_at:.3f}",
                    int(is_initial),
                    _MAX_RETRY_AFTER_S,
                    _DEADLINE_GRACE_S,
                    _SET_BACK_S,
                    _RETENTION_S + math.ceil(bucket.burst / bucket.rate),
                ],
            )
        return Permit(float(retry_after), float(initial_wait))

    def pause(self, bucket: TokenBucket, until: float) -> None:
        """Let nobody go before *until*; a pause that ends later stands."""
        with store_errors():
            self._scripts.run(
                "pause_bucket", [TokenBucketKeys(bucket.name).state], [self._moments.at(until), _RETENTION_S]
            )

    def list_waiters(self, bucket: TokenBucket) -> list[str]:
        """Return who waits for a first one, in the order they will go."""
        with store_errors():
            members = self._redis.zrange(TokenBucketKeys(bucket.name).initial_waiters, 0, -1)
        return [member.decode() for member in members]


logger = logging.getLogger(__name__)
RATE_LIMITED = "rate_limited"
_GRANTED = Permit()


class RateLimiter:
    """Gives turns by the configured limits. Lanes that are *simulated* call nobody, and go at once."""

    def __init__(
        self,
        token_buckets: TokenBuckets,
        limits: VendorLimits,
        clock: Callable[[], float],
        *,
        simulated: Collection[str] = (),
    ) -> None:
        self._token_buckets = token_buckets
        self._limits = limits
        self._clock = clock
        self._simulated = simulated

    def acquire(self, action: Action, incident: Incident, now: float) -> Permit:
        """Tell whether *action* may be done now; a token is taken then. Raises StoreError."""
        bucket = self._find_bucket(action)
        if bucket is None:
            return _GRANTED
        who, priority = f"{incident.id} {action.key}", priority_at(action, incident, now)
        return self._token_buckets.acquire(bucket, who, priority, now, is_initial=is_initial(action))

    def acquire_by_priority(self, action: Action, who: str, priority: float, now: float) -> Permit:
        """Tell whether what is said of no single incident may be done now, as `acquire` does."""
        bucket = self._find_bucket(action)
        return (
            _GRANTED
            if bucket is None
            else self._token_buckets.acquire(bucket, who, priority, now, is_initial=False)
        )

    def list_waiters(self, action: Action) -> list[str]:
        """Return who waits where *action* does for a first message or page: `INCIDENT KEY` each."""
        bucket = self._find_bucket(action)
        return [] if bucket is None else list(self._token_buckets.list_waiters(bucket))

    def apply_retry_after(self, action: Action, error: DeliveryError) -> None:
        """Let nobody call where *action* was told to wait: the limit is not its own. Raises StoreError."""
        bucket = self._find_bucket(action)
        if bucket is None or error.reason != RATE_LIMITED or not isinstance(error, TemporaryDeliveryError):
            return
        metrics.RATE_LIMITED.labels(action.queue).inc()
        self._token_buckets.pause(bucket, self._clock() + error.retry_after)
        fields = {"bucket": bucket.name, "pause_s": round(error.retry_after, 1)}
        logger.warning("rate limited", extra={"fields": fields, "state": bucket.name})

    def _find_bucket(self, action: Action) -> TokenBucket | None:
        return None if action.queue in self._simulated else find_bucket(action, self._limits)
