"""One HTTP/1.1 connection, direct or through the environment's proxy, with one deadline for each exchange.

http.client builds requests and parses responses. Its own connections limit each wait only, so that a server
which sends one byte a second would occupy a thread for hours.
"""

from __future__ import annotations

import base64
import io
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse, InvalidURL
from ipaddress import ip_address, ip_network
from json import loads
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from receiver.text import is_loopback

MAX_RESPONSE_BYTES = 64 * 1024 * 1024
_CHUNK = 64 * 1024
_PORTS = {"http": 80, "https": 443}
_INTERIM = b"HTTP/1.1 1"
_HEAD_END = b"\r\n\r\n"
_RECORD = 16 * 1024  # of TLS, at most
_SWITCHING = 101
_PROXY_REFUSES = 407
T = TypeVar("T")


class RequestNotSent(OSError):
    """The server cannot have received the request; `__cause__` says why, if it is another error."""


class ResponseTooLong(HTTPException):
    """A response is longer than the limit."""


@dataclass(frozen=True)
class HttpResponse:
    """A response of any status. The names in `headers` are in lower case."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300

    def parse_json(self) -> Any:
        """Return the body parsed as JSON; None if it isn't JSON."""
        try:
            return loads(self.body)
        except (ValueError, RecursionError):
            return None


def find_proxy(url: SplitResult) -> str:
    """Return the URL of the environment's proxy for *url*; empty if there is none, and for this host.

    Like requests, `NO_PROXY` may also list networks (`10.0.0.0/8`), and `ALL_PROXY` is the default.
    """
    host, proxies = url.hostname or "", getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all") or ""
    if not proxy or is_loopback(host) or proxy_bypass(url.netloc.rpartition("@")[2]):
        return ""
    if any(_is_in_network(host, each.strip()) for each in proxies.get("no", "").split(",")):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_in_network(host: str, network: str) -> bool:
    try:
        return "/" in network and ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


_contexts: dict[tuple[str, ...], tuple[Mapping[str, object], ssl.SSLContext]] = {}
_contexts_lock = threading.Lock()


def get_tls_context(bundle: str = "") -> ssl.SSLContext:
    """Return the TLS context with the CA certificates of the file or folder *bundle*, else of this host.

    To load them takes some 30 ms of CPU: they are loaded again after a change only. While they are being
    replaced, and so are missing or incomplete, the former ones stay. Raises OSError if there are none yet.
    """
    default = ssl.get_default_verify_paths()
    paths = (
        (bundle,)
        if bundle
        else (
            os.environ.get(default.openssl_cafile_env, default.openssl_cafile),
            os.environ.get(default.openssl_capath_env, default.openssl_capath),
        )
    )
    with _contexts_lock:
        former, context = _contexts.get(paths, ({}, None))
        try:
            found = {path: _read_version(path) for path in paths if bundle or Path(path).exists()}
            if context is not None and (found == former or not found.keys() >= former.keys()):
                return context
            loaded = _load_tls_context(list(found))
        except OSError:
            if context is not None:
                return context
            if bundle:
                raise
            found, loaded = {}, _load_tls_context([])  # the certificates that OpenSSL finds there
        _contexts[paths] = (found, loaded)
        return loaded


def _read_version(path: str) -> object:
    """Return what differs after *path* was replaced; raises OSError."""
    found = os.stat(path)  # noqa: PTH116  # for each request
    return found.st_ino, found.st_size, found.st_mtime_ns


def _load_tls_context(paths: list[str]) -> ssl.SSLContext:
    file = next((path for path in paths if Path(path).is_file()), None)
    folder = next((path for path in paths if Path(path).is_dir()), None)
    context = ssl.create_default_context(cafile=file, capath=folder)
    context.set_alpn_protocols(["http/1.1"])  # as http.client does for its own context
    return context


class _Tls:
    """TLS over a non-blocking socket, or over a proxy's TLS. It raises what a non-blocking SSLSocket does.

    Unlike an SSLSocket it returns what was received also after the server reset the connection while we sent.
    """

    def __init__(self, sock: Any, context: ssl.SSLContext, host: str) -> None:
        self._sock, self._unsent = sock, b""
        self._received, self._encrypted = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._encrypted, server_hostname=host)
        self.fileno, self.close = sock.fileno, sock.close

    def do_handshake(self) -> None:
        self._run(self._tls.do_handshake)
        self._flush()

    def recv(self, size: int) -> bytes:
        try:
            return self._run(lambda: self._tls.read(size))
        except ssl.SSLEOFError:  # like most clients, we require no closing message
            return b""

    def recv_into(self, buffer: memoryview) -> int:
        received = self.recv(len(buffer))
        buffer[: len(received)] = received
        return len(received)

    def send(self, data: memoryview | bytes) -> int:
        self._flush()
        sent = self._tls.write(data[:_RECORD])
        with suppress(ssl.SSLWantWriteError):  # the rest goes with the next call
            self._flush()
        return sent

    def _run(self, operation: Callable[[], T]) -> T:
        """Run *operation*, with what one read of the socket returns if it needs more."""
        try:
            return operation()
        except ssl.SSLWantReadError:
            with suppress(ssl.SSLWantWriteError):  # the server may answer before it has read all
                self._flush()
            try:
                received = self._sock.recv(_RECORD)
            except (BlockingIOError, ssl.SSLWantReadError):
                raise (ssl.SSLWantWriteError if self._unsent else ssl.SSLWantReadError) from None
        if received:
            self._received.write(received)
        else:
            self._received.write_eof()
        return operation()

    def _flush(self) -> None:
        self._unsent += self._encrypted.read()
        try:
            while self._unsent:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except BlockingIOError:
            raise ssl.SSLWantWriteError from None
        except ssl.SSLWantWriteError:
            raise
        except OSError:
            self._unsent = b""  # so that what was received can still be read
            raise


