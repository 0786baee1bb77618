"""The gunicorn worker of the web side: gevent's, which is held up by nobody and ends promptly."""

from __future__ import annotations

import logging
import os
import resource
import socket
import time
from contextlib import suppress
from types import FrameType
from typing import Any

import gevent
from gevent import monkey
from gunicorn.workers.ggevent import GeventWorker

from receiver.web.errors import OUR_FAULT, render_last_answer
from receiver.web.line import Line, turn_away
from receiver.web.misframed import find_misframed
from receiver.web.reading import give_way

logger = logging.getLogger(__name__)

# Connections of one process at once. One more takes the place of one that is being drained, else of one whose
# body has to be read before its signature can be checked, else of the one that has been idle longest; where
# all are busy it is told to come again.
MAX_CONNECTIONS = 1000
NO_ROOM = render_last_answer(503, "too many connections, send it again", "Retry-After: 1")
# Those that are just being told so.
SPARE = 100
# So many of one address are read a little more after an answer that did not wait for their body; further ones
# are closed at once.
DRAINING_EACH = 8
_SAY_EVERY_S = 60.0

# Only for a connection that opens in the very second in which we end and then says nothing.
LAST_WAIT_S = 1.5


class WebWorker(GeventWorker):  # type: ignore[misc]  # gunicorn has no types
    """Bounds how many connections there are and how long each may take, and closes idle ones at the end.

    Alertmanager and browsers hold connections open between requests; gunicorn's own worker would wait
    for them to be used or to run out. A request under way is finished, within `graceful_timeout`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lines: dict[gevent.Greenlet, Line] = {}
        self._idle: dict[Line, None] = {}  # in the order in which they became idle
        self._doubtful: dict[Line, None] = {}  # whose body is read to find out whether it is signed
        self._draining: dict[Line, tuple[str, gevent.Greenlet]] = {}  # with their addresses
        self._room = min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._said_at = -_SAY_EVERY_S
        self.worker_connections = self._room + SPARE

    def handle(self, listener: socket.socket, client: socket.socket, addr: Any) -> None:
        """Serve the requests of one connection, in a greenlet of its own."""
        if len(self._lines) >= self._room and not self._make_room():
            turn_away(client, NO_ROOM)
            return
        greenlet = gevent.getcurrent()
        address = addr[0] if addr else ""
        line = self._lines[greenlet] = Line(
            client, drain=lambda line: self._drain(line, address), doubtful=self._doubtful
        )
        try:
            super().handle(listener, line, addr)
        finally:
            del self._lines[greenlet]

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.wsgi: Any = _end_unread(self.wsgi)

    def handle_request(self, listener_name: Any, req: Any, sock: Line, addr: Any) -> None:
        sock.serve(req)
        super().handle_request(listener_name, req, sock, addr)

    def handle_error(self, req: Any, client: Line, addr: Any, exc: BaseException) -> None:
        """Answer what the application did not hear of, or failed at, as it answers all else that is wrong."""
        found = find_misframed(exc)
        if found is None:
            fields = {"path": getattr(req, "path", "")}
            logger.error("unhandled error in request", exc_info=exc, extra={"fields": fields})
            client.turn_away(render_last_answer(500, OUR_FAULT))
            return
        # gunicorn would log what was sent, and that may be a token.
        fields = {"from": addr[0] if addr else "", "status": found.status, "reason": found.message}
        # Anybody can send such: a line a minute of each kind, with their number.
        logger.warning("request could not be read", extra={"fields": fields, "state": found.message})
        client.turn_away(render_last_answer(found.status, found.message))

    def timeout_ctx(self) -> _Idle:
        """Return what gunicorn holds around the wait for a connection's next request."""
        idle_s = self.cfg.keepalive if self.alive else LAST_WAIT_S
        return _Idle(self._lines[gevent.getcurrent()], self._idle, idle_s)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        gevent.spawn(self._close_idle)

    def _make_room(self) -> bool:
        """Close the connection that has been idle longest; False when all are busy."""
        if time.monotonic() >= self._said_at + _SAY_EVERY_S:
            self._said_at = time.monotonic()
            logger.warning("too many connections", extra={"fields": {"room": self._room}})
        for line, (_, greenlet) in self._draining.items():
            del self._draining[line]
            greenlet.kill(_Enough, block=False)
            return True
        for lines in (self._doubtful, self._idle):
            for line in lines:
                del lines[line]
                _hang_up(line)
                return True
        return False

    def _drain(self, line: Line, address: str) -> None:
        """Read a little of a body that nobody wants, where not too many of *address* do."""
        if [one for one, _ in self._draining.values()].count(address) >= DRAINING_EACH:
            return
        self._draining[line] = address, gevent.getcurrent()
        with suppress(_Enough):
            line.linger()
        self._draining.pop(line, None)

    def _close_idle(self) -> None:
        for _, greenlet in self._draining.values():
            greenlet.kill(_Enough, block=False)
        for line in list(self._idle):
            _hang_up(line)


class _Enough(gevent.GreenletExit):  # type: ignore[misc]  # gevent has no types
    """What ends the draining of a connection."""


class _Idle:
    """A connection's wait for its next request, with the reading of its head."""

    def __init__(self, line: Line, idle: dict[Line, None], idle_s: float) -> None:
        self._line = line
        self._idle = idle
        self._idle_s = idle_s

    def __enter__(self) -> None:
        self._idle[self._line] = None
        self._line.expect(self._idle_s)

    def __exit__(self, *_: object) -> None:
        self._idle.pop(self._line, None)
        self._line.take_in()
        # A client that sends many requests without waiting for the answers never makes us wait for it.
        give_way()


def _end_unread(application: Any) -> Any:
    """Return *application* such that a connection ends with an answer that did not wait for the body."""

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        def start(*args: Any) -> Any:
            environ["gunicorn.socket"].begin_answer()
            return start_response(*args)

        return application(environ, start)

    return answer


def _hang_up(line: Line) -> None:
    """End a line's wait as if the other side had hung up.

    A request that came in at this very moment is still read and answered. gevent's own shutdown() would
    break off the reading.
    """
    native_socket = monkey.get_original("socket", "socket")
    with suppress(OSError), native_socket(fileno=os.dup(line.fileno())) as twin:
        twin.shutdown(socket.SHUT_RD)
