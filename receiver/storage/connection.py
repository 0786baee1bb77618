"""Connecting to Redis (a single server, Sentinel or Cluster), and running the Lua scripts.

With Sentinel, redis-py asks the sentinels for the master each time it opens a connection, and closes the idle
ones when there is another: https://redis.io/docs/latest/develop/reference/sentinel-clients/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha1
from importlib import resources
from typing import Any, cast

from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPoolProxy,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from receiver.errors import StoreError
from receiver.storage.address import CLUSTER, SENTINEL, StoreAddress, parse_store_url
from receiver.storage.client import Command, ServerClient
from receiver.storage.cluster import ClusterClient
from receiver.storage.keys import CLUSTER_SHARDS
from receiver.storage.pool import (
    MAX_CONNECTIONS,
    ConnectionPool,
    NodeAddress,
    build_options,
    build_pool_options,
    describe_error,
    quote_error,
)

# redis-py's type hints do not tell whether a reply is awaitable, nor whether it is bytes or text.
Client = Any
# Three sentinels and a master that do not answer still fit into the timeout of Alertmanager's webhook.
_QUERY_TIMEOUT_S = 0.5


def connect_through_sentinels(address: StoreAddress, pool_options: dict[str, Any]) -> Client:
    """Return a client of the current master of the service; it connects when first used."""
    pool = ConnectionPool(
        connection_class=SentinelManagedSSLConnection if address.is_encrypted else SentinelManagedConnection,
        **pool_options,
    )
    # What redis-py's SentinelConnectionPool hands to its connections; that pool does not wait for a free one.
    pool.connection_kwargs["connection_pool"] = SentinelConnectionPoolProxy(  # type: ignore[no-untyped-call]
        pool,
        is_master=True,
        check_connection=False,
        service_name=address.service,
        sentinel_manager=Sentinels(address),
    )
    return ServerClient.from_pool(pool)


class Sentinels(Sentinel):
    """redis-py's Sentinel, which asks only for the master's address: that is all our user may ask."""

    def __init__(self, address: StoreAddress) -> None:
        options = {
            **build_options(_QUERY_TIMEOUT_S),
            "retry": Retry(NoBackoff(), 0),
            **address.sentinel_options,
            "ssl": address.is_encrypted,
            "decode_responses": True,
        }
        super().__init__(address.nodes, sentinel_kwargs=options)  # type: ignore[no-untyped-call]

    def discover_master(self, service_name: str) -> NodeAddress:
        """Return the master's address from the first sentinel that knows it, which then is asked first the
        next time. Raises RedisTimeoutError.
        """
        for sentinel in tuple(self.sentinels):
            with suppress(RedisError, OSError):
                if master := sentinel.sentinel_get_master_addr_by_name(service_name):
                    self.sentinels = sorted(self.sentinels, key=lambda one: one is not sentinel)
                    return cast("NodeAddress", master)
        raise RedisTimeoutError(
            f"none of {len(self.sentinels)} sentinels knows the master of {service_name!r}"
        )


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


def raise_if_error(reply: Any) -> Any:
    """Return *reply*; raises it if it is an error that stands in place of a reply."""
    if isinstance(reply, Exception):
        raise reply
    return reply


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
    return ServerClient.from_pool(ConnectionPool(connection_class=address.connection_class, **options))


def count_shards(url: str) -> int:
    """Return the number of shards of the Redis at *url*; it is the same for all processes."""
    return CLUSTER_SHARDS if url.startswith(f"{CLUSTER}://") else 1


def list_servers(client: Client) -> list[Client]:
    """Return a client of each server that holds data: the masters of a cluster, or the single server."""
    return client.list_masters() if isinstance(client, ClusterClient) else [client]


# The files of the functions that scripts share.
_SHARED = {"_timestamps": ("timestamp(", "enqueue("), "_changes": ("log_change(",)}
_JOIN = "_join"


@cache
def read_scripts() -> dict[str, str]:
    """Return the text of each Lua script by name; they lie in the folder `scripts` of each package.

    Lua in Redis has no include, so the shared functions are prepended to each script that uses them.
    """
    root = resources.files("receiver")
    folders = [root / "scripts", *(package / "scripts" for package in root.iterdir() if package.is_dir())]
    files = [file for folder in folders if folder.is_dir() for file in folder.iterdir()]
    scripts = (file for file in files if file.name.endswith(".lua"))
    texts = {file.name.removesuffix(".lua"): file.read_text() for file in scripts}
    shared = [(texts.pop(name), functions) for name, functions in _SHARED.items()]
    return {
        name: "".join(common for common, functions in shared if any(one in text for one in functions)) + text
        for name, text in texts.items()
    }


@cache
def read_script(name: str) -> tuple[str, str]:
    """Return the text of a Lua script, and its digest as EVALSHA expects it. A *name* of several scripts,
    joined by `+`, is one script that runs them in order (`_join.lua`).
    """
    texts, names = read_scripts(), name.split("+")
    text = texts[name] if len(names) == 1 else _join_scripts([texts[one] for one in names])
    return text, sha1(text.encode(), usedforsecurity=False).hexdigest()


def _join_scripts(texts: Sequence[str]) -> str:
    functions = "".join(f"function(KEYS, ARGV)\n{text}\nend,\n" for text in texts)
    return f"local scripts = {{\n{functions}}}\n{read_scripts()[_JOIN]}"


# A script's name, its keys and its arguments.
ScriptCall = tuple[str, Sequence[str], Sequence[Any]]


class Scripts:
    """Runs the Lua scripts by their digest (EVALSHA), and loads them if Redis does not know them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def run_script(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run one script and return its reply. Raises redis-py's errors."""
        return self.run_each([(name, keys, args)])[0]

    def run_all(self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """Run one script for each call, in one round trip; return the replies in order."""
        return self.run_each([(name, *call) for call in calls])

    def run_as_one(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run scripts in order as one script, each only after the one before has succeeded; return their
        replies. All keys must be in one hash slot.

        In a pipeline, Redis may refuse one script (OOM, NOSCRIPT, TRYAGAIN) and still run the next.
        """
        if len(calls) == 1:
            return self.run_each(calls)
        name = "+".join(name for name, _, _ in calls)
        keys = [key for _, keys, _ in calls for key in keys]
        counts = [len(part) for _, keys, args in calls for part in (keys, args)]
        return list(self.run_script(name, keys, [*counts, *(arg for _, _, args in calls for arg in args)]))

    def run_each(
        self, calls: Sequence[ScriptCall], reads: Sequence[Command] = (), *, raise_on_error: bool = True
    ) -> list[Any]:
        """Run scripts, then *reads*, in one round trip; return the replies in order. No script may depend on
        another one: Redis may refuse one and run the next, and a script that it did not know runs last.

        Without *raise_on_error*, errors stand in place of the replies.
        """
        commands: list[Command] = [
            (("EVALSHA", read_script(name)[1], len(keys), *keys, *args), {}) for name, keys, args in calls
        ]
        commands += reads
        replies = self._client.run_commands(commands, raise_on_error=False)
        unknown = [number for number, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            for name in dict.fromkeys(calls[number][0] for number in unknown):
                self._client.script_load(read_script(name)[0])
            again = [*unknown, *range(len(calls), len(commands))]
            retried = self._client.run_commands([commands[number] for number in again], raise_on_error=False)
            for number, reply in zip(again, retried, strict=True):
                replies[number] = reply
        if raise_on_error:
            for reply in replies:
                raise_if_error(reply)
        return list(replies)
