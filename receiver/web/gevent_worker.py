"""The gunicorn worker of the web side: gevent's, which also ends promptly."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from types import FrameType
from typing import Any

import gevent
from gevent import monkey
from gunicorn.workers.ggevent import GeventWorker

# Only for a connection that opens in the very second in which we end and then says nothing.
LAST_WAIT_S = 0.5


class WebWorker(GeventWorker):  # type: ignore[misc]  # gunicorn has no types
    """Closes idle keep-alive connections when told to end, instead of waiting for them.

    Alertmanager and browsers hold connections open between requests; gunicorn's own worker would wait
    for them to be used or to run out. A request under way is finished, within `graceful_timeout`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connections: dict[gevent.Greenlet, socket.socket] = {}
        self._idle: set[socket.socket] = set()

    def handle(self, listener: socket.socket, client: socket.socket, addr: Any) -> None:
        """Serve the requests of one connection, in a greenlet of its own."""
        greenlet = gevent.getcurrent()
        self._connections[greenlet] = client
        try:
            super().handle(listener, client, addr)
        finally:
            del self._connections[greenlet]

    def timeout_ctx(self) -> _Idle:
        """Return what gunicorn holds around the wait for a connection's next request."""
        timeout_s = self.cfg.keepalive if self.alive else LAST_WAIT_S
        return _Idle(self._connections[gevent.getcurrent()], self._idle, timeout_s)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        gevent.spawn(self._close_idle)

    def _close_idle(self) -> None:
        # The waits then end as if the other side had hung up, and a request that came in at this very
        # moment is still read and answered. gevent's own shutdown() would break off the reading.
        native_socket = monkey.get_original("socket", "socket")
        for client in list(self._idle):
            with suppress(OSError), native_socket(fileno=os.dup(client.fileno())) as twin:
                twin.shutdown(socket.SHUT_RD)


class _Idle:
    """A connection's wait for its next request; after *timeout_s* it ends without one."""

    def __init__(self, client: socket.socket, idle: set[socket.socket], timeout_s: float) -> None:
        self._client = client
        self._idle = idle
        self._timeout = gevent.Timeout(timeout_s, False)

    def __enter__(self) -> None:
        self._idle.add(self._client)
        self._timeout.start()

    def __exit__(self, _kind: object, error: BaseException | None, _where: object) -> bool:
        self._timeout.close()
        self._idle.discard(self._client)
        return error is self._timeout
