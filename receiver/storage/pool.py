"""What Redis' faults mean, and what to do about each: one line for people.

The words are Redis' own, see `src/server.c` and https://redis.io/docs/latest/operate/oss_and_stack/management/.
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
    """Whom we asked to write takes no writes any more: the line leads to a former master."""


class PoolExhausted(exceptions.RedisError):
    """All lines that this process may have were in use for as long as one is waited for."""


# The word with which Redis' answer begins, where redis-py has no class for it.
_BY_WORD = {
    "MISCONF": "it can't save to its disk and refuses writes (MISCONF): see its log and the disk's room",
    "NOREPLICAS": "too few of its replicas are in reach to take writes (NOREPLICAS): see the replicas",
    "BUSY": "a script holds it up (BUSY): see what else uses this Redis",
}
_IS_CLUSTER = "it is a Redis Cluster (MOVED, CROSSSLOT): use redis+cluster:// in REDIS_URL"
# Some answers have no word of their own.
_BY_PHRASE = {
    "cluster support disabled": "it is no Redis Cluster: use redis:// in REDIS_URL",
    "max number of clients": "it takes no more lines: raise its maxclients, or lower REDIS_MAX_CONNECTIONS",
}
# The first that fits: a class may be a kind of one further down.
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
    """Return what is the matter with Redis in one line without addresses or secrets."""
    message = _strip_command(error)
    by_text = [sentence for phrase, sentence in _BY_PHRASE.items() if phrase in message]
    by_class = [sentence for kind, sentence in _BY_CLASS if isinstance(error, kind)]
    found = (_BY_WORD.get(message.partition(" ")[0]), *by_text, *by_class)
    return next((sentence for sentence in found if sentence), "it refuses what we ask: see the log")


def quote_error(error: BaseException) -> str:
    """Return what Redis said, in one line of bounded length, for logs."""
    message = " ".join(_strip_command(error).split())[:_MAX_DETAIL]
    return f"{type(error).__name__}: {message}"


def _strip_command(error: BaseException) -> str:
    """Return Redis' own words, without the command that redis-py puts before them in a batch: it may
    hold what strangers wrote.
    """
    return str(error).rpartition("of pipeline caused error: ")[2]


NodeAddress = tuple[str, int]
# One process has no more lines to a server than this, unless REDIS_MAX_CONNECTIONS says otherwise.
MAX_CONNECTIONS = 10
# Of the lines that nobody needs any more so many are kept, the others are closed after so many seconds.
MAX_IDLE = 4
IDLE_S = 0.5
# What Redis says where it takes no more lines, and how long it is then left alone.
MAX_CLIENTS_ERROR = "max number of clients reached"
_MAX_CLIENTS_WAIT_S = 0.05


def build_pool_options(timeout_s: float, max_connections: int) -> dict[str, Any]:
    """Return what all our pools have in common: how many lines, and how long one is waited for."""
    return {**build_options(timeout_s), "timeout": timeout_s, "max_connections": max_connections}


def build_options(timeout_s: float) -> dict[str, Any]:
    """Return what all our lines have in common.

    A line that was cut while idle is opened anew once, at once; nothing else is tried again
    here, since whoever asked knows better whether it still matters. What was on its way when a line
    was cut may so be done twice: every script bears that.
    """
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "health_check_interval": 0,
        "retry": _ReconnectOnce(timeout_s),
        "protocol": 2,
        # Telling Redis our library's name costs every new line a round trip, and needs a permission.
        "driver_info": None,
    }


class _ReconnectOnce(Retry):
    """Opens a line anew, once, at once. Where Redis takes no more lines, it waits for *timeout_s* until
    another process closes one: what was sent was not done.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        super().__init__(NoBackoff(), 1, supported_errors=(RedisConnectionError,))

    def call_with_retry(self, *args: Any, **options: Any) -> Any:
        """Return what the command gives; raises its last fault."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return super().call_with_retry(*args, **options)
            except RedisConnectionError as error:
                if MAX_CLIENTS_ERROR not in str(error) or time.monotonic() + _MAX_CLIENTS_WAIT_S >= deadline:
                    raise
                time.sleep(_MAX_CLIENTS_WAIT_S)


class _FailoverConnection(AbstractConnection):
    """A line that is given up when its other end turns out to be a replica."""

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Return the answer; raises Demoted where it is READONLY, and then whoever is the master by now
        (by name, by a sentinel) is asked once more: a replica has written nothing.
        """
        try:
            return super().read_response(*args, **options)
        except ReadOnlyError as error:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise MasterDemoted(f"READONLY {error}") from error


