"""Refused configurations in Redis: which processes go on with an old one, for those that are asked."""

from __future__ import annotations

import msgspec

from receiver.domain.config_state import ConfigState
from receiver.storage.connection import Client, store_errors
from receiver.storage.keys import CONFIG_REFUSED, CONFIG_REFUSED_FOR_S

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
