"""Asking the sentinels who is the master, each time a line is opened.

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


# redis' own hints leave open whether an answer comes now or is awaited, and bytes or text.
Client = Any
# Alertmanager is to hear 503 within 5 s; a read and a write that both time out must fit.
TIMEOUT_S = 2.0


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn what redis raises into a StoreError that says what is the matter, and what Redis said."""
    try:
        yield
    except (RedisError, OSError) as error:
        advice = describe_error(error)
        raise StoreError(f"Redis: {advice} [{quote_error(error)}]", advice) from error


def connect(url: str, timeout_s: float = TIMEOUT_S, max_connections: int = MAX_CONNECTIONS) -> Client:
    """Return a client for *url* with *max_connections* lines to each server at most; it connects when first
    used. Raises ValueError for no such address.
    """
    address = parse_store_url(url)
    options = {**build_pool_options(timeout_s, max_connections), **address.options}
    if address.kind == SENTINEL:
        return connect_through_sentinels(address, options)
    if address.kind == CLUSTER:
        return ClusterClient(address, options)
    return redis.Redis.from_pool(ConnectionPool(connection_class=address.connection_class, **options))


def count_shards(url: str) -> int:
    """Return over how many shards the store at *url* spreads what it keeps: the same for all processes."""
    return CLUSTER_SHARDS if url.startswith(f"{CLUSTER}://") else 1


def list_servers(client: Client) -> list[Client]:
    """Return a client of each server that keeps a part: the nodes of a cluster, or the one there is."""
    return client.list_masters() if isinstance(client, ClusterClient) else [client]


@cache
def read_scripts() -> dict[str, str]:
    """Return the text of each script by name: a package keeps those that it runs in its folder `scripts`.

    Lua has no include: what several need stands before each.
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
    """The Lua scripts, sent by their digest, and whole when Redis doesn't know them (yet)."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._scripts = {name: client.register_script(text) for name, text in read_scripts().items()}

    def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run one script and return its answer."""
        script = self._scripts[name]
        try:
            return self._client.evalsha(script.sha, len(keys), *keys, *args)
        except NoScriptError:
            self._client.script_load(script.script)
            return self._client.evalsha(script.sha, len(keys), *keys, *args)

    def run_all(self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """Run one script for each call, in one round trip."""
        return self.run_each([(name, *call) for call in calls])

    def run_each(self, calls: Sequence[ScriptCall], *, raise_on_error: bool = True) -> list[Any]:
        """Run scripts in one round trip; without *raise_on_error* a fault stands where its answer would."""
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
