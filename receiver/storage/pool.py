"""The connection pool of Redis, and the description of Redis' errors with advice for operators.

The codes and phrases are Redis' own, see `src/server.c` and
https://redis.io/docs/latest/operate/oss_and_stack/management/.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from contextlib import suppress
from typing import Any

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError
from redis.retry import Retry


class PoolExhausted(exceptions.RedisError):
    """All connections that this process may have were in use for the whole timeout."""


# By the code with which Redis' error begins, if redis-py has no class for it.
_BY_WORD = {
    "MISCONF": "it can't save to its disk and refuses writes (MISCONF): see its log and its free space",
    "NOREPLICAS": "too few replicas are connected, so it refuses writes (NOREPLICAS): see the replicas",
    "BUSY": "a script blocks it (BUSY): see what else uses this Redis",
}
_IS_CLUSTER = "it is a Redis Cluster (MOVED, CROSSSLOT): use redis+cluster:// in REDIS_URL"
# Some errors have no code.
_BY_PHRASE = {
    # redis-py's Sentinel connections report READONLY so.
    "previous master is now a slave": "it is a replica and takes no writes (READONLY): after a failover wait",
    "cluster support disabled": "it is no Redis Cluster: use redis:// in REDIS_URL",
    "max number of clients": "it refuses more clients: raise its maxclients, or lower REDIS_MAX_CONNECTIONS",
}
# The first match counts: a class may be a subclass of a later one.
_BY_CLASS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (exceptions.ReadOnlyError, "it is a replica and takes no writes (READONLY): after a failover wait"),
    (exceptions.OutOfMemoryError, "its memory is full (OOM): raise maxmemory, or shorten `history`"),
    (exceptions.BusyLoadingError, "it is still loading its file (LOADING): wait"),
    (exceptions.NoPermissionError, "its ACL forbids this to our user (NOPERM): see docs/redis.md"),
    (exceptions.AuthenticationError, "it refuses the user or password of REDIS_URL (NOAUTH, WRONGPASS)"),
    (exceptions.TryAgainError, "a part of the cluster is being moved (TRYAGAIN): wait"),
    (exceptions.MasterDownError, "this replica has lost its master (MASTERDOWN): wait for the failover"),
    (exceptions.ClusterDownError, "a part of the cluster is down (CLUSTERDOWN): see its `CLUSTER INFO`"),
    (exceptions.ClusterCrossSlotError, _IS_CLUSTER),
    (exceptions.AskError, _IS_CLUSTER),
    (
        PoolExhausted,
        "all connections of this process to it are in use: see its load, or raise REDIS_MAX_CONNECTIONS",
    ),
    (exceptions.TimeoutError, "it does not answer in time: see its load and the network"),
    ((exceptions.ConnectionError, OSError), "it can't be reached: see whether it runs, and the network"),
)
_MAX_DETAIL = 300


def describe_error(error: BaseException) -> str:
    """Return a description of the error with advice, in one line without addresses or secrets."""
    message = str(error)
    by_text = [sentence for phrase, sentence in _BY_PHRASE.items() if phrase in message]
    by_class = [sentence for kind, sentence in _BY_CLASS if isinstance(error, kind)]
    found = (_BY_WORD.get(message.partition(" ")[0]), *by_text, *by_class)
    return next((sentence for sentence in found if sentence), "it refuses what we ask: see the log")


def quote_error(error: BaseException) -> str:
    """Return Redis' error message in one line of bounded length, for logs."""
    message = " ".join(str(error).split())[:_MAX_DETAIL]
    return f"{type(error).__name__}: {message}"


NodeAddress = tuple[str, int]
# Default maximum of connections of one process to a server, see REDIS_MAX_CONNECTIONS.
MAX_CONNECTIONS = 10
# This many idle connections are kept; the others are closed after IDLE_S seconds.
MAX_IDLE = 4
IDLE_S = 0.5
# Redis' error when it accepts no more connections, and the wait before the next try.
MAX_CLIENTS_ERROR = "max number of clients reached"
_MAX_CLIENTS_WAIT_S = 0.05


def build_pool_options(timeout_s: float, max_connections: int) -> dict[str, Any]:
    """Return the options of all pools: the number of connections, and the wait for one in seconds."""
    return {**build_options(timeout_s), "timeout": timeout_s, "max_connections": max_connections}


def build_options(timeout_s: float) -> dict[str, Any]:
    """Return the options of all connections.

    After a connection error the command is retried once, at once, on a new connection: the old one may have
    been closed while idle. Nothing else is retried here, since only the caller knows whether the command
    still matters. So a command that was in flight may run twice; every script tolerates that.
    """
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "health_check_interval": 0,
        "retry": _ReconnectOnce(timeout_s),
        "protocol": 2,
        # CLIENT SETINFO would cost every new connection a round trip, and needs a permission.
        "driver_info": None,
    }


