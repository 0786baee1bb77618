"""One client's connection, on which everything has its time: nobody who is slow holds it for ever.

A wait for the next request, a request's head, its body and our answer each have a bound of their own.
A body and an answer may be long, so theirs is a least speed, not a length: 32 MiB over a line of a
megabit pass, one byte a second doesn't. The same as Apache's mod_reqtimeout:
https://httpd.apache.org/docs/2.4/mod/mod_reqtimeout.html
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import IO, Any

from flask import Request
from gevent import Timeout
from gevent.monkey import is_module_patched
from gunicorn.http.body import ChunkedReader

from receiver.errors import StoreError

HEAD_S = 10.0  # from its first byte to its last
# A body and an answer may stand still for so long, and take so long beyond what their size allows:
# a MiB has 30 s, 32 MiB have eleven minutes.
STALL_TIMEOUT_S = 10.0
MIN_BYTES_PER_S = 50 * 1024
_PIECE = 64 * 1024
# Of what comes after our last answer so much is read, and for so long.
LINGER_S = 1.0
LINGER_BYTES = 64 * 1024


class ClientConnection:
    """A client's socket as gunicorn uses it, with deadlines; everything else is the socket's own.

    Between requests and in a head, too slow looks as if the other side had hung up: no request was
    there yet. In a body or an answer it raises ConnectionResetError.

    *drain* is called where the line is to be closed with a body on it that nobody reads: it may `linger`.
    *unverified* holds the lines whose body is read although nobody knows yet who sends it.
    """

    def __init__(
        self,
        client: Any,
        clock: Callable[[], float] = time.monotonic,
        *,
        drain: Callable[[ClientConnection], None] = lambda connection: connection.linger(),
        unverified: dict[ClientConnection, None] | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._drain = drain
        self._unverified = {} if unverified is None else unverified
        self._request: Any = None
        self._is_unread = False
        self._deadline = clock() + HEAD_S
        self._is_waiting = False
        self._is_head = True
        self._received = 0
        self._responding_since: float | None = None
        self._sent = 0

    def await_request(self, idle_s: float) -> None:
        """A request may begin within *idle_s* seconds; its head then has HEAD_S."""
        self._is_waiting = self._is_head = True
        self._deadline = self._clock() + idle_s
        self._responding_since, self._sent = None, 0

    def begin_body(self) -> None:
        """The head is there: what comes now is the body."""
        self._is_waiting = self._is_head = False
        self._received = 0
        self._deadline = self._clock() + STALL_TIMEOUT_S

    def set_request(self, request: Any) -> None:
        """Note gunicorn's *request*, which is answered from here on."""
        self._request = request

    @contextmanager
    def mark_unverified(self) -> Iterator[None]:
        """Have the line closed rather than others turned away, as long as this context lasts."""
        self._unverified[self] = None
        try:
            yield
        finally:
            self._unverified.pop(self, None)

    def begin_response(self) -> None:
        """Have this the line's last answer where the body is not read by now: nobody is waited for, for what
        nobody wants.
        """
        if self._request is not None and _is_unread(self._request):
            self._is_unread = True
            self._request.force_close()

    def close(self) -> None:
        """Hang up."""
        if self._is_unread:
            self._is_unread = False
            self._drain(self)
        self._client.close()

    def linger(self) -> None:
        """Read a little of what still comes, so that our answer reaches the other side."""
        _linger(self._client, LINGER_S)

    def recv(self, size: int) -> bytes:
        """Return what came, b"" at the end."""
        self._responding_since, self._sent = None, 0
        left_s = self._deadline - self._clock()
        if not self._is_head:
            left_s = min(STALL_TIMEOUT_S, left_s + self._received / MIN_BYTES_PER_S)
        if left_s <= 0:
            return self._time_out()
        self._client.settimeout(left_s)
        try:
            data: bytes = self._client.recv(size)
        except TimeoutError:
            return self._time_out()
        finally:
            self._client.settimeout(None)
        self._received += len(data)
        if self._is_waiting and data:
            self._is_waiting = False
            self._deadline = self._clock() + HEAD_S
        return data

    def sendall(self, data: bytes) -> None:
        """Send all of it, as fast as the other side takes it but not slower than it has to."""
        view = memoryview(data)
        if self._responding_since is None:
            self._responding_since = self._clock()
        try:
            while view:
                allowed_s = STALL_TIMEOUT_S + self._sent / MIN_BYTES_PER_S
                left_s = min(STALL_TIMEOUT_S, self._responding_since + allowed_s - self._clock())
                if left_s <= 0:
                    raise _too_slow()
                self._client.settimeout(left_s)
                count = self._client.send(view[:_PIECE])
                self._sent += count
                view = view[count:]
        except TimeoutError:
            raise _too_slow() from None
        finally:
            self._client.settimeout(None)

    send = sendall

    def reject(self, response: bytes) -> None:
        """Give the client its last answer, and hang up."""
        reject_client(self._client, response)

    def _time_out(self) -> bytes:
        if self._is_head:
            return b""
        raise _too_slow()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def reject_client(client: Any, response: bytes, linger_s: float = LINGER_S) -> None:
    """Give a client its last answer, and hang up; it is tried for *linger_s*."""
    client.settimeout(linger_s)
    try:
        client.sendall(response)
        _linger(client, linger_s)
    except OSError:
        pass
    finally:
        client.close()


