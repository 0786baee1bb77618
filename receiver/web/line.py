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
from collections.abc import Callable
from typing import Any

HEAD_S = 10.0  # from its first byte to its last
# A body and an answer may stand still for so long, and take so long beyond what their size allows:
# a MiB has 30 s, 32 MiB have eleven minutes.
PATIENCE_S = 10.0
LEAST_BYTES_PER_S = 50 * 1024
_PIECE = 64 * 1024


class Line:
    """A client's socket as gunicorn uses it, with deadlines; everything else is the socket's own.

    Between requests and in a head, too slow looks as if the other side had hung up: no request was
    there yet. In a body or an answer it raises ConnectionResetError.
    """

    def __init__(self, client: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._deadline = clock() + HEAD_S
        self._is_waiting = False
        self._is_head = True
        self._received = 0
        self._answering_since: float | None = None
        self._sent = 0

    def expect(self, idle_s: float) -> None:
        """A request may begin within *idle_s* seconds; its head then has HEAD_S."""
        self._is_waiting = self._is_head = True
        self._deadline = self._clock() + idle_s
        self._answering_since, self._sent = None, 0

    def take_in(self) -> None:
        """The head is there: what comes now is the body."""
        self._is_waiting = self._is_head = False
        self._received = 0
        self._deadline = self._clock() + PATIENCE_S

    def recv(self, size: int) -> bytes:
        """Return what came, b"" at the end."""
        self._answering_since, self._sent = None, 0
        left_s = self._deadline - self._clock()
        if not self._is_head:
            left_s = min(PATIENCE_S, left_s + self._received / LEAST_BYTES_PER_S)
        if left_s <= 0:
            return self._give_up()
        self._client.settimeout(left_s)
        try:
            data: bytes = self._client.recv(size)
        except TimeoutError:
            return self._give_up()
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
        if self._answering_since is None:
            self._answering_since = self._clock()
        try:
            while view:
                allowed_s = PATIENCE_S + self._sent / LEAST_BYTES_PER_S
                left_s = min(PATIENCE_S, self._answering_since + allowed_s - self._clock())
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

    def turn_away(self, answer: bytes) -> None:
        """Give the client its last answer, and hang up."""
        turn_away(self._client, answer)

    def _give_up(self) -> bytes:
        if self._is_head:
            return b""
        raise _too_slow()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def turn_away(client: Any, answer: bytes, linger_s: float = 1.0) -> None:
    """Give a client its last answer, and hang up; it is tried for *linger_s*."""
    client.settimeout(linger_s)
    try:
        client.sendall(answer)
        client.shutdown(socket.SHUT_WR)
        # With something of theirs unread, closing would take our answer away from them.
        for _ in range(16):
            if not client.recv(_PIECE):
                break
    except OSError:
        pass
    finally:
        client.close()


def _too_slow() -> ConnectionResetError:
    # gunicorn takes this for the other side's doing, which it is, and says nothing in the log.
    return ConnectionResetError(errno.ECONNRESET, "the other side is too slow")
