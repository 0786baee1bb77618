"""Who has the pager now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from receiver.cache import Cache
from receiver.model.incident import OnCallPerson
from receiver.model.routing import Responder

# PagerDuty limits how often it may be asked this; and turns change seldom.
CACHE_S = 120.0
_RETRY_S = 30.0
# Whoever asks has somebody to wake, and a name is worth no more than that.
_WAIT_S = 2.0


class ScheduleApi(Protocol):
    """Tells who is on call by a schedule's id; raises a DeliveryError."""

    def find_on_call(self, schedule: str) -> tuple[OnCallPerson, ...]: ...


class PagerDutyOnCallLookup:
    """The people on call, each answer kept for *cache_s* seconds. Threads may share it.

    Without *schedules* (there is no token) nobody is known.
    """

    def __init__(
        self,
        schedules: ScheduleApi | None,
        clock: Callable[[], float],
        cache_s: float = CACHE_S,
        wait_s: float = _WAIT_S,
    ) -> None:
        self._clock = clock
        self._cache_s = cache_s
        self._wait_s = wait_s
        self._answers: Cache[tuple[OnCallPerson, ...]] | None = None
        if schedules is not None:
            self._answers = Cache("oncall", schedules.find_on_call, clock, ttl_s=cache_s, retry_s=_RETRY_S)

    def list_on_call(self, responder: Responder) -> tuple[OnCallPerson, ...]:
        """Return who stands for *responder* now; empty without a schedule, or where nobody knows.

        Never raises, and waits for two seconds at most. While PagerDuty is away it is who was known
        last, as far as their turn hasn't ended, with `as_of` set.
        """
        if not responder.schedule or self._answers is None:
            return ()
        answer = self._answers.find_value(responder.schedule, self._wait_s)
        if answer is None:
            return ()
        now = self._clock()
        people = tuple(person for person in answer.value if not person.until or person.until > now)
        if abs(now - answer.fetched_at) < self._cache_s:
            return people
        return tuple(replace(person, as_of=answer.fetched_at) for person in people)