class _ReconnectOnce(Retry):
    """Reconnects once, at once. If Redis accepts no more connections, it retries for up to *timeout_s*
    seconds until another process closes one; that is safe, since Redis has not run the command.

    READONLY counts as a broken connection: it leads to a former master, which has written nothing, and the
    new connection leads to the present one (by DNS name or Sentinel).
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        super().__init__(NoBackoff(), 1, supported_errors=(RedisConnectionError, ReadOnlyError))

    def call_with_retry(self, *args: Any, **options: Any) -> Any:
        """Return the result of the command. Raises its last error."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return super().call_with_retry(*args, **options)
            except RedisConnectionError as error:
                if MAX_CLIENTS_ERROR not in str(error) or time.monotonic() + _MAX_CLIENTS_WAIT_S >= deadline:
                    raise
                time.sleep(_MAX_CLIENTS_WAIT_S)


class _Connections:
    """The free connections of a pool: the connected ones on top, the latest first.

    redis-py's pool uses it in place of a `queue.LifoQueue`, which takes more time.
    """

    def __init__(self, maxsize: int) -> None:
        self.queue: list[Any] = []
        self._maxsize = maxsize
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)
        self._waiting = 0

    def put_nowait(self, item: Any) -> None:
        """Add a connection, or None for one that is not made yet. Raises queue.Full."""
        with self._lock:
            if len(self.queue) >= self._maxsize:
                raise queue.Full
            is_connected = item is not None and item.is_connected
            self.queue.insert(len(self.queue) if is_connected else 0, item)
            if self._waiting:
                self._freed.notify()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return a connection, or None for one that is not made yet. Raises PoolExhausted."""
        with self._lock:
            if not self.queue:
                self._waiting += 1
                try:
                    is_free = block and self._freed.wait_for(lambda: self.queue, timeout)
                finally:
                    self._waiting -= 1
                if not is_free:
                    raise PoolExhausted(f"none of {self._maxsize} became free in {timeout or 0:g} s")
            return self.queue.pop()


class ConnectionPool(redis.BlockingConnectionPool):
    """redis-py's pool of at most `max_connections` connections, in which a caller waits if none is free.

    All idle connections but `MAX_IDLE` are closed after *idle_s* seconds, so that other processes can use
    their places.
    """

    def __init__(self, *, idle_s: float = IDLE_S, **options: Any) -> None:
        self._idle_s = idle_s
        self._is_closing = threading.Lock()
        super().__init__(queue_class=_Connections, **options)  # type: ignore[no-untyped-call]

    def get_connection(self, *_args: Any, **_options: Any) -> Any:
        """Return a free connection or a new one, connected but not polled. Raises PoolExhausted.

        redis-py polls it, and so takes Redis' refusal ("max number of clients reached") for leftover data;
        under gevent the poll also takes as long as the command. A connection that was closed while idle fails
        when it is used, and the retry of `build_options` reconnects.
        """
        if self.pid != os.getpid():
            self.reset()  # type: ignore[no-untyped-call]
        if time.sleep.__module__ != "time":  # gevent's: a greenlet that never waits would never switch
            time.sleep(0)
        connection = self.pool.get(timeout=self.timeout) or self.make_connection()  # type: ignore[no-untyped-call]
        try:
            if not connection.is_connected:
                connection.connect()
        except BaseException:  # the reply to AUTH or SELECT may be unread
            connection.disconnect()
            self.release(connection)
            raise
        return connection

    def release(self, connection: Any) -> None:
        """Put a connection back; later close it if it is one too many."""
        connection.idle_since = time.monotonic()
        if connection.pid != self.pid:  # from before a fork: the parent uses its socket
            connection.disconnect()
            connection = None
        self.pool.put_nowait(connection)
        self._close_spare_later()

    def _close_spare_later(self) -> None:
        spare = self.pool.queue[:-MAX_IDLE]
        if spare and spare[-1] and spare[-1].is_connected and self._is_closing.acquire(blocking=False):
            timer = threading.Timer(self._idle_s, self._close_spare)
            timer.daemon = True
            try:
                timer.start()
            except RuntimeError:  # no more threads; the command has succeeded, and a later one tries again
                self._is_closing.release()

    def _close_spare(self) -> None:
        latest = time.monotonic() - self._idle_s
        free: list[Any] = []
        with suppress(PoolExhausted):
            while True:
                free.append(self.pool.get(block=False))
        for connection in free[MAX_IDLE:]:
            if connection is not None and connection.idle_since <= latest:
                connection.disconnect()
        for connection in reversed(free):
            self.pool.put_nowait(connection)
        self._is_closing.release()
        self._close_spare_later()
