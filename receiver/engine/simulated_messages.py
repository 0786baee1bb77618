"""The list of messages that simulated channels did not send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from receiver.storage.connection import Client, store_errors
from receiver.storage.keys import SIMULATED, SIMULATED_FOR_S, SIMULATED_LIMIT


@dataclass(frozen=True)
class RedisSimulatedMessages:
    """The latest messages that were not sent, since their channel has no credentials."""

    client: Client

    def save_message(self, message: Mapping[str, Any]) -> None:
        """Store *message* as the newest one."""
        with store_errors(), self.client.pipeline(transaction=False) as pipe:
            pipe.lpush(SIMULATED, msgspec.json.encode(message))
            pipe.ltrim(SIMULATED, 0, SIMULATED_LIMIT - 1)
            pipe.expire(SIMULATED, SIMULATED_FOR_S)
            pipe.execute()

    def list_newest(self, count: int) -> list[dict[str, Any]]:
        """Return the newest messages, newest first."""
        with store_errors():
            return [msgspec.json.decode(packed) for packed in self.client.lrange(SIMULATED, 0, count - 1)]
