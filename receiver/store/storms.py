"""Storms in Redis: a small hash for each, changed by compare-and-set, and a hash of its members."""

from __future__ import annotations

from typing import Any

import msgspec

from receiver.domain.storm import Door, HeldStorm, Member, Storm
from receiver.errors import NotFound
from receiver.store.connection import Client, Scripts, store_errors
from receiver.store.keys import WAKE, Keys, shard_of
from receiver.store.moments import BY_WALL_CLOCK, Moments

_encoder = msgspec.msgpack.Encoder()
_storms = msgspec.msgpack.Decoder(Storm)
_members = msgspec.msgpack.Decoder(Member)


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

    def begin(self, storm: Storm, instead_of: str, due: float) -> str:
        """Keep a storm that begins; return the one that is on at its place then."""
        keys = self._keys
        with store_errors():
            answer: bytes = self._scripts.run(
                "storm_begin",
                [keys.active_storms, keys.storm(storm.id), keys.unresolved_storms, keys.queue(storm.queue)],
                [
                    storm.place,
                    instead_of,
                    storm.id,
                    _encoder.encode(storm),
                    f"{storm.began_at:.3f}",
                    self._moments.at(due),
                    WAKE,
                    storm.queue,
                ],
            )
        return answer.decode()

    def find_on(self, place: str) -> str:
        """Return the storm that is on at *place*, empty where none is."""
        with store_errors():
            found = self._redis.hget(self._keys.active_storms, place)
        return found.decode() if found else ""

    def load(self, storm_id: str) -> HeldStorm:
        """Return the storm with its members, in one round trip; else NotFound."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            # In this order: who joins in between is a member that isn't counted, and a change that must
            # not miss anybody is then not kept.
            pipe.hmget(self._keys.storm(storm_id), "v", "n", "state")
            pipe.hgetall(self._keys.storm_members(storm_id))
            (version, joins, state), members = pipe.execute()
        if state is None:
            raise NotFound("storm", storm_id)
        known = {name.decode(): _members.decode(packed) for name, packed in members.items()}
        return HeldStorm(_storms.decode(state), int(version), int(joins), known)

    def knock(self, storm_id: str, name: str) -> Door | None:
        """Return the storm as the member *name* finds it; None when it is gone."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            self._ask(pipe, storm_id, name)
            return _open(*pipe.execute())

    def knock_on(self, place: str, name: str) -> tuple[str, Door | None]:
        """Return the storm that is on at *place*, empty where none is, and it as the member *name* finds it.

        One round trip where it is the storm that was there when somebody last asked here.
        """
        guess = self._latest.get(place, "")
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hget(self._keys.active_storms, place)
            if guess:
                self._ask(pipe, guess, name)
            found, *answers = pipe.execute()
        storm_id = found.decode() if found else ""
        if not storm_id:
            return "", None
        self._latest[place] = storm_id
        return storm_id, _open(*answers) if storm_id == guess else self.knock(storm_id, name)

    def _ask(self, pipe: Any, storm_id: str, name: str) -> None:
        pipe.hmget(self._keys.storm(storm_id), "v", "state")
        pipe.hlen(self._keys.storm_members(storm_id))
        pipe.hget(self._keys.storm_members(storm_id), name)

    def join(self, door: Door, name: str, member: Member, due: float | None) -> bool:
        """Add a member; False where the storm changed since *door* was read."""
        storm, keys = door.storm, self._keys
        with store_errors():
            answer = self._scripts.run(
                "storm_join",
                [keys.storm(storm.id), keys.storm_members(storm.id), keys.queue(storm.queue)],
                [
                    door.version,
                    name,
                    _encoder.encode(member),
                    "" if due is None else self._moments.at(due),
                    storm.id,
                    WAKE,
                    storm.queue,
                ],
            )
        return bool(answer)

    def keep(
        self, held: HeldStorm, storm: Storm, *, due: float | None = None, if_nobody_joined: bool = False
    ) -> bool:
        """Keep how the storm stands now; False where somebody changed it since *held* was read."""
        keys = self._keys
        with store_errors():
            answer = self._scripts.run(
                "storm_keep",
                [
                    keys.storm(storm.id),
                    keys.storm_members(storm.id),
                    keys.active_storms,
                    keys.unresolved_storms,
                    keys.queue(storm.queue),
                ],
                [
                    held.version,
                    held.joins if if_nobody_joined else "",
                    _encoder.encode(storm),
                    storm.id,
                    "" if storm.is_on else storm.place,
                    self._history_s if storm.resolved_at else 0,
                    "" if due is None else self._moments.at(due),
                    WAKE,
                    storm.queue,
                ],
            )
        return bool(answer)

    def find_unresolved(self) -> list[Storm]:
        """Return the storms that are not resolved, newest first, without their members."""
        with store_errors():
            ids = [name.decode() for name in self._redis.zrevrange(self._keys.unresolved_storms, 0, -1)]
            with self._redis.pipeline(transaction=False) as pipe:
                for storm_id in ids:
                    pipe.hget(self._keys.storm(storm_id), "state")
                states = pipe.execute()
        return [_storms.decode(state) for state in states if state is not None]


def _open(head: list[bytes | None], count: bytes, member: bytes | None) -> Door | None:
    """Return a storm as it was read, None where it is gone."""
    version, state = head
    if state is None or version is None:
        return None
    return Door(_storms.decode(state), int(version), int(count), _members.decode(member) if member else None)
