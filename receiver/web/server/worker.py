"""The gunicorn worker class of the web side: gevent's, with connection limits and a prompt shutdown."""

from __future__ import annotations

import logging
import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import gevent
from gevent import monkey
from gunicorn.workers.ggevent import GeventWorker

from receiver.web.server.connection import ClientConnection, reject_client, yield_to_others
from receiver.web.server.malformed import INTERNAL_ERROR, find_malformed_request, render_final_response

logger = logging.getLogger(__name__)
# Maximum number of connections of one process. One more replaces a connection that is being drained, else one
# whose body is read before its signature can be checked, else the one that has been idle longest. If all are
# busy, the new one is answered 503.
MAX_CONNECTIONS = 1000
TOO_MANY_CONNECTIONS = render_final_response(503, "too many connections, send it again", "Retry-After: 1")
# Additional connections, which are only answered 503.
SPARE_CONNECTIONS = 100
# Number of connections per client address that are drained after a response that did not wait for the body;
# further ones are closed at once.
MAX_DRAINING_PER_ADDRESS = 8
_WARN_EVERY_S = 60.0
# Idle time during shutdown, for a connection that opens at that moment and sends no request.
FINAL_WAIT_S = 1.5


class WebWorker(GeventWorker):  # type: ignore[misc]  # gunicorn has no types
    """Limits the number of connections and the duration of each, and closes idle ones at shutdown.

    Alertmanager and browsers keep connections open between requests; gunicorn's own worker would wait for
    their next request or for the keep-alive timeout. A request in progress is finished, within
    `graceful_timeout`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connections: dict[gevent.Greenlet, ClientConnection] = {}
        self._idle: dict[ClientConnection, None] = {}  # in the order in which they became idle
        # Those whose body is read to find out whether it is signed.
        self._unverified: dict[ClientConnection, None] = {}
        self._draining: dict[ClientConnection, tuple[str, gevent.Greenlet]] = {}  # with their addresses
        self._capacity = min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._warned_at = -_WARN_EVERY_S
        self.worker_connections = self._capacity + SPARE_CONNECTIONS

    def handle(self, listener: socket.socket, client: socket.socket, addr: Any) -> None:
        """Serve the requests of one connection, in its own greenlet."""
        if len(self._connections) >= self._capacity and not self._make_room():
            reject_client(client, TOO_MANY_CONNECTIONS)
            return
        greenlet = gevent.getcurrent()
        address = addr[0] if addr else ""
        connection = self._connections[greenlet] = ClientConnection(
            client,
            drain=lambda connection: self._drain_connection(connection, address),
            unverified=self._unverified,
        )
        try:
            super().handle(listener, connection, addr)
        finally:
            del self._connections[greenlet]

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.wsgi: Any = _close_after_unread_body(self.wsgi)

    def handle_request(self, listener_name: Any, req: Any, sock: ClientConnection, addr: Any) -> None:
        sock.request = req
        super().handle_request(listener_name, req, sock, addr)

    def handle_error(self, req: Any, client: ClientConnection, addr: Any, exc: BaseException) -> None:
        """Answer a request that gunicorn could not parse, or at which the application failed."""
        found = find_malformed_request(exc)
        if found is None:
            fields = {"path": getattr(req, "path", "")}
            logger.error("unhandled error in request", exc_info=exc, extra={"fields": fields})
            client.reject_request(render_final_response(500, INTERNAL_ERROR))
            return
        # gunicorn's own handler logs the received data, which may contain a token.
        status, message = found
        fields = {"from": addr[0] if addr else "", "status": status, "reason": message}
        # Any client can cause this, so the log is limited to one line a minute for each reason, with a count.
        logger.warning("request could not be read", extra={"fields": fields, "state": message})
        client.reject_request(render_final_response(status, message))

    @contextmanager
    def timeout_ctx(self) -> Iterator[None]:
        """Bound the wait of a connection for its next request, including the reading of the request head."""
        connection = self._connections[gevent.getcurrent()]
        self._idle[connection] = None
        connection.await_request(self.cfg.keepalive if self.alive else FINAL_WAIT_S)
        try:
            yield
        finally:
            self._idle.pop(connection, None)
            connection.begin_body()
            # A client that pipelines requests never makes this greenlet wait, so yield explicitly.
            yield_to_others()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        gevent.spawn(self._close_idle)

    def _make_room(self) -> bool:
        """Close a connection that is draining, else unverified, else idle longest; False if there is none."""
        if time.monotonic() >= self._warned_at + _WARN_EVERY_S:
            self._warned_at = time.monotonic()
            logger.warning("too many connections", extra={"fields": {"room": self._capacity}})
        for connection, (_, greenlet) in self._draining.items():
            del self._draining[connection]
            greenlet.kill(_DrainingEnded, block=False)
            return True
        for connections in (self._unverified, self._idle):
            for connection in connections:
                del connections[connection]
                _shut_down_reading(connection)
                return True
        return False

    def _drain_connection(self, connection: ClientConnection, address: str) -> None:
        """Drain *connection* for a moment, unless too many connections of *address* are being drained."""
        if [one for one, _ in self._draining.values()].count(address) >= MAX_DRAINING_PER_ADDRESS:
            return
        self._draining[connection] = address, gevent.getcurrent()
        with suppress(_DrainingEnded):
            connection.drain_socket()
        self._draining.pop(connection, None)

    def _close_idle(self) -> None:
        for _, greenlet in self._draining.values():
            greenlet.kill(_DrainingEnded, block=False)
        for connection in list(self._idle):
            _shut_down_reading(connection)


class _DrainingEnded(gevent.GreenletExit):  # type: ignore[misc]  # gevent has no types
    """Raised in a greenlet to stop draining its connection."""


def _close_after_unread_body(application: Any) -> Any:
    """Return *application* wrapped so that a response sent before the body was read closes the connection."""

    def wsgi_app(environ: dict[str, Any], start_response: Any) -> Any:
        def start(*args: Any) -> Any:
            environ["gunicorn.socket"].begin_response()
            return start_response(*args)

        return application(environ, start)

    return wsgi_app


def _shut_down_reading(connection: ClientConnection) -> None:
    """End the wait of *connection* as if the client had closed it.

    A request that arrives at this moment is still read and answered. gevent's own shutdown() would interrupt
    the reading.
    """
    native_socket = monkey.get_original("socket", "socket")
    with suppress(OSError), native_socket(fileno=os.dup(connection.fileno())) as twin:
        twin.shutdown(socket.SHUT_RD)
