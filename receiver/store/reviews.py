"""Reviews in Redis: a small hash for each route, changed by compare-and-set."""

from __future__ import annotations

from importlib import resources

import msgspec

from receiver.domain.review_record import ReviewState, VersionedReviews
from receiver.storage.connection import Client, store_errors
from receiver.storage.keys import REVIEWS_FOR_S, Keys, shard_of

_encoder = msgspec.msgpack.Encoder()
_states = msgspec.msgpack.Decoder(ReviewState)


class RedisReviews:
    """Keeps how each route's reviews stand. Every method raises StoreError when Redis can't do it."""

    def __init__(self, client: Client, *, shards: int = 1) -> None:
        self._redis = client
        self._shards = shards
        script = resources.files("receiver.store") / "scripts" / "review.lua"
        self._script = client.register_script(script.read_text())

    def load_reviews(self, group_id: str) -> VersionedReviews:
        """Return how the reviews at *group_id* stand; no state where the route was never looked at."""
        with store_errors():
            version, state = self._redis.hmget(self._key(group_id), "v", "state")
        return VersionedReviews(group_id, _states.decode(state) if state else None, int(version or 0))

    def save_if_unchanged(self, loaded: VersionedReviews, state: ReviewState) -> bool:
        """Keep *state* for another 400 days; False where somebody changed it since *loaded* was read."""
        with store_errors():
            answer = self._script(
                keys=[self._key(loaded.group_id)],
                args=[loaded.version, _encoder.encode(state), REVIEWS_FOR_S],
            )
        return bool(answer)

    def _key(self, group_id: str) -> str:
        return Keys(shard_of(group_id, self._shards)).reviews(group_id)
