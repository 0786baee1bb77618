"""The address that the web process listens on, and its listening socket."""

from __future__ import annotations

import errno
import re
import socket
import time
from dataclasses import dataclass

from receiver.errors import ReceiverError
from receiver.text import is_loopback

BACKLOG = 2048
# The kernel may keep the port busy for a moment after the previous process was killed.
IN_USE_TIMEOUT_S = 1.5
_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+)):(?P<port>\d{1,5})", re.ASCII)


class AddressError(ReceiverError):
    """The receiver can't listen on this address."""


@dataclass(frozen=True)
class ListenAddress:
    """A host and a port to listen on; port 0 takes any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether the address is reachable from this host only; of host names, only `localhost` counts."""
        return is_loopback(self.host)

    @property
    def url(self) -> str:
        """The URL for a browser on the same host."""
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared, not bound
        return f"http://{ListenAddress(everywhere.get(self.host, self.host), self.port)}"


def parse_address(text: str) -> ListenAddress:
    """Return the address in `HOST:PORT` or `[::1]:PORT`; raises ValueError with a full sentence."""
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(f"{text!r} is no address like 127.0.0.1:9080 or [::1]:9080")
    return ListenAddress(match["v6"] or match["host"], int(match["port"]))


def open_listener(address: ListenAddress) -> socket.socket:
    """Return a listening socket on *address*; raises AddressError where it can't be opened."""
    deadline = time.monotonic() + IN_USE_TIMEOUT_S
    while True:
        try:
            return _bind_socket(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise AddressError(f"can't listen on {address}: {error.strerror}") from error
            if time.monotonic() > deadline:
                raise AddressError(
                    f"another program already listens on {address}: end it, or choose another with --listen"
                ) from error
        time.sleep(0.1)


def bound_address(listener: socket.socket, address: ListenAddress) -> ListenAddress:
    """Return *address* with the port that *listener* is bound to."""
    return ListenAddress(address.host, int(listener.getsockname()[1]))


def _bind_socket(address: ListenAddress) -> socket.socket:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # `localhost` often resolves to both families; prefer IPv4, which is what people usually type.
    family, kind, protocol, _, where = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
