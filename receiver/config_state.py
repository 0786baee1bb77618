"""How a process stands to its configuration: which one is in force there, and why a newer one is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from receiver.errors import Problem
from receiver.storage.connection import Client, store_errors
from receiver.storage.keys import CONFIG_REFUSED, CONFIG_REFUSED_FOR_S
from receiver.text import one_line

MAX_ERROR = 500


class ConfigState(Struct, frozen=True):
    """The configuration in force was loaded at *loaded_at*. *error* says why a newer one was refused, at
    *refused_at*; empty where none was.
    """

    loaded_at: float
    refused_at: float = 0.0
    error: str = ""

    def with_refusal(self, problems: Sequence[Problem], now: float) -> ConfigState:
        """Return how the process stands after it refused another one for *problems*."""
        return ConfigState(self.loaded_at, now, describe_problems(problems))


def describe_problems(problems: Sequence[Problem]) -> str:
    """Return the first of *problems*, and how many more there are, on one line."""
    first = one_line(str(problems[0]), MAX_ERROR) if problems else "it can't be read"
    more = len(problems) - 1
    if more < 1:
        return first
    return f"{first} (and {more} more {'fault' if more == 1 else 'faults'})"


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ConfigState)


class RedisConfigStates:
    """Keeps refusals by the name of the process. Raises StoreError when Redis can't do it.

    The key expires unless one of them is saved again, so what a killed process refused is forgotten; Redis'
    own time decides, and no clock of ours.
    """

    def __init__(self, client: Client) -> None:
        self._redis = client

    def save(self, process: str, state: ConfigState) -> None:
        """Keep that *process* refused a configuration; to be called again before it expires."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(CONFIG_REFUSED, process, _encoder.encode(state))
            pipe.expire(CONFIG_REFUSED, CONFIG_REFUSED_FOR_S)
            pipe.execute()

    def remove(self, process: str) -> None:
        """Forget what *process* refused: it has loaded a configuration since."""
        with store_errors():
            self._redis.hdel(CONFIG_REFUSED, process)

    def list_refused(self) -> dict[str, ConfigState]:
        """Return the states of all processes that refused a configuration, by their names."""
        with store_errors():
            packed = self._redis.hgetall(CONFIG_REFUSED)
        return {name.decode(): _decoder.decode(state) for name, state in sorted(packed.items())}


class ConfigStateStore(Protocol):
    """Where refusals are kept; every method may raise StoreError."""

    def save(self, process: str, state: ConfigState) -> None: ...
    def remove(self, process: str) -> None: ...
    def list_refused(self) -> dict[str, ConfigState]: ...


class ConfigReport:
    """Tells how *process* stands to its configuration, and knows how all do."""

    def __init__(self, process: str, find_state: Callable[[], ConfigState], store: ConfigStateStore) -> None:
        self.process = process
        self._find_state = find_state
        self._store = store
        self._is_saved = True  # what one of our name, before us, had refused

    @property
    def state(self) -> ConfigState:
        """How this process stands."""
        return self._find_state()

    def save(self) -> None:
        """Have the others know; to be called every few seconds. Raises StoreError."""
        state = self.state
        if state.error:
            self._is_saved = True
            self._store.save(self.process, state)
        elif self._is_saved:
            self._store.remove(self.process)
            self._is_saved = False

    def list_refused(self) -> dict[str, ConfigState]:
        """Return the states of all processes that go on with an old configuration. Raises StoreError."""
        found, own = self._store.list_refused(), self.state
        found.pop(self.process, None)
        return {**found, self.process: own} if own.error else found
