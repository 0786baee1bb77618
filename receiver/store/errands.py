"""Errands in Redis: what came in from outside and is worked on afterwards, each id once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Any

import msgspec

from receiver.store.connection import Client, Scripts, store_errors
from receiver.store.keys import DUTIES, ERRAND_FOR_S, WAKE, Keys, shard_of
from receiver.store.moments import BY_WALL_CLOCK, Moments

_DONE = b"done"


class RedisErrands:
    """Keeps errands until they are done. Raises StoreError when Redis can't."""

    def __init__(self, client: Client, *, shards: int = 1, moments: Moments = BY_WALL_CLOCK) -> None:
        self._redis = client
        self._moments = moments
        self._scripts = Scripts(client)
        self._keys = Keys(shard_of("errand", shards))

    def put(
        self,
        kind: str,
        id: str,  # noqa: A002
        payload: Mapping[str, Any],
        now: float,
        *,
        also: Sequence[str] = (),
    ) -> bool:
        """Keep an errand and have a worker do it; False when one of that id, or of *also*, came before."""
        name, *others = (_name(kind, one) for one in (id, *also))
        with store_errors():
            answer = self._scripts.run(
                "errand",
                [self._keys.agenda(DUTIES), self._keys.errand(name), *map(self._keys.errand, others)],
                [
                    msgspec.json.encode({"kind": kind, "payload": payload}),
                    ERRAND_FOR_S,
                    f"errand-{name}",
                    self._moments.at(now),
                    WAKE,
                    DUTIES,
                ],
            )
        return bool(answer)

    def remember(self, kind: str, id: str, for_s: int) -> bool:  # noqa: A002
        """Remember that something came; False when it is remembered already."""
        # A mark of this call's own: where the line is cut and the command sent again, it finds itself.
        mark = _DONE + b" " + token_hex(8).encode()
        with store_errors():
            found = self._redis.set(self._keys.errand(_name(kind, id)), mark, ex=for_s, nx=True, get=True)
        return found is None or found == mark

    def find(self, name: str) -> tuple[str, dict[str, Any]] | None:
        """Return kind and payload of an errand that is still to be done."""
        with store_errors():
            packed = self._redis.get(self._keys.errand(name))
        if packed is None or packed.startswith(_DONE):
            return None
        errand = msgspec.json.decode(packed)
        return str(errand["kind"]), dict(errand["payload"])

    def finish(self, name: str) -> None:
        """Remember only that it was done, so that a repeat of it is known."""
        with store_errors():
            self._redis.set(self._keys.errand(name), _DONE, ex=ERRAND_FOR_S)


def _name(kind: str, id: str) -> str:  # noqa: A002
    return hashlib.sha256(f"{kind}/{id}".encode("utf-8", "replace")).hexdigest()[:32]
