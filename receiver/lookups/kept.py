"""An answer that is kept for a while, so that others are asked seldom."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from receiver.errors import ReceiverError

T = TypeVar("T")


class Kept(Generic[T]):
    """Asks again after *for_s*; where that fails, the old answer stays in force, if there is one.

    However many want it at once, one asks and the others wait for it. After a failure nobody is asked
    for *pause_s*.
    """

    def __init__(
        self, ask: Callable[[], T], clock: Callable[[], float], *, for_s: float, pause_s: float
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._for_s = for_s
        self._pause_s = pause_s
        self._lock = Lock()
        self._found: T | None = None
        self._found_at = float("-inf")
        self._failed_at = float("-inf")
        self._failure: ReceiverError | None = None

    def get(self) -> T:
        """Return the answer; raises what asking raises, where there never was one."""
        with self._lock:
            if self._found is None or self._is_over(self._found_at, self._for_s):
                self._try()
            if self._found is None:
                raise self._failure or AssertionError
            return self._found

    def renew(self) -> T:
        """Return a newer answer, where the last is not quite new."""
        with self._lock:
            if self._is_over(self._found_at, self._pause_s):
                self._try()
        return self.get()

    def _try(self) -> None:
        if not self._is_over(self._failed_at, self._pause_s):
            return
        try:
            self._found, self._found_at = self._ask(), self._clock()
        except ReceiverError as error:
            self._failure, self._failed_at = error, self._clock()

    def _is_over(self, since: float, wait_s: float) -> bool:
        """Tell whether *wait_s* have passed; a clock that was set back makes nobody wait for it."""
        return not 0 <= self._clock() - since < wait_s
