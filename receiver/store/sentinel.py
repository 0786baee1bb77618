"""Asking the sentinels who is the master, each time a line is opened.

https://redis.io/docs/latest/develop/reference/sentinel-clients/
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from receiver.store.address import StoreAddress
from receiver.store.lines import (
    ConnectionPool,
    MasterConnection,
    MasterTlsConnection,
    NodeAddress,
    build_options,
)

# Three that are silent, and a master that is, still fit into the time in which Alertmanager is answered.
_QUERY_TIMEOUT_S = 0.5


def connect_through_sentinels(address: StoreAddress, pool_options: dict[str, Any]) -> redis.Redis:
    """Return a client of whoever is the master of the service; it connects when first used."""
    sentinels = Sentinels(address)
    pool = ConnectionPool(
        connection_class=MasterTlsConnection if address.is_encrypted else MasterConnection,
        find_master=sentinels.find_master,
        **pool_options,
    )
    sentinels.pool = pool
    return redis.Redis.from_pool(pool)


class Sentinels:
    """The sentinels of one service."""

    def __init__(self, address: StoreAddress) -> None:
        self._nodes = list(address.nodes)
        self._service = address.service
        self._options: dict[str, Any] = {
            **build_options(_QUERY_TIMEOUT_S),
            "retry": Retry(NoBackoff(), 0),
            **address.sentinel_options,
            "ssl": address.is_encrypted,
        }
        self._master: NodeAddress | None = None
        # Its idle lines lead to a former master when there is another.
        self.pool: ConnectionPool | None = None

    def find_master(self) -> NodeAddress:
        """Return where the master is, as the first sentinel says that knows it; raises NoAnswer."""
        for node in list(self._nodes):
            master = self._query_master(node)
            if master is None:
                continue
            self._nodes.sort(key=lambda one: one != node)  # first the next time
            if self._master not in (None, master) and self.pool is not None:
                self.pool.disconnect(inuse_connections=False)
            self._master = master
            return master
        raise RedisTimeoutError(f"none of {len(self._nodes)} sentinels knows the master of {self._service!r}")

    def _query_master(self, node: NodeAddress) -> NodeAddress | None:
        """Return whom the sentinel at *node* names; None when it is away or knows none."""
        host, port = node
        try:
            with closing(redis.Redis(host, port, **self._options)) as sentinel:
                found = sentinel.sentinel_get_master_addr_by_name(self._service)
        except (RedisError, OSError):
            return None
        if not found:
            return None
        name, number = found  # type: ignore[misc]  # redis' hints know an awaited answer as well
        return (name.decode() if isinstance(name, bytes) else str(name)), int(number)
