"""Connecting to Redis (a single server, Sentinel or Cluster), and running the Lua scripts.

With Sentinel, the sentinels are asked for the master each time a connection is opened:
https://redis.io/docs/latest/develop/reference/sentinel-clients/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from importlib import resources
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from receiver.errors import StoreError
from receiver.storage.address import CLUSTER, SENTINEL, StoreAddress, parse_store_url
from receiver.storage.cluster import ClusterClient
from receiver.storage.keys import CLUSTER_SHARDS
from receiver.storage.pool import (
    MAX_CONNECTIONS,
    ConnectionPool,
    MasterConnection,
    MasterTlsConnection,
    NodeAddress,
    build_options,
    build_pool_options,
    describe_error,
    quote_error,
)

# Three sentinels and a master that do not answer still fit into the timeout of Alertmanager's webhook.
_QUERY_TIMEOUT_S = 0.5


def connect_through_sentinels(address: StoreAddress, pool_options: dict[str, Any]) -> redis.Redis:
    """Return a client of the current master of the service; it connects when first used."""
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
        # After a failover its idle connections lead to the former master and are closed.
        self.pool: ConnectionPool | None = None

    def find_master(self) -> NodeAddress:
        """Return the master's address from the first sentinel that knows it. Raises RedisTimeoutError."""
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
        """Return the master that the sentinel at *node* names; None if it is unavailable or knows none."""
        host, port = node
        try:
            with closing(redis.Redis(host, port, **self._options)) as sentinel:
                found = sentinel.sentinel_get_master_addr_by_name(self._service)
        except (RedisError, OSError):
            return None
        if not found:
            return None
        name, number = found  # type: ignore[misc]  # redis-py's type hints include awaitables
        return (name.decode() if isinstance(name, bytes) else str(name)), int(number)


# redis-py's type hints do not tell whether an answer is awaitable, nor whether it is bytes or text.
Client = Any
# Alertmanager must get a 503 within 5 s, also if both a read and a write time out.
TIMEOUT_S = 2.0


@contextmanager
def store_errors() -> Iterator[None]:
    """Convert errors of redis-py into a StoreError with a description, advice, and Redis' message."""
    try:
        yield
    except (RedisError, OSError) as error:
        advice = describe_error(error)
        raise StoreError(f"Redis: {advice} [{quote_error(error)}]", advice) from error


def connect(url: str, timeout_s: float = TIMEOUT_S, max_connections: int = MAX_CONNECTIONS) -> Client:
    """Return a client for *url* with at most *max_connections* connections to each server; it connects when
    first used. *timeout_s* applies to each connect, command, and wait for a connection. Raises ValueError for
    an invalid URL.
    """
    address = parse_store_url(url)
    options = {**build_pool_options(timeout_s, max_connections), **address.options}
    if address.kind == SENTINEL:
        return connect_through_sentinels(address, options)
    if address.kind == CLUSTER:
        return ClusterClient(address, options)
    return redis.Redis.from_pool(ConnectionPool(connection_class=address.connection_class, **options))


def count_shards(url: str) -> int:
    """Return the number of shards of the Redis at *url*; it is the same for all processes."""
    return CLUSTER_SHARDS if url.startswith(f"{CLUSTER}://") else 1


def list_servers(client: Client) -> list[Client]:
    """Return a client of each server that holds data: the masters of a cluster, or the single server."""
    return client.list_masters() if isinstance(client, ClusterClient) else [client]


@cache
def read_scripts() -> dict[str, str]:
    """Return the text of each Lua script by name; they lie in the folder `scripts` of each package.

    Lua in Redis has no include, so the shared functions are prepended to each script that uses them.
    """
    root = resources.files("receiver")
    folders = [root / "scripts", *(package / "scripts" for package in root.iterdir() if package.is_dir())]
    files = [file for folder in folders if folder.is_dir() for file in folder.iterdir()]
    texts = {file.name: file.read_text() for file in files if file.name.endswith(".lua")}
    shared = texts.pop("_timestamps.lua")
    return {
        name.removesuffix(".lua"): shared + text if "moment(" in text else text
        for name, text in texts.items()
    }


# A script's name, its keys and its arguments.
ScriptCall = tuple[str, Sequence[str], Sequence[Any]]


class Scripts:
    """Runs the Lua scripts by their digest (EVALSHA), and loads them if Redis does not know them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._scripts = {name: client.register_script(text) for name, text in read_scripts().items()}

    def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run one script and return its answer. Raises redis-py's errors."""
        script = self._scripts[name]
        try:
            return self._client.evalsha(script.sha, len(keys), *keys, *args)
        except NoScriptError:
            self._client.script_load(script.script)
            return self._client.evalsha(script.sha, len(keys), *keys, *args)

    def run_all(self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """Run one script for each call, in one round trip; return the answers in order."""
        return self.run_each([(name, *call) for call in calls])

    def run_each(self, calls: Sequence[ScriptCall], *, raise_on_error: bool = True) -> list[Any]:
        """Run scripts in one round trip; without *raise_on_error*, errors stand in place of the answers."""
        if len(calls) == 1 and raise_on_error:
            return [self.run(*calls[0])]
        try:
            answers = self._run_pipeline(calls, raise_on_error=raise_on_error)
            if not any(isinstance(answer, NoScriptError) for answer in answers):
                return answers
        except NoScriptError:
            pass
        for name in dict.fromkeys(name for name, _, _ in calls):
            self._client.script_load(self._scripts[name].script)
        return self._run_pipeline(calls, raise_on_error=raise_on_error)

    def _run_pipeline(self, calls: Sequence[ScriptCall], *, raise_on_error: bool) -> list[Any]:
        with self._client.pipeline(transaction=False) as pipe:
            for name, keys, args in calls:
                pipe.evalsha(self._scripts[name].sha, len(keys), *keys, *args)
            return list(pipe.execute(raise_on_error=raise_on_error))
