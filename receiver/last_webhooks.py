"""The time of the last webhook of each source: its store in Redis, and the recorder of this process."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from receiver.errors import StoreError
from receiver.storage.connection import Client, store_errors
from receiver.storage.keys import LAST_WEBHOOKS, LAST_WEBHOOKS_FOR_S


class RedisLastWebhooks:
    """Stores one time for each of at most *limit* sources. Raises StoreError when Redis is unavailable."""

    def __init__(self, client: Client, *, limit: int) -> None:
        self._redis = client
        self._limit = limit

    def save(self, moments: Mapping[str, float]) -> None:
        """Save *moments* by source, and delete the oldest sources over the limit."""
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
        """Return the time of the last webhook by source."""
        with store_errors():
            found = self._redis.hgetall(LAST_WEBHOOKS)
        return {source.decode(): float(at) for source, at in found.items()}


# The sender chooses the source name (`?source=`), so their number must be limited.
MAX_SOURCES = 20


class LastWebhooks:
    """Collects the times of this process, and lists those of all. Threads may share it."""

    def __init__(self, store: RedisLastWebhooks) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._unsaved: dict[str, float] = {}

    def record(self, source: str, now: float) -> None:
        """Record in memory that a webhook of *source* was accepted; does no I/O."""
        with self._lock:
            if source in self._unsaved or len(self._unsaved) < MAX_SOURCES:
                self._unsaved[source] = now

    def save(self) -> None:
        """Save what was recorded since the last call; on a StoreError it stays in memory and is raised."""
        with self._lock:
            unsaved, self._unsaved = self._unsaved, {}
        try:
            self._store.save(unsaved)
        except StoreError:
            with self._lock:
                self._unsaved = {**unsaved, **self._unsaved}
            raise

    def list_all(self) -> dict[str, float]:
        """Return the time of the last webhook by source. Raises StoreError."""
        moments = self._store.list_all()
        with self._lock:
            moments |= self._unsaved
        newest = sorted(moments.items(), key=lambda item: item[1], reverse=True)[:MAX_SOURCES]
        return dict(sorted(newest))
