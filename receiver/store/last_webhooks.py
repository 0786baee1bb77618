"""The last webhook of each source in Redis."""

from __future__ import annotations

from collections.abc import Mapping

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
