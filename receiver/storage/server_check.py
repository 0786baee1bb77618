"""In what condition Redis is: whether it takes writes, would forget keys, and survives a restart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from redis.exceptions import ResponseError

from receiver.storage.connection import Client, list_servers, store_errors
from receiver.storage.keys import Keys

NO_EVICTION = "noeviction"
_PROBE_FOR_S = 60
# Asking costs a round trip to each server; what is asked for changes by hand only.
_CHECK_EVERY_S = 10.0
_NEARLY_FULL = 0.8


@dataclass(frozen=True)
class ServerHealth:
    """One server's; empty, zero or None is what it does not tell."""

    policy: str = ""
    used: int = 0
    limit: int = 0
    has_aof: bool | None = None
    has_snapshots: bool | None = None

    @property
    def problem(self) -> str:
        """Return why nothing may be kept there, and what to do; empty where all is well."""
        if self.policy in ("", NO_EVICTION):
            return ""
        return (
            f"Redis may throw away what it was given (maxmemory-policy is {self.policy}): "
            f"set maxmemory-policy {NO_EVICTION}"
        )

    @property
    def warnings(self) -> list[str]:
        """Return what is better changed."""
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


class RedisServerCheck:
    """Looks at the servers. Raises StoreError when Redis can't be asked."""

    def __init__(self, client: Client, clock: Callable[[], float], *, shards: int = 1) -> None:
        self._redis = client
        self._clock = clock
        self._shards = shards
        self._problem = ""
        self._checked_at: float | None = None

    def check_writable(self) -> None:
        """Write a little to every shard: a full disk or memory, or a replica, shows in nothing else."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            for keys in map(Keys, range(self._shards)):
                pipe.set(keys.probe, "", ex=_PROBE_FOR_S)
            pipe.execute()

    def find_problem(self) -> str:
        """Return why nothing may be kept there, as of 10 seconds ago at most; empty where all is well."""
        now = self._clock()
        if self._checked_at is None or not 0 <= now - self._checked_at < _CHECK_EVERY_S:
            self._problem = next((one.problem for one in self.list_server_health() if one.problem), "")
            self._checked_at = now
        return self._problem

    def get_memory_used_ratio(self) -> float:
        """Return how much of its memory the fullest server uses, from 0 to 1; 0 where none has a limit."""
        return max((one.used / one.limit for one in self.list_server_health() if one.limit), default=0.0)

    def list_server_health(self) -> list[ServerHealth]:
        """Return how each server is."""
        with store_errors():
            return [_check_server(server) for server in list_servers(self._redis)]


def _check_server(server: Client) -> ServerHealth:
    """Return how one server is; a provider may forbid to ask for a part, or all, of it."""
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
