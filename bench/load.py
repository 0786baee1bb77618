"""A load generator: posts prepared requests over kept-alive connections, each with one request under way.

Raw sockets in one thread, so that it takes little of the machine it shares with what it measures.
"""

from __future__ import annotations

import selectors
import socket
import statistics
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from zlib import crc32

from bench.parse import a_body

CONNECTIONS = 16
# Nothing on loopback may be silent for longer; beyond it the run has failed.
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Load:
    """What one round gave: webhooks a second over all connections, and each one's seconds."""

    rate: float
    waits: tuple[float, ...]


def build_requests(alerts: int, names: Iterable[str], receiver: str = "on-call") -> list[bytes]:
    """Return a request for each name, with a group of that name and *alerts* firing alerts of its own.

    Another *receiver* has the same alerts under another group key.
    """
    body = a_body(alerts).replace(b'"on-call"', b'"%b"' % receiver.encode())
    return [_post(_name(body, name.encode(), receiver.encode())) for name in names]


def _name(body: bytes, name: bytes, receiver: bytes) -> bytes:
    """Return *body* with another group key and other alerts, as the same ones have one home."""
    body = body.replace(b'"{}:{', b'"{}/{group=\\"%b\\",to=\\"%b\\"}:{' % (name, receiver))
    body = body.replace(b'"monitoring/k8s"', b'"monitoring/%b"' % name)
    return body.replace(b'"fingerprint":"00000000', b'"fingerprint":"%08x' % crc32(name))


def _post(body: bytes) -> bytes:
    head = (
        "POST /webhooks/alertmanager HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Alertmanager/0.28.0\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def post_all(port: int, requests: Sequence[bytes], connections: int = CONNECTIONS) -> Load:
    """Post every request once; raises RuntimeError for any answer but 200, and for none within 10 s."""
    waiting = deque(requests)
    waits: list[float] = []
    with selectors.DefaultSelector() as selector:
        lines = [_Line(port) for _ in range(min(connections, len(requests)))]
        try:
            begun = time.perf_counter()
            for line in lines:
                selector.register(line.socket, selectors.EVENT_READ, line)
                line.send(waiting.popleft())
            while len(waits) < len(requests):
                ready = selector.select(TIMEOUT_S)
                if not ready:
                    raise RuntimeError(f"no answer within {TIMEOUT_S:g} s")
                for key, _ in ready:
                    wait = key.data.receive()
                    if wait is None:
                        continue
                    waits.append(wait)
                    if waiting:
                        key.data.send(waiting.popleft())
            return Load(len(requests) / (time.perf_counter() - begun), tuple(waits))
        finally:
            for line in lines:
                line.socket.close()


def post(port: int, request: bytes) -> bytes:
    """Post one request over a connection of its own; return the answer's body."""
    line = _Line(port)
    with line.socket:
        line.send(request)
        while line.receive() is None:
            pass
        return line.body


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that *percent* in a hundred don't exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


class _Line:
    """One connection; *body* is that of the last answer."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.body = b""
        self._answer = b""
        self._sent_at = 0.0

    def send(self, request: bytes) -> None:
        self._answer = b""
        self._sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> float | None:
        """Read what has come; return the seconds since the request when the answer is whole."""
        read = self.socket.recv(65536)
        if not read:
            raise RuntimeError(f"the connection was closed: {self._answer[:300]!r}")
        self._answer += read
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end:
            return None
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"not a 200: {self._answer[:300]!r}")
        _, _, length = head.lower().partition(b"\r\ncontent-length:")
        if len(body) < int(length.partition(b"\r\n")[0]):
            return None
        self.body = body
        return time.perf_counter() - self._sent_at