class _Stream(io.RawIOBase):
    """A non-blocking socket as a stream; its reads and waits end at `deadline` (monotonic) with TimeoutError.

    With a deadline of 0 nothing waits.
    """

    def __init__(self, host: str, port: int, deadline: float) -> None:
        self.deadline = deadline
        self._sock: Any = _connect(host, port, deadline)

    def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Verify the server's certificate for *host*, and encrypt from now on."""
        self._sock = _Tls(self._sock, context, host)
        self._attempt(self._sock.do_handshake)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.deadline:  # a server that floods us makes no read wait
            self.check_deadline()
        return int(self._attempt(lambda: self._sock.recv_into(buffer)))

    def send(self, data: memoryview) -> int:
        """Send some of *data*; return how much, 0 if the server does not read now."""
        try:
            return int(self._sock.send(data))
        except (BlockingIOError, ssl.SSLWantWriteError):
            return 0

    def _attempt(self, operation: Callable[[], T]) -> T:
        while True:
            try:
                return operation()
            except (BlockingIOError, ssl.SSLWantReadError):
                self.wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self.wait(select.POLLIN | select.POLLOUT)

    def check_deadline(self) -> float:
        """Return the seconds until the deadline; raises TimeoutError after it."""
        remaining_s = self.deadline - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError
        return remaining_s

    def wait(self, events: int) -> int:
        """Wait for *events* of `select.poll`; return those that came."""
        poll = select.poll()
        poll.register(self._sock, events)
        found = poll.poll(self.check_deadline() * 1000)
        if not found:
            raise TimeoutError
        return found[0][1]

    def close(self) -> None:
        super().close()
        self._sock.close()


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    """Connect to the first address of *host* that answers; each but the last may use half of the time."""
    *others, last = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *family, _, address in (*others, last):
        remaining_s = deadline - time.monotonic()
        sock = socket.socket(*family)
        try:
            if remaining_s <= 0:
                raise TimeoutError
            sock.settimeout(remaining_s if address is last[-1] else remaining_s / 2)
            sock.connect(address)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            sock.close()
            if address is last[-1]:
                raise
        else:
            return sock
    raise AssertionError


class _AnsweredEarly(Exception):
    """The server answered before it had read the whole request."""


class _Reader(io.BufferedReader):
    """Stays open when an HTTPResponse has been read."""

    def close(self) -> None:
        pass