class TcpConnection(_FailoverConnection, redis.Connection):
    """Over TCP."""


class TlsConnection(_FailoverConnection, redis.SSLConnection):
    """Over TCP, encrypted."""


class UnixSocketConnection(_FailoverConnection, redis.UnixDomainSocketConnection):
    """Over a socket of this machine."""


class _MasterLookup(AbstractConnection):
    """A line that asks who is the master each time it is opened."""

    def __init__(self, *, find_master: Callable[[], NodeAddress], **options: Any) -> None:
        self._find_master = find_master
        super().__init__(**options)

    def _connect(self) -> Any:
        self.host, self.port = self._find_master()
        return super()._connect()  # type: ignore[safe-super, no-untyped-call]  # Line's, by the order of the bases


class MasterConnection(_MasterLookup, TcpConnection):
    """Over TCP to the master that the sentinels name."""


class MasterTlsConnection(_MasterLookup, TlsConnection):
    """Over TCP, encrypted, to the master that the sentinels name."""


def _yield_to_others() -> None:
    """Let others go first under gevent, where whoever always finds its answers there would never give way.

    Threads need no such word, and even a sleep of no time costs them 60 µs: Linux ends it late.
    """
    if time.sleep.__module__ != "time":
        time.sleep(0)


class _IdleConnections:
    """The free lines, last used first, and below them a None for each line that may still be opened.

    The standard library's queue takes its lock each time, which costs a tenth of a webhook under gevent. Here
    only those that have to wait take one; each step on the list is one that no thread breaks into.
    """

    def __init__(self, maxsize: int) -> None:
        self.queue: list[Any] = []
        self._maxsize = maxsize
        self._waiters = 0
        self._freed = threading.Condition()

    def put_nowait(self, item: Any) -> None:
        """Add a line, or a None; raises queue.Full where all are there."""
        if len(self.queue) >= self._maxsize:
            raise queue.Full
        if item is None:
            self.queue.insert(0, item)
        else:
            self.queue.append(item)
        # A waiter counts itself before it looks for the last time, so it finds this item or is notified.
        if self._waiters:
            with self._freed:
                self._freed.notify()

    def get(self, timeout: float) -> Any:
        """Return a line, or a None; raises queue.Empty where none becomes free within *timeout* seconds."""
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
                # A waiter that was told and then broken off (a request's time limit) passes the word on.
                if self._waiters and self.queue:
                    self._freed.notify()


class ConnectionPool(redis.BlockingConnectionPool):
    """Lends lines as they are, *max_connections* at once; who finds none free waits for one.

    A line that turned out to be broken is thrown away, never lent again. Of the idle lines all but
    `MAX_IDLE` are closed when they have been idle for *idle_s*, so that other processes may have them.

    redis' own `get_connection` and `release` first poll each line and then count it for OpenTelemetry; under
    gevent that takes longer than the command. A line that was cut while idle shows when it is used, and
    the retry of `build_options` opens it anew.
    """

    def __init__(self, *, idle_s: float = IDLE_S, **options: Any) -> None:
        self._idle_s = idle_s
        self._is_closing = threading.Lock()
        super().__init__(queue_class=_IdleConnections, **options)  # type: ignore[no-untyped-call]

    def get_connection(self, *_args: Any, **_options: Any) -> Any:
        """Return a free line, or a new one; it stands, as far as we know. Raises NoFreeLine."""
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
        """Take a line back, unless it is from before a fork; None is the right to open one."""
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
        """Tell whether more lines are idle than we keep."""
        free = self.pool.queue
        return len(free) > MAX_IDLE and free[-MAX_IDLE - 1] is not None

    def _close_spare_later(self) -> None:
        if self._is_closing.acquire(blocking=False):
            timer = threading.Timer(self._idle_s, self._close_spare)
            timer.daemon = True
            timer.start()

    def _close_spare(self) -> None:
        """Close the lines below the first KEPT_IDLE that nobody has used for *idle_s*."""
        self._is_closing.release()
        latest = time.monotonic() - self._idle_s
        free = self.pool.queue
        for connection in free[:-MAX_IDLE]:
            if connection is not None and connection.idle_since <= latest:
                with suppress(ValueError):  # somebody needs it after all
                    free.remove(connection)
                    self._discard_connection(connection)
        if self._has_spare():
            self._close_spare_later()
