"""Storms in Redis: a hash for each storm, changed by compare-and-set, and a hash of its members."""

from __future__ import annotations

from typing import Any

import msgspec

from receiver.errors import NotFound
from receiver.storage.client import Command
from receiver.storage.connection import Client, Scripts, store_errors
from receiver.storage.keys import WAKE, Keys, shard_of
from receiver.storage.script_clock import BY_WALL_CLOCK, ScriptClock
from receiver.storms.model import JoinView, Member, Storm, VersionedStorm

_encoder = msgspec.msgpack.Encoder()
_storm_decoder = msgspec.msgpack.Decoder(Storm)
_member_decoder = msgspec.msgpack.Decoder(Member)


class RedisStorms:
    """Stores storms. Every method raises StoreError when Redis is unavailable.

    All storms are on one shard, the one that holds their work queue entries.
    """

    def __init__(
        self, client: Client, *, history_s: float, shards: int = 1, script_clock: ScriptClock = BY_WALL_CLOCK
    ) -> None:
        self._redis = client
        self._script_clock = script_clock
        self._scripts = Scripts(client)
        self._history_s = int(history_s)
        self._keys = Keys(shard_of("storm", shards))
        self._latest: dict[str, str] = {}  # the last known active storm by target key, a guess

    def start_storm(self, storm: Storm, replacing: str, due: float) -> str:
        """Save a new storm unless its target has one other than *replacing*; return the active storm's id."""
        keys, began_at, state = self._keys, f"{storm.began_at:.3f}", _encoder.encode(storm)
        due_at = self._script_clock.format_time(due)
        with store_errors():
            reply: bytes = self._scripts.run_script(
                "start_storm",
                [keys.active_storms, keys.storm(storm.id), keys.unresolved_storms, keys.queue(storm.queue)],
                [storm.target_key, replacing, storm.id, state, began_at, due_at, WAKE, storm.queue],
            )
        return reply.decode()

    @property
    def read_active(self) -> Command:
        """The command that reads the ids of the active storms by target key."""
        return ("HGETALL", self._keys.active_storms), {}

    def find_active(self, target_key: str) -> str:
        """Return the id of the active storm of *target_key*, empty where there is none."""
        with store_errors():
            found = self._redis.hget(self._keys.active_storms, target_key)
        return found.decode() if found else ""

    def load_storm(self, storm_id: str) -> VersionedStorm:
        """Return the storm with its members, in one round trip; raises NotFound."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            # The join count first: a member that joins in between is then in the members but not in the
            # count, so a save with `if_none_joined` fails instead of missing it.
            pipe.hmget(self._keys.storm(storm_id), "v", "n", "state")
            pipe.hgetall(self._keys.storm_members(storm_id))
            (version, joins, state), members = pipe.execute()
        if state is None:
            raise NotFound("storm", storm_id)
        known = {name.decode(): _member_decoder.decode(packed) for name, packed in members.items()}
        return VersionedStorm(_storm_decoder.decode(state), int(version), int(joins), known)

    def load_for_join(self, storm_id: str, name: str) -> JoinView | None:
        """Return the storm and the entry of the member *name*; None when the storm no longer exists."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            self._queue_reads(pipe, storm_id, name)
            return _parse_join_view(*pipe.execute())

    def load_active_for_join(self, target_key: str, name: str) -> tuple[str, JoinView | None]:
        """Return the id of the active storm of *target_key* (or empty), and it with the entry of *name*.

        One round trip where the storm is the one this process last found active for the target.
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
        if storm_id == likely_id:
            return storm_id, _parse_join_view(*replies)
        return storm_id, self.load_for_join(storm_id, name)

    def _queue_reads(self, pipe: Any, storm_id: str, name: str) -> None:
        pipe.hmget(self._keys.storm(storm_id), "v", "state")
        pipe.hlen(self._keys.storm_members(storm_id))
        pipe.hget(self._keys.storm_members(storm_id), name)

    def add_member(self, join_view: JoinView, name: str, member: Member, due: float | None) -> bool:
        """Add a member and enqueue the storm for *due*; False where it changed since *join_view* was read."""
        storm, keys, entry = join_view.storm, self._keys, _encoder.encode(member)
        due_at = "" if due is None else self._script_clock.format_time(due)
        with store_errors():
            reply = self._scripts.run_script(
                "join_storm",
                [keys.storm(storm.id), keys.storm_members(storm.id), keys.queue(storm.queue)],
                [join_view.version, name, entry, due_at, storm.id, WAKE, storm.queue],
            )
        return bool(reply)

    def save_if_unchanged(
        self, loaded: VersionedStorm, storm: Storm, *, due: float | None = None, if_none_joined: bool = False
    ) -> bool:
        """Save the storm; False where it changed, or with *if_none_joined* grew, since *loaded* was read."""
        keys = self._keys
        with store_errors():
            reply = self._scripts.run_script(
                "save_storm",
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
                    "" if due is None else self._script_clock.format_time(due),
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
    """Parse the replies of `_queue_reads`; None where the storm no longer exists."""
    version, state = head
    if state is None or version is None:
        return None
    entry = _member_decoder.decode(member) if member else None
    return JoinView(_storm_decoder.decode(state), int(version), int(count), entry)
