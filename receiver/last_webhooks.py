"""The last webhook of each source in Redis."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Protocol

from receiver.errors import StoreError
from receiver.storage.connection import Client, store_errors
from receiver.storage.keys import LAST_WEBHOOKS, LAST_WEBHOOKS_FOR_S


class RedisLastWebhooks:
    """Keeps one moment for each of at most *limit* sources. Raises StoreError when Redis can't do it."""

    def __init__(self, client: Client, *, limit: int) -> None:
        self._redis = client
        self._limit = limit

    def save(self, moments: Mapping[str, float]) -> None:
        """Keep *moments* by source, and forget the oldest of too many."""
        if not moments:
            return
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(LAST_WEBHOOKS, mapping={source: repr(at) for source, at in moments.items()})
            pipe.expire(LAST_WEBHOOKS, LAST_WEBHOOKS_FOR_S)
            pipe.hlen(LAST_WEBHOOKS)
            *_, count = pipe.execute()
        if count > self._limit:
            by_age = sorted(self.list_all().items(), key=lambda item: item[1])
            with store_errors():
                self._redis.hdel(LAST_WEBHOOKS, *(source for source, _ in by_age[: -self._limit]))

    def list_all(self) -> dict[str, float]:
        """Return when each source's last webhook came."""
        with store_errors():
            found = self._redis.hgetall(LAST_WEBHOOKS)
        return {source.decode(): float(at) for source, at in found.items()}


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