def _linger(client: Any, seconds: float) -> None:
    """End our side, and wait for theirs for so long: with something of theirs unread, closing would take our
    answer away from them. LINGER_BYTES are read of it at most; whoever sends on may see the answer then.
    """
    end, left = time.monotonic() + seconds, LINGER_BYTES
    with suppress(OSError):
        client.shutdown(socket.SHUT_WR)
        while left > 0 and (wait_s := end - time.monotonic()) > 0:
            client.settimeout(wait_s)
            data = client.recv(min(left, _PIECE))
            if not data:
                return
            left -= len(data)
        time.sleep(max(0.0, end - time.monotonic()))


def _is_unread(request: Any) -> bool:
    """Tell whether some of the body of gunicorn's *request* is still to come."""
    reader = request.body.reader
    if isinstance(reader, ChunkedReader):
        return reader.parser is not None
    return bool(getattr(reader, "length", 0))


def _too_slow() -> ConnectionResetError:
    # gunicorn takes this for the other side's doing, which it is, and says nothing in the log.
    return ConnectionResetError(errno.ECONNRESET, "the other side is too slow")


# Below this a body comes at once; one of 32 MiB takes longer than a small webhook may wait.
PIECE = 256 * 1024


def drain(stream: IO[bytes]) -> bytes:
    """Return what *stream* holds; whoever bounds it bounds this."""
    body = bytearray()
    while piece := stream.read(PIECE):
        body += piece
        yield_to_others()
    return bytes(body)


def read_unverified_body(request: Request) -> bytes:
    """Return the body of a *request* by which its signature is to be checked. Anybody may have sent it, so
    it is broken off where there is no room for others.
    """
    connection = request.environ.get("gunicorn.socket")
    with connection.mark_unverified() if isinstance(connection, ClientConnection) else nullcontext():
        return request.get_data(cache=True, parse_form_data=False)


def yield_to_others() -> None:
    """Let others go first: under gevent, whoever always finds more to read there would never give way."""
    time.sleep(0)


# Alertmanager is to hear 503 within 5 s. Each single wait ends after 2 s (see store/connection.py), but
# there may be several.
REQUEST_TIMEOUT_S = 4.0
_ADVICE = "it does not answer in time: see its load and the network"


def request_timeout(seconds: float = REQUEST_TIMEOUT_S) -> AbstractContextManager[object]:
    """Have StoreError raised in the midst of what is done in this context for longer than *seconds*.

    Lines in use are given up then. Only where gevent serves; elsewhere each single wait has its end.
    """
    if not is_module_patched("socket"):
        return nullcontext()
    timeout: AbstractContextManager[object] = Timeout(seconds, StoreError(f"Redis: {_ADVICE}", _ADVICE))
    return timeout
