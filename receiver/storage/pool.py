"""The connection pool of Redis, and the description of Redis' errors with advice for operators.

The codes and phrases are Redis' own, see `src/server.c` and
https://redis.io/docs/latest/operate/oss_and_stack/management/.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError
from redis.retry import Retry


class MasterDemoted(exceptions.ConnectionError):
    """The server accepts no writes any more: the connection leads to a former master."""


class PoolExhausted(exceptions.RedisError):
    """All connections that this process may have were in use for the whole timeout."""


# By the code with which Redis' error begins, if redis-py has no class for it.
_BY_WORD = {
    "MISCONF": "it can't save to its disk and refuses writes (MISCONF): see its log and the disk's room",
    "NOREPLICAS": "too few of its replicas are in reach to take writes (NOREPLICAS): see the replicas",
    "BUSY": "a script holds it up (BUSY): see what else uses this Redis",
}
_IS_CLUSTER = "it is a Redis Cluster (MOVED, CROSSSLOT): use redis+cluster:// in REDIS_URL"
# Some errors have no code.
_BY_PHRASE = {
    "cluster support disabled": "it is no Redis Cluster: use redis:// in REDIS_URL",
    "max number of clients": "it takes no more lines: raise its maxclients, or lower REDIS_MAX_CONNECTIONS",
}
# The first match counts: a class may be a subclass of a later one.
_BY_CLASS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (
        (exceptions.ReadOnlyError, MasterDemoted),
        "it is a replica and takes no writes (READONLY): after a failover wait",
    ),
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
        "all lines of this process to it are in use: see its load, or raise REDIS_MAX_CONNECTIONS",
    ),
    (exceptions.TimeoutError, "it does not answer in time: see its load and the network"),
    ((exceptions.ConnectionError, OSError), "it can't be reached: see whether it runs, and the network"),
)
_MAX_DETAIL = 300


def describe_error(error: BaseException) -> str:
    """Return a description of the error with advice, in one line without addresses or secrets."""
    message = _strip_command(error)
    by_text = [sentence for phrase, sentence in _BY_PHRASE.items() if phrase in message]
    by_class = [sentence for kind, sentence in _BY_CLASS if isinstance(error, kind)]
    found = (_BY_WORD.get(message.partition(" ")[0]), *by_text, *by_class)
    return next((sentence for sentence in found if sentence), "it refuses what we ask: see the log")


def quote_error(error: BaseException) -> str:
    """Return Redis' error message in one line of bounded length, for logs."""
    message = " ".join(_strip_command(error).split())[:_MAX_DETAIL]
    return f"{type(error).__name__}: {message}"


def _strip_command(error: BaseException) -> str:
    """Return Redis' own message, without the command that redis-py puts before it in a pipeline: the command
    may contain data of clients.
    """
    return str(error).rpartition("of pipeline caused error: ")[2]


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
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        super().__init__(NoBackoff(), 1, supported_errors=(RedisConnectionError,))

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


