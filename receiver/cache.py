"""The cache of remote answers: single flight, and a stale value while the source is unavailable."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Generic, TypeVar

from receiver.errors import DeliveryError, ReceiverError, TemporaryDeliveryError

V = TypeVar("V")
logger = logging.getLogger(__name__)
_EVER = float("-inf")


@dataclass(frozen=True)
class CachedValue(Generic[V]):
    """A value, and the time at which its fetch began."""

    value: V
    fetched_at: float


@dataclass(slots=True)
class _Entry(Generic[V]):
    """The state of one key; `refreshing` is None, or an event that is set when the current fetch ends."""

    cached: CachedValue[V] | None = None
    failure: ReceiverError | None = None  # of the last fetch
    valid_from: float = 0.0
    valid_for_s: float = 0.0  # 0: fetch at once
    refreshing: threading.Event | None = None


@dataclass
class Cache(Generic[V]):
    """Values by key, each valid for *ttl_s* seconds. Threads may share it; only one at a time fetches a key.

    *fetch* returns the value of a key or raises a ReceiverError; then the last value stays, however
    old, and is not fetched again for *retry_s* seconds (longer where the error says so). Of more than
    *size* keys the oldest are dropped; `find_value` starts no more than *at_once* fetches.
    """

    name: str
    fetch: Callable[[str], V]
    clock: Callable[[], float]
    _: KW_ONLY
    ttl_s: float
    retry_s: float
    size: int = 2000
    at_once: int = 1000
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _entries: dict[str, _Entry[V]] = field(default_factory=dict, init=False)

    def get_value(self, key: str = "", *, since: float = _EVER) -> V:
        """Return the value of *key*, fetched in this thread if it has expired or is older than *since*.

        Waits for the fetch of another thread. Raises the error of *fetch* where there never was a value.
        """
        while True:
            with self._lock:
                entry = self._get_entry(key)
                running = entry.refreshing
                if running is None and self._is_valid(entry, since):
                    return self._get_result(entry)
                if running is None:
                    running = entry.refreshing = threading.Event()
                    break
            running.wait()
        self._refresh_entry(key, entry, running)
        return self._get_result(entry)

    def find_value(self, key: str, wait_s: float) -> CachedValue[V] | None:
        """Return the value of *key*; None while there has been none.

        When a value has expired, the first caller waits up to *wait_s* seconds for the new one and
        otherwise gets the old one; other callers get the old one at once. The refresh runs in a thread.
        """
        with self._lock:
            entry = self._get_entry(key)
            if self._is_valid(entry) if entry.refreshing is None else entry.cached is not None:
                return entry.cached
            refreshing = entry.refreshing or self._start_refresh(key, entry)
        if refreshing is not None:
            refreshing.wait(wait_s)
        return entry.cached

    def _get_entry(self, key: str) -> _Entry[V]:
        if key not in self._entries and len(self._entries) >= self.size:
            del self._entries[next(iter(self._entries))]
        return self._entries.setdefault(key, _Entry())

    def _is_valid(self, entry: _Entry[V], since: float = _EVER) -> bool:
        # A negative age means that the clock was set back: the real age is unknown, so refresh.
        if not 0 <= self.clock() - entry.valid_from < entry.valid_for_s:
            return False
        return entry.failure is not None or (entry.cached is not None and entry.cached.fetched_at > since)

    def _get_result(self, entry: _Entry[V]) -> V:
        if entry.cached is None:
            raise entry.failure or AssertionError
        return entry.cached.value

    def _start_refresh(self, key: str, entry: _Entry[V]) -> threading.Event | None:
        """Fetch *key* in a daemon thread, which sets the event; None where no more threads can be started."""
        if not self.at_once:
            return None
        refreshing = threading.Event()

        def refresh() -> None:
            try:
                self._refresh_entry(key, entry, refreshing)
            finally:
                with self._lock:
                    self.at_once += 1

        try:
            threading.Thread(target=refresh, name=f"fetch {self.name}", daemon=True).start()
        except RuntimeError:  # no more threads, or the process is ending
            return None
        self.at_once -= 1
        entry.refreshing = refreshing
        return refreshing

    def _refresh_entry(self, key: str, entry: _Entry[V], refreshing: threading.Event) -> None:
        began_at, valid_for_s = self.clock(), self.retry_s
        cached: CachedValue[V] | None = None
        failure: ReceiverError | None = ReceiverError(f"{self.name} failed")  # unless it is known better
        try:
            cached = CachedValue(self.fetch(key), began_at)
            failure, valid_for_s = None, self.ttl_s
        except ReceiverError as error:
            failure = error
            if isinstance(error, TemporaryDeliveryError):
                valid_for_s = max(valid_for_s, error.retry_after)
            known = error if isinstance(error, DeliveryError) else DeliveryError("failed", str(error))
            fields = {"what": self.name, "reason": known.reason, "detail": known.detail}
            state = f"{self.name} {known.reason}"
            logger.warning("look-up failed", extra={"fields": fields, "state": state})
        finally:
            with self._lock:
                entry.cached, entry.failure = cached or entry.cached, failure
                entry.valid_from = began_at if cached else self.clock()
                entry.valid_for_s = valid_for_s
                entry.refreshing = None
            refreshing.set()
