"""Whose turn it is: every call to a vendor takes a token of its budget first, and waits where there is none.

Nobody sleeps: who has to wait is told for how long, and comes again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from receiver import metrics
from receiver.domain.budget import TokenBucket, VendorLimits, find_bucket, is_initial, priority_at
from receiver.domain.ports import Permit, TokenBuckets
from receiver.errors import DeliveryError, TemporaryDeliveryError
from receiver.model.actions import Action
from receiver.model.incident import Incident

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