class _FailoverConnection(AbstractConnection):
    """A connection that is closed if its server turns out to be a replica."""

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Return the answer. Raises MasterDemoted if it is READONLY; then the retry connects to the present
        master (by DNS name or sentinel). That is safe, since a replica has written nothing.
        """
        try:
            return super().read_response(*args, **options)
        except ReadOnlyError as error:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise MasterDemoted(f"READONLY {error}") from error


class TcpConnection(_FailoverConnection, redis.Connection):
    """A connection over TCP."""


class TlsConnection(_FailoverConnection, redis.SSLConnection):
    """A connection over TLS."""


class UnixSocketConnection(_FailoverConnection, redis.UnixDomainSocketConnection):
    """A connection over a Unix domain socket."""


class _MasterLookup(AbstractConnection):
    """A connection that looks up the master each time it is opened."""

    def __init__(self, *, find_master: Callable[[], NodeAddress], **options: Any) -> None:
        self._find_master = find_master
        super().__init__(**options)

    def _connect(self) -> Any:
        self.host, self.port = self._find_master()
        return super()._connect()  # type: ignore[safe-super, no-untyped-call]  # the other base's, by MRO


class MasterConnection(_MasterLookup, TcpConnection):
    """A connection over TCP to the master that the sentinels name."""


class MasterTlsConnection(_MasterLookup, TlsConnection):
    """A connection over TLS to the master that the sentinels name."""


def _yield_to_others() -> None:
    """Yield to other greenlets under gevent: a greenlet that never waits for an answer would never switch.

    Threads do not need this, and even `sleep(0)` costs them 60 µs on Linux.
    """
    if time.sleep.__module__ != "time":
        time.sleep(0)


class _IdleConnections:
    """A stack of the free connections, with a None below them for each connection that may still be opened.

    The standard library's queue takes its lock each time, which costs a tenth of a webhook under gevent. Here
    only waiting threads take a lock; each operation on the list is atomic.
    """

    def __init__(self, maxsize: int) -> None:
        self.queue: list[Any] = []
        self._maxsize = maxsize
        self._waiters = 0
        self._freed = threading.Condition()

    def put_nowait(self, item: Any) -> None:
        """Add a connection or a None. Raises queue.Full if all are there."""
        if len(self.queue) >= self._maxsize:
            raise queue.Full
        if item is None:
            self.queue.insert(0, item)
        else:
            self.queue.append(item)
        # A waiter counts itself before its last check of the list, so it finds this item or is notified.
        if self._waiters:
            with self._freed:
                self._freed.notify()

    def get(self, timeout: float) -> Any:
        """Return a connection or a None. Raises queue.Empty if none becomes free within *timeout* seconds."""
        try:
            return self.queue.pop()
        except IndexError:
            return self._wait_for_connection(time.monotonic() + timeout)

    def _wait_for_connection(self, deadline: float) -> Any:
        with self._freed:
            self._waiters += 1
            try:
                while True:
                    try:
                        return self.queue.pop()
                    except IndexError:
                        left = deadline - time.monotonic()
                        if left <= 0:
                            raise queue.Empty from None
                        self._freed.wait(left)
            finally:
                self._waiters -= 1
                # A waiter that was notified and then interrupted (a request's time limit) notifies the next.
                if self._waiters and self.queue:
                    self._freed.notify()


class ConnectionPool(redis.BlockingConnectionPool):
    """A pool of at most `max_connections` connections; a caller waits if none is free.

    A broken connection is discarded. All idle connections but `MAX_IDLE` are closed when they have been idle
    for *idle_s* seconds, so that other processes can use their places.

    redis-py's own `get_connection` and `release` poll each connection and then count it for OpenTelemetry;
    under gevent that takes longer than the command. Here a connection that was closed while idle fails when
    it is used, and the retry of `build_options` reconnects.
    """

    def __init__(self, *, idle_s: float = IDLE_S, **options: Any) -> None:
        self._idle_s = idle_s
        self._is_closing = threading.Lock()
        super().__init__(queue_class=_IdleConnections, **options)  # type: ignore[no-untyped-call]

    def get_connection(self, *_args: Any, **_options: Any) -> Any:
        """Return a free connection or a new one, connected but not checked. Raises PoolExhausted."""
        self._checkpid()
        _yield_to_others()
        try:
            connection = self.pool.get(timeout=self.timeout)
        except queue.Empty:
            raise PoolExhausted(f"none of {self.max_connections} became free in {self.timeout:g} s") from None
        try:
            if connection is None:
                connection = self.make_connection()  # type: ignore[no-untyped-call]
            connection.connect()
        except BaseException:
            self.release(connection)
            raise
        return connection

    def release(self, connection: Any) -> None:
        """Put a connection back, unless it is from before a fork; None stands for an unopened one."""
        self._checkpid()
        if connection is None:
            self.pool.put_nowait(None)
        elif connection.pid != self.pid:
            return
        elif connection.is_connected:
            connection.idle_since = time.monotonic()
            self.pool.put_nowait(connection)
            if self._has_spare():
                self._close_spare_later()
        else:
            self._discard_connection(connection)

    def _discard_connection(self, connection: Any) -> None:
        connection.disconnect()
        with suppress(ValueError):
            self._connections.remove(connection)
        self.pool.put_nowait(None)

    def _has_spare(self) -> bool:
        """Tell whether more than `MAX_IDLE` connections are idle."""
        free = self.pool.queue
        return len(free) > MAX_IDLE and free[-MAX_IDLE - 1] is not None

    def _close_spare_later(self) -> None:
        if self._is_closing.acquire(blocking=False):
            timer = threading.Timer(self._idle_s, self._close_spare)
            timer.daemon = True
            timer.start()

    def _close_spare(self) -> None:
        """Close the connections beyond `MAX_IDLE` that have been idle for `idle_s` seconds."""
        self._is_closing.release()
        latest = time.monotonic() - self._idle_s
        free = self.pool.queue
        for connection in free[:-MAX_IDLE]:
            if connection is not None and connection.idle_since <= latest:
                with suppress(ValueError):  # another thread has taken it
                    free.remove(connection)
                    self._discard_connection(connection)
        if self._has_spare():
            self._close_spare_later()
