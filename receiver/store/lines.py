"""The lines to one Redis server, and the pool that lends them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.exceptions import ConnectionError as LineCut
from redis.exceptions import ReadOnlyError
from redis.retry import Retry

from receiver.store.faults import Demoted

Address = tuple[str, int]


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
        "retry": Retry(NoBackoff(), 1, supported_errors=(LineCut,)),
        "protocol": 2,
        # Telling Redis our library's name costs every new line a round trip, and needs a permission.
        "driver_info": None,
    }


class _Line(AbstractConnection):
    """A line that is given up when its other end turns out to be a replica."""

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Return the answer; raises Demoted where it is READONLY, and then whoever is the master by now
        (by name, by a sentinel) is asked once more: a replica has written nothing.
        """
        try:
            return super().read_response(*args, **options)
        except ReadOnlyError as error:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise Demoted(f"READONLY {error}") from error


class Line(_Line, redis.Connection):
    """Over TCP."""


class TlsLine(_Line, redis.SSLConnection):
    """Over TCP, encrypted."""


class UnixLine(_Line, redis.UnixDomainSocketConnection):
    """Over a socket of this machine."""


class _ToMaster(AbstractConnection):
    """A line that asks who is the master each time it is opened."""

    def __init__(self, *, find_master: Callable[[], Address], **options: Any) -> None:
        self._find_master = find_master
        super().__init__(**options)

    def _connect(self) -> Any:
        self.host, self.port = self._find_master()
        return super()._connect()  # type: ignore[safe-super, no-untyped-call]  # Line's, by the order of the bases


class MasterLine(_ToMaster, Line):
    """Over TCP to the master that the sentinels name."""


class MasterTlsLine(_ToMaster, TlsLine):
    """Over TCP, encrypted, to the master that the sentinels name."""


class LinePool(redis.ConnectionPool):
    """Lends lines as they are.

    redis' own pool first polls each line and then counts it for OpenTelemetry; under gevent that takes
    longer than the command. A line that was cut while idle shows when it is used, and the retry of
    `build_options` opens it anew. Nor does it take a lock: each step is one of a list's or a set's own,
    which no thread breaks into.
    """

    def get_connection(self, *_args: Any, **_options: Any) -> Any:
        """Return a free line, or a new one; it stands, as far as we know."""
        self._checkpid()
        # Let others go first: under gevent, whoever always finds its answers there would never give way.
        time.sleep(0)
        try:
            line = self._available_connections.pop()
        except IndexError:
            line = self.make_connection()
        self._in_use_connections.add(line)
        try:
            line.connect()
        except BaseException:
            self.release(line)
            raise
        return line

    def release(self, connection: Any) -> None:
        """Take a line back, unless it is from before a fork."""
        self._checkpid()
        with suppress(KeyError):
            self._in_use_connections.remove(connection)
            self._available_connections.append(connection)