class _Request:
    """Takes what http.client would send."""

    def __init__(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> None:
        self.data = bytearray()
        writer = HTTPConnection("")
        writer.sock = self
        writer.request(method, target, body, headers)

    def sendall(self, data: bytes) -> None:
        self.data += data


class HttpConnection:
    """A connection to the server of *url* by `find_proxy`, for one exchange at a time. Raises RequestNotSent.

    *deadline* is a time of the monotonic clock. It does not limit the look-up of a host's addresses.
    """

    def __init__(self, url: str, deadline: float, *, ca_bundle: str = "") -> None:
        try:
            parts = urlsplit(url)
            self._proxy = urlsplit(find_proxy(parts))
            first = self._proxy if self._proxy.scheme else parts
            host, port = _parse_server(first)
            self._stream = _Stream(host, port, deadline)
        except ValueError as error:
            raise RequestNotSent("no connection") from InvalidURL(str(error))
        except OSError as error:
            raise RequestNotSent("no connection") from error
        self._reader = _Reader(self._stream)
        self.is_kept_open = False
        self.tls: ssl.SSLContext | None = None  # that of the CA certificates it was verified with
        try:
            if first.scheme == "https":
                self.tls = get_tls_context(ca_bundle)
                self._stream.start_tls(self.tls, host)
            if first is not parts and parts.scheme == "https":
                self.tls = get_tls_context(ca_bundle)
                self._open_tunnel(*_parse_server(parts))
                self._stream.start_tls(self.tls, parts.hostname or "")
        except (OSError, ValueError, HTTPException) as error:
            self.close()
            raise error if isinstance(error, RequestNotSent) else RequestNotSent("no connection") from error

    def _open_tunnel(self, host: str, port: int) -> None:
        """Ask the proxy for a connection to *host*."""
        server = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        request = _Request("CONNECT", server, {"Host": server, **self._build_proxy_headers()}, None)
        self._send(request.data)
        status = self._read_head("CONNECT").status
        if not 200 <= status < 300:
            raise RequestNotSent(f"the proxy answered {status}")
        if self._peek() is not None:  # it would be taken for an answer of the server that TLS protects
            raise RequestNotSent("the proxy sent more than its answer")

    def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        deadline: float,
        max_bytes: int = MAX_RESPONSE_BYTES,
    ) -> HttpResponse:
        """Send a request to *url*, which is on the same server, and return the response of up to *max_bytes*.

        An answer counts also if it comes before the whole request was sent. Raises RequestNotSent, and
        OSError or HTTPException if there is no complete answer; then the connection can't be used again.
        """
        self._stream.deadline, self.is_kept_open = deadline, False
        try:
            request = self._build_request(method, urlsplit(url), headers, body)
        except (ValueError, HTTPException) as error:
            raise RequestNotSent("no valid request") from error
        failure: Exception | None = None
        try:
            self._send(request.data)
        except TimeoutError:
            raise
        except (OSError, _AnsweredEarly) as error:
            failure = error
        try:
            response = self._read_head(method)
        except (OSError, HTTPException) as error:
            raise (failure if isinstance(failure, OSError) else error) from None
        if response.status == _PROXY_REFUSES and self._proxy.scheme:
            raise RequestNotSent(f"the proxy answered {response.status}")
        content = _read_body(response, max_bytes)
        self.is_kept_open = failure is None and response.status >= 200 and not response.will_close
        received = {name.lower(): value for name, value in response.headers.items()}
        return HttpResponse(response.status, content, received)

    def _build_request(
        self, method: str, url: SplitResult, headers: Mapping[str, str], body: bytes | None
    ) -> _Request:
        host = url.netloc.rpartition("@")[2]
        headers = {"Host": host if host.isascii() else host.encode("idna").decode(), **headers}
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        if self._proxy.scheme and url.scheme == "http":
            target = f"http://{headers['Host']}{target}"
            headers |= self._build_proxy_headers()
        return _Request(method, target, headers, body)

    def _build_proxy_headers(self) -> dict[str, str]:
        if self._proxy.username is None:
            return {}
        login = f"{unquote(self._proxy.username)}:{unquote(self._proxy.password or '')}"
        return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}

    def _send(self, data: bytearray) -> None:
        """Send *data*; raises _AnsweredEarly if the server answers before it has read all."""
        rest, events = memoryview(data), select.POLLIN | select.POLLOUT
        while rest := rest[(sent := self._stream.send(rest)) :]:
            while (head := self._peek()) is not None:
                end = head.find(_HEAD_END)
                if not head.startswith(_INTERIM):
                    raise _AnsweredEarly
                if end < 0:  # only part of an interim response is here, and `_peek` reads no further
                    events = select.POLLOUT
                    break
                self._reader.read(end + len(_HEAD_END))
                self._stream.check_deadline()
            if not sent:
                self._stream.wait(events)

    def _read_head(self, method: str) -> HTTPResponse:
        """Return the final response, of which the body is not read yet; skip interim ones (1xx)."""
        while True:
            response = HTTPResponse(self, method=method)  # type: ignore[arg-type]  # it needs only makefile
            response.begin()
            if response.status >= 200 or response.status == _SWITCHING:
                return response

    def makefile(self, _mode: str) -> io.BufferedReader:
        return self._reader

    def _peek(self) -> bytes | None:
        """Return what was received and not read yet, empty at the end; None if there is nothing now."""
        deadline, self._stream.deadline = self._stream.deadline, 0.0
        try:
            return self._reader.peek(1)
        except TimeoutError:
            return None
        finally:
            self._stream.deadline = deadline

    def is_reusable(self) -> bool:
        """Return whether another request may be sent: not if the server closed the connection, or has sent
        what no request asked for, which would be taken for the next response.
        """
        try:
            return self.is_kept_open and self._peek() is None
        except OSError:
            return False

    def close(self) -> None:
        self.is_kept_open = False
        self._stream.close()


def _parse_server(url: SplitResult) -> tuple[str, int]:
    """Return the host and the port of *url*; raises ValueError if it is none of HTTP."""
    if url.scheme not in _PORTS or not url.hostname:
        raise ValueError(f"unsupported address with the scheme {url.scheme!r}")
    return url.hostname, url.port or _PORTS[url.scheme]


def _read_body(response: HTTPResponse, max_bytes: int) -> bytes:
    """Return the body; raises ResponseTooLong over *max_bytes*."""
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        body += chunk
        if len(body) > max_bytes:
            raise ResponseTooLong
    if response.length:  # Content-Length bytes are missing; read1 does not raise
        raise ConnectionError
    return bytes(body)
