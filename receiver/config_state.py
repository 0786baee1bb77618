"""The configuration state of each process: when it loaded the one in use, and why it refused a newer one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from receiver.errors import Problem
from receiver.storage.keys import CONFIG_REFUSED, CONFIG_REFUSED_FOR_S
from receiver.text import one_line

if TYPE_CHECKING:
    from receiver.storage.connection import Client

MAX_ERROR = 500


class ConfigState(Struct, frozen=True):
    """A process's configuration was loaded at `loaded_at`; `error` says why a newer one was refused at
    `refused_at`, empty where none was.
    """

    loaded_at: float
    refused_at: float = 0.0
    error: str = ""

    def with_refusal(self, problems: Sequence[Problem], now: float) -> ConfigState:
        """Return the state after the process refused a newer configuration because of *problems*."""
        error = one_line(str(problems[0]), MAX_ERROR) if problems else "it can't be read"
        if (more := len(problems) - 1) > 0:
            error += f" (and {more} more {'fault' if more == 1 else 'faults'})"
        return ConfigState(self.loaded_at, now, error)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ConfigState)


class ConfigReport:
    """Publishes the configuration state of *process* while it is a refused one, and lists those of all.

    They are stored by process name, in a key with a TTL that every publication renews, so the entries of
    killed processes expire. Raises StoreError when Redis is unavailable.
    """

    def __init__(self, process: str, find_state: Callable[[], ConfigState], client: Client) -> None:
        # gunicorn's master imports this module, and must not import redis: see web/gunicorn.py.
        from receiver.storage.connection import store_errors

        self.process = process
        self.find_state = find_state
        self._redis = client
        self._store_errors = store_errors
        self._is_saved = True  # an earlier process of the same name may have left an entry

    def publish_state(self) -> None:
        """Publish the state to the other processes; call it every few seconds."""
        state = self.find_state()
        if state.error:
            self._is_saved = True
            with self._store_errors(), self._redis.pipeline(transaction=False) as pipe:
                pipe.hset(CONFIG_REFUSED, self.process, _encoder.encode(state))
                pipe.expire(CONFIG_REFUSED, CONFIG_REFUSED_FOR_S)
                pipe.execute()
        elif self._is_saved:
            with self._store_errors():
                self._redis.hdel(CONFIG_REFUSED, self.process)
            self._is_saved = False

    def list_refused(self) -> dict[str, ConfigState]:
        """Return the states of all processes that refused a configuration, by their names."""
        with self._store_errors():
            packed = self._redis.hgetall(CONFIG_REFUSED)
        found = {name.decode(): _decoder.decode(state) for name, state in sorted(packed.items())}
        found.pop(self.process, None)
        return {**found, self.process: state} if (state := self.find_state()).error else found
