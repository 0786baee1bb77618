"""Questions to PagerDuty's REST API: by dedup key, and none for a while after one that got no answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from receiver.errors import TemporaryDeliveryError
from receiver.model.escalation import CHECK_AHEAD_S
from receiver.model.page_check import PagerDutyStatus
from receiver.storms.model import parse_storm_dedup_key

# Who asks holds a thread of the pages' lane meanwhile: while PagerDuty's API gives no answer, others go
# on without one.
_BACKOFF_S = 5.0
_MAX_BACKOFF_S = 60.0


class StatusSource(Protocol):
    """Tells how PagerDuty's incidents stand, newest first, by dedup key; may raise a DeliveryError.

    It answers within the time there is before a step (`CHECK_AHEAD_S`).
    """

    def find_statuses(self, dedup_keys: Sequence[str]) -> Mapping[str, Sequence[PagerDutyStatus]]: ...


class PagerDutyStatusClient:
    """Asks PagerDuty, for all threads of a process."""

    def __init__(self, status_source: StatusSource, clock: Callable[[], float]) -> None:
        self._status_source = status_source
        self._clock = clock
        self._backoff_until = 0.0
        # What PagerDuty said of storms' pages a moment ago, and when.
        self._cached: dict[str, tuple[float, Sequence[PagerDutyStatus]]] = {}

    def find_statuses(self, keys: Sequence[str]) -> Mapping[str, Sequence[PagerDutyStatus]]:
        """Return how the latest PagerDuty incidents of each key stand, newest first.

        What was said of a storm's page within the time there is before a step is not asked again. Raises a
        DeliveryError; right after one that PagerDuty gave no answer to, without asking.
        """
        now = self._clock()
        cached = {key: one for key, one in self._cached.items() if abs(now - one[0]) < CHECK_AHEAD_S}
        known = {key: cached[key][1] for key in keys if key in cached}
        found = self._fetch(missing) if (missing := [key for key in keys if key not in known]) else {}
        # Other threads ask, too: a new one each time, so that nobody's changes under their eyes.
        self._cached = cached | {key: (now, found[key]) for key in found if parse_storm_dedup_key(key)}
        return {**known, **found}

    def _fetch(self, keys: Sequence[str]) -> Mapping[str, Sequence[PagerDutyStatus]]:
        if self._clock() < self._backoff_until:
            raise TemporaryDeliveryError("no_answer", "it gave none a moment ago")
        try:
            return self._status_source.find_statuses(keys)
        except TemporaryDeliveryError as error:
            if error.reason in ("no_answer", "rate_limited"):
                wait = min(max(error.retry_after, _BACKOFF_S), _MAX_BACKOFF_S)
                self._backoff_until = self._clock() + wait
            raise
