"""Checks of the Redis servers: whether they accept writes, may evict keys, and keep data over a restart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from redis.exceptions import ResponseError

from receiver.storage.connection import Client, list_servers, store_errors
from receiver.storage.keys import Keys

NO_EVICTION = "noeviction"
_PROBE_FOR_S = 60
# A check costs a round trip to each server, and the settings change only by hand.
_CHECK_EVERY_S = 10.0
_NEARLY_FULL = 0.8


@dataclass(frozen=True)
class ServerHealth:
    """Memory and persistence of one server, in bytes; empty, zero or None is unknown.

    *policy* is its maxmemory-policy, *limit* its maxmemory.
    """

    policy: str = ""
    used: int = 0
    limit: int = 0
    has_aof: bool | None = None
    has_snapshots: bool | None = None

    @property
    def problem(self) -> str:
        """Return why this server is unsafe as a store, with the remedy; empty if it is safe."""
        if self.policy in ("", NO_EVICTION):
            return ""
        return (
            f"Redis may throw away what it was given (maxmemory-policy is {self.policy}): "
            f"set maxmemory-policy {NO_EVICTION}"
        )

    @property
    def warnings(self) -> list[str]:
        """Return what should be changed, with the remedy of each."""
        found = []
        if self.has_aof is False and self.has_snapshots is False:
            found.append("Redis keeps nothing on disk: a restart forgets every incident; set appendonly yes")
        elif self.has_aof is False:
            found.append(
                "Redis writes no append-only file: a crash forgets the minutes since its last snapshot; "
                "set appendonly yes"
            )
        if self.limit and self.used > _NEARLY_FULL * self.limit:
            found.append(
                f"Redis uses {self.used * 100 // self.limit} % of its maxmemory; full, it takes no alert"
            )
        return found


@dataclass
class RedisServerCheck:
    """Checks the servers. Raises StoreError if Redis fails."""

    client: Client
    clock: Callable[[], float]
    shards: int = 1
    _problem: str = ""
    _checked_at: float | None = None

    def check_writable(self) -> None:
        """Write a key to every shard: only a write reveals a full disk or memory, or a replica."""
        with store_errors(), self.client.pipeline(transaction=False) as pipe:
            for keys in map(Keys, range(self.shards)):
                pipe.set(keys.probe, "", ex=_PROBE_FOR_S)
            pipe.execute()

    def find_problem(self) -> str:
        """Return why a server is unsafe as a store, cached for 10 seconds; empty if all are safe."""
        now = self.clock()
        if self._checked_at is None or not 0 <= now - self._checked_at < _CHECK_EVERY_S:
            self._problem = next((one.problem for one in self.list_server_health() if one.problem), "")
            self._checked_at = now
        return self._problem

    def get_memory_used_ratio(self) -> float:
        """Return the memory use of the fullest server, from 0 to 1 of its limit; 0 if none has a limit."""
        return max((one.used / one.limit for one in self.list_server_health() if one.limit), default=0.0)

    def list_server_health(self) -> list[ServerHealth]:
        """Return the condition of each server."""
        with store_errors():
            return [_check_server(server) for server in list_servers(self.client)]


def _check_server(server: Client) -> ServerHealth:
    """Return the condition of one server; values that the provider does not let us read stay unknown."""
    try:
        memory, persistence = server.info("memory"), server.info("persistence")
    except ResponseError:  # NOPERM, or a command that was renamed away
        return ServerHealth()
    aof = persistence.get("aof_enabled")
    return ServerHealth(
        policy=str(memory.get("maxmemory_policy", "")),
        used=int(memory.get("used_memory", 0)),
        limit=int(memory.get("maxmemory", 0)),
        has_aof=None if aof is None else bool(aof),
        has_snapshots=_has_snapshots(server),
    )


def _has_snapshots(server: Client) -> bool | None:
    try:
        found = server.config_get("save")
    except ResponseError:
        return None
    value = found.get("save", found.get(b"save"))
    return None if value is None else bool(value)
