"""A client connection with a deadline for every phase, so that no slow client occupies it for ever.

Each phase has its own limit: the wait for the next request, the request head, the body and the response. A
body or a response may be large, so its limit is a minimum transfer rate instead of a duration: 32 MiB at one
megabit per second pass, one byte per second does not. Apache's mod_reqtimeout works the same way:
https://httpd.apache.org/docs/2.4/mod/mod_reqtimeout.html

The module also holds the helpers that read a request body, and `request_timeout` for Redis calls.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import IO, Any, cast

from flask import Request
from gevent import Timeout
from gevent.monkey import is_module_patched
from gunicorn.http.body import ChunkedReader

from receiver.errors import StoreError

HEAD_S = 10.0  # from the first byte of a request head to its last
# A body or a response may stall for STALL_TIMEOUT_S at most, and take that long in total plus the time that
# its size takes at MIN_BYTES_PER_S: about 30 s for a MiB, eleven minutes for 32 MiB.
STALL_TIMEOUT_S = 10.0
MIN_BYTES_PER_S = 50 * 1024
_PIECE = 64 * 1024
# Limits for reading what the client still sends after our last response.
LINGER_S = 1.0
LINGER_BYTES = 64 * 1024


@dataclass(eq=False, repr=False)
class ClientConnection:
    """The client socket that gunicorn uses, with deadlines; all other attributes are those of the socket.

    While waiting for a request or reading its head, a timeout looks to gunicorn as if the client had closed
    the connection, since there is no request to answer yet. In a body or a response it raises
    ConnectionResetError.

    *drain* is called when the connection closes with an unread request body; it may call `drain_socket`.
    *unverified* collects the connections whose body is being read before its signature can be checked.
    """

    client: Any
    clock: Callable[[], float] = time.monotonic
    drain: Callable[[ClientConnection], None] = lambda connection: connection.drain_socket()
    unverified: dict[ClientConnection, None] = field(default_factory=dict)
    request: Any = field(default=None, init=False)  # gunicorn's, which is being answered
    _is_unread: bool = field(default=False, init=False)
    _is_waiting: bool = field(default=False, init=False)
    _is_head: bool = field(default=True, init=False)
    _received: int = field(default=0, init=False)
    _responding_since: float | None = field(default=None, init=False)
    _sent: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._deadline = self.clock() + HEAD_S

    def await_request(self, idle_s: float) -> None:
        """Wait *idle_s* seconds for a request to begin; its head then has HEAD_S seconds."""
        self._is_waiting = self._is_head = True
        self._deadline = self.clock() + idle_s
        self._responding_since, self._sent = None, 0

    def begin_body(self) -> None:
        """Switch from the limits of the head to those of the body."""
        self._is_waiting = self._is_head = False
        self._received = 0
        self._deadline = self.clock() + STALL_TIMEOUT_S

    def begin_response(self) -> None:
        """Close the connection after this response if the request body has not been read completely.

        The response does not wait for a body that the application does not read.
        """
        if self.request is not None and _is_unread(self.request):
            self._is_unread = True
            self.request.force_close()

    def close(self) -> None:
        """Close the connection, after draining a body that was not read."""
        if self._is_unread:
            self._is_unread = False
            self.drain(self)
        self.client.close()

    def drain_socket(self) -> None:
        """Read some of what the client still sends, so that our response reaches it."""
        _drain_socket(self.client, LINGER_S)

    def recv(self, size: int) -> bytes:
        """Return the bytes that arrived, b"" at the end of the stream."""
        self._responding_since, self._sent = None, 0
        left_s = self._deadline - self.clock()
        if not self._is_head:
            left_s = min(STALL_TIMEOUT_S, left_s + self._received / MIN_BYTES_PER_S)
        if left_s <= 0:
            return self._time_out()
        self.client.settimeout(left_s)
        try:
            data: bytes = self.client.recv(size)
        except TimeoutError:
            return self._time_out()
        finally:
            self.client.settimeout(None)
        self._received += len(data)
        if self._is_waiting and data:
            self._is_waiting = False
            self._deadline = self.clock() + HEAD_S
        return data

    def sendall(self, data: bytes) -> None:
        """Send all of *data*; raises ConnectionResetError where the client reads too slowly."""
        view = memoryview(data)
        if self._responding_since is None:
            self._responding_since = self.clock()
        try:
            while view:
                allowed_s = STALL_TIMEOUT_S + self._sent / MIN_BYTES_PER_S
                left_s = min(STALL_TIMEOUT_S, self._responding_since + allowed_s - self.clock())
                if left_s <= 0:
                    raise _too_slow()
                self.client.settimeout(left_s)
                count = self.client.send(view[:_PIECE])
                self._sent += count
                view = view[count:]
        except TimeoutError:
            raise _too_slow() from None
        finally:
            self.client.settimeout(None)

    send = sendall

    def reject_request(self, response: bytes) -> None:
        """Send *response* as the last one and close the connection."""
        reject_client(self.client, response)

    def _time_out(self) -> bytes:
        if self._is_head:
            return b""
        raise _too_slow()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)


def reject_client(client: Any, response: bytes, linger_s: float = LINGER_S) -> None:
    """Send *response*, `_drain_socket` and close the connection; *linger_s* bounds each of the first two."""
    client.settimeout(linger_s)
    try:
        client.sendall(response)
        _drain_socket(client, linger_s)
    except OSError:
        pass
    finally:
        client.close()


def _drain_socket(client: Any, seconds: float) -> None:
    """Shut down our side and read for up to *seconds*, and LINGER_BYTES at most.

    Closing a socket with unread data makes the kernel send a reset, which can destroy our response before the
    client reads it. A client that sends more than LINGER_BYTES may still lose it.
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
    """Return whether part of the body of gunicorn's *request* has not been read yet."""
    reader = request.body.reader
    if isinstance(reader, ChunkedReader):
        return reader.parser is not None
    return bool(getattr(reader, "length", 0))


