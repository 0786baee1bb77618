"""The server side of Socket Mode: WebSockets on the mock Slack's port, envelopes out, acknowledgements in."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import struct
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_SILENT_S = 30.0


class MockSocket:
    """One open WebSocket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._lock = threading.Lock()

    def send(self, opcode: int, data: bytes) -> None:
        size = len(data)
        length = bytes([size]) if size < 126 else b"\x7e" + struct.pack("!H", size)
        with self._lock:
            self.sock.sendall(bytes([0x80 | opcode]) + length + data)

    def read(self) -> tuple[int, bytes]:
        """Return the next frame's opcode and data; OSError when the connection is closed."""
        first, second = self._exactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._exactly(2))
        mask = self._exactly(4) if second & 0x80 else bytes(4)
        data = self._exactly(size)
        return first & 0x0F, bytes(byte ^ mask[n % 4] for n, byte in enumerate(data))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise ConnectionResetError
            data += more
        return data


class MockSocketMode:
    """All open connections. Envelopes are sent to them in turn; acknowledgements are recorded."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open: list[MockSocket] = []
        self._sent = 0
        self.opened = 0  # the number of connections ever opened
        self.acknowledged: dict[str, Any] = {}

    @property
    def count(self) -> int:
        with self._changed:
            return len(self._open)

    def wait_open(self, count: int = 1, timeout_s: float = 10.0) -> bool:
        """Wait until *count* connections are open; return whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._open) >= count, timeout_s)

    def deliver(
        self, kind: str, payload: Any, *, timeout_s: float = 5.0, takes_payload: bool = True
    ) -> dict[str, Any] | None:
        """Send an envelope over one connection; return its acknowledgement, None if there is none in time."""
        envelope_id = self.send(kind, payload, takes_payload=takes_payload)
        with self._changed:
            self._changed.wait_for(lambda: envelope_id in self.acknowledged, timeout_s)
            return self.acknowledged.get(envelope_id)

    def send(self, kind: str, payload: Any, *, takes_payload: bool = True, again: str = "") -> str:
        """Send an envelope; *again* is the ID of an envelope sent before, to repeat that."""
        with self._changed:
            self._sent += 1
            envelope_id = again or f"envelope-{self._sent}"
            connection = self._open[self._sent % len(self._open)]
        envelope = {
            "type": kind,
            "envelope_id": envelope_id,
            "payload": payload,
            "accepts_response_payload": takes_payload,
        }
        connection.send(_TEXT, json.dumps(envelope).encode())
        return envelope_id

    def refresh(self) -> None:
        """Ask every client to open a new connection, as Slack does every few hours."""
        with self._changed:
            connections = list(self._open)
        for connection in connections:
            connection.send(_TEXT, json.dumps({"type": "disconnect", "reason": "refresh_requested"}).encode())

    def cut(self) -> None:
        """Close all connections without notice."""
        with self._changed:
            connections = list(self._open)
        for connection in connections:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Respond to the handshake on *handler*'s connection and serve the WebSocket until it closes."""
        key = handler.headers.get("Sec-WebSocket-Key", "").encode()
        accept = base64.b64encode(hashlib.sha1(key + _MAGIC).digest()).decode()
        handler.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        handler.wfile.flush()
        handler.close_connection = True
        handler.connection.settimeout(_SILENT_S)
        connection = MockSocket(handler.connection)
        connection.send(_TEXT, json.dumps({"type": "hello", "num_connections": 1}).encode())
        with self._changed:
            self._open.append(connection)
            self.opened += 1
            self._changed.notify_all()
        try:
            with suppress(OSError):
                self._serve_frames(connection)
        finally:
            with self._changed:
                self._open.remove(connection)
                self._changed.notify_all()

    def _serve_frames(self, connection: MockSocket) -> None:
        while True:
            opcode, data = connection.read()
            if opcode == _CLOSE:
                return
            if opcode == _PING:
                connection.send(_PONG, data)
            elif opcode == _TEXT:
                message = json.loads(data)
                with self._changed:
                    self.acknowledged[message["envelope_id"]] = message
                    self._changed.notify_all()


def new_ticket() -> str:
    return os.urandom(8).hex()
