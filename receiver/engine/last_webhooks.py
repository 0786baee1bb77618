"""When the last webhook of each source came.

A webhook only sets a moment in memory. The moments are written to the store every few seconds, so a repeat
still costs one round trip.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Protocol

from receiver.errors import StoreError

# Sources are named by whoever sends (`?source=`).
MAX_SOURCES = 20


class LastWebhookStore(Protocol):
    """Where moments are kept; every method may raise StoreError."""

    def save(self, moments: Mapping[str, float]) -> None: ...
    def list_all(self) -> dict[str, float]: ...


class LastWebhooks:
    """Keeps the moments that this process knows, and tells those of all. Threads may share it."""

    def __init__(self, store: LastWebhookStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._unsaved: dict[str, float] = {}

    def record(self, source: str, now: float) -> None:
        """Record that a webhook of *source* was accepted; waits for nothing."""
        with self._lock:
            if source in self._unsaved or len(self._unsaved) < MAX_SOURCES:
                self._unsaved[source] = now

    def save(self) -> None:
        """Write what was recorded since the last time; what can't be written is kept. Raises StoreError."""
        with self._lock:
            unsaved, self._unsaved = self._unsaved, {}
        try:
            self._store.save(unsaved)
        except StoreError:
            with self._lock:
                self._unsaved = {**unsaved, **self._unsaved}
            raise

    def list_all(self) -> dict[str, float]:
        """Return when the last webhook of each source came, by source. Raises StoreError."""
        moments = self._store.list_all()
        with self._lock:
            moments |= self._unsaved
        newest = sorted(moments.items(), key=lambda item: item[1], reverse=True)[:MAX_SOURCES]
        return dict(sorted(newest))
