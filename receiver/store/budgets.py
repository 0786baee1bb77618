"""Budgets in Redis: one token bucket for each thing that a vendor limits, shared by all workers.

State, queue and first ones of a bucket carry its name as their hash tag, so they lie on one node of a
Redis Cluster. All workers share them, so they go by Redis' own clock.
"""

from __future__ import annotations

import math

from receiver.domain.budget import TokenBucket
from receiver.domain.ports import Permit
from receiver.storage.connection import Client, Scripts, store_errors
from receiver.storage.keys import TokenBucketKeys
from receiver.storage.timestamps import BY_WALL_CLOCK, Moments

# Whoever waits for longer asks again after so many seconds, and one more for each hundred that wait.
_MAX_RETRY_AFTER_S = 5.0
# Who waits and is this late is forgotten; whoever comes later still gets the same place.
_DEADLINE_GRACE_S = 2.0
# Where Redis' clock is further back than this it was set back, or another Redis has taken over.
_SET_BACK_S = 2.0
# Longer than any pause that a vendor asks for.
_RETENTION_S = 2 * 3600


class RedisTokenBuckets:
    """Gives turns. Raises StoreError when Redis can't; each call is one round trip."""

    def __init__(self, client: Client, *, moments: Moments = BY_WALL_CLOCK) -> None:
        self._redis = client
        self._moments = moments
        self._scripts = Scripts(client)

    def acquire(
        self, bucket: TokenBucket, who: str, priority_at: float, now: float, *, is_initial: bool
    ) -> Permit:
        """Take a token where it is *who*'s turn, else queue it until it asks again, or fails to."""
        keys = TokenBucketKeys(bucket.name)
        with store_errors():
            retry_after, initial_wait = self._scripts.run(
                "take",
                [keys.state, keys.waiters, keys.waiter_deadlines, keys.initial_waiters],
                [
                    self._moments.after(now),
                    bucket.burst,
                    repr(bucket.rate),
                    who,
                    f"{priority_at:.3f}",
                    int(is_initial),
                    _MAX_RETRY_AFTER_S,
                    _DEADLINE_GRACE_S,
                    _SET_BACK_S,
                    _RETENTION_S + math.ceil(bucket.burst / bucket.rate),
                ],
            )
        return Permit(float(retry_after), float(initial_wait))

    def pause(self, bucket: TokenBucket, until: float) -> None:
        """Let nobody go before *until*; a pause that ends later stands."""
        with store_errors():
            self._scripts.run(
                "pause", [TokenBucketKeys(bucket.name).state], [self._moments.at(until), _RETENTION_S]
            )

    def list_waiters(self, bucket: TokenBucket) -> list[str]:
        """Return who waits for a first one, in the order they will go."""
        with store_errors():
            members = self._redis.zrange(TokenBucketKeys(bucket.name).initial_waiters, 0, -1)
        return [member.decode() for member in members]
