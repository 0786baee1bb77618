"""Caches of remote answers that return a stale value while they refresh it, so that callers rarely wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

from receiver.errors import DeliveryError, ReceiverError, TemporaryDeliveryError

V = TypeVar("V")
logger = logging.getLogger(__name__)
# Far more keys than are in use; at this size the cache is cleared.
_MAX_ENTRIES = 2000


@dataclass(frozen=True)
class CachedValue(Generic[V]):
    """A value, and the time it was fetched at."""

    value: V
    fetched_at: float


class _Entry(Generic[V]):
    """The state of one key; `refreshing` is None, or an event that is set when the current refresh ends."""

    def __init__(self) -> None:
        self.cached: CachedValue[V] | None = None
        self.refreshed_at = 0.0
        self.valid_for_s = 0.0  # 0: fetch at once
        self.refreshing: threading.Event | None = None


class Cache(Generic[V]):
    """Values by key, each valid for *ttl_s* seconds. Threads may share it.

    *fetch* returns the value of a key or raises a DeliveryError; then the last value stays, however
    old, and is not fetched again for *retry_s* seconds (longer where the error says so).
    """

    def __init__(
        self,
        name: str,
        fetch: Callable[[str], V],
        clock: Callable[[], float],
        *,
        ttl_s: float,
        retry_s: float,
    ) -> None:
        self._name = name
        self._fetch = fetch
        self._clock = clock
        self._ttl_s = ttl_s
        self._retry_s = retry_s
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry[V]] = {}

    def find_value(self, key: str, wait_s: float) -> CachedValue[V] | None:
        """Return the value of *key*; None while there has been none.

        When a value has expired, the first caller waits up to *wait_s* seconds for the new one and
        otherwise gets the old one; other callers get the old one at once. The refresh runs in a thread.
        """
        with self._lock:
            entry = self._get_entry(key)
            # A negative age means that the clock was set back: the real age is unknown, so refresh.
            if entry.refreshing is None and 0 <= self._clock() - entry.refreshed_at < entry.valid_for_s:
                return entry.cached
            if entry.refreshing is not None and entry.cached is not None:
                return entry.cached
            refreshing = entry.refreshing or self._start_refresh(key, entry)
        refreshing.wait(wait_s)
        return entry.cached

    def _get_entry(self, key: str) -> _Entry[V]:
        if key not in self._entries and len(self._entries) >= _MAX_ENTRIES:
            self._entries.clear()
        return self._entries.setdefault(key, _Entry())

    def _start_refresh(self, key: str, entry: _Entry[V]) -> threading.Event:
        # A thread, because no HTTP library limits the total time of a request; a daemon thread, so that
        # it does not keep the process from exiting.
        entry.refreshing = threading.Event()
        arguments = (key, entry, entry.refreshing)
        threading.Thread(target=self._refresh, args=arguments, name=f"ask {self._name}", daemon=True).start()
        return entry.refreshing

    def _refresh(self, key: str, entry: _Entry[V], refreshing: threading.Event) -> None:
        wait, cached = self._retry_s, None
        try:
            cached = CachedValue(self._fetch(key), self._clock())
            wait = self._ttl_s
        except DeliveryError as error:
            if isinstance(error, TemporaryDeliveryError):
                wait = max(wait, error.retry_after)
            fields = {"what": self._name, "reason": error.reason, "detail": error.detail}
            logger.warning(
                "look-up failed", extra={"fields": fields, "state": f"{self._name} {error.reason}"}
            )
        finally:
            with self._lock:
                entry.cached = cached or entry.cached
                entry.refreshed_at, entry.valid_for_s = self._clock(), wait
                entry.refreshing = None
            refreshing.set()


T = TypeVar("T")


class SingleValueCache(Generic[T]):
    """One value, fetched again after *ttl_s* seconds; where that fails, the old value stays, if any.

    Of concurrent callers one fetches and the others wait for it. After a failure *fetch* is not called
    for *retry_s* seconds.
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
        """Return the value; raises the error of *fetch* where there never was one."""
        with self._lock:
            if self._value is None or self._is_over(self._fetched_at, self._ttl_s):
                self._fetch_value()
            if self._value is None:
                raise self._failure or AssertionError
            return self._value

    def refresh(self) -> T:
        """Return a value not older than the retry time; fetches a new one otherwise."""
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
        """Tell whether *wait_s* have passed since *since*, or the clock was set back."""
        return not 0 <= self._clock() - since < wait_s
