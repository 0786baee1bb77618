"""Remembering what others answered, so that asking them again delays nobody."""

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
# Far more questions than anybody has; beyond them the memory starts anew.
_MAX_ENTRIES = 2000


@dataclass(frozen=True)
class CachedValue(Generic[V]):
    """An answer, and the moment it was given."""

    value: V
    fetched_at: float


class _Entry(Generic[V]):
    """What is known of one question; *asking* is set when the asking under way is over."""

    def __init__(self) -> None:
        self.cached: CachedValue[V] | None = None
        self.refreshed_at = 0.0
        self.valid_for_s = 0.0  # 0: ask at once
        self.refreshing: threading.Event | None = None


class Cache(Generic[V]):
    """Answers to questions, each kept for *keep_s* seconds. Threads may share it.

    *ask* answers one question or raises a DeliveryError; then the last good answer stands, however
    old, and it is not asked again for *retry_s* seconds (longer where the error says so).
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
        """Return the answer to *question*; None while there has been none.

        Once an answer is too old, whoever comes first waits for the next one, *wait_s* seconds at
        most, and has the old one then; others have the old one at once. Asking goes on behind.
        """
        with self._lock:
            entry = self._get_entry(key)
            # Not before it was learned either: then the clock was set back, and how old it is isn't known.
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
        # A thread of its own, since no library bounds the whole of an exchange; and a daemon, so
        # that it keeps no process from ending.
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
