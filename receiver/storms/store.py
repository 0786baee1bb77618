"""Storms in Redis: a small hash for each, changed by compare-and-set, and a hash of its members."""

from __future__ import annotations

from typing import Any

import msgspec

from receiver.errors import NotFound
from receiver.storage.connection import Client, Scripts, store_errors
from receiver.storage.keys import WAKE, Keys, shard_of
from receiver.storage.timestamps import BY_WALL_CLOCK, Moments
from receiver.storms.model import JoinView, Member, Storm, VersionedStorm

_encoder = msgspec.msgpack.Encoder()
_storm_decoder = msgspec.msgpack.Decoder(Storm)
_member_decoder = msgspec.msgpack.Decoder(Member)


class RedisStorms:
    """Keeps storms. Every method raises StoreError when Redis can't do it.

    All storms lie on one shard, the one where the agenda looks for an entry of theirs.
    """

    def __init__(
        self, client: Client, *, history_s: float, shards: int = 1, moments: Moments = BY_WALL_CLOCK
    ) -> None:
        self._redis = client
        self._moments = moments
        self._scripts = Scripts(client)
        self._history_s = int(history_s)
        self._keys = Keys(shard_of("storm", shards))
        self._latest: dict[str, str] = {}  # the storm that was last seen at a place, as a guess

    def start_storm(self, storm: Storm, replacing: str, due: float) -> str:
        """Keep a storm that begins; return the one that is on at its place then."""
        keys = self._keys
        with store_errors():
            reply: bytes = self._scripts.run(
                "storm_begin",
                [keys.active_storms, keys.storm(storm.id), keys.unresolved_storms, keys.queue(storm.queue)],
                [
                    storm.target_key,
                    replacing,
                    storm.id,
                    _encoder.encode(storm),
                    f"{storm.began_at:.3f}",
                    self._moments.at(due),
                    WAKE,
                    storm.queue,
                ],
            )
        return reply.decode()

    def find_active(self, target_key: str) -> str:
        """Return the storm that is on at *target_key*, empty where none is."""
        with store_errors():
            found = self._redis.hget(self._keys.active_storms, target_key)
        return found.decode() if found else ""

    def load_storm(self, storm_id: str) -> VersionedStorm:
        """Return the storm with its members, in one round trip; else NotFound."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            # In this order: who joins in between is a member that isn't counted, and a change that must
            # not miss anybody is then not kept.
            pipe.hmget(self._keys.storm(storm_id), "v", "n", "state")
            pipe.hgetall(self._keys.storm_members(storm_id))
            (version, joins, state), members = pipe.execute()
        if state is None:
            raise NotFound("storm", storm_id)
        known = {name.decode(): _member_decoder.decode(packed) for name, packed in members.items()}
        return VersionedStorm(_storm_decoder.decode(state), int(version), int(joins), known)

    def load_for_join(self, storm_id: str, name: str) -> JoinView | None:
        """Return the storm as the member *name* finds it; None when it is gone."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            self._queue_reads(pipe, storm_id, name)
            return _parse_join_view(*pipe.execute())

    def load_active_for_join(self, target_key: str, name: str) -> tuple[str, JoinView | None]:
        """Return the storm that is on at *target_key*, empty where none is, and it as *name* finds it.

        One round trip where it is the storm that was there when somebody last asked here.
        """
        likely_id = self._latest.get(target_key, "")
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hget(self._keys.active_storms, target_key)
            if likely_id:
                self._queue_reads(pipe, likely_id, name)
            found, *replies = pipe.execute()
        storm_id = found.decode() if found else ""
        if not storm_id:
            return "", None
        self._latest[target_key] = storm_id
        return storm_id, _parse_join_view(*replies) if storm_id == likely_id else self.load_for_join(
            storm_id, name
        )

    def _queue_reads(self, pipe: Any, storm_id: str, name: str) -> None:
        pipe.hmget(self._keys.storm(storm_id), "v", "state")
        pipe.hlen(self._keys.storm_members(storm_id))
        pipe.hget(self._keys.storm_members(storm_id), name)

    def add_member(self, join_view: JoinView, name: str, member: Member, due: float | None) -> bool:
        """Add a member; False where the storm changed since *join_view* was read."""
        storm, keys = join_view.storm, self._keys
        with store_errors():
            reply = self._scripts.run(
                "storm_join",
                [keys.storm(storm.id), keys.storm_members(storm.id), keys.queue(storm.queue)],
                [
                    join_view.version,
                    name,
                    _encoder.encode(member),
                    "" if due is None else self._moments.at(due),
                    storm.id,
                    WAKE,
                    storm.queue,
                ],
            )
        return bool(reply)

    def save_if_unchanged(
        self, loaded: VersionedStorm, storm: Storm, *, due: float | None = None, if_none_joined: bool = False
    ) -> bool:
        """Keep how the storm stands now; False where somebody changed it since *loaded* was read."""
        keys = self._keys
        with store_errors():
            reply = self._scripts.run(
                "storm_keep",
                [
                    keys.storm(storm.id),
                    keys.storm_members(storm.id),
                    keys.active_storms,
                    keys.unresolved_storms,
                    keys.queue(storm.queue),
                ],
                [
                    loaded.version,
                    loaded.joins if if_none_joined else "",
                    _encoder.encode(storm),
                    storm.id,
                    "" if storm.is_active else storm.target_key,
                    self._history_s if storm.resolved_at else 0,
                    "" if due is None else self._moments.at(due),
                    WAKE,
                    storm.queue,
                ],
            )
        return bool(reply)

    def list_unresolved(self) -> list[Storm]:
        """Return the storms that are not resolved, newest first, without their members."""
        with store_errors():
            ids = [name.decode() for name in self._redis.zrevrange(self._keys.unresolved_storms, 0, -1)]
            with self._redis.pipeline(transaction=False) as pipe:
                for storm_id in ids:
                    pipe.hget(self._keys.storm(storm_id), "state")
                states = pipe.execute()
        return [_storm_decoder.decode(state) for state in states if state is not None]


def _parse_join_view(head: list[bytes | None], count: bytes, member: bytes | None) -> JoinView | None:
    """Return a storm as it was read, None where it is gone."""
    version, state = head
    if state is None or version is None:
        return None
    return JoinView(
        _storm_decoder.decode(state),
        int(version),
        int(count),
        _member_decoder.decode(member) if member else None,
    )
