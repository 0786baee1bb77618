"""The time of the last webhook of each source: in the memory of this process, and in Redis for all."""

from __future__ import annotations

import threading

from receiver.errors import StoreError
from receiver.storage.connection import Client, store_errors
from receiver.storage.keys import LAST_WEBHOOKS, LAST_WEBHOOKS_FOR_S

# The sender chooses the source name (`?source=`), so their number must be limited.
MAX_SOURCES = 20


class LastWebhooks:
    """Collects the times of this process, and lists those of all. Threads may share it."""

    def __init__(self, client: Client) -> None:
        self._redis = client
        self._lock = threading.Lock()
        self._unsaved: dict[str, float] = {}

    def record_webhook(self, source: str, now: float) -> None:
        """Record in memory that a webhook of *source* was accepted; does no I/O."""
        with self._lock:
            if source in self._unsaved or len(self._unsaved) < MAX_SOURCES:
                self._unsaved[source] = now

    def save_times(self) -> None:
        """Save what was recorded since the last call, and delete the oldest sources over the limit. On a
        StoreError the times stay in memory, and it is raised.
        """
        with self._lock:
            unsaved, self._unsaved = self._unsaved, {}
        if not unsaved:
            return
        try:
            self._write_times(unsaved)
        except StoreError:
            with self._lock:
                self._unsaved = {**unsaved, **self._unsaved}
            raise

    def list_all(self) -> dict[str, float]:
        """Return the time of the last webhook by source. Raises StoreError."""
        times = self._read_times()
        with self._lock:
            times |= self._unsaved
        newest = sorted(times.items(), key=lambda item: item[1], reverse=True)[:MAX_SOURCES]
        return dict(sorted(newest))

    def _write_times(self, times: dict[str, float]) -> None:
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(LAST_WEBHOOKS, mapping={source: repr(at) for source, at in times.items()})
            pipe.expire(LAST_WEBHOOKS, LAST_WEBHOOKS_FOR_S)
            pipe.hlen(LAST_WEBHOOKS)
            *_, count = pipe.execute()
        if count > MAX_SOURCES:
            by_age = sorted(self._read_times().items(), key=lambda item: item[1])
            with store_errors():
                self._redis.hdel(LAST_WEBHOOKS, *(source for source, _ in by_age[:-MAX_SOURCES]))

    def _read_times(self) -> dict[str, float]:
        with store_errors():
            found = self._redis.hgetall(LAST_WEBHOOKS)
        return {source.decode(): float(at) for source, at in found.items()}