def _too_slow() -> ConnectionResetError:
    # gunicorn treats this as a disconnect by the client and does not log it.
    return ConnectionResetError(errno.ECONNRESET, "the other side is too slow")


# Size of one read. A body up to this size is read in one call; a larger one (up to 32 MiB) is read in pieces,
# so that other requests, such as small webhooks, are served in between.
PIECE = 256 * 1024


def drain(stream: IO[bytes]) -> bytes:
    """Read *stream* to its end and return its content; the caller limits the size."""
    body = bytearray()
    while piece := stream.read(PIECE):
        body += piece
        yield_to_others()
    return bytes(body)


def read_unverified_body(request: Request) -> bytes:
    """Return the body of a *request* whose signature is still to be checked.

    Any client may have sent it, so the worker may close this connection when it needs room for others.
    """
    connection: Any = request.environ.get("gunicorn.socket")
    unverified = connection.unverified if isinstance(connection, ClientConnection) else {}
    unverified[connection] = None
    try:
        return request.get_data(cache=True, parse_form_data=False)
    finally:
        unverified.pop(connection, None)


def yield_to_others() -> None:
    """Let other greenlets run: one that always finds data to read would never yield by itself."""
    time.sleep(0)


# Alertmanager has to get its 503 within 5 s. A single Redis call ends after 2 s (see storage/connection.py),
# but one request may make several.
REQUEST_TIMEOUT_S = 4.0
_ADVICE = "it does not answer in time: see its load and the network"


def request_timeout() -> AbstractContextManager[object]:
    """Raise StoreError inside this context once it has lasted longer than REQUEST_TIMEOUT_S.

    Redis connections in use at that moment are discarded. Works under gevent only; elsewhere the context has
    no effect, and only the timeout of each Redis call applies.
    """
    if not is_module_patched("socket"):
        return nullcontext()
    error = StoreError(f"Redis: {_ADVICE}", _ADVICE)
    return cast("AbstractContextManager[object]", Timeout(REQUEST_TIMEOUT_S, error))
