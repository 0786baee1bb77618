"""Whose turn it is: every call to a vendor takes a token of its budget first, and waits where there is none.

Nobody sleeps: who has to wait is told for how long, and comes again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from receiver import telemetry
from receiver.domain.action import Action
from receiver.domain.budget import Bucket, Limits, find_bucket, is_first, rank_at
from receiver.domain.incident import Incident
from receiver.domain.ports import Budgets, Turn
from receiver.errors import DeliveryError, TemporaryDeliveryError

logger = logging.getLogger(__name__)

RATE_LIMITED = "rate_limited"
_GO = Turn()


class Turns:
    """Gives turns by the configured limits. Lanes that are *simulated* call nobody, and go at once."""

    def __init__(
        self,
        budgets: Budgets,
        limits: Limits,
        clock: Callable[[], float],
        *,
        simulated: Collection[str] = (),
    ) -> None:
        self._budgets = budgets
        self._limits = limits
        self._clock = clock
        self._simulated = simulated

    def take(self, action: Action, incident: Incident, now: float) -> Turn:
        """Tell whether *action* may be done now; a token is taken then. Raises StoreError."""
        bucket = self._find_bucket(action)
        if bucket is None:
            return _GO
        who, rank = f"{incident.id} {action.key}", rank_at(action, incident, now)
        return self._budgets.take(bucket, who, rank, now, is_first=is_first(action))

    def take_by_rank(self, action: Action, who: str, rank: float, now: float) -> Turn:
        """Tell whether what is said of no single incident may be done now, as `take` does."""
        bucket = self._find_bucket(action)
        return _GO if bucket is None else self._budgets.take(bucket, who, rank, now, is_first=False)

    def waiting(self, action: Action) -> list[str]:
        """Return who waits where *action* does for a first message or page: `INCIDENT KEY` each."""
        bucket = self._find_bucket(action)
        return [] if bucket is None else list(self._budgets.waiting(bucket))

    def heed(self, action: Action, error: DeliveryError) -> None:
        """Let nobody call where *action* was told to wait: the limit is not its own. Raises StoreError."""
        bucket = self._find_bucket(action)
        if bucket is None or error.reason != RATE_LIMITED or not isinstance(error, TemporaryDeliveryError):
            return
        telemetry.RATE_LIMITED.labels(action.lane).inc()
        self._budgets.pause(bucket, self._clock() + error.retry_after)
        fields = {"budget": bucket.name, "pause_s": round(error.retry_after, 1)}
        logger.warning("rate limited", extra={"fields": fields, "state": bucket.name})

    def _find_bucket(self, action: Action) -> Bucket | None:
        return None if action.lane in self._simulated else find_bucket(action, self._limits)
