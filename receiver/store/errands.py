"""Errands in Redis: what came in from outside and is worked on afterwards, each id once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Any

import msgspec

from receiver.storage.connection import Client, Scripts, store_errors
from receiver.storage.keys import JOB_FOR_S, TASKS, WAKE, Keys, shard_of
from receiver.storage.timestamps import BY_WALL_CLOCK, Moments

_DONE = b"done"


class JobQueue:
    """Keeps errands until they are done. Raises StoreError when Redis can't."""

    def __init__(self, client: Client, *, shards: int = 1, moments: Moments = BY_WALL_CLOCK) -> None:
        self._redis = client
        self._moments = moments
        self._scripts = Scripts(client)
        self._keys = Keys(shard_of("job", shards))

    def enqueue(
        self,
        kind: str,
        id: str,  # noqa: A002
        payload: Mapping[str, Any],
        now: float,
        *,
        also: Sequence[str] = (),
    ) -> bool:
        """Keep an errand and have a worker do it; False when one of that id, or of *also*, came before."""
        name, *others = (_hash_id(kind, one) for one in (id, *also))
        with store_errors():
            answer = self._scripts.run(
                "errand",
                [self._keys.queue(TASKS), self._keys.job(name), *map(self._keys.job, others)],
                [
                    msgspec.json.encode({"kind": kind, "payload": payload}),
                    JOB_FOR_S,
                    f"job-{name}",
                    self._moments.at(now),
                    WAKE,
                    TASKS,
                ],
            )
        return bool(answer)

    def record_once(self, kind: str, id: str, for_s: int) -> bool:  # noqa: A002
        """Remember that something came; False when it is remembered already."""
        # A mark of this call's own: where the line is cut and the command sent again, it finds itself.
        mark = _DONE + b" " + token_hex(8).encode()
        with store_errors():
            found = self._redis.set(self._keys.job(_hash_id(kind, id)), mark, ex=for_s, nx=True, get=True)
        return found is None or found == mark

    def find_job(self, name: str) -> tuple[str, dict[str, Any]] | None:
        """Return kind and payload of an errand that is still to be done."""
        with store_errors():
            packed = self._redis.get(self._keys.job(name))
        if packed is None or packed.startswith(_DONE):
            return None
        job = msgspec.json.decode(packed)
        return str(job["kind"]), dict(job["payload"])

    def finish_job(self, name: str) -> None:
        """Remember only that it was done, so that a repeat of it is known."""
        with store_errors():
            self._redis.set(self._keys.job(name), _DONE, ex=JOB_FOR_S)


def _hash_id(kind: str, id: str) -> str:  # noqa: A002
    return hashlib.sha256(f"{kind}/{id}".encode("utf-8", "replace")).hexdigest()[:32]
