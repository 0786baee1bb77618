"""Servers and proxies on loopback that a test scripts byte by byte."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import trustme

OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'


def read_head(client: socket.socket) -> bytes:
    """Return a request's head and what came with it; empty at the end of the connection."""
    head = b""
    while b"\r\n\r\n" not in head:
        received = client.recv(65536)
        if not received:
            return b""
        head += received
    return head


def read_request(client: socket.socket) -> bytes:
    """Return a whole request of which the body has a Content-Length; empty at the end of the connection."""
    request = read_head(client)
    head, _, body = request.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    missing = int(fields.get(b"content-length", 0)) - len(body)
    while request and missing > 0:
        received = client.recv(65536)
        request, missing = request + received, missing - len(received)
    return request


class HostileServer:
    """Runs *serve* in a thread for each connection, over TLS where there is a *tls*; then closes it."""

    def __init__(self, serve: Callable[[socket.socket], object], tls: ssl.SSLContext | None = None) -> None:
        self._serve, self._tls = serve, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.opened = 0

    @contextmanager
    def run(self) -> Iterator[HostileServer]:
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.settimeout(10)
                # A server that closes at once would drop what Nagle's algorithm still holds back.
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.opened += 1
                threading.Thread(target=self._handle, args=(client,), daemon=True).start()

    def _handle(self, client: socket.socket) -> None:
        with suppress(OSError):
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            with client:
                self._serve(client)


def tls_for(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """Return the context of a server with a certificate of *authority* for *names*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


class Proxy:
    """Serves a proxy: answers plain requests itself, and connects every tunnel to *port*."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self.requests: list[bytes] = []

    def __call__(self, client: socket.socket) -> None:
        request = read_request(client)
        self.requests.append(request)
        if not request.startswith(b"CONNECT "):
            client.sendall(OK)
            return
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=forward, args=(server, client), daemon=True)
            back.start()
            forward(client, server)
            back.join(10)


def forward(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while received := source.recv(65536):
            target.sendall(received)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
