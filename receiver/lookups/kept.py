"""An answer that is kept for a while, so that others are asked seldom."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from receiver.errors import ReceiverError

T = TypeVar("T")


class SingleValueCache(Generic[T]):
    """Asks again after *for_s*; where that fails, the old answer stays in force, if there is one.

    However many want it at once, one asks and the others wait for it. After a failure nobody is asked
    for *pause_s*.
    """

    def __init__(
        self, fetch: Callable[[], T], clock: Callable[[], float], *, ttl_s: float, retry_s: float
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._ttl_s = ttl_s
        self._retry_s = retry_s
        self._lock = Lock()
        self._value: T | None = None
        self._fetched_at = float("-inf")
        self._failed_at = float("-inf")
        self._failure: ReceiverError | None = None

    def get_value(self) -> T:
        """Return the answer; raises what asking raises, where there never was one."""
        with self._lock:
            if self._value is None or self._is_over(self._fetched_at, self._ttl_s):
                self._fetch_value()
            if self._value is None:
                raise self._failure or AssertionError
            return self._value

    def refresh(self) -> T:
        """Return a newer answer, where the last is not quite new."""
        with self._lock:
            if self._is_over(self._fetched_at, self._retry_s):
                self._fetch_value()
        return self.get_value()

    def _fetch_value(self) -> None:
        if not self._is_over(self._failed_at, self._retry_s):
            return
        try:
            self._value, self._fetched_at = self._fetch(), self._clock()
        except ReceiverError as error:
            self._failure, self._failed_at = error, self._clock()

    def _is_over(self, since: float, wait_s: float) -> bool:
        """Tell whether *wait_s* have passed; a clock that was set back makes nobody wait for it."""
        return not 0 <= self._clock() - since < wait_s
