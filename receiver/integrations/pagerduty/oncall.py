"""Lookup of the people on call by a PagerDuty schedule, cached."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from receiver.cache import Cache
from receiver.model.incident import OnCallPerson
from receiver.model.routing import Responder

# PagerDuty rate-limits this request, and on-call shifts change rarely.
CACHE_S = 120.0
_RETRY_S = 30.0
# The caller is about to send a page; the name is not worth a longer delay.
_WAIT_S = 2.0


class PagerDutyOnCallLookup:
    """Looks up the people on call and caches each result for *cache_s* seconds. Thread-safe.

    *find_on_call* returns them by the ID of a schedule, or raises a DeliveryError. A lookup waits *wait_s*
    seconds at most.
    """

    def __init__(
        self,
        find_on_call: Callable[[str], tuple[OnCallPerson, ...]],
        clock: Callable[[], float],
        cache_s: float = CACHE_S,
        wait_s: float = _WAIT_S,
    ) -> None:
        self._clock = clock
        self._cache_s = cache_s
        self._wait_s = wait_s
        self._answers = Cache("oncall", find_on_call, clock, ttl_s=cache_s, retry_s=_RETRY_S)

    def list_on_call(self, responder: Responder) -> tuple[OnCallPerson, ...]:
        """Return who is on call for *responder* now; empty without a schedule, or when that is unknown.

        Never raises. While PagerDuty is unavailable, returns the last known people whose shift has not
        ended, with `as_of` set.
        """
        if not responder.schedule:
            return ()
        answer = self._answers.find_value(responder.schedule, self._wait_s)
        if answer is None:
            return ()
        now = self._clock()
        people = tuple(person for person in answer.value if not person.until or person.until > now)
        if abs(now - answer.fetched_at) < self._cache_s:
            return people
        return tuple(replace(person, as_of=answer.fetched_at) for person in people)
